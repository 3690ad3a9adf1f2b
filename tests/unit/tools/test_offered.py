"""A secret that a tool's schema fixes is filled in and never told to the model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools.defaults import fill_defaults
from tools.normalise import function_of
from tools.offered import judging_schema, offered_schema
from tools.schema import argument_problems

pytestmark = pytest.mark.unit

SECRET = "s-12345"
CITY = {"type": "string", "default": "Rome"}


def tool(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (tool(apiKey={"type": "string", "default": SECRET}), SECRET),
        (tool(apiKey={"type": "string", "value": SECRET}), SECRET),
        (tool(apiKey={"type": "string", "const": SECRET}), SECRET),
        (tool(apiKey={"enum": [SECRET]}), SECRET),
        (tool(apiKey={"type": "object", "default": {"id": SECRET}}), {"id": SECRET}),
        (
            {**tool(apiKey={"$ref": "#/$defs/k"}), "$defs": {"k": {"default": f"//{SECRET}@h"}}},
            f"//{SECRET}@h",
        ),
        (tool(apiKey={"type": "string", "default": "{{ key }}"}), SECRET),
    ],
)
def test_a_fixed_secret_is_filled_in_and_the_model_is_not_told_it(
    schema: dict[str, Any], expected: Any
) -> None:
    told = function_of("Looks it up.", offered_schema(schema))
    assert SECRET not in json.dumps([told.description, told.parameters])
    # It may be left out, and the model is told so.
    assert "apiKey" in told.parameters["properties"]
    assert "apiKey" not in told.parameters.get("required", [])
    judging = judging_schema(schema)
    arguments = fill_defaults(judging, {}, lambda _: SECRET)
    assert arguments == {"apiKey": expected}
    assert argument_problems(judging, arguments) == []
    # Whoever guesses is not told what was expected.
    assert SECRET not in "".join(argument_problems(judging, {"apiKey": "guess"}))


def test_an_address_with_a_token_as_default_is_sent_whole() -> None:
    address = f"https://h.example/?token={SECRET}"
    schema = tool(callback={"type": "string", "default": address}, city=CITY)
    told = function_of("", offered_schema(schema)).parameters
    assert SECRET not in json.dumps(told)
    assert fill_defaults(judging_schema(schema), {}, str)["callback"] == address
    assert told["properties"]["city"]["default"] == "Rome"


@pytest.mark.parametrize("name", ["credentials", "password", "token", "apiKey"])
def test_an_argument_with_a_secret_name_is_offered_as_it_is(name: str) -> None:
    node = {"type": "string", "description": "Ask for it.", "enum": ["a", "b"]}
    schema = {"type": "object", "properties": {name: node}, "required": [name]}
    assert offered_schema(schema) == schema
    assert judging_schema(schema) == schema
    nested = tool(a={"type": "array", "items": schema})
    assert offered_schema(nested) == nested


@pytest.mark.parametrize(
    ("schema", "offered"),
    [
        ({}, {}),
        ({"properties": []}, {"properties": []}),
        ({"properties": {"token": 5}}, {"properties": {}}),  # a secret where a schema belongs
    ],
)
def test_odd_schemas_pass(schema: dict[str, Any], offered: dict[str, Any]) -> None:
    assert offered_schema(schema) == offered
    assert judging_schema(schema) == schema
