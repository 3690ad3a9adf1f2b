"""What a model is shown of a tool's schema: the same arguments, without what a session refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.tool_schemas import realtime_problems
from tools.names import legal_name
from tools.normalise import Note, function_of, normalise
from tools.schema import argument_problems

pytestmark = pytest.mark.unit

FIXTURES = sorted(
    (Path(__file__).parents[2] / "fixtures" / "vapi" / "schemas").glob("*.json"),
    key=lambda path: path.name,
)


def result(schema: Any) -> dict[str, Any]:
    """Normalise, and hold what comes out to the strict reader and to itself."""
    made = normalise(schema).schema
    assert realtime_problems(made) == []
    assert normalise(made).schema == made
    assert [note for note in normalise(made).notes if note.is_lost] == []
    return made


def argument(schema: Any, **root: Any) -> Any:
    """Return what becomes of one argument's schema."""
    return result({"type": "object", "properties": {"a": schema}, **root})["properties"]["a"]


def lost(schema: Any, **root: Any) -> list[Note]:
    notes = normalise({"type": "object", "properties": {"a": schema}, **root}).notes
    return [note for note in notes if note.is_lost]


def allows(schema: Any, arguments: Any) -> bool:
    return bool(Draft202012Validator(result(schema)).is_valid(arguments))


@pytest.mark.parametrize("path", FIXTURES, ids=[path.stem for path in FIXTURES])
def test_hard_schemas(path: Path) -> None:
    tool = json.loads(path.read_text(encoding="utf-8"))
    parameters, expect = tool["parameters"], tool["expect"]
    for arguments in expect["valid_arguments"]:
        assert allows(parameters, arguments)
        assert argument_problems(parameters, arguments) == []
    for arguments in expect["invalid_arguments"]:
        assert argument_problems(parameters, arguments) != []
    is_aliased = legal_name(tool["name"]) != tool["name"]
    assert is_aliased == expect.get("original_name_must_be_posted", False)


@pytest.mark.parametrize(
    "schema", [None, {}, {"type": "object"}, {"properties": None}, {"type": "object", "x": 1}]
)
def test_v29_no_parameters_are_an_object_without_properties(schema: Any) -> None:
    assert result(schema) == {"type": "object", "properties": {}}
    assert normalise(schema).notes == ()


@pytest.mark.parametrize("schema", ["none", 5, [], True, {"type": "string"}, {"not": {}}, False])
def test_what_is_no_object_takes_no_arguments(schema: Any) -> None:
    found = result(schema)
    assert (found["type"], found["properties"]) == ("object", {})


def test_v13_nulls_and_empty_lists_are_removed() -> None:
    schema = {
        "type": "object",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://schemas.example.com/a",
        "title": None,
        "required": [],
        "properties": {"a": {"type": "string", "description": None, "enum": None, "items": None}},
        "strict": True,
    }
    assert result(schema) == {"type": "object", "properties": {"a": {"type": "string"}}}


def test_o9_a_union_at_the_top_becomes_one_object() -> None:
    schema = {
        "type": "object",
        "properties": {"account": {"type": "string"}, "name": {"type": "string"}},
        "oneOf": [{"required": ["account"]}, {"required": ["name"]}],
    }
    found = result(schema)
    assert found["properties"] == {"account": {"type": "string"}, "name": {"type": "string"}}
    assert "required" not in found
    assert found["description"] == 'One of: "account"; or: "name".'
    assert [note.path for note in normalise(schema).notes] == [()]


def test_alternatives_of_a_union_share_what_all_require() -> None:
    card = {
        "properties": {"kind": {"const": "card"}, "number": {"type": "string"}},
        "required": ["kind", "number"],
        "additionalProperties": False,
    }
    bank = {
        "properties": {"kind": {"const": "bank"}, "iban": {"type": "string"}},
        "required": ["kind", "iban"],
        "additionalProperties": False,
    }
    found = result({"anyOf": [card, bank]})
    assert found["properties"]["kind"] == {"type": "string", "enum": ["card", "bank"]}
    assert found["properties"]["iban"] == {"type": "string"}
    assert (found["required"], found["additionalProperties"]) == (["kind"], False)
    assert '"kind" is "card" and "number" (text)' in found["description"]


