"""Lets the official Vapi SDK build each of its pydantic models when it is first used, and once.

As shipped, importing any part of it builds several thousand validators, half a minute of CPU in
every test process that touches it. What a model accepts, and what the client decodes, is the same
either way. Must run before anything imports ``vapi.types``; ``tests/conftest.py`` sees to that.
"""

from __future__ import annotations

import functools
import typing
from typing import Annotated, Any

import pydantic
import vapi.core
from vapi.core import pydantic_utilities, unchecked_base_model


class _Pydantic:
    """The pydantic module, keeping its type adapters: a deferred model has none of its own."""

    TypeAdapter = staticmethod(functools.cache(pydantic.TypeAdapter))

    def __getattr__(self, name: str) -> Any:
        return getattr(pydantic, name)


def defer_models() -> None:
    """Turn off eager building for every model of the SDK that is imported from now on."""
    pydantic_utilities.UniversalBaseModel.model_config["defer_build"] = True
    unchecked_base_model.UncheckedBaseModel.model_config["defer_build"] = True
    for module in (vapi.core, pydantic_utilities):
        module.update_forward_refs = _left_to_first_use  # type: ignore[attr-defined]
    pydantic_utilities.pydantic = _Pydantic()  # type: ignore[attr-defined]
    unchecked_base_model._get_model_fields = _resolved_fields


def _left_to_first_use(*_: object, **__: object) -> None:
    """Do nothing; pydantic resolves the references of a deferred model itself."""


@functools.cache
def _resolved_fields(model: Any) -> Any:
    """Return a model's fields with the types that are named by text looked up.

    The client decodes without building: a field whose type is still text would stay a dict, and a
    missing discriminator inside it would go unseen.
    """
    if not model.__pydantic_fields_complete__:
        hints = typing.get_type_hints(model, include_extras=True)
        for name, field in model.model_fields.items():
            hint = hints[name]
            inner = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
            field.annotation = inner
    return model.model_fields
