"""A plan as JSON and back, what is refused of it, and the words of its record."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest

from calls.numbers.entries import Entry
from calls.numbers.hours import Span, day_of
from calls.numbers.plan import Gates, Pending, Plan, PlanError, Progress, drafted
from calls.numbers.plan_hours import quiet_outside
from calls.numbers.plan_stored import (
    PlanUnreadable,
    plan_read,
    plan_stored,
    state_read,
    state_stored,
)
from calls.numbers.plan_words import NOTICES, entry_words, notice_of, seen_of, summary_of

pytestmark = pytest.mark.unit

NOON = dt.datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=dt.UTC)
PLAN = Plan(
    plan_id="p1",
    waves=(("n1", "n2"), ("n3",)),
    first_day=dt.date(2026, 11, 23),
    zone="America/New_York",
    days_apart=2,
    steps=(10, 100),
    quiet=((Span(18 * 60, 9 * 60),), *((),) * 5, (Span(0, 1440),)),
    freeze_days=frozenset({dt.date(2026, 12, 24), dt.date(2026, 11, 26)}),
    gates=Gates(
        parity="undecided is enough",
        approval="every step",
        soak=dt.timedelta(minutes=90),
        least_calls=3,
        budget_share=0.015,
        budget_least=2,
        first_word_p95_ms=2_500,
        turn_p95_ms=2_000,
    ),
    goes_on=True,
    stops_at_incident=False,
)
STATE = replace(
    drafted(PLAN),
    status="running",
    opened=(dt.date(2026, 11, 23),),
    moved_at=NOON,
    numbers=(
        Progress(
            number_id="n1",
            phase="moving",
            percent=10,
            since=NOON,
            pending=Pending("p1:n1:2:100", 100, NOON),
            held=("soak", "parity"),
            approved=frozenset({10, 100}),
            attempt=2,
        ),
        *drafted(PLAN).numbers[1:],
    ),
)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_a_plan_and_its_state_come_back_as_they_were_stored() -> None:
    assert plan_read("p1", through_json(plan_stored(PLAN))) == PLAN
    assert state_read(through_json(state_stored(STATE))) == STATE
    # No field is left at its default above, so none can be forgotten.
    usual = Plan("p2", (("x",),), dt.date.min)
    same = [
        name for name in PLAN.__dataclass_fields__ if getattr(PLAN, name) == getattr(usual, name)
    ]
    same += [
        name
        for name in Gates.__dataclass_fields__
        if getattr(PLAN.gates, name) == getattr(usual.gates, name)
    ]
    assert same == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "stored in form 2"),
        ({"waves": None}, "cannot be read"),
        ({"first_day": "tomorrow"}, "cannot be read"),
        ({"gates": {}}, "cannot be read"),
    ],
)
def test_what_another_release_wrote_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanUnreadable, match=words) as refused:
        plan_read("p1", {**plan_stored(PLAN), **change})
    assert "Fix:" in str(refused.value)


def test_a_state_that_is_none_is_refused_in_words() -> None:
    without: dict[str, Any] = {**state_stored(STATE), "numbers": [{}]}
    documents: tuple[Any, ...] = (None, [], {}, without)
    for broken in documents:
        with pytest.raises(PlanUnreadable, match="Fix:"):
            state_read(broken)
    with pytest.raises(PlanError, match="steps do not rise"):
        plan_read("p1", {**plan_stored(PLAN), "steps": [50]})


def test_how_a_number_stands_changes_with_whatever_a_person_decides_by() -> None:
    (first, second, _) = STATE.numbers
    assert seen_of(first) == "moving/10/2/p1:n1:2:100"
    others = (
        replace(first, phase="stopped"),
        replace(first, percent=5),
        replace(first, attempt=3),
        replace(first, pending=None),
    )
    assert len({seen_of(each) for each in (first, second, *others)}) == 6
    # What holds it at the moment is no decision, and changes by itself.
    assert seen_of(replace(first, held=())) == seen_of(first)
    assert summary_of(PLAN, STATE) == "0 of 3 there, 1 on the way"


def entry(action: str, who: str = "plan:p1", **evidence: Any) -> Entry:
    return Entry(NOON, who, action, "n1", "why", evidence)


def test_the_record_says_what_happened_in_a_few_words() -> None:
    step = Entry(NOON, "plan:p1", "step ordered", "n1", "why", {"from": 0, "to": 5})
    said = {
        entry_words(step): "from 0% to 5% of the calls",
        entry_words(entry("step seen", percent=5)): "5% of the calls come to us now",
        entry_words(entry("wave opened", wave=2, numbers=["n"])): "day 2 opened with 1 number",
        entry_words(entry("number held", parity={}, policy={})): "held by parity, policy",
        entry_words(entry("plan paused")): "plan paused",
    }
    assert list(said) == list(said.values())


def test_people_are_told_of_what_waits_for_them_and_not_of_what_they_did() -> None:
    assert notice_of(entry("number stopped"), "p1") == NOTICES["number stopped"]
    assert notice_of(entry("plan paused"), "p1") == NOTICES["plan paused"]
    assert notice_of(entry("plan paused", who="user:ada"), "p1") == ""
    assert notice_of(entry("number held", approval={}), "p1") == NOTICES["approval"]
    assert notice_of(entry("number held", approval={}, parity={}), "p1") == ""
    assert notice_of(entry("step ordered"), "p1") == ""


@pytest.mark.parametrize(
    ("hours", "quiet"),
    [
        ("", "00:00-24:00"),
        ("00:00-24:00", ""),
        ("09:00-12:00, 13:00-16:00", "00:00-09:00, 12:00-13:00, 16:00-24:00"),
        ("00:00-08:00, 08:00-09:00", "09:00-24:00"),
    ],
)
def test_what_is_not_open_is_quiet(hours: str, quiet: str) -> None:
    assert quiet_outside(day_of(hours)) == day_of(quiet)
