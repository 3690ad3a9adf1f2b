"""Checks the arguments of a function call against the JSON Schema its tool server was written for.

Pure. It judges only what a model can mend: a schema that is itself unusable, and patterns (which
are ECMA-262, not Python's, and cannot be bounded in time here), are left to the tool server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, UnknownType, ValidationError
from jsonschema.validators import extend

from tools.defaults import has_template
from tools.pointers import MISSING, nesting, pointed, reach

_MAX_PROBLEMS: Final = 5
_MAX_PROBLEM_CHARACTERS: Final = 200
# The library recurses, about six frames for each schema that a value meets. Out of stack, its part
# in Rust does not raise RecursionError but panics, which nothing here could catch.
_MAX_NESTING: Final = 100
_MAX_STEPS: Final = 100
_MAX_APPLIED: Final = 5_000


def _nullable(keyword: str) -> Any:
    """Return a keyword of the standard that lets null pass where OpenAPI's ``nullable`` says so.

    So does it every value where a template stands: what it becomes in a call is not known here.
    """
    standard = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if (instance is None and schema.get("nullable") is True) or has_template(value):
            return
        yield from standard(validator, value, instance, schema) or ()

    return check


def _left_to_the_server(*_: Any) -> Iterator[ValidationError]:
    yield from ()


_Validator = extend(
    Draft202012Validator,
    {
        "type": _nullable("type"),
        "enum": _nullable("enum"),
        "const": _nullable("const"),
        "pattern": _left_to_the_server,
        "patternProperties": _left_to_the_server,
    },
)


def argument_problems(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with ``arguments``, at most 5 sentences, in words for the model.

    A schema that cannot be used finds nothing. References lead nowhere but into the schema itself.
    """
    try:
        if not schema or not _is_self_contained(schema) or not _is_bounded(schema, arguments):
            return []
        _Validator.check_schema(schema)
        found = _Validator(schema).iter_errors(arguments)
        errors = sorted(found, key=lambda error: str(error.json_path))
    except (SchemaError, UnknownType, RecursionError):
        return []
    except (TypeError, AttributeError, ValueError, ArithmeticError):
        # Legal values that the library's keywords do not expect, e.g. multipleOf with a huge float.
        return []
    return [_sentence(error) for error in errors[:_MAX_PROBLEMS]]


def _is_bounded(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    """Tell whether checking ends soon and on little stack, whatever the schema refers to."""
    if nesting(schema) > _MAX_NESTING:
        return False
    deep, many = reach(schema)
    return deep * (1 + nesting(arguments)) <= _MAX_STEPS and many <= _MAX_APPLIED


def _is_self_contained(schema: Mapping[str, Any]) -> bool:
    """Tell whether every reference is a JSON pointer to something in ``schema``.

    Anything else would be fetched over the network, or has no meaning.
    """
    nodes: list[Any] = [schema]
    while nodes:
        node = nodes.pop()
        if isinstance(node, Mapping):
            if isinstance(node.get("$id"), str) or isinstance(node.get("$dynamicRef"), str):
                return False
            reference = node.get("$ref")
            if isinstance(reference, str) and pointed(schema, reference) is MISSING:
                return False
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
    return True


def _sentence(error: ValidationError) -> str:
    where = error.json_path.removeprefix("$").removeprefix(".") or "arguments"
    text = f"{where}: {error.message}"
    if len(text) <= _MAX_PROBLEM_CHARACTERS:
        return text
    return text[: _MAX_PROBLEM_CHARACTERS - 1] + "…"
