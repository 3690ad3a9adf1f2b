"""The stored form of an incident: what goes in comes out, and what is none is named."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest

from calls.numbers.guard import Alarm, EndedCall, Verdict, judge
from calls.numbers.incident import GuardState, Tell, look, tick, tried
from calls.numbers.incident_state import incident_json, incident_read

pytestmark = pytest.mark.unit

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
ARMED = GuardState("number-1", "direct", NOON - dt.timedelta(hours=2))
BREACH = Verdict(20, (Alarm("failed", ("a", "b", "c", "d"), 9, 14.2, 13.8),))


def test_every_state_of_a_restore_survives_being_stored() -> None:
    opened = look(ARMED, BREACH, NOON).state
    failed = tried(opened, 1, "failed", NOON, error="503").state
    again = tick(failed, NOON + dt.timedelta(seconds=2)).state
    done = tried(again, 2, "restored", NOON + dt.timedelta(seconds=3)).state
    for state in (ARMED, opened, failed, again, done):
        stored = json.loads(json.dumps(incident_json(state.incident)))
        assert replace(state, incident=incident_read(stored)) == state


@pytest.mark.parametrize(
    "stored", [{"what": "is this"}, {"restore": None}, {"restore": {}, "key": "k"}]
)
def test_a_form_that_is_none_is_a_value_error(stored: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        incident_read(stored)


def test_a_number_with_a_route_home_and_nothing_at_twilio_is_sent_home_and_not_restored() -> None:
    found = look(ARMED, BREACH, NOON, has_way_back=False, has_route_home=True)
    assert [type(each).__name__ for each in found.actions] == ["SendHome", "Tell"]
    assert found.state.incident is not None
    assert found.state.incident.restore.phase == "nothing"
    tell = found.actions[-1]
    assert isinstance(tell, Tell)
    assert tell.words.endswith("at Twilio there is nothing to restore")


def test_what_needs_a_person_for_another_reason_is_told_in_its_own_words() -> None:
    opened = look(ARMED, BREACH, NOON).state
    found = tried(opened, 1, "person", NOON, error="No key opens the snapshot.")
    [tell] = found.actions
    assert isinstance(tell, Tell)
    assert tell.words == "not restored at Twilio: No key opens the snapshot."


def test_a_verdict_counts_what_is_bad_of_what_was_measured() -> None:
    call = EndedCall(
        *("c", "n", "direct", NOON, NOON),
        ended_reason="customer-ended-call",
        duration_seconds=60,
        first_word_ms=4_000,
    )
    verdict = judge([call, replace(call, call_id="d", first_word_ms=None)])
    assert verdict.counts["slow_first_word"] == (1, 1)
    assert verdict.counts["failed"] == (0, 2)
    assert verdict.counts["tool_failed"] == (0, 0)