def test_a_property_that_another_alternative_leaves_open_is_typed_in_words_only() -> None:
    schema = {
        "anyOf": [
            {"properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ]
    }
    assert result(schema)["properties"]["a"] == {"description": "Meant: text."}
    assert allows(schema, {"a": 5, "b": 1})


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": "v2"}, {"type": "string", "enum": ["v2"]}),
        ({"enum": [1, 2]}, {"type": "integer", "enum": [1, 2]}),
        ({"enum": ["a", 1, "a"]}, {"enum": ["a", 1]}),
        ({"type": "string", "enum": ["a", 5]}, {"type": "string", "enum": ["a"]}),
        (
            {"oneOf": [{"const": "a"}, {"const": "b"}]},
            {"type": "string", "enum": ["a", "b"]},
        ),
        ({"type": ["string"]}, {"type": "string"}),
        ({"type": ["integer", "number"]}, {"type": "number"}),
        ({"type": "String"}, {"type": "string"}),
        ({"type": "integer", "title": "People"}, {"type": "integer", "description": "People"}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"type": "array", "items": True}, {"type": "array", "items": {}}),
        ({"type": "object"}, {"type": "object", "properties": {}}),
        (
            {"type": "number", "minimum": 3, "exclusiveMinimum": True},
            {"type": "number", "exclusiveMinimum": 3},
        ),
        (
            {"allOf": [{"type": "string", "minLength": 1}, {"minLength": 2, "maxLength": 5}]},
            {"type": "string", "minLength": 2, "maxLength": 5},
        ),
        (
            {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 5}]},
            {
                "type": "integer",
                "minimum": 1,
                "description": "One of: a whole number (>= 1); or: a whole number (>= 5).",
            },
        ),
        ({"type": "string", "default": "x", "examples": None}, {"type": "string", "default": "x"}),
        ({"type": "integer", "default": "x"}, {"type": "integer"}),
        (True, {}),
        (False, {"description": "Leave it out."}),
    ],
)
def test_an_argument_is_written_plainly(schema: Any, expected: Any) -> None:
    assert argument(schema) == expected


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": ["string", "null"]}, "May be text or null."),
        ({"type": "string", "nullable": True}, "May be text or null."),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "May be text or null."),
        ({"$ref": "#/$defs/x", "nullable": True}, "May be text or null."),
        ({"enum": ["S", "M", None]}, 'One of: "S", "M" or null.'),
        ({"enum": ["S"], "nullable": True}, 'One of: "S" or null.'),
        ({"const": {"a": [1]}}, 'One of: {"a": [1]}.'),
        ({"type": "null"}, "Always null."),
        ({"type": "string", "pattern": "^a"}, "Pattern: ^a"),
        ({"type": "string", "format": "phone"}, "Format: phone."),
        ({"type": "string", "not": {"const": "x"}}, 'Not allowed: "x".'),
        ({"type": "array", "uniqueItems": True}, "No item twice."),
        ({"type": "array", "contains": {"const": 1}}, "At least one item is 1."),
        ({"type": "object", "minProperties": 1}, "At least 1 keys."),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "Further keys: a whole"),
        ({"type": "object", "patternProperties": {"^x-": {}}}, "Keys like ^x-: any value."),
        ({"type": "object", "propertyNames": {"maxLength": 3}}, "Each key is"),
        (
            {"type": "object", "dependentRequired": {"a": ["b", "c"]}},
            'With "a" goes "b" and "c".',
        ),
        (
            {
                "type": "object",
                "if": {"properties": {"kind": {"const": "card"}}},
                "then": {"required": ["number"]},
                "else": {"required": ["iban"]},
            },
            'If "kind" is "card": "number"; otherwise: "iban".',
        ),
        ({"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}, "In this order:"),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": False}, "In this order: 1."),
        ({"type": "string", "examples": ["a", "b"]}, 'For example "a" or "b".'),
        ({"type": "array", "default": ["a"]}, 'If left out: ["a"].'),
    ],
)
def test_what_cannot_be_written_is_said(schema: Any, words: str) -> None:
    found = argument(schema, **{"$defs": {"x": {"type": "string"}}})
    assert words in found["description"]


def test_a_union_of_kinds_carries_both() -> None:
    when = {
        "description": "When.",
        "anyOf": [
            {"type": "string", "format": "date-time"},
            {"type": "object", "properties": {"phrase": {"type": "string"}}},
        ],
    }
    found = argument(when)
    assert "type" not in found
    assert found["properties"] == {"phrase": {"type": "string"}}
    assert found["description"].startswith("When. One of: text (date-time); or: an object")


def test_the_meanings_of_a_described_enum_are_kept() -> None:
    schema = {"oneOf": [{"const": "a", "description": "First"}, {"const": "b", "title": "Second"}]}
    found = argument(schema)
    assert found["enum"] == ["a", "b"]
    assert found["description"] == 'One of: "a" (First); or: "b" (Second).'


