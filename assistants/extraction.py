"""Variables taken out of a result: ``variableExtractionPlan`` (vapi.md 3.2).

Owns which values a plan takes out of one JSON result, and how many of them a call may gather. Pure
and total: a result that is no JSON gives nothing, a plan that cannot be read neither. What is done
with them is ``calls``'s.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from assistants.prompt import render
from tools.loose_json import as_list, as_object, as_text

MOST_VARIABLES: Final = 200
MOST_CHARACTERS: Final = 10_000  # of one value
MOST_IN_ALL: Final = 100_000
_MOST_ALIASES: Final = 100
_MOST_LEVELS: Final = 12

# What the platform says of a call: no result of a server is to speak in its place.
FACTS: Final = frozenset({"customer", "phoneNumber", "call", "transport", "messages", "now"})
_KEY: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,39}").fullmatch
_PROPERTY: Final = re.compile(r"[a-zA-Z_][\w-]{0,63}", re.ASCII).fullmatch
_RESULT: Final = "vp_result"
_LIQUID: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
# A ``$`` that stands for the result: not in a text, and no part of another name.
_DOLLAR: Final = re.compile(r"(\"[^\"]*\"|'[^']*')|(?<![\w$.])\$(?![\w$])")


def has_plan(plan: Any) -> bool:
    """Tell whether a plan may take anything out of a result."""
    whole = as_object(plan)
    return bool(as_list(whole.get("aliases"))) or bool(as_object(whole.get("schema")))


def extracted(
    plan: Any, result_text: str, known: Mapping[str, Any], now: dt.datetime
) -> dict[str, Any]:
    """Return what ``plan`` takes out of a result: first by its schema, then its aliases.

    Args:
        result_text: JSON; ``$`` in an alias is its value. Any other text gives nothing.
        known: the variables of the call so far; an alias sees them, and those before it.
    """
    try:
        result = _parsed(result_text)
    except (ValueError, RecursionError):
        return {}
    whole = as_object(plan)
    found = _by_schema(as_object(whole.get("schema")), result)
    for entry in as_list(whole.get("aliases"))[:_MOST_ALIASES]:
        alias = as_object(entry)
        key, template = as_text(alias.get("key")), as_text(alias.get("value"))
        if _KEY(key) and template and key not in FACTS:
            scope = {**known, **found, _RESULT: result}
            found[key] = render(_with_result(template[:MOST_CHARACTERS]), scope, now)
    return {name: value for name, value in found.items() if _size(value) <= MOST_CHARACTERS}


def gathered(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a call with ``new`` ones, which win, as far as there is room."""
    made = dict(known)
    room = MOST_IN_ALL - sum(map(_size, made.values()))
    for name, value in new.items():
        more = _size(value) - (_size(made[name]) if name in made else 0)
        if more <= room and (name in made or len(made) < MOST_VARIABLES):
            made[name] = value
            room -= more
    return made


def names_of(plan: Any) -> list[str]:
    """Return the names of the variables that ``plan`` may set, in order, each once."""
    whole = as_object(plan)
    schema = as_object(whole.get("schema"))
    names = list(as_object(schema.get("properties"))) if _is_object(schema) else [_title(schema)]
    names = [name for name in names if _PROPERTY(name)]
    names += [as_text(as_object(each).get("key")) for each in as_list(whole.get("aliases"))]
    return [name for name in dict.fromkeys(names) if name and name not in FACTS]


def _by_schema(schema: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """Return the properties of an object by their names, or a list by its schema's title."""
    if isinstance(result, list) and schema.get("type") == "array":
        name = _title(schema)
        usable = _PROPERTY(name) and name not in FACTS
        return {name: _shaped(schema, result, _MOST_LEVELS)} if usable else {}
    if not isinstance(result, dict) or not _is_object(schema):
        return {}
    properties = as_object(schema.get("properties"))
    return {
        name: _shaped(properties[name], value, _MOST_LEVELS)
        for name, value in result.items()
        if name in properties and _PROPERTY(name) and name not in FACTS
    }


def _shaped(schema: Any, value: Any, levels: int) -> Any:
    """Return a value with of its objects what the schema names, if it names anything."""
    whole = as_object(schema)
    if not levels:
        return None
    if isinstance(value, dict):
        properties = as_object(whole.get("properties"))
        if not properties:
            return value
        return {
            name: _shaped(properties[name], child, levels - 1)
            for name, child in value.items()
            if name in properties
        }
    if isinstance(value, list):
        return [_shaped(whole.get("items"), child, levels - 1) for child in value]
    return value


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type", "object") == "object" and bool(schema)


def _title(schema: Mapping[str, Any]) -> str:
    return as_text(schema.get("title")) or as_text(schema.get("name"))


def _with_result(template: str) -> str:
    """Return a template in which ``$`` has a name that Liquid can read."""

    def named(found: re.Match[str]) -> str:
        return _DOLLAR.sub(lambda each: each[1] or _RESULT, found[0])

    return _LIQUID.sub(named, template)


def _parsed(text: str) -> Any:
    """Return JSON that can be sent on: no number that is none, no half of a surrogate pair."""
    value = json.loads(text, parse_constant=_no_number)
    whole = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(whole)


def _no_number(word: str) -> Any:
    raise ValueError(word)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
