"""What an import says of the parameters of a tool: what a session cannot be told, and where."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.findings import Notes, account
from assistants.tool_account import account_tool

pytestmark = pytest.mark.unit


def accounted(
    properties: dict[str, Any], *, description: str = "Books.", **schema: Any
) -> tuple[dict[str, Any], Notes]:
    parameters = {"type": "object", "properties": properties, **schema}
    tool = {
        "type": "function",
        "function": {"name": "book", "description": description, "parameters": parameters},
        "server": {"url": "https://tools.example.com", "headers": {"a": "b"}},
    }
    notes = Notes()
    account_tool(tool, notes, "$", assistant_has_server=None)
    return tool, notes


def places(notes: Notes, state: str) -> list[str]:
    root = "$.function.parameters"
    return [f.path for f in notes.findings if f.state == state and f.path.startswith(root)]


def test_a_plain_schema_needs_no_words() -> None:
    _, notes = accounted(
        {
            "day": {"type": "string", "format": "date", "description": "When."},
            "people": {"type": "integer", "minimum": 1, "maximum": 20, "default": 2},
            "names": {"type": "array", "items": {"type": "string"}},
        },
        required=["day"],
        additionalProperties=False,
    )
    assert places(notes, "mapped-lossy") == places(notes, "mapped") == []


@pytest.mark.parametrize(
    "lossy",
    [
        {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {}}}]},
        {"type": ["string", "null"]},
        {"type": "string", "nullable": True},
        {"enum": ["a", None]},
        {"type": "string", "pattern": "^[0-9]+$"},
        {"type": "string", "not": {"const": "x"}},
        {"$ref": "https://schemas.example.com/a.json"},
        {"$ref": "#"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
    ],
)
def test_what_a_session_cannot_be_told_is_lossy_at_its_parameter(lossy: dict[str, Any]) -> None:
    _, notes = accounted({"the day": lossy})
    assert places(notes, "mapped-lossy") == ['$.function.parameters.properties["the day"]']


def test_what_is_only_written_otherwise_is_not_lossy() -> None:
    _, notes = accounted(
        {
            "to": {"$ref": "#/$defs/place", "description": "Where to."},
            "kind": {"const": "parcel"},
            "speed": {"oneOf": [{"const": "slow"}, {"const": "fast"}]},
            "both": {"allOf": [{"type": "string"}, {"maxLength": 5}]},
        },
        **{"$defs": {"place": {"type": "string", "title": "Place"}}},
    )
    assert places(notes, "mapped-lossy") == []


def test_a_template_as_default_is_filled_in_and_says_so() -> None:
    tool, notes = accounted({"n": {"type": "string", "default": "{{customer.number}}"}})
    path = "$.function.parameters.properties.n.default"
    assert places(notes, "mapped") == [path]
    assert dict(account(tool, notes.findings, notes.marks))[path] == "mapped"


def test_v30_a_description_that_is_cut_is_named() -> None:
    _, notes = accounted({}, description="Say it. " * 200)
    found = [f.state for f in notes.findings if f.path == "$.function.description"]
    assert found == ["mapped-lossy"]
