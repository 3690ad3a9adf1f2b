"""Arguments made up from a schema are what the tool takes, wherever one can guess them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.samples import sample_arguments
from tools.schema import argument_problems

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2] / "fixtures" / "vapi"


def test_only_what_is_needed_is_made_up() -> None:
    schema = {
        "type": "object",
        "required": ["day", "guest", "tags", "people", "email", "phone_number", "ok"],
        "properties": {
            "day": {"type": "string", "format": "date"},
            "guest": {"$ref": "#/$defs/guest"},
            "tags": {"type": "array", "minItems": 2, "items": {"enum": ["a", "b"]}},
            "people": {"type": "integer", "minimum": 2, "maximum": 9},
            "email": {"type": "string"},
            "phone_number": {"type": "string", "minLength": 20},
            "ok": {"type": ["boolean", "null"]},
            "note": {"type": "string"},
        },
        "$defs": {
            "guest": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "maxLength": 3}},
            }
        },
    }
    made = sample_arguments(schema)
    assert made == {
        "day": "2030-01-15",
        "guest": {"name": "tes"},
        "tags": ["a", "a"],
        "people": 2,
        "email": "test@example.com",
        "phone_number": "+15005550006xxxxxxxx",
        "ok": False,
    }
    assert argument_problems(schema, made) == []


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array"},
        {"properties": None, "required": "x"},
        {"$ref": "#"},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"type": "object", "required": [1, None]},
    ],
)
def test_any_schema_gives_an_object(schema: dict[str, Any]) -> None:
    assert isinstance(sample_arguments(schema), dict)


def test_every_function_tool_of_the_corpus_gets_arguments_that_it_takes() -> None:
    seen = 0
    for path in sorted([*ROOT.glob("tools/*.json"), *ROOT.glob("own/tools/*.json")]):
        document = json.loads(path.read_text())
        function = document.get("function") if isinstance(document, dict) else None
        schema = function.get("parameters") if isinstance(function, dict) else None
        if isinstance(schema, dict):
            assert argument_problems(schema, sample_arguments(schema)) == [], path.name
            seen += 1
    assert seen > 10
