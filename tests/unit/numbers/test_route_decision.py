"""The rows of the decision's table: what each answers, and which one is asked first."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from calls.numbers.hours import DAYS, hours_stored
from calls.numbers.old_stack import DYNAMIC_MS, NET_MS, PATIENCE_MS
from calls.numbers.route import REASON_CHARACTERS, CallFacts, Decision, NumberFacts, decide
from calls.numbers.schedule import RouteName, Schedule

pytestmark = pytest.mark.unit

CALL = CallFacts(
    caller="+15550100001",
    call_sid="CA1",
    is_ringing=True,
    now=dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC),  # a Monday
)
ANSWERED = replace(CALL, is_ringing=False)
GOOD = NumberFacts(
    route="direct",
    has_revision=True,
    has_connection=True,
    policy_reviewed=True,
    canary_salt="a salt",
    old_stack="up",
    old_fixed=True,
    qualified=True,
)
# What may be amiss, in the order in which it is told.
AMISS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("blocked", {"blocked": "the number is Vapi's own"}),
    ("policy", {"policy_reviewed": False}),
    ("no-assistant", {"has_revision": False}),
    ("no-connection", {"has_connection": False}),
    ("contract", {"contract_problem": "the number carries health data"}),
    ("model-lost", {"model_lost": True}),
)


def decided(call: CallFacts | None = CALL, *, live: int = 0, **changes: Any) -> Decision:
    return decide(replace(GOOD, **changes), live_calls=live, max_calls=10, call=call)


def told(decision: Decision) -> tuple[str, str]:
    return decision.answer, decision.code


def caller_where(inside: bool, percent: int) -> CallFacts:
    """Return a caller who is in, or not in, the share of the number's canary."""
    for index in range(10_000):
        call = replace(CALL, caller=f"+1555{index:07d}")
        code = decided(call, route="canary", canary_percent=percent).code
        if code == ("canary-in" if inside else "canary-out"):
            return call
    raise AssertionError("there is no such caller")


def test_each_route_of_a_complete_number() -> None:
    assert told(decided()) == ("direct", "route-direct")
    assert told(decided(route="vapi")) == ("previous", "route-vapi")
    assert told(decided(route="paused")) == ("decline", "paused")
    ours, theirs = caller_where(True, 10), caller_where(False, 10)
    assert told(decided(ours, route="canary", canary_percent=10)) == ("direct", "canary-in")
    assert told(decided(theirs, route="canary", canary_percent=10)) == ("previous", "canary-out")


def test_the_stack_of_the_row_is_who_answers() -> None:
    assert decided(route="vapi").stack == "vapi"
    for answered in (
        decided(),
        decided(route="paused"),
        decided(model_lost=True, old_stack="none"),
    ):
        assert answered.stack == "direct"


def test_an_unknown_number_is_declined_and_so_is_an_unknown_route_without_old_stack() -> None:
    unknown = decide(None, live_calls=0, max_calls=1, call=CALL)
    assert told(unknown) == ("decline", "unknown-number")
    assert told(decided(route="odd")) == ("previous", "route-vapi")
    odd: dict[str, Any] = {"route": "odd", "old_stack": "none"}
    assert told(decided(has_person=False, **odd)) == ("decline", "old-missing")


@pytest.mark.parametrize("old", ["up", "down", "probe"])
@pytest.mark.parametrize("first", range(len(AMISS)))
def test_what_is_amiss_leaves_the_call_to_the_old_stack_and_names_what_to_mend(
    first: int, old: str
) -> None:
    code, change = AMISS[first]
    # All that comes later in the table is amiss too, and is not named.
    later = {name: value for _, facts in AMISS[first:] for name, value in facts.items()}
    for changes, live in ((change, 0), (later, 0), (later, 10)):
        decision = decided(live=live, **{"old_stack": old, **changes})
        if code == "model-lost" and old == "down":
            assert told(decision) == ("fallback", code)
        else:
            assert told(decision) == ("previous", code)
            assert decision.instead == "fallback"
            assert decision.attempt_ms == PATIENCE_MS
    # Nobody is turned away while somebody sits at the number's desk.
    assert told(decided(old_stack="none", **change)) == ("fallback", code)
    alone = decided(old_stack="none", has_person=False, **change)
    assert told(alone) == ("direct" if code == "model-lost" else "decline", code)


