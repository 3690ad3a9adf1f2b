"""What people read about a number's net: who answers in each of the four cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from calls.numbers.net_parts import TITLES, NetFacts, parts_of
from calls.numbers.switch.net import overrides_for

pytestmark = pytest.mark.unit

OWN = overrides_for()
MOVED = NetFacts(
    is_moved=True,
    fallback="previous",
    address="answers",
    dead_ms=OWN.dead_ms,
    hanging_ms=OWN.hanging_ms,
    has_previous=True,
)


def states(**changes: Any) -> str:
    return " ".join(part.state for part in parts_of(replace(MOVED, **changes)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "armed bare idle bare"),
        ({"is_moved": False, "fallback": None}, "idle idle idle bare"),
        ({"fallback": None}, "unknown bare idle bare"),
        ({"fallback": "none"}, "bare bare idle bare"),
        ({"fallback": "address", "has_address": True}, "armed armed idle armed"),
        (
            {"fallback": "address", "has_address": True, "address": "fails"},
            "broken broken idle broken",
        ),
        ({"address": "fails"}, "broken bare idle bare"),
        ({"is_alarm": True, "alarm_words": "gone"}, "broken broken idle bare"),
        # What answered before is closed: as a fallback it is none, an address of one's own is.
        ({"previous_closed": True}, "idle bare idle broken"),
        (
            {"previous_closed": True, "fallback": "address", "has_address": True},
            "idle armed idle armed",
        ),
        ({"previous_closed": True, "fallback": "none"}, "idle bare idle bare"),
        # Calls that are handed over need somebody when nobody takes them.
        ({"relays": True}, "armed bare bare bare"),
        ({"relays": True, "qualified": True}, "armed bare armed bare"),
        ({"relays": True, "person": "+15550100001"}, "armed bare armed bare"),
        ({"relays": True, "qualified": True, "has_previous": False}, "armed bare broken bare"),
    ],
)
def test_the_state_of_each_part(changes: dict[str, Any], expected: str) -> None:
    assert states(**changes) == expected


def test_a_part_that_nobody_covers_says_what_to_enter() -> None:
    for part in parts_of(replace(MOVED, fallback="none", previous_closed=True)):
        if part.state == "bare":
            assert "Enter an address that dials a person." in part.words, part.letter


def test_the_seconds_are_those_of_the_connection_overrides() -> None:
    ringing = parts_of(MOVED)[0]
    assert (ringing.dead_seconds, ringing.hanging_seconds) == (3.0, 5.5)
    assert "after 3 s, or 5.5 s if we hang." in ringing.words
    patient = overrides_for(9_000)
    slow = replace(MOVED, dead_ms=patient.dead_ms, hanging_ms=patient.hanging_ms)
    assert "because a server is asked who answers" in parts_of(slow)[0].words


def test_the_parts_come_in_their_order_with_their_titles() -> None:
    parts = parts_of(MOVED)
    assert [part.letter for part in parts] == ["a", "b", "c", "d"]
    assert [part.title for part in parts] == list(TITLES.values())


def test_during_a_call_the_previous_stack_is_no_net() -> None:
    """twilio.md 5.5: it takes ringing calls only; an address of TwiML does not care."""
    _, in_call, _, _ = parts_of(MOVED)
    assert "takes no call that was answered" in in_call.words
    _, in_call, _, _ = parts_of(replace(MOVED, fallback="address", has_address=True))
    assert "your address, which dials a person" in in_call.words
