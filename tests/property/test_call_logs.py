"""Tellings of a call: their order changes nothing, and no value of a log is an error."""

from __future__ import annotations

import itertools
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.parity.logs.past_call import digest, merged
from calls.parity.logs.reading import NotACall, Nothing, NotOver, read_log
from calls.parity.logs.sequencing import sequence_of_log
from calls.parity.logs.streams import items_in

pytestmark = pytest.mark.property

CALL = {"id": "c", "type": "inboundPhoneCall", "createdAt": "2026-10-05T09:00:00.000Z"}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        *("startedAt", "endedAt", "messages", "artifact", "customer", "cost", "costs", "analysis"),
        *("transport", "compliance", "endedReason", "status", "assistant", "durationSeconds"),
    ]
)


def request(number: int) -> dict[str, Any]:
    return {
        "type": "tool-calls",
        "timestamp": 1791190800000 + number * 1000,
        "toolCallList": [{"id": f"t{number}", "name": "find", "parameters": {"n": number}}],
        "call": CALL,
    }


def report(count: int) -> dict[str, Any]:
    messages = [
        {
            "role": "tool_calls",
            "secondsFromStart": number,
            "toolCalls": [{"id": f"t{number}", "function": {"name": "find", "arguments": "{}"}}],
        }
        for number in range(count)
    ]
    return {
        "type": "end-of-call-report",
        "endedReason": "customer-ended-call",
        "startedAt": "2026-10-05T09:00:00.000Z",
        "endedAt": "2026-10-05T09:05:00.000Z",
        "artifact": {"messages": messages},
        "call": CALL,
    }


@given(numbers=st.sets(st.integers(0, 5), min_size=1, max_size=4), told=st.integers(0, 4))
def test_the_order_in_which_tellings_come_changes_no_sequence(numbers: set[int], told: int) -> None:
    tellings = [read_log(request(each)) for each in sorted(numbers)] + [read_log(report(told))]
    found = {
        tuple((tool.name, tool.tool_call_id, tool.at_ms) for tool in sequence_of_log(one).tools)
        for order in itertools.permutations(tellings)
        for one in [reduce(merged, order)]
    }
    assert len(found) == 1
    whole = reduce(merged, tellings)
    assert merged(whole, whole) == whole
    assert digest(reduce(merged, [whole, *tellings])) == digest(whole)


@given(values=st.dictionaries(FIELDS, JSON, max_size=5))
def test_no_value_of_a_log_is_an_error(values: dict[str, Any]) -> None:
    for document in (
        {**CALL, **values},
        {"message": {"type": "end-of-call-report", "call": CALL, **values}},
    ):
        try:
            sequence_of_log(read_log(document))
        except (NotACall, NotOver, Nothing):
            continue


@given(raw=st.binary(max_size=200), size=st.integers(1, 50))
def test_no_bytes_of_a_file_are_an_error(raw: bytes, size: int) -> None:
    for item in items_in(raw[at : at + size] for at in range(0, len(raw), size)):
        assert item.problem or isinstance(item.document, dict | list | str | int | float | None)
