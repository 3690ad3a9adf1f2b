"""Arguments that a tool's schema allows, made up for a test request: the fewest that it needs.

Pure, standard library only. What is made is harmless by its look (a test's name, a number that
nobody has); whether it fits is for ``tools.schema`` to judge, since a schema can ask for anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tools.pointers import pointed

_DEEPEST: Final = 8
_LONGEST_TEXT: Final = 1000
# Twilio's own test number; the names are RFC 2606's.
_FORMATS: Final[Mapping[str, str]] = {
    "date": "2030-01-15",
    "date-time": "2030-01-15T10:00:00Z",
    "time": "10:00:00Z",
    "email": "test@example.com",
    "uri": "https://example.com/test",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "phone": "+15005550006",
}
_BY_NAME: Final = (
    ("email", "email"),
    ("phone", "phone"),
    ("number", "phone"),
    ("date", "date"),
    ("url", "uri"),
)


def sample_arguments(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with every required argument of ``schema``."""
    made = _sample(schema, schema, "", 0)
    return made if isinstance(made, dict) else {}


def _sample(root: Mapping[str, Any], node: Any, name: str, depth: int) -> Any:
    for _ in range(_DEEPEST):
        if not isinstance(node, Mapping) or not isinstance(node.get("$ref"), str):
            break
        node = pointed(root, node["$ref"])
    if not isinstance(node, Mapping) or depth > _DEEPEST:
        return "test"
    if node.get("const") is not None:
        return node["const"]
    default = node.get("default")
    for key in ("enum", "examples"):
        listed = node.get(key)
        if isinstance(listed, list) and listed:
            return default if default in listed else listed[0]
    if default is not None:
        return default
    for key in ("oneOf", "anyOf", "allOf"):
        parts = node.get(key)
        if isinstance(parts, list) and parts and "type" not in node:
            return _sample(root, parts[0], name, depth + 1)
    return _of_type(root, node, name, depth)


def _of_type(root: Mapping[str, Any], node: Mapping[str, Any], name: str, depth: int) -> Any:
    kind = node.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None and depth == 0:
        kind = "object"
    match kind:
        case "object":
            properties = node.get("properties")
            properties = properties if isinstance(properties, Mapping) else {}
            required = node.get("required")
            return {
                each: _sample(root, properties.get(each), each, depth + 1)
                for each in (required if isinstance(required, list) else ())
                if isinstance(each, str)
            }
        case "array":
            count = _whole(node.get("minItems"), 0, 10)
            return [_sample(root, node.get("items"), name, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return _number(node)
        case "boolean":
            return False
        case "null":
            return None
    return _text(node, name)


def _number(node: Mapping[str, Any]) -> Any:
    lowest, highest = node.get("minimum"), node.get("maximum")
    above = node.get("exclusiveMinimum")
    if isinstance(above, int | float) and not isinstance(above, bool):
        return above + 1
    if isinstance(lowest, int | float) and not isinstance(lowest, bool):
        return max(lowest, 1) if not isinstance(highest, int | float) or highest >= 1 else lowest
    if isinstance(highest, int | float) and not isinstance(highest, bool):
        return min(highest, 1)
    return 1


def _text(node: Mapping[str, Any], name: str) -> str:
    form = node.get("format")
    if isinstance(form, str) and form in _FORMATS:
        return _FORMATS[form]
    plain = name.lower()
    text = next((_FORMATS[form] for mark, form in _BY_NAME if mark in plain), "test")
    shortest = _whole(node.get("minLength"), 0, _LONGEST_TEXT)
    longest = _whole(node.get("maxLength"), _LONGEST_TEXT, _LONGEST_TEXT)
    return text.ljust(shortest, "x")[:longest]


def _whole(value: Any, otherwise: int, most: int) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return min(max(value, 0), most) if is_number else otherwise
