"""Arguments against the schemas that tool servers were written for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.schema import argument_problems

pytestmark = pytest.mark.unit

SCHEMAS = sorted(
    (Path(__file__).parents[2] / "fixtures" / "vapi" / "schemas").glob("*.json"),
    key=lambda path: path.name,
)
BOOKING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "enum": ["mon", "tue"]},
        "people": {"type": "integer", "minimum": 1},
        "note": {"type": "string", "nullable": True, "enum": ["a", "b"]},
        "when": {"$ref": "#/$defs/time"},
    },
    "required": ["day"],
    "$defs": {"time": {"type": "object", "required": ["hour"]}},
}


def test_good_arguments_have_no_problem() -> None:
    assert argument_problems(BOOKING, {"day": "mon", "people": 2, "when": {"hour": 3}}) == []
    assert argument_problems(BOOKING, {"day": "mon", "undeclared": 1}) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "'day' is a required property"),
        ({"day": "sun"}, "day: 'sun' is not one of ['mon', 'tue']"),
        ({"day": "mon", "people": "two"}, "people: 'two' is not of type 'integer'"),
        ({"day": "mon", "people": 0}, "people: 0 is less than the minimum of 1"),
        ({"day": "mon", "when": {}}, "when: 'hour' is a required property"),
    ],
)
def test_a_problem_names_its_place(arguments: dict[str, Any], says: str) -> None:
    (problem,) = argument_problems(BOOKING, arguments)
    assert says in problem


def test_nullable_lets_null_pass() -> None:
    assert argument_problems(BOOKING, {"day": "mon", "note": None}) == []
    assert argument_problems(BOOKING, {"day": None}) != []


def test_problems_are_few_and_short() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    problems = argument_problems(schema, {f"k{n}": "x" * 5000 for n in range(50)})
    assert len(problems) == 5
    assert all(len(problem) <= 200 for problem in problems)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "String"},
        {"type": 7},
        {"required": None},
        {"$ref": "https://schemas.example.com/a.json"},
        {"$ref": "#/nowhere"},
        {"$ref": "#anchor"},
        {"$id": "https://schemas.example.com/", "type": "string"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#"}]}}},
        {"properties": {"a": {"multipleOf": 0}}},
        {"properties": {"a": {"pattern": "(?<name>x)("}}},
    ],
)
def test_a_schema_that_cannot_be_used_finds_nothing(schema: dict[str, Any]) -> None:
    assert argument_problems(schema, {"a": 1, "b": "x"}) == []


def nested(levels: int, inner: Any) -> Any:
    for _ in range(levels):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize("levels", [5, 30, 400])
def test_deep_arguments_never_exhaust_the_stack(levels: int) -> None:
    """Out of stack, the library's part in Rust panics instead of raising RecursionError."""
    tree = {"properties": {"a": {"$ref": "#"}}, "type": ["object", "null"]}
    assert argument_problems(tree, nested(levels, None)) == []
    assert bool(argument_problems(tree, nested(levels, 5))) == (levels < 50)
    deep = {"type": "object", "properties": nested(levels, {"type": "object", "properties": {}})}
    assert argument_problems(deep, {}) == []


def test_references_that_multiply_are_not_followed() -> None:
    doubled = {
        f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2, "type": "object"} for n in range(40)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**doubled, "d40": {"required": ["a"]}}}
    assert argument_problems(schema, {}) == []


def test_patterns_are_the_tool_server_s_to_check() -> None:
    schema = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    assert argument_problems(schema, {"a": "a" * 60 + "!"}) == []


@pytest.mark.parametrize("path", SCHEMAS, ids=[path.stem for path in SCHEMAS])
def test_real_schemas_are_usable(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    parameters = document.get("function", document).get("parameters", document)
    wanted = any(parameters.get(key) for key in ("required", "oneOf", "allOf"))
    assert bool(argument_problems(parameters, {})) == bool(wanted)
