"""Single keywords of a schema, read whatever their value is.

Owns which names of types, limits and formats are understood. Pure and total: a value of the wrong
type is read as if it were absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from tools.normalise.shape import ALL, NUMBER

# What OpenAI documents for structured outputs; other formats are told in words.
FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)

_TYPE_NAMES: Final[Mapping[str, frozenset[str]]] = {
    "number": NUMBER,
    **{name: frozenset({name}) for name in ("string", "integer", "boolean", "object", "array")},
    "null": frozenset({"null"}),
    # Names that hand-written schemas use; the standard has none of them.
    **dict.fromkeys(("str", "text"), frozenset({"string"})),
    **dict.fromkeys(("int", "long"), frozenset({"integer"})),
    **dict.fromkeys(("float", "double", "decimal"), NUMBER),
    "bool": frozenset({"boolean"}),
    "dict": frozenset({"object"}),
    "list": frozenset({"array"}),
}


def types_named(declared: Any) -> frozenset[str]:
    """Return the types that ``type`` allows; all where it says nothing known."""
    if isinstance(declared, str):
        return _TYPE_NAMES.get(declared.lower(), ALL)
    if not isinstance(declared, list) or not declared:
        return ALL
    found: frozenset[str] = frozenset()
    for each in declared:
        found |= types_named(each) if isinstance(each, str) else ALL
    return found


def limits_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds and the format of a schema, those of draft 4 in today's form."""
    found: dict[str, Any] = {}
    for key in ("minLength", "maxLength", "minItems", "maxItems"):
        if is_number(node.get(key)) and node[key] >= 0 and node[key] == int(node[key]):
            found[key] = int(node[key])
    for key in ("minimum", "maximum", "multipleOf"):
        if is_number(node.get(key)) and (key != "multipleOf" or node[key] > 0):
            found[key] = node[key]
    for key, old in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if is_number(node.get(key)):
            found[key] = node[key]
        elif node.get(key) is True and old in found:  # draft 4
            found[key] = found.pop(old)
    if text_at(node, "format") in FORMATS:
        found["format"] = text_at(node, "format")
    return found


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)


def is_finite(value: Any) -> bool:
    """Tell whether a value can be written as JSON."""
    return not isinstance(value, float) or math.isfinite(value)


def text_at(node: Mapping[str, Any], key: str) -> str:
    """Return the text of a keyword, trimmed; else an empty one."""
    value = node.get(key)
    return value.strip() if isinstance(value, str) else ""


def list_at(node: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list of a keyword, else an empty one."""
    value = node.get(key)
    return value if isinstance(value, list) else []


def object_at(node: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object of a keyword, else an empty one."""
    value = node.get(key)
    if not isinstance(value, Mapping):
        return {}
    return {name: each for name, each in value.items() if isinstance(name, str)}
