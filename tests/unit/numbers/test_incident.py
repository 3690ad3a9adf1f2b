"""One incident, the way back while Twilio fails, and who is told what how often."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from calls.numbers.guard import Alarm, Verdict
from calls.numbers.incident import (
    LATE_SECONDS,
    TRY_SECONDS,
    Action,
    GuardState,
    IncidentError,
    Outcome,
    Tell,
    TryRestore,
    close,
    look,
    next_at,
    restore_again,
    tick,
    tried,
)

pytestmark = pytest.mark.unit

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
ARMED = GuardState("number-1", "direct", NOON - dt.timedelta(hours=2))
BREACH = Verdict(20, (Alarm("failed", ("a", "b", "c", "d"), 9, 14.2, 13.8),))


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


def kinds(actions: tuple[Action, ...]) -> list[str]:
    return [
        f"{type(each).__name__}:{each.notice}" if isinstance(each, Tell) else type(each).__name__
        for each in actions
    ]


def opened() -> Outcome:
    return look(ARMED, BREACH, NOON)


def test_a_breach_sends_callers_home_tries_the_restore_and_tells_at_once() -> None:
    found = opened()
    assert kinds(found.actions) == ["SendHome", "TryRestore", "Tell:opened"]
    incident = found.state.incident
    assert incident is not None
    assert incident.call_ids == ("a", "b", "c", "d")
    assert [entry.action for entry in found.entries] == ["incident opened", "restore tried"]
    assert found.entries[0].who == "guard"
    assert found.entries[0].evidence["signals"] == {"failed": 14.2}
    tell = found.actions[-1]
    assert isinstance(tell, Tell)
    assert tell.words == "4 of 9: calls ended by a fault; the number goes back"


def test_a_clean_window_does_nothing() -> None:
    assert look(ARMED, Verdict(20), NOON) == Outcome(ARMED)
    assert tick(ARMED, NOON) == Outcome(ARMED)
    assert next_at(ARMED) is None


def test_two_who_see_the_same_breach_name_the_same_incident() -> None:
    here, there = look(ARMED, BREACH, NOON), look(ARMED, BREACH, at(3))
    assert here.state.incident is not None
    assert there.state.incident is not None
    assert here.state.incident.key == there.state.incident.key


def test_calls_that_end_later_are_added_and_open_nothing() -> None:
    state = opened().state
    more = Verdict(21, (replace(BREACH.alarms[0], call_ids=("c", "d", "e")),))
    found = look(state, more, at(5))
    assert found.actions == ()
    assert found.state.incident is not None
    assert found.state.incident.call_ids == ("a", "b", "c", "d", "e")
    assert look(found.state, more, at(6)) == Outcome(found.state)


@pytest.mark.parametrize("looked_every_seconds", [1, 5])
def test_three_failures_of_twilio_that_hang_are_over_in_under_60_seconds(
    looked_every_seconds: int,
) -> None:
    found = look(ARMED, BREACH, NOON)
    state, actions = found.state, list(found.actions)
    finished: float | None = None
    report: tuple[float, int] | None = (TRY_SECONDS - 0.01, 1)
    now = 0.0
    tries = 1
    while finished is None:
        now += 1
        if report is not None and now >= report[0]:
            result = "failed" if report[1] <= 3 else "restored"
            done = tried(state, report[1], result, at(now), error="503")  # type: ignore[arg-type]
            state, actions, report = done.state, [*actions, *done.actions], None
            if result == "restored":
                finished = now
                break
        if now % looked_every_seconds == 0:
            step = tick(state, at(now))
            state, actions = step.state, [*actions, *step.actions]
            for action in step.actions:
                if isinstance(action, TryRestore):
                    tries += 1
                    report = (now + TRY_SECONDS - 0.01, action.number_of_try)
        assert now < LATE_SECONDS
        state = look(state, BREACH, at(now)).state
    assert tries == 4
    assert kinds(tuple(actions)).count("SendHome") == 1
    assert [each for each in kinds(tuple(actions)) if each.startswith("Tell")] == [
        "Tell:opened",
        "Tell:restored",
    ]


def test_waits_grow_from_the_end_of_the_failed_try() -> None:
    state = opened().state
    for number, wait in enumerate((1, 2, 4, 8, 15, 30, 60, 60), start=1):
        state = tried(state, number, "failed", at(1_000 * number), error="503").state
        assert state.incident is not None
        assert state.incident.restore.next_at == at(1_000 * number + wait)
        assert tick(state, at(1_000 * number + wait - 1)).state.incident.restore.tries == number  # type: ignore[union-attr]
        state = tick(state, at(1_000 * number + wait)).state


def test_twilios_wish_for_patience_is_heard_up_to_a_bound() -> None:
    state = opened().state
    for asked, wait in ((0.5, 1), (9, 9), (3_600, 15)):
        later = tried(state, 1, "failed", at(2), error="20429", retry_after_seconds=asked).state
        assert next_at(later) == at(2 + wait)


def test_a_try_whose_process_died_is_made_again() -> None:
    state = opened().state
    assert tick(state, at(TRY_SECONDS - 1)).actions == ()
    again = tick(state, at(TRY_SECONDS))
    assert again.actions == (TryRestore(state.incident.key, "number-1", 2),)  # type: ignore[union-attr]
    # The dead one's report comes after all: a failure is old news, a success counts.
    assert tried(again.state, 1, "failed", at(9), error="x") == Outcome(again.state)
    assert tried(again.state, 1, "restored", at(9)).state.incident.restore.phase == "restored"  # type: ignore[union-attr]


def test_after_a_minute_people_hear_once_that_it_is_late_and_it_goes_on() -> None:
    state = opened().state
    said: list[str] = []
    number = 1
    for second in range(1, 600):
        if second % 20 == 0:  # whether one is under way or not: a repeat puts nothing off
            state = tried(state, number, "failed", at(second), error="Twilio answers 503").state
        step = tick(state, at(second))
        state = step.state
        said += [each for each in kinds(step.actions) if each.startswith("Tell")]
        assert state.incident is not None
        number = state.incident.restore.tries
    assert said == ["Tell:late"]
    assert number >= 12


def test_somebody_elses_change_stops_and_asks() -> None:
    # twilio.md 5.5, step 5: there is no ETag, the last writer wins.
    found = tried(opened().state, 1, "changed", at(3), error="VoiceUrl differs")
    assert kinds(found.actions) == ["Tell:person"]
    assert "somebody else has changed the number" in found.entries[0].why
    assert tick(found.state, at(500)) == Outcome(found.state)
    ordered = restore_again(found.state, who="user:ada", why="ours is right", now=at(600))
    assert ordered.entries[0].who == "user:ada"
    assert kinds(tick(ordered.state, at(600)).actions)[0] == "TryRestore"


def test_a_refusal_is_not_tried_again() -> None:
    found = tried(opened().state, 1, "refused", at(3), error="20003")
    assert kinds(found.actions) == ["Tell:person"]
    assert next_at(found.state) is None


def test_without_a_way_back_and_on_the_old_stack_people_are_told_and_nothing_moves() -> None:
    for state, way, words in (
        (ARMED, False, "there is no way back"),
        (replace(ARMED, stack="vapi"), True, "answered by Vapi"),
    ):
        found = look(state, BREACH, NOON, has_way_back=way)
        assert kinds(found.actions) == ["Tell:opened"]
        assert words in found.actions[0].words  # type: ignore[union-attr]
        assert tick(found.state, at(500)) == Outcome(found.state)


def test_a_closed_incident_arms_the_guard_anew() -> None:
    with pytest.raises(IncidentError, match="being restored"):
        close(opened().state, who="user:ada", why="x", now=at(1))
    restored = tried(opened().state, 1, "restored", at(4)).state
    with pytest.raises(IncidentError, match="why is empty"):
        close(restored, who="user:ada", why=" ", now=at(5))
    closed = close(restored, who="user:ada", why="a wrong key, replaced", now=at(100))
    assert closed.state == GuardState("number-1", "direct", at(100))
    with pytest.raises(IncidentError):
        close(closed.state, who="user:ada", why="again", now=at(101))
    with pytest.raises(IncidentError):
        restore_again(closed.state, who="user:ada", why="again", now=at(101))
    second = look(closed.state, BREACH, at(200)).state.incident
    assert second is not None
    assert restored.incident is not None
    assert second.key != restored.incident.key
