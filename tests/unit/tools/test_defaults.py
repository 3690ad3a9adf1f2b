"""Arguments that a model leaves out and a schema has a value for."""

from __future__ import annotations

from typing import Any

import pytest

from tools.defaults import fill_defaults, has_template, render_values
from tools.dispatch import ArgumentsRefused, checked_arguments
from tools.schema import argument_problems
from tools.spec import ToolSpec

pytestmark = pytest.mark.unit

VARIABLES = {"{{customer.number}}": "+15550100001", "{{count}}": "3", "{{gone}}": ""}


def render(text: str) -> str:
    return VARIABLES[text]


def filled(properties: dict[str, Any], arguments: dict[str, Any], **schema: Any) -> dict[str, Any]:
    return fill_defaults({"properties": properties, **schema}, arguments, render)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"default": "{{customer.number}}"}, "+15550100001"),
        ({"value": "{{customer.number}}"}, "+15550100001"),
        ({"const": "{{customer.number}}"}, "+15550100001"),
        ({"type": "integer", "default": "{{count}}"}, 3),
        ({"type": ["number", "null"], "default": "{{count}}"}, 3),
        ({"type": "string", "default": "{{count}}"}, "3"),
        ({"default": {"to": ["{{count}}"]}}, {"to": ["3"]}),
        ({"default": "{{gone}}"}, ""),
        ({"default": "sl"}, "sl"),
        ({"type": "boolean", "default": False}, False),
        ({"type": "integer", "default": 0}, 0),
        ({"$ref": "#/$defs/phone"}, "+15550100001"),
    ],
)
def test_what_is_left_out_is_filled_in(schema: dict[str, Any], value: Any) -> None:
    found = filled({"a": schema}, {}, **{"$defs": {"phone": {"default": "{{customer.number}}"}}})
    assert found == {"a": value}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"default": None},
        {"type": "integer", "default": "many"},
        {"type": "integer", "default": True},
        {"type": "integer", "default": "{{customer.number}}"},
        {"enum": ["a"], "default": "b"},
        {"const": "fixed"},
    ],
)
def test_what_has_no_fitting_value_stays_out(schema: Any) -> None:
    assert filled({"a": schema}, {}) == {}


def test_what_the_model_gives_stays() -> None:
    arguments = {"a": "x", "b": None}
    assert filled({"a": {"default": "y"}, "b": {"value": "{{count}}"}}, arguments) == arguments


def test_a_required_argument_whose_template_is_empty_is_asked_for() -> None:
    schema = {"properties": {"a": {"default": "{{gone}}"}}, "required": ["a"]}
    assert fill_defaults(schema, {}, render) == {}
    assert argument_problems(schema, {}) == ["arguments: 'a' is a required property"]


def test_objects_inside_are_filled_too() -> None:
    place = {"properties": {"country": {"default": "SI"}}}
    properties = {
        "one": {"$ref": "#/$defs/place"},
        "many": {"type": "array", "items": {"allOf": [{"$ref": "#/$defs/place"}]}},
    }
    given = {"one": {"city": "Bled"}, "many": [{}, {"country": "AT"}, "x"]}
    assert filled(properties, given, **{"$defs": {"place": place}}) == {
        "one": {"city": "Bled", "country": "SI"},
        "many": [{"country": "SI"}, {"country": "AT"}, "x"],
    }


@pytest.mark.parametrize("schema", [None, 5, [], {"properties": 1}, {"$ref": "#"}, {"allOf": 3}])
def test_odd_schemas_fill_nothing(schema: Any) -> None:
    assert fill_defaults(schema, {"a": {"b": [1]}}, render) == {"a": {"b": [1]}}


def test_templates_are_found_and_filled_anywhere_in_a_value() -> None:
    assert has_template([{"a": "{% if x %}"}])
    assert not has_template({"a": ["{x}", 1]})
    assert render_values({"a": ["{{count}}", 1, "{x}"]}, render) == {"a": ["3", 1, "{x}"]}


def test_defaults_are_in_before_the_arguments_are_checked() -> None:
    phone = {"type": "string", "default": "{{customer.number}}"}
    schema = {"properties": {"phone": phone, "day": {}}, "required": ["phone", "day"]}
    spec = ToolSpec(name="book", parameters=schema)
    static = {"site": "{{count}}"}
    found = checked_arguments(spec, '{"day": 1}', static=static, render=render)
    assert found == {"day": 1, "phone": "+15550100001", "site": "3"}
    with pytest.raises(ArgumentsRefused, match="'day' is a required property"):
        checked_arguments(spec, "{}", static=static, render=render)


def test_v12_static_arguments_win_over_filled_ones() -> None:
    spec = ToolSpec(name="book", parameters={"properties": {"a": {"default": "x"}}})
    assert checked_arguments(spec, "{}", static={"a": "y"}, render=render) == {"a": "y"}


def test_a_template_among_allowed_values_is_left_to_the_server() -> None:
    schema = {"properties": {"a": {"const": "{{customer.number}}"}, "b": {"enum": ["{{x}}"]}}}
    assert argument_problems(schema, {"a": "+15550100001", "b": "anything"}) == []
