"""The normaliser against schemas of every kind: nothing valid is lost, nothing it makes is refused.

100 schemas by default; ``HYPOTHESIS_PROFILE=deep`` raises that to 10,000.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.property import json_schemas
from tests.tool_schemas import KEYWORDS, realtime_problems
from tools.normalise import function_of, normalise

pytestmark = pytest.mark.property

_PROFILE = settings.get_current_profile_name()
EXAMPLES = 10_000 if _PROFILE == "deep" else settings.default.max_examples


def _check(schema: Any) -> dict[str, Any]:
    before = copy.deepcopy(schema)
    found = normalise(schema)
    assert schema == before
    assert realtime_problems(found.schema) == []
    again = normalise(found.schema)
    assert again.schema == found.schema
    assert [note for note in again.notes if note.is_lost] == []
    return found.schema


@settings(max_examples=EXAMPLES)
@given(json_schemas.schemas_with_arguments())
def test_what_is_valid_stays_valid(pair: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    schema, candidates = pair
    result = _check(schema)
    judge = Draft202012Validator(result)
    valid = [each for each in candidates if json_schemas.fits(schema, each)]
    event(f"{len(valid)} of {len(candidates)} objects of arguments fit")
    for arguments in valid:
        errors = [error.message for error in judge.iter_errors(arguments)]
        assert errors == [], json.dumps({"schema": schema, "result": result, "args": arguments})


keywords = sorted(
    {
        *KEYWORDS,
        *("anyOf", "oneOf", "allOf", "not", "if", "then", "else", "$ref", "$defs", "const"),
        *("nullable", "value", "patternProperties", "dependencies", "prefixItems", "pattern"),
        *("$id", "$schema", "title", "examples", "contains", "propertyNames", "a", "b"),
    }
)
odd_texts = st.sampled_from(["#", "#/a", "object", "string", "{{x}}", "array", "\ud800", "🦜"])
odd = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), odd_texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(keywords), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(odd)
def test_any_json_becomes_a_schema(schema: Any) -> None:
    result = normalise(schema).schema
    assert realtime_problems(result) == []
    assert normalise(result).schema == result


# What becomes of the schema is tried above; here it is the description beside it.
@settings(max_examples=settings.default.max_examples if _PROFILE == "deep" else 20)
@given(st.text(max_size=1_200), json_schemas.tool_schemas())
@example("", {"description": "x" * 1_500, "properties": {}})
@example("x" * 1_020, {"description": "More.", "properties": {}})
def test_v30_descriptions_of_tools_stay_short(description: str, schema: Any) -> None:
    made = function_of(description, schema)
    assert len(made.description) <= 1_024
    assert "description" not in made.parameters
    assert realtime_problems(made.parameters) == []
