"""Plans under any weather: numbers that fail, hang, are changed by hand, people who intervene.

Whatever happens, a tick orders at most one step, never against a gate, and never twice.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls.numbers.hours import Span
from calls.numbers.plan import (
    Gates,
    Outcome,
    Plan,
    PlanError,
    PlanState,
    SetShare,
    approve,
    drafted,
    pause,
    resume,
    retry,
    skip,
    start,
)
from calls.numbers.plan_gates import NumberFacts
from calls.numbers.plan_hours import closed_by, next_open
from calls.numbers.plan_step import advance

pytestmark = pytest.mark.property

NUMBERS = ("n1", "n2", "n3")
BEGIN = dt.datetime(2026, 10, 30, 12, tzinfo=dt.UTC)
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"

minutes = st.integers(0, 1_439)
spans = st.builds(Span, minutes, minutes).filter(lambda span: span.start != span.end)
quiet_days = st.tuples(*[st.tuples() | st.tuples(spans)] * 7)
plans = st.builds(
    Plan,
    plan_id=st.just("p"),
    waves=st.sampled_from([(("n1",), ("n2",), ("n3",)), (NUMBERS,), (("n1", "n2"), ("n3",))]),
    first_day=st.just(BEGIN.date()),
    zone=st.sampled_from([NEW_YORK, BERLIN, "UTC"]),
    quiet=quiet_days,
    freeze_days=st.sets(st.sampled_from([dt.date(2026, 10, 31), dt.date(2026, 11, 2)])).map(
        frozenset
    ),
    gates=st.builds(
        Gates,
        parity=st.sampled_from(["pass", "undecided is enough", "not asked"]),
        approval=st.sampled_from(["none", "first step", "every step"]),
        soak=st.sampled_from([dt.timedelta(0), dt.timedelta(minutes=40)]),
        least_calls=st.sampled_from([0, 20]),
    ),
    goes_on=st.booleans(),
    stops_at_incident=st.booleans(),
)
# What happens between two ticks: to which number, what, and how long until the next.
happenings = st.lists(
    st.tuples(
        st.sampled_from(NUMBERS),
        st.sampled_from(
            [
                *["obey"] * 6,
                *("good", "good", "parity", "policy", "incident", "bad calls", "few calls"),
                *("by hand", "taken back", "trunk"),
                *("pause", "resume", "skip", "approve", "approve", *["retry"] * 4),
            ]
        ),
        st.sampled_from([0, 1, 3, 45, 600]),
    ),
    max_size=60,
)


def asked(plan: Plan, state: PlanState, what: str, number_id: str, now: dt.datetime) -> PlanState:
    """Return the state after a person has asked for something, the same where it does not fit."""
    words = {"who": "user:ada", "why": "because", "now": now}
    try:
        if what in ("pause", "resume"):
            order = pause if what == "pause" else resume
            return order(plan, state, **words).state  # type: ignore[arg-type]
        if what == "approve":
            for percent in plan.steps:
                state = approve(plan, state, number_id, percent, **words).state  # type: ignore[arg-type]
            return state
        if what in ("skip", "retry"):
            change = skip if what == "skip" else retry
            return change(plan, state, number_id, **words).state  # type: ignore[arg-type]
    except PlanError:
        pass
    return state


def changed(fact: NumberFacts, what: str) -> NumberFacts:
    good = replace(
        fact,
        policy_reviewed=True,
        parity="pass",
        incident="",
        calls=50,
        bad_calls=0,
        first_word_p95_ms=900,
    )
    return {
        "good": good,
        "parity": replace(fact, parity="fail"),
        "policy": replace(fact, policy_reviewed=False),
        "incident": replace(fact, incident="key"),
        "bad calls": replace(fact, bad_calls=30),
        "few calls": replace(fact, calls=3),
        "by hand": replace(fact, route="canary", canary_percent=37),
        "taken back": replace(fact, route="vapi", canary_percent=0),
        "trunk": replace(fact, is_trunk=True),
    }.get(what, fact)


def carried_out(fact: NumberFacts, action: SetShare) -> NumberFacts:
    if action.percent == 100:
        return replace(fact, route="direct", canary_percent=0)
    return replace(fact, route="canary", canary_percent=action.percent)


def check(
    plan: Plan,
    state: PlanState,
    found: Outcome,
    facts: dict[str, NumberFacts],
    now: dt.datetime,
    keys: dict[str, SetShare],
) -> None:
    assert len(found.actions) <= 1
    moves = [e for e in found.entries if e.action in ("step ordered", "number arrived")]
    assert len(moves) <= 1
    assert all(entry.who and entry.why and entry.at == now for entry in found.entries)
    assert (found.state != state) or not found.entries
    for action in found.actions:
        fact = facts[action.number_id]
        assert state.status == "running"
        assert closed_by(plan, now) == ""
        assert not fact.incident
        assert action.percent in plan.steps
        assert keys.setdefault(action.key, action) == action
        if not moves:
            continue  # given again, as it was
        assert action.percent > fact.percent
        assert fact.policy_reviewed
        assert fact.parity != "fail" or plan.gates.parity == "not asked"
        assert fact.parity == "pass" or plan.gates.parity != "pass"
        assert action.percent == 100 or not fact.is_trunk
        if plan.gates.approval == "every step":
            assert action.percent in state.of(action.number_id).approved
        assert sum(each.pending is not None for each in found.state.numbers) == 1


@settings(deadline=None)
@given(plans, happenings)
def test_no_weather_makes_a_tick_move_twice_or_against_a_gate(
    plan: Plan, story: list[tuple[str, str, int]]
) -> None:
    now = BEGIN
    state = start(plan, drafted(plan), who="user:ada", why="go", now=now).state
    facts = {each: changed(NumberFacts(each), "good") for each in NUMBERS}
    waiting: list[SetShare] = []
    keys: dict[str, SetShare] = {}
    for number_id, what, later in story:
        if what == "obey":
            for action in waiting:
                facts[action.number_id] = carried_out(facts[action.number_id], action)
            waiting = []
        state = asked(plan, state, what, number_id, now) if what not in ("obey",) else state
        facts[number_id] = changed(facts[number_id], what)
        now += dt.timedelta(minutes=later)
        found = advance(plan, state, facts, now)
        assert advance(plan, state, facts, now) == found
        check(plan, state, found, facts, now, keys)
        again = advance(plan, found.state, facts, now)
        assert (again.actions, again.entries) == ((), ())
        waiting += found.actions
        state = found.state


@settings(deadline=None, max_examples=25)
@given(
    quiet_days,
    st.sampled_from([(NEW_YORK, 2026, 3, 7), (NEW_YORK, 2026, 10, 31), (BERLIN, 2026, 3, 28)]),
    minutes,
)
def test_the_next_open_moment_is_the_first_minute_that_is_open(
    quiet: tuple[tuple[Span, ...], ...], place: tuple[str, int, int, int], minute: int
) -> None:
    zone, *day = place
    plan = Plan("p", (("n1",),), dt.date(*day), zone=zone, quiet=quiet)
    begin = dt.datetime(*day, tzinfo=dt.UTC) + dt.timedelta(minutes=minute)  # type: ignore[misc, arg-type]
    by_minute = (begin + dt.timedelta(minutes=each) for each in range(2 * 1_440))
    first = next((moment for moment in by_minute if not closed_by(plan, moment)), None)
    found = next_open(plan, begin)
    if first is not None:
        assert found == first
    elif found is not None:
        assert found >= begin + dt.timedelta(days=2)