@pytest.mark.parametrize("route", ["vapi", "canary", "direct"])
@pytest.mark.parametrize("old", ["none", "up", "down", "probe"])
@pytest.mark.parametrize("change", [AMISS[0][1], AMISS[1][1]])
def test_a_blocked_number_and_one_without_reviewed_policy_never_leave_vapi(
    route: str, old: str, change: dict[str, Any]
) -> None:
    for call in (CALL, ANSWERED):
        decision = decided(call, route=route, canary_percent=100, old_stack=old, **change)
        assert decision.answer in {"previous", "fallback"}
        assert decision.instead == "fallback"
        assert (decision.answer == "previous") is (call.is_ringing and old != "none")


def test_the_old_stack_takes_the_overflow_when_all_lines_are_taken() -> None:
    decision = decided(live=10)
    assert told(decision) == ("previous", "overflow")
    assert decision.reason == "10 calls are live, the ceiling is 10"
    assert decision.instead == "fallback"  # no line of ours is free after it either
    assert told(decided(live=9)) == ("direct", "route-direct")
    assert told(decided(live=10, old_stack="none")) == ("busy", "full")
    assert told(decided(ANSWERED, live=10)) == ("busy", "full")
    assert told(decided(live=10, old_stack="none", has_revision=False, asks=True)) == (
        "busy",
        "full",
    )


def test_a_dead_old_stack_is_answered_for_by_a_qualified_assistant() -> None:
    rescued = decided(route="vapi", old_stack="down")
    assert told(rescued) == ("direct", "old-down")
    asked = decided(route="vapi", old_stack="down", has_revision=False, asks=True)
    assert told(asked) == ("ask", "old-down")
    unqualified = decided(route="vapi", old_stack="down", qualified=False)
    assert told(unqualified) == ("previous", "old-down")
    assert "not qualified" in unqualified.reason


@pytest.mark.parametrize(("code", "change"), AMISS)
def test_an_assistant_that_could_not_answer_stands_in_for_nobody(
    code: str, change: dict[str, Any]
) -> None:
    for old in ("up", "down", "probe"):
        decision = decided(route="vapi", old_stack=old, **change)
        assert decision.answer == "previous", code
        assert decision.instead == "fallback"
    full = decided(route="vapi", old_stack="down", live=10)
    assert told(full) == ("previous", "old-down")
    assert "ceiling" in full.reason


def test_who_rings_while_the_old_stack_dies_is_answered_within_5_s_too() -> None:
    for old, code in (("up", "route-vapi"), ("probe", "old-probe")):
        decision = decided(route="vapi", old_stack=old)
        assert told(decision) == ("previous", code)
        assert (decision.instead, decision.attempt_ms) == ("direct", NET_MS)
    asked = decided(route="vapi", has_revision=False, asks=True)
    assert (asked.instead, asked.attempt_ms) == ("ask", NET_MS)
    alone = decided(route="vapi", qualified=False)
    assert (alone.instead, alone.attempt_ms) == ("fallback", PATIENCE_MS)


def test_an_old_stack_that_asks_a_server_first_is_given_9_s_at_least() -> None:
    decision = decided(route="vapi", old_fixed=False, patience_ms=4_000)
    assert (decision.instead, decision.attempt_ms) == ("direct", DYNAMIC_MS)


