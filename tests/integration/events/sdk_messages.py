"""Server messages held to the official SDK's models, type by type (vapi.md 9 trap 2, 10).

Owns the check of what a message says beside the common envelope; a whole model, of which the
envelope is nearly all, takes seconds to build.
"""

from __future__ import annotations

import typing
from typing import Any

import pydantic
import vapi


def check_own(message: dict[str, Any]) -> None:
    """Hold a message's own members to the SDK's model of its type (vapi.md 10, trap 2).

    Member by member: to build a whole model, of which the envelope is nearly all, takes seconds.
    The envelope is the same in all of them and is validated with the reports.
    """
    (model,) = (each for each in typing.get_args(vapi.ServerMessageMessage)
                if message["type"] in wire_types(each))  # fmt: skip
    fields = {field.alias or name: (name, field) for name, field in model.model_fields.items()}
    required = {alias for alias, (_, field) in fields.items() if field.is_required()}
    assert required <= set(message), message["type"]
    unknown = set(message) - set(fields)
    assert not unknown, (message["type"], unknown)
    hints = typing.get_type_hints(model)
    for alias in set(message) - ENVELOPE:
        if message["type"] != "conversation-update":  # its members are those of the artifact
            declared = strictly(hints[fields[alias][0]])
            pydantic.TypeAdapter(declared).validate_python(message[alias])


def strictly(annotation: Any) -> Any:
    """Return an enumeration without the ``Any`` that the SDK lets pass beside it."""
    parts = [each for each in typing.get_args(annotation) if each not in (Any, type(None))]
    literal = [each for each in parts if typing.get_origin(each) is typing.Literal]
    return literal[0] if literal and Any in typing.get_args(annotation) else annotation


ENVELOPE = {"artifact", "assistant", "call", "customer", "phoneNumber"}


def wire_types(model: Any) -> list[str]:
    annotation = model.model_fields["type"].annotation
    return [
        value
        for each in (annotation, *typing.get_args(annotation))
        if typing.get_origin(each) is typing.Literal
        for value in typing.get_args(each)
    ]