def test_references_are_followed_and_recursion_is_cut() -> None:
    node = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
        },
    }
    found = argument({"$ref": "#/$defs/node"}, **{"$defs": {"node": node}})
    assert found["properties"]["children"]["items"] == {"type": "object", "properties": {}}
    (note,) = lost({"$ref": "#/$defs/node"}, **{"$defs": {"node": node}})
    assert note.path == ("properties", "a", "properties", "children", "items")


@pytest.mark.parametrize(
    "reference", ["https://x.example/a.json", "#/nowhere", "#anchor", "#/$defs/own/$defs/a"]
)
def test_a_reference_that_leads_nowhere_allows_anything(reference: str) -> None:
    own = {"$id": "https://x.example/own", "$defs": {"a": {"type": "string"}}}
    assert argument({"$ref": reference}, **{"$defs": {"own": own}}) == {}
    assert len(lost({"$ref": reference}, **{"$defs": {"own": own}})) == 1


def test_beside_a_reference_nothing_counts_up_to_draft_7() -> None:
    schema = {"$ref": "#/definitions/x", "maxLength": 2, "description": "Said."}
    definitions = {"definitions": {"x": {"type": "string"}}}
    assert argument(schema, **definitions)["maxLength"] == 2
    old = argument(schema, **definitions, **{"$schema": "http://json-schema.org/draft-07/schema#"})
    assert old == {"type": "string", "description": "Said."}


@pytest.mark.parametrize("key", ["default", "value", "const"])
def test_a_template_is_never_shown_and_never_asked_for(key: str) -> None:
    schema = {
        "type": "object",
        "properties": {"phone": {"type": "string", key: "{{customer.number}}"}, "day": {}},
        "required": ["phone", "day"],
    }
    found = result(schema)
    assert "{{" not in json.dumps(found)
    assert found["required"] == ["day"]
    assert "filled in" in found["properties"]["phone"]["description"]
    (note,) = normalise(schema).notes
    assert (note.path, note.is_lost) == (("properties", "phone", key), False)


def test_a_template_in_an_alternative_is_not_shown_but_asked_for() -> None:
    phone = {"type": "string", "default": "{{customer.number}}"}
    schema = {"anyOf": [{"properties": {"phone": phone}, "required": ["phone"]}]}
    found = result(schema)
    assert "{{" not in json.dumps(found)
    assert found["required"] == ["phone"]
    assert [note.is_lost for note in normalise(schema).notes] == [True]


def test_templates_among_values_and_examples_are_not_shown() -> None:
    found = argument({"type": "string", "enum": ["{{a}}", "b"], "examples": ["{{c}}"]})
    assert found == {"type": "string"}


def test_size_and_depth_are_bounded() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(500):
        deep = {"type": "object", "properties": {"a": deep}}
    assert len(json.dumps(result(deep))) < 2_000
    wide = {"properties": {f"p{n}": {"description": "x" * 900} for n in range(1_000)}}
    assert len(json.dumps(result(wide))) < 128_000
    assert "last arguments" in normalise(wide).notes[0].message
    huge = {"properties": {f"p{n}": {} for n in range(5_000)}, "additionalProperties": False}
    assert len(result(huge)["properties"]) == 100
    assert "additionalProperties" not in result(huge)
    nested: dict[str, Any] = {}
    for _ in range(20_000):
        nested = {"a": nested}
    assert "Pattern" not in json.dumps(result({"const": nested, "properties": {"a": nested}}))


def test_references_that_multiply_are_given_up() -> None:
    doubled = {
        f"d{n}": {
            "type": "object",
            "properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "abcdefgh"},
        }
        for n in range(9)
    }
    schema = {"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": doubled}
    assert result(schema) == {"type": "object", "properties": {"a": {}}}
    assert "Too large" in normalise(schema).notes[0].message


def test_very_long_enums_are_told_in_words() -> None:
    found = argument({"enum": [f"value {n}" for n in range(1_000)]})
    assert found["type"] == "string"
    assert "980 more" in found["description"]


def test_enums_without_end_are_given_up() -> None:
    enum = {"enum": [{"a": [n]} for n in range(2_000)]}
    found = normalise({"properties": {"a": {"allOf": [enum] * 80}}})
    assert found.schema == {"type": "object", "properties": {"a": {}}}
    assert "Too large" in found.notes[0].message


def test_v30_what_is_said_of_all_arguments_moves_into_the_tool_s_description() -> None:
    schema = {"properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    made = function_of("Looks it up", schema)
    assert made.description == 'Looks it up. One of: "a"; or: "b".'
    assert "description" not in made.parameters
    long = function_of("x" * 2_000, schema).description
    assert 1_000 < len(long) <= 1_024
    assert long.endswith('One of: "a"; or: "b".')
    assert function_of("Books.", {}).description == "Books."