def test_two_servers_are_not_asked_one_after_the_other_while_twilio_waits() -> None:
    asks: dict[str, Any] = {"has_revision": False, "asks": True, "old_fixed": False}
    for route in ("vapi", "canary"):
        decision = decided(route=route, **asks)
        assert (decision.instead, decision.attempt_ms) == ("fallback", DYNAMIC_MS)
    # Known to be down: ours alone is asked.
    assert told(decided(route="vapi", old_stack="down", **asks)) == ("ask", "old-down")


def test_in_a_canary_every_assistant_stands_in() -> None:
    theirs = caller_where(False, 10)
    canary: dict[str, Any] = {"route": "canary", "canary_percent": 10, "qualified": False}
    assert told(decided(theirs, old_stack="down", **canary)) == ("direct", "old-down")
    assert decided(theirs, **canary).instead == "direct"
    assert told(decided(theirs, old_stack="probe", **canary)) == ("previous", "old-probe")


def test_a_canary_without_an_old_stack_is_all_ours() -> None:
    for percent in (0, 10, 100):
        decision = decided(route="canary", canary_percent=percent, old_stack="none")
        assert told(decision) == ("direct", "canary-alone")
    # Twilio asks again in the middle of a call: nobody else may take it (twilio.md 5.5).
    assert told(decided(ANSWERED, route="canary")) == ("direct", "canary-alone")


def test_the_callers_outside_the_share_do_not_see_what_our_side_lacks() -> None:
    theirs = caller_where(False, 10)
    for code, change in AMISS[2:]:
        decision = decided(theirs, route="canary", canary_percent=10, **change)
        assert told(decision) == ("previous", "canary-out"), code


def test_a_call_that_has_been_answered_is_not_handed_over() -> None:
    assert told(decided(ANSWERED, route="vapi")) == ("direct", "not-ringing")
    for has_person, answer in ((True, "fallback"), (False, "decline")):
        desk: dict[str, Any] = {"has_person": has_person}
        unqualified = decided(ANSWERED, route="vapi", qualified=False, **desk)
        assert told(unqualified) == (answer, "old-missing")
        assert told(decided(route="vapi", old_stack="none", **desk)) == (answer, "old-missing")
        for code, change in AMISS[:5]:
            assert told(decided(ANSWERED, **desk, **change)) == (answer, code)


def test_a_call_of_a_number_on_its_way_back_to_a_trunk_is_answered() -> None:
    way: dict[str, Any] = {"route": "vapi", "old_stack": "none", "old_trunk": True}
    for call in (CALL, ANSWERED):
        for qualified in (True, False):
            assert told(decided(call, qualified=qualified, **way)) == ("direct", "on-the-way")
    for _, change in AMISS:
        assert told(decided(**way, **change)) == ("fallback", "old-missing")
        assert told(decided(**way, has_person=False, **change)) == ("decline", "old-missing")


def test_a_lost_model_is_left_to_the_old_stack_then_a_person_then_asked_all_the_same() -> None:
    lost: dict[str, Any] = {"model_lost": True}
    assert told(decided(**lost)) == ("previous", "model-lost")
    assert told(decided(old_stack="down", **lost)) == ("fallback", "model-lost")
    alone = decided(old_stack="none", has_person=False, **lost)
    assert told(alone) == ("direct", "model-lost")
    assert told(decided(old_stack="none", has_person=False, live=10, **lost)) == ("busy", "full")


def test_a_server_says_who_answers_where_there_is_no_assistant() -> None:
    asks: dict[str, Any] = {"has_revision": False, "asks": True}
    assert told(decided(**asks)) == ("ask", "route-direct")
    # An assistant of the number's own comes first, and the old stack asks for itself.
    assert told(decided(asks=True)) == ("direct", "route-direct")
    assert told(decided(route="vapi", **asks)) == ("previous", "route-vapi")


def scheduled(outside: RouteName, **changes: Any) -> dict[str, Any]:
    windows = hours_stored(dict.fromkeys(DAYS[:5], "09:00-17:00"))
    return {"schedule": Schedule("UTC", windows, outside), **changes}


