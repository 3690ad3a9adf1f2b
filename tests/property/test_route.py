"""Who answers, whatever the facts: it never raises, repeats itself, and keeps its promises."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls.numbers.hours import DAYS, Desk, Span, is_open
from calls.numbers.old_stack import (
    MAX_REST_MS,
    MOST_MS,
    REST_MS,
    Attempt,
    Health,
    begun,
    ended,
    mended,
    standing,
)
from calls.numbers.route import REASON_CHARACTERS, CallFacts, NumberFacts, decide
from calls.numbers.schedule import Schedule, is_inside

pytestmark = pytest.mark.property

ROUTES = st.sampled_from(["vapi", "canary", "direct", "paused"])
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "No/Zone"]
)
MOMENTS = st.integers(631_152_000, 2_114_380_800).map(
    lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC)
)
SPANS = st.builds(Span, st.integers(0, 1439), st.integers(0, 1440)).filter(
    lambda span: span.start != span.end
)
WINDOWS = st.tuples(*[st.lists(SPANS, max_size=2).map(tuple) for _ in DAYS])
SCHEDULES = st.builds(
    Schedule, zone=ZONES, windows=WINDOWS, outside=ROUTES, holidays=st.frozensets(st.dates())
)
FACTS = st.builds(
    NumberFacts,
    route=ROUTES | st.text(max_size=5),
    has_revision=st.booleans(),
    has_connection=st.booleans(),
    policy_reviewed=st.booleans(),
    model_lost=st.booleans(),
    contract_problem=st.sampled_from(["", "against what was agreed"]),
    asks=st.booleans(),
    blocked=st.sampled_from(["", "the number is Vapi's own", "x" * 300]),
    canary_percent=st.integers(0, 100),
    canary_salt=st.text(max_size=4),
    sticky=st.sampled_from(["caller", "hour", "call"]),
    schedule=st.none() | SCHEDULES,
    old_stack=st.sampled_from(["none", "up", "down", "probe"]),
    old_trunk=st.booleans(),
    old_fixed=st.booleans(),
    patience_ms=st.integers(-1, 20_000),
    qualified=st.booleans(),
    has_person=st.booleans(),
)
CALLS = st.builds(
    CallFacts,
    caller=st.text(max_size=12) | st.sampled_from(["+15550100001", "anonymous", "sip:a@b.c"]),
    call_sid=st.text(max_size=6),
    is_ringing=st.booleans(),
    now=MOMENTS,
)


@given(FACTS, st.none() | CALLS, st.integers(0, 3))
def test_every_answer_keeps_the_promises(
    facts: NumberFacts, call: CallFacts | None, live: int
) -> None:
    decision = decide(facts, live_calls=live, max_calls=2, call=call)
    assert decision == decide(facts, live_calls=live, max_calls=2, call=call)
    assert 0 < len(decision.reason) <= REASON_CHARACTERS
    ours = decision.answer in {"direct", "ask"}
    after = decision.answer == "previous" and decision.instead != "fallback"
    if facts.route == "paused":
        assert decision.answer == "decline"
    if ours or after:
        assert facts.policy_reviewed
        assert not facts.blocked
        assert facts.has_connection
        assert not facts.contract_problem
        assert facts.has_revision or facts.asks
        assert live < 2
    if decision.answer == "ask" or decision.instead == "ask":
        assert not facts.has_revision
    if decision.answer == "previous":
        assert call is not None
        assert call.is_ringing
        assert facts.old_stack != "none"
        assert 1 <= decision.attempt_ms <= (MOST_MS if facts.old_fixed else 9_000)
        assert decision.attempt_ms == 9_000 or facts.old_fixed
        assert decision.attempt_ms < MOST_MS or decision.instead != "ask"
        assert decision.attempt_ms <= 3_500 or not after or not facts.old_fixed
    else:
        assert (decision.attempt_ms, decision.instead) == (0, "fallback")
    if facts.route == "vapi" and facts.schedule is None and ours:
        old_is_asked = call is not None and call.is_ringing and facts.old_stack != "none"
        assert facts.qualified or (facts.old_trunk and not old_is_asked)
        assert facts.old_stack == "down" or not old_is_asked
    if decision.answer == "decline" and facts.route in {"vapi", "canary", "direct"}:
        assert decision.code == "paused" or not facts.has_person


@given(FACTS, CALLS, st.integers(0, 100), st.integers(0, 100))
def test_a_caller_who_is_ours_stays_ours_while_the_share_grows(
    facts: NumberFacts, call: CallFacts, one: int, other: int
) -> None:
    small, large = sorted((one, other))
    canary = replace(facts, route="canary", schedule=None)
    first = decide(replace(canary, canary_percent=small), live_calls=0, max_calls=1, call=call)
    second = decide(replace(canary, canary_percent=large), live_calls=0, max_calls=1, call=call)
    if first.code == "canary-in":
        assert second == replace(first, reason=second.reason)
    if second.code == "canary-out":
        assert first == replace(second, reason=first.reason)


@given(WINDOWS, MOMENTS, st.frozensets(st.dates(dt.date(1990, 1, 1), dt.date(2037, 1, 1))))
def test_where_the_clock_never_changes_windows_are_opening_hours(
    windows: tuple[tuple[Span, ...], ...], now: dt.datetime, holidays: frozenset[dt.date]
) -> None:
    plan = Schedule("Asia/Tokyo", windows, holidays=holidays)
    desk = Desk("+15550100042", "Asia/Tokyo", windows, holidays=holidays)
    assert is_inside(plan, now)[0] is is_open(desk, now)[0]


@settings(max_examples=25)
@given(
    SPANS,
    st.sampled_from(
        [
            ("Europe/Berlin", dt.date(2026, 3, 29)),
            ("Europe/Berlin", dt.date(2026, 10, 25)),
            ("America/New_York", dt.date(2026, 11, 1)),
            ("Australia/Lord_Howe", dt.date(2026, 4, 5)),  # half an hour
            ("America/Havana", dt.date(2026, 11, 1)),  # at midnight and one
        ]
    ),
)
def test_a_window_is_one_stretch_of_real_time(span: Span, night: tuple[str, dt.date]) -> None:
    zone, date = night
    windows = tuple((span,) if day == date.weekday() else () for day in range(7))
    plan = Schedule(zone, windows)
    start = dt.datetime.combine(date, dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)
    flags = [
        is_inside(plan, start + dt.timedelta(minutes=11 * step - 120))[0] for step in range(280)
    ]
    begins = sum(1 for before, now in zip(flags, flags[1:], strict=False) if now and not before)
    assert begins <= 1


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "declined", "failed", "hung"]),
        st.integers(0, 30_000),
        st.integers(0, 12_000),
    ),
    max_size=60,
)


@given(EVENTS, st.integers(0, 10**13))
def test_a_health_keeps_within_its_bounds_whatever_happens(
    events: list[tuple[str, int, int]], start_ms: int
) -> None:
    health, now_ms, lost = Health(), start_ms, 0
    for outcome, gap_ms, took_ms in events:
        now_ms += gap_ms
        state = health.state
        stands = standing(health, call_sid=f"CA{now_ms}", now_ms=now_ms)
        assert stands == standing(health, call_sid=f"CA{now_ms}", now_ms=now_ms)
        assert (stands == "up") is (state == "up")
        if stands == "down":
            continue
        attempt = Attempt(outcome, now_ms, now_ms + took_ms)  # type: ignore[arg-type]
        health = ended(begun(health, now_ms), attempt)
        lost = lost + 1 if outcome in {"failed", "hung"} else 0
        assert REST_MS <= health.rest_ms <= MAX_REST_MS
        assert len(health.recent) <= 10
        assert Health.from_json(health.as_json()) == health
        # One attempt alone brings down only what is being probed, and brings nothing up.
        if state == "down":
            assert health.state != "up"
        if state == "up" and health.state == "down":
            assert outcome in {"failed", "hung"}
        now_ms += took_ms
    # Whatever was, a stack that answers is back after the rest and three probes.
    health = begun(health, now_ms + MAX_REST_MS)
    for step in range(3):
        moment = now_ms + MAX_REST_MS + 10_000 * (step + 1)
        assert standing(health, call_sid="CA", now_ms=moment) != "down"
        health = ended(begun(health, moment), Attempt("answered", moment, moment + 300))
    assert health.state == "up"
    assert mended(health, now_ms) == health
