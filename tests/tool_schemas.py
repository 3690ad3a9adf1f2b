"""What a Realtime session takes as the parameters of a function, checked strictly.

Owns the judge that the normaliser is held to: openai_realtime.md 6 and 2.1, narrowed to what is
sure to be taken. It shares no code with ``tools.normalise``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.contract import check_realtime_client

TYPES = {"string", "number", "integer", "boolean", "object", "array"}
KEYWORDS = {
    *("type", "description", "enum", "default", "properties", "required", "items", "format"),
    *("additionalProperties", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("multipleOf", "minLength", "maxLength", "minItems", "maxItems"),
}
MAX_BYTES = 128_000


def realtime_problems(schema: Any) -> list[str]:
    """Return what a session might refuse in ``schema``, each with its place."""
    if not isinstance(schema, dict):
        return ["$: no object"]
    text = json.dumps(schema, allow_nan=False)
    found = list(_problems(schema, "$", 0))
    if schema.get("type") != "object" or "properties" not in schema:
        found.append("$: not type object with properties (vapi.md trap 29)")
    if len(text) > MAX_BYTES:
        found.append(f"$: {len(text)} characters")
    if not found:
        check_realtime_client(_session_with(schema))
    return found


def _problems(schema: Any, where: str, level: int) -> Iterator[str]:
    if not isinstance(schema, dict):
        yield f"{where}: a schema that is no object"
        return
    for key in schema.keys() - KEYWORDS:
        yield f"{where}: keyword {key}"
    if level > 12:
        yield f"{where}: too deep"
    kind = schema.get("type")
    if "type" in schema and (not isinstance(kind, str) or kind not in TYPES):
        yield f"{where}: type {kind!r}"
    if len(schema.get("description", "")) > 1024:
        yield f"{where}: a long description"
    if "enum" in schema:
        yield from _enum_problems(schema["enum"], where)
    if not isinstance(schema.get("default", ""), str | int | float | bool):
        yield f"{where}: default"
    if kind == "array" and not isinstance(schema.get("items"), dict):
        yield f"{where}: a list without items"
    if kind == "object" and not isinstance(schema.get("properties"), dict):
        yield f"{where}: an object without properties"
    if schema.get("additionalProperties", False) is not False:
        yield f"{where}: additionalProperties"
    required = schema.get("required", ["x"])
    if not required or len(set(required)) < len(required):
        yield f"{where}: required {required}"
    if "required" in schema and not set(required) <= set(schema.get("properties", {})):
        yield f"{where}: required names what is no property"
    for name, child in schema.get("properties", {}).items():
        yield from _problems(child, f"{where}.{name}", level + 1)
    if "items" in schema:
        yield from _problems(schema["items"], f"{where}[]", level + 1)


def _enum_problems(enum: Any, where: str) -> Iterator[str]:
    if not isinstance(enum, list) or not enum:
        yield f"{where}: an empty enum"
    elif not all(isinstance(value, str | int | float | bool) for value in enum):
        yield f"{where}: an enum of more than text, numbers and booleans"
    elif len({json.dumps(value) for value in enum}) < len(enum):
        yield f"{where}: an enum with a value twice"


def _session_with(schema: Mapping[str, Any]) -> dict[str, Any]:
    tool = {"type": "function", "name": "f", "description": "d", "parameters": dict(schema)}
    return {
        "type": "session.update",
        "event_id": "e",
        "session": {"type": "realtime", "tools": [tool]},
    }