@pytest.mark.parametrize(
    ("outside", "answer", "code"),
    [
        ("vapi", "previous", "route-vapi"),
        ("paused", "decline", "paused"),
        ("direct", "direct", "route-direct"),
        ("canary", "previous", "canary-out"),  # of 0%
    ],
)
def test_outside_its_windows_the_other_route_holds(
    outside: RouteName, answer: str, code: str
) -> None:
    evening = replace(CALL, now=CALL.now.replace(hour=18))
    assert decided(**scheduled(outside)).code == "route-direct"
    decision = decided(evening, **scheduled(outside))
    assert told(decision) == (answer, code)
    assert "Monday 18:00 in UTC" in decision.reason


def test_paused_is_paused_whatever_the_schedule_says() -> None:
    evening = replace(CALL, now=CALL.now.replace(hour=18))
    for call in (CALL, evening):
        assert told(decided(call, **scheduled("direct", route="paused"))) == ("decline", "paused")


def test_a_schedule_does_not_lead_around_the_policy() -> None:
    evening = replace(CALL, now=CALL.now.replace(hour=18))
    decision = decided(evening, **scheduled("direct", route="vapi", policy_reviewed=False))
    assert told(decision) == ("previous", "policy")


def test_without_a_call_the_old_stack_is_not_there_and_no_schedule_is_read() -> None:
    assert told(decided(None, **scheduled("paused"))) == ("direct", "route-direct")
    assert told(decided(None, route="vapi")) == ("fallback", "old-missing")


def test_every_reason_fits_its_column() -> None:
    zone = Schedule("Mars/" + "x" * 300, hours_stored({}), "vapi")
    for changes in ({"blocked": "x" * 400}, {"contract_problem": "x" * 400}, {"schedule": zone}):
        for old in ("none", "up", "down", "probe"):
            decision = decided(old_stack=old, qualified=False, **changes)
            assert 0 < len(decision.reason) <= REASON_CHARACTERS


@pytest.mark.parametrize("route", ["vapi", "canary", "direct"])
def test_a_call_that_a_run_placed_is_given_to_the_stack_it_names_on_every_route(route: str) -> None:
    ours, old = replace(CALL, placed_for="direct"), replace(CALL, placed_for="vapi")
    assert told(decided(ours, route=route)) == ("direct", "test-ours")
    decision = decided(old, route=route)
    assert (told(decision), decision.instead) == (("previous", "test-old"), "nobody")
    assert decision.stack == "vapi"


@pytest.mark.parametrize(("code", "amiss"), AMISS)
def test_a_placed_call_that_our_stack_cannot_take_is_nobodys(
    code: str, amiss: dict[str, Any]
) -> None:
    ours = replace(CALL, placed_for="direct")
    assert told(decided(ours, has_person=True, **amiss)) == ("busy", "test-refused"), code


def test_a_placed_call_never_goes_on_to_the_other_stack_or_to_a_person() -> None:
    old = replace(CALL, placed_for="vapi")
    for gone in ("down", "none"):
        decision = decided(old, old_stack=gone, has_person=True)
        assert told(decision) == ("busy", "test-refused")
    answered = replace(old, is_ringing=False)
    assert told(decided(answered)) == ("busy", "test-refused")
    for stack in ("direct", "vapi"):
        placed = replace(CALL, placed_for=stack)
        assert told(decided(placed, route="paused")) == ("busy", "test-refused")
    no_assistant = decided(replace(CALL, placed_for="direct"), has_revision=False, asks=True)
    assert told(no_assistant) == ("busy", "test-refused")


def test_placed_calls_leave_half_of_our_lines_to_callers() -> None:
    ours = replace(CALL, placed_for="direct")
    assert told(decided(ours, live=4)) == ("direct", "test-ours")
    assert told(decided(ours, live=5)) == ("busy", "test-refused")
    assert told(decided(live=9)) == ("direct", "route-direct")
