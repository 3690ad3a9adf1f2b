"""What a call did: its stored form, and arguments as text that is the same for the same meaning."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from calls.parity.sequence import (
    Outcomes,
    Sequence,
    SequenceUnreadable,
    ToolCall,
    canonical_arguments,
    sequence_dump,
    sequence_load,
)

pytestmark = pytest.mark.unit

CALL = Sequence(
    key="c1",
    stack="direct",
    tools=(
        ToolCall("book", {"day": "mon", "n": [1, None]}, "failed", 1200, "no slot", "call_A", 3),
        ToolCall("endCall"),
    ),
    outcomes=Outcomes(False, None, "customer-ended-call", {"booked": False}),
    cut=True,
    scenario="one",
)


def test_a_call_is_read_as_it_was_stored() -> None:
    assert sequence_load(json.loads(json.dumps(sequence_dump(CALL)))) == CALL


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_another_version_is_refused_in_words(version: Any) -> None:
    with pytest.raises(SequenceUnreadable, match="Fix:"):
        sequence_load({**sequence_dump(CALL), "version": version})


@pytest.mark.parametrize(
    ("field", "value"),
    [("stack", "other"), ("tools", None), ("tools", [{}]), ("outcomes", {}), ("key", ...)],
)
def test_what_is_broken_is_refused_in_words(field: str, value: Any) -> None:
    stored = sequence_dump(CALL)
    if value is ...:
        del stored[field]
    else:
        stored[field] = value
    with pytest.raises(SequenceUnreadable, match="Fix:"):
        sequence_load(stored)
    with pytest.raises(SequenceUnreadable, match="Fix:"):
        sequence_load([stored])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ({"n": 2.0}, '{"n":2}'),
        ({"n": 2.5}, '{"n":2.5}'),
        ({"n": -0.0}, '{"n":0}'),
        ({"n": Decimal("1E+2")}, '{"n":100}'),
        ({"n": float("inf")}, '{"n":null}'),
        ({1: "x"}, '{"1":"x"}'),
        ("\u00e9", '"\u00e9"'),
    ],
)
def test_arguments_as_text(value: Any, text: str) -> None:
    assert canonical_arguments(value) == text


def test_nesting_without_end_is_cut() -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    assert canonical_arguments(deep) == "[" * 100 + "null" + "]" * 100
