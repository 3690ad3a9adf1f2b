"""A form made of a tool's JSON Schema: which fields, what they read, what they say is wrong."""

from __future__ import annotations

import html
from typing import Any

import pytest

from calls.admin.tool_form import MOST_FIELDS, ArgumentsForm

pytestmark = pytest.mark.unit

SECRET = "planted-secret-0xC0FFEE"
SCHEMA = {
    "type": "object",
    "required": ["day", "people"],
    "properties": {
        "day": {"type": "string", "enum": ["mon", "tue"], "description": "Which day"},
        "people": {"type": "integer", "minimum": 1},
        "price": {"type": "number"},
        "outside": {"type": "boolean"},
        "note": {"type": "string"},
        "guest": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}},
        },
        "tags": {"type": "array", "items": {"type": "string"}},
        "source": {"type": "string", "default": "phone"},
        "api_key": {"type": "string", "const": SECRET},
    },
}
FIELDS = ("day", "people", "price", "outside", "note", "guest", "tags", "source")


def posted(**values: Any) -> dict[str, Any]:
    return {f"argument-{FIELDS.index(name)}": value for name, value in values.items()}


@pytest.mark.parametrize(
    ("values", "where", "words"),
    [
        ({"people": "2"}, "day", "The tool needs this."),
        ({"day": '"mon"', "people": "many"}, "people", "Enter a whole number."),
        ({"day": '"mon"', "people": "0"}, "people", "less than the minimum"),
        ({"day": '"mon"', "people": "1", "price": "x"}, "price", "Enter a number."),
        ({"day": '"mon"', "people": "1", "guest": "{"}, "guest", "not valid JSON"),
        ({"day": '"mon"', "people": "1", "guest": "[]"}, "guest", "an object such as {}"),
        ({"day": '"mon"', "people": "1", "guest": "{}"}, "guest", "'name' is a required property"),
        ({"day": '"mon"', "people": "1", "tags": "[1]"}, "tags", "is not of type 'string'"),
        ({"day": '"wed"', "people": "1"}, "day", "Select a valid choice"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    values: dict[str, str], where: str, words: str
) -> None:
    form = ArgumentsForm(posted(**values), schema=SCHEMA)
    assert list(form.errors) == [f"argument-{FIELDS.index(where)}"]
    assert words in html.unescape(str(form.errors))


def test_what_was_left_out_is_no_argument_and_types_are_kept() -> None:
    form = ArgumentsForm(
        posted(day='"tue"', people="2", outside="false", price="1", guest='{"name": "Ann"}'),
        schema=SCHEMA,
    )
    assert form.is_valid(), form.errors
    assert form.arguments() == {
        "day": "tue",
        "people": 2,
        "outside": False,
        "price": 1.0,
        "guest": {"name": "Ann"},
    }


def test_references_unions_and_mixed_choices_have_fields_of_their_own() -> None:
    schema: dict[str, Any] = {
        "properties": {
            "when": {"$ref": "#/$defs/day"},
            "size": {"enum": [1, "two", None]},
            "maybe": {"type": ["integer", "null"]},
            "any": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "odd": True,
        },
        "$defs": {"day": {"type": "boolean"}},
    }
    data = {
        f"argument-{index}": value for index, value in enumerate(["true", "1", "", '"text"', "[1]"])
    }
    form = ArgumentsForm(data, schema=schema)
    assert form.is_valid(), form.errors
    assert form.arguments() == {"when": True, "size": 1, "any": "text", "odd": [1]}


@pytest.mark.parametrize("schema", [{}, {"properties": []}, {"properties": {}}, {"$ref": "#"}])
def test_a_schema_that_names_no_argument_is_one_field_of_json(schema: dict[str, Any]) -> None:
    assert ArgumentsForm({"arguments": '{"x": [1]}'}, schema=schema).is_valid()
    assert not ArgumentsForm({"arguments": "3"}, schema=schema).is_valid()


def test_a_huge_schema_makes_a_form_of_bounded_length() -> None:
    schema = {"properties": {f"a{index}": {"type": "string"} for index in range(500)}}
    assert len(ArgumentsForm(schema=schema).fields) == MOST_FIELDS
