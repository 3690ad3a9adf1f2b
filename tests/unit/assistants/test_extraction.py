"""Variables taken out of results, by schema and by aliases, and how many of them there may be."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from assistants.extraction import (
    MOST_CHARACTERS,
    MOST_IN_ALL,
    MOST_VARIABLES,
    extracted,
    gathered,
    has_plan,
    names_of,
)

pytestmark = pytest.mark.unit

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
EXPORTS = Path(__file__).parents[2] / "fixtures" / "vapi"


def taken(plan: Any, result: Any, **known: Any) -> dict[str, Any]:
    """Return what a plan takes out of a result, given as a value or as text."""
    text = result if isinstance(result, str) else json.dumps(result)
    return extracted(plan, text, known, NOW)


def aliases(**pairs: str) -> dict[str, Any]:
    """Return a plan with these aliases."""
    return {"aliases": [{"key": key, "value": value} for key, value in pairs.items()]}


def test_the_aliases_of_a_real_export_are_read() -> None:
    document = json.loads((EXPORTS / "tools" / "037-docs-extract.json").read_text("utf-8"))
    plan = document["variableExtractionPlan"]
    result = {"status": "active", "data": {"id": 17, "name": "Ada", "email": "ADA@X.ORG"}}
    assert taken(plan, result) == {
        "userId": "17",
        "userName": "Ada",
        "userEmail": "ada@x.org",
        "accountStatus": "active",
    }
    assert names_of(plan) == ["userId", "userName", "userEmail", "accountStatus"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ $ }}", '{"list": [{"id": 1}, {"id": 2}], "a b": "c"}'),
        ("{{ $.list[1].id }}", "2"),
        ('{{ $["a b"] }}', "c"),
        ("{{$.list.size}} of them", "2 of them"),
        ("{% for each in $.list %}{{ each.id }};{% endfor %}", "1;2;"),
        ("{% if $.list.size > 1 %}many{% endif %}", "many"),
        ('{{ $.list[0].id | append: " $" }}', "1 $"),
        ("$5 for {{ who }}", "$5 for Ada"),
        ("{{ nothing.there }}", ""),
        ("{{ broken", ""),
    ],
)
def test_the_result_stands_for_itself_in_liquid(template: str, expected: str) -> None:
    result = {"list": [{"id": 1}, {"id": 2}], "a b": "c"}
    assert taken(aliases(x=template), result, who="Ada") == {"x": expected}


def test_a_result_that_is_a_list_or_a_number_is_json_too() -> None:
    assert taken(aliases(x="{{ $[1] }}"), [1, "two"]) == {"x": "two"}
    assert taken(aliases(x="{{ $ }}"), 4) == {"x": "4"}


def test_an_alias_sees_those_before_it_and_the_variables_of_the_call() -> None:
    plan = aliases(first="{{ $.name }}", whole="{{ first }} {{ family }}")
    assert taken(plan, {"name": "Ada"}, family="Park")["whole"] == "Ada Park"


def test_a_schema_names_properties_and_nothing_else_is_taken() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "object", "properties": {"first": {"type": "string"}}},
            "age": {"type": "number"},
            "tags": {"type": "array", "items": {"properties": {"id": {}}}},
        },
    }
    result = {
        "name": {"first": "Ada", "pin": 1},
        "age": 36,
        "other": 1,
        "tags": [{"id": 1, "secret": 2}, {"id": 3}],
    }
    assert taken({"schema": schema, **aliases(hello="Hi {{ name.first }}")}, result) == {
        "name": {"first": "Ada"},
        "age": 36,
        "tags": [{"id": 1}, {"id": 3}],
        "hello": "Hi Ada",
    }


@pytest.mark.parametrize("key", ["title", "name"])
def test_a_list_is_called_by_its_schemas_title(key: str) -> None:
    plan = {"schema": {"type": "array", key: "zips", "items": {"type": "string"}}}
    assert taken(plan, ["1", "2"]) == {"zips": ["1", "2"]}
    assert taken(plan, {"zips": 1}) == {}
    assert names_of(plan) == ["zips"]


@pytest.mark.parametrize("text", ["", "Booked.", "{broken", "NaN", "[" * 100_000, "9" * 5_000])
def test_what_is_no_json_gives_nothing(text: str) -> None:
    assert taken(aliases(x="{{ $ }}"), text) == {}


@pytest.mark.parametrize(
    "name", ["customer", "call", "phoneNumber", "transport", "now", "messages"]
)
def test_no_result_speaks_for_the_platform(name: str) -> None:
    schema = {"type": "object", "properties": {name: {}}}
    plan = {"schema": schema, **aliases(**{name: "{{ $.x }}"})}
    assert taken(plan, {name: {"number": "+1"}, "x": 1}) == {} and names_of(plan) == []


@pytest.mark.parametrize("key", ["1a", "a-b", "", "a" * 41, "ä", "a b"])
def test_a_key_that_vapi_refuses_is_none(key: str) -> None:
    assert taken(aliases(**{key: "x"}), {}) == {}


@pytest.mark.parametrize("plan", [None, [], "x", {"aliases": {}}, {"schema": []}, {}])
def test_a_plan_that_says_nothing_takes_nothing(plan: Any) -> None:
    assert taken(plan, {"a": 1}) == {} and not has_plan(plan) and names_of(plan) == []


def test_half_a_surrogate_pair_goes_no_further() -> None:
    found = taken(aliases(x="{{ $.a }}"), '{"a": "\\ud800"}')
    assert found["x"].encode("utf-8") == b"?"


def test_values_and_their_number_are_bounded_and_later_ones_win() -> None:
    assert taken(aliases(x="{{ $ }}"), "y" * (MOST_CHARACTERS + 1)) == {}
    long = json.dumps("y" * (MOST_CHARACTERS + 1))
    assert taken(aliases(x="{{ $ }}", z="short"), long) == {"z": "short"}
    assert gathered({"a": 1, "b": 2}, {"a": 3}) == {"a": 3, "b": 2}
    full = {f"v{at}": "" for at in range(MOST_VARIABLES)}
    assert gathered(full, {"new": "x", "v0": "y"}) == {**full, "v0": "y"}
    heavy = {"a": "x" * (MOST_IN_ALL - 5)}
    assert gathered(heavy, {"b": "x" * 6, "c": "x" * 5}) == {**heavy, "c": "xxxxx"}
