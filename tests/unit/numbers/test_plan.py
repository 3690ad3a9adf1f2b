"""A plan on a moved clock: a week over seven numbers, its gates, its days, and what people do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from calls.numbers.entries import Entry
from calls.numbers.hours import Span
from calls.numbers.plan import (
    Gates,
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
from calls.numbers.plan_calendar import preview
from calls.numbers.plan_gates import NumberFacts, gates_of
from calls.numbers.plan_hours import clock_changes, closed_by, next_open
from calls.numbers.plan_step import ORDER_AGAIN, advance, refused

pytestmark = pytest.mark.unit

NEW_YORK = "America/New_York"
CLOSED_AT_NIGHT = ((Span(18 * 60, 9 * 60),),) * 7
WEEK = tuple(f"n{index}" for index in range(1, 8))
ADA = {"who": "user:ada", "why": "as agreed"}
GOOD = NumberFacts(
    "n1",
    policy_reviewed=True,
    parity="pass",
    calls=40,
    first_word_p95_ms=1_200,
    turn_p95_ms=1_500,
)
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def a_plan(*numbers: str, **fields: Any) -> Plan:
    usual: dict[str, Any] = {
        "plan_id": "p1",
        "waves": tuple((each,) for each in numbers or ("n1",)),
        "first_day": dt.date(2026, 11, 23),
    }
    return Plan(**usual | fields)


def started(plan: Plan, now: dt.datetime = NOON) -> PlanState:
    return start(plan, drafted(plan), now=now, **ADA).state


class World:
    """Numbers that do what is ordered, and the plan's tick over them."""

    def __init__(self, plan: Plan, now: dt.datetime) -> None:
        self.plan, self.state = plan, started(plan, now)
        self.facts = {each: replace(GOOD, number_id=each) for each in plan.numbers}
        self.entries: list[Entry] = []
        self.is_obeying = True

    def carry_out(self, action: SetShare) -> None:
        fact = self.facts[action.number_id]
        route = "direct" if action.percent == 100 else "canary"
        percent = 0 if action.percent == 100 else action.percent
        self.facts[action.number_id] = replace(fact, route=route, canary_percent=percent)  # type: ignore[arg-type]

    def tick(self, now: dt.datetime) -> list[Entry]:
        found = advance(self.plan, self.state, self.facts, now)
        self.state = found.state
        for action in found.actions if self.is_obeying else ():
            self.carry_out(action)
        self.entries += found.entries
        return list(found.entries)

    def run(
        self,
        first: dt.datetime,
        last: dt.datetime,
        every: dt.timedelta,
        events: dict[dt.datetime, Callable[[], None]] | None = None,
    ) -> None:
        for now in moments(first, last, every):
            if events and now in events:
                events[now]()
            self.tick(now)

    def moves(self, zone: str) -> list[tuple[str, str, str]]:
        tz = ZoneInfo(zone)
        kinds = {"step ordered", "number arrived", "number held", "number skipped"}
        return [
            (
                entry.at.astimezone(tz).strftime("%a %d %H:%M"),
                entry.number_id,
                f"{entry.evidence['to']}%"
                if entry.action == "step ordered"
                else entry.action.removeprefix("number "),
            )
            for entry in self.entries
            if entry.action in kinds
        ]


def moments(first: dt.datetime, last: dt.datetime, every: dt.timedelta) -> Iterator[dt.datetime]:
    while first <= last:
        yield first
        first += every


def local(text: str, zone: str = NEW_YORK) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)


def a_day(day: str, number_id: str) -> list[tuple[str, str, str]]:
    times = ("09:00", "09:55", "10:50", "11:45", "12:40")
    what = ("5%", "25%", "50%", "100%", "arrived")
    return [(f"{day} {time}", number_id, each) for time, each in zip(times, what, strict=True)]


def test_a_week_over_seven_numbers() -> None:
    # A freeze day (Saturday), the end of summer time (Sunday, 25 hours), a failed gate (n5, until
    # Friday), a manual skip (n6, the day before).
    plan = a_plan(
        *WEEK,
        first_day=dt.date(2026, 10, 29),
        zone=NEW_YORK,
        quiet=CLOSED_AT_NIGHT,
        freeze_days=frozenset({dt.date(2026, 10, 31)}),
        gates=Gates(soak=dt.timedelta(minutes=50)),
        goes_on=True,
    )
    begin = local("2026-10-28T12:00")
    world = World(plan, begin)
    world.facts["n5"] = replace(world.facts["n5"], parity="fail", parity_note="4 of 60 differ")

    def skip_n6() -> None:
        found = skip(plan, world.state, "n6", now=local("2026-11-03T15:00"), **ADA)
        world.state = found.state
        world.entries += found.entries

    def mend_n5() -> None:
        world.facts["n5"] = replace(world.facts["n5"], parity="pass")

    events = {local("2026-11-03T15:00"): skip_n6, local("2026-11-06T09:00"): mend_n5}
    world.run(begin, local("2026-11-07T12:00"), dt.timedelta(minutes=5), events)

    assert world.moves(NEW_YORK) == [
        *a_day("Thu 29", "n1"),
        *a_day("Fri 30", "n2"),
        *a_day("Sun 01", "n3"),
        *a_day("Mon 02", "n4"),
        ("Tue 03 09:00", "n5", "held"),
        ("Tue 03 15:00", "n6", "skipped"),
        *a_day("Thu 05", "n7"),
        *a_day("Fri 06", "n5"),
    ]
    sunday = next(entry for entry in world.entries if entry.number_id == "n3")
    assert sunday.at == dt.datetime(2026, 11, 1, 14, tzinfo=dt.UTC)  # 13:00 while it was summer
    assert world.state.status == "finished"
    assert world.entries[-1].action == "plan finished"
    held = next(entry for entry in world.entries if entry.action == "number held")
    assert "parity has failed (4 of 60 differ). Fix:" in held.why
    ordered = next(entry for entry in world.entries if entry.action == "step ordered")
    assert ordered.who == "plan:p1"
    assert ordered.evidence["gates"]["parity"]["parity"] == "pass"


def test_a_plan_that_does_not_go_on_waits_for_the_number_that_is_held() -> None:
    plan = a_plan("n1", "n2", gates=Gates(soak=dt.timedelta(0)))
    world = World(plan, NOON)
    world.facts["n1"] = replace(world.facts["n1"], policy_reviewed=False)
    world.run(NOON, NOON + dt.timedelta(days=3), dt.timedelta(hours=1))
    assert [entry.action for entry in world.entries] == ["wave opened", "number held"]
    world.state = skip(plan, world.state, "n1", now=NOON, **ADA).state
    world.run(NOON + dt.timedelta(days=4), NOON + dt.timedelta(days=5), dt.timedelta(hours=1))
    assert world.state.status == "finished"


def test_the_calendar_is_what_the_plan_then_does() -> None:
    plan = a_plan(
        *WEEK[:3],
        first_day=dt.date(2026, 10, 30),
        zone=NEW_YORK,
        quiet=CLOSED_AT_NIGHT,
        freeze_days=frozenset({dt.date(2026, 10, 31)}),
    )
    begin = local("2026-10-30T08:00")
    world = World(plan, begin)
    lines = preview(plan, world.state, world.facts, begin)
    assert preview(plan, drafted(plan), world.facts, begin) == lines
    world.run(begin, local("2026-11-02T14:00"), dt.timedelta(minutes=1))
    happened = [
        (entry.at, entry.number_id, entry.evidence.get("to", 0))
        for entry in world.entries
        if entry.action in ("step ordered", "number arrived")
    ]
    foreseen = [
        (line.at, line.number_id, line.percent)
        for line in lines
        if line.kind in ("step", "arrival")
    ]
    assert len(happened) == 15
    assert foreseen == happened
    days = [(line.at.strftime("%a %H:%M"), line.kind, line.words) for line in lines]
    assert ("Sat 00:00", "freeze day", "nothing moves on this day") in days
    change = "clocks go back by 60 minutes in America/New_York"
    assert ("Sun 01:00", "clock change", change) in days
    assert lines[-1].kind == "finished"


def test_the_calendar_names_what_it_takes_for_granted() -> None:
    plan = a_plan("n1", "n2", gates=Gates(approval="every step"))
    facts = {each: replace(GOOD, number_id=each) for each in plan.numbers}
    facts["n2"] = replace(facts["n2"], parity="undecided", parity_note="about 12 more")
    lines = {
        (line.number_id, line.percent): line
        for line in preview(plan, drafted(plan), facts, NOON)
        if line.kind == "step"
    }
    assert any("5% has not been approved" in each for each in lines["n1", 5].takes_for_granted)
    assert "parity: parity is undecided (about 12 more)" in lines["n2", 5].takes_for_granted
    assert lines["n2", 25].takes_for_granted == ()


def test_a_tick_orders_one_step_and_the_same_tick_again_orders_none() -> None:
    plan = a_plan(waves=(("n1", "n2", "n3"),), gates=Gates(soak=dt.timedelta(0)))
    world = World(plan, NOON)
    world.is_obeying = False
    first = advance(plan, world.state, world.facts, NOON)
    assert advance(plan, world.state, world.facts, NOON) == first
    assert first.actions == (SetShare("p1:n1:1:5", "n1", 5),)
    again = advance(plan, first.state, world.facts, NOON)
    assert (again.actions, again.entries) == ((), ())
    # Nothing else moves until the step has been seen at the number.
    later = advance(plan, first.state, world.facts, NOON + dt.timedelta(minutes=1))
    assert later.actions == ()
    # Even when the order was carried out within the tick.
    world.carry_out(first.actions[0])
    assert advance(plan, first.state, world.facts, NOON).actions == ()


def test_an_order_that_was_lost_is_given_again_under_its_key() -> None:
    plan = a_plan()
    world = World(plan, NOON)
    first = advance(plan, world.state, world.facts, NOON)
    again = advance(plan, first.state, world.facts, NOON + ORDER_AGAIN)
    assert again.actions == first.actions
    assert again.entries[0].action == "step ordered again"
    assert advance(plan, again.state, world.facts, NOON + ORDER_AGAIN).actions == ()
    frozen = replace(plan, freeze_days=frozenset({NOON.date()}))
    assert advance(frozen, first.state, world.facts, NOON + ORDER_AGAIN).actions == ()


def test_an_order_that_cannot_be_carried_out_stops_the_number() -> None:
    plan = a_plan()
    world = World(plan, NOON)
    state = advance(plan, world.state, world.facts, NOON).state
    assert refused(plan, state, "n1", "another key", "x", NOON).state == state
    found = refused(plan, state, "n1", "p1:n1:1:5", "somebody changed VoiceUrl", NOON)
    assert found.state.of("n1").phase == "stopped"
    assert found.entries[0].why == "somebody changed VoiceUrl"
    with pytest.raises(PlanError, match="Fix:"):
        refused(plan, state, "other", "key", "x", NOON)


def test_an_incident_stops_the_number_and_pauses_the_plan_and_is_never_ordered_over() -> None:
    plan = a_plan(waves=(("n1", "n2"),), gates=Gates(soak=dt.timedelta(0)))
    world = World(plan, NOON)
    world.is_obeying = False
    world.tick(NOON)
    # The guard opens an incident while an order waits: the order is not given again.
    world.facts["n1"] = replace(world.facts["n1"], incident="n1:direct:x")
    said = world.tick(NOON + ORDER_AGAIN)
    assert [entry.action for entry in said] == ["number stopped", "plan paused"]
    assert world.state.of("n1").pending is None
    assert world.tick(NOON + 2 * ORDER_AGAIN) == []
    # Resumed with the incident open: the other number goes on, this one stays where it is.
    world.state = resume(plan, world.state, now=NOON, **ADA).state
    world.tick(NOON + 3 * ORDER_AGAIN)
    assert world.state.status == "running"
    assert world.state.of("n2").pending is not None
    # Put back, it is held until the incident is closed.
    world.state = retry(plan, world.state, "n1", now=NOON, **ADA).state
    world.is_obeying = True
    world.carry_out(SetShare("", "n2", 5))
    world.tick(NOON + 4 * ORDER_AGAIN)
    assert "incident" in world.state.of("n1").held


def test_a_number_with_calls_and_an_incident_is_not_taken_up_until_it_is_closed() -> None:
    world = World(a_plan("n1", stops_at_incident=False), NOON)
    world.facts["n1"] = replace(world.facts["n1"], route="canary", canary_percent=5, incident="k")
    (held,) = [entry for entry in world.tick(NOON) if entry.number_id]
    assert (held.action, world.state.of("n1").phase) == ("number held", "waiting")
    assert not world.tick(NOON) and not world.tick(NOON + dt.timedelta(minutes=1))
    world.facts["n1"] = replace(world.facts["n1"], incident="")
    (taken,) = world.tick(NOON + dt.timedelta(minutes=2))
    assert (taken.action, world.state.of("n1").percent) == ("number taken up", 5)


def test_a_number_that_was_taken_back_after_arrival_is_stopped_too() -> None:
    plan = a_plan("n1", "n2", gates=Gates(soak=dt.timedelta(0)), stops_at_incident=False)
    world = World(plan, NOON)
    world.run(NOON, NOON + dt.timedelta(hours=1), dt.timedelta(minutes=1))
    assert world.state.of("n1").phase == "done"
    world.facts["n1"] = replace(world.facts["n1"], route="vapi", incident="n1:direct:x")
    world.tick(NOON + dt.timedelta(hours=2))
    assert world.state.of("n1").phase == "stopped"
    assert world.state.status == "running"


def test_a_route_that_somebody_else_changed_stops_the_number_until_it_is_put_back() -> None:
    plan = a_plan(gates=Gates(soak=dt.timedelta(minutes=10)))
    world = World(plan, NOON)
    world.run(NOON, NOON + dt.timedelta(minutes=2), dt.timedelta(minutes=1))
    world.facts["n1"] = replace(world.facts["n1"], canary_percent=30)
    said = world.tick(NOON + dt.timedelta(minutes=3))
    assert [entry.action for entry in said] == ["number stopped"]
    assert "the number shows canary with 30%" in said[0].why
    world.state = retry(plan, world.state, "n1", now=NOON, **ADA).state
    said = world.tick(NOON + dt.timedelta(minutes=4))
    assert [entry.action for entry in said] == ["number taken up"]
    said = world.tick(NOON + dt.timedelta(minutes=14))
    assert said[0].evidence["to"] == 50  # never back to 25
    assert world.state.of("n1").pending is not None
    assert world.state.of("n1").pending.key == "p1:n1:2:50"  # type: ignore[union-attr]


def test_t26_a_number_on_a_trunk_knows_only_nothing_and_everything() -> None:
    # twilio.md 5.2: no webhook comes to us while a trunk is set, so a share cannot be taken.
    plan = a_plan(gates=Gates(soak=dt.timedelta(0)))
    world = World(plan, NOON)
    world.facts["n1"] = replace(world.facts["n1"], is_trunk=True)
    world.run(NOON, NOON + dt.timedelta(minutes=5), dt.timedelta(minutes=1))
    steps = [entry.evidence["to"] for entry in world.entries if entry.action == "step ordered"]
    assert steps == [100]


def test_a_pause_stops_everything_and_a_resume_asks_every_gate_anew() -> None:
    plan = a_plan(gates=Gates(soak=dt.timedelta(0)))
    world = World(plan, NOON)
    world.state = pause(plan, world.state, now=NOON, **ADA).state
    assert world.tick(NOON) == []
    with pytest.raises(PlanError, match="the plan is paused"):
        pause(plan, world.state, now=NOON, **ADA)
    world.facts["n1"] = replace(world.facts["n1"], parity="fail")
    world.state = resume(plan, world.state, now=NOON, **ADA).state
    assert [entry.action for entry in world.tick(NOON)] == ["wave opened", "number held"]
    assert advance(plan, drafted(plan), world.facts, NOON).entries == ()


def test_a_held_number_is_told_once_for_each_cause() -> None:
    plan = a_plan()
    world = World(plan, NOON)
    world.facts["n1"] = replace(world.facts["n1"], parity="undecided")
    world.run(NOON, NOON + dt.timedelta(hours=5), dt.timedelta(minutes=10))
    world.facts["n1"] = replace(world.facts["n1"], policy_reviewed=False)
    world.run(NOON + dt.timedelta(hours=6), NOON + dt.timedelta(hours=7), dt.timedelta(minutes=10))
    held = [entry for entry in world.entries if entry.action == "number held"]
    assert [sorted(entry.evidence) for entry in held] == [["parity"], ["parity", "policy"]]


def test_every_step_waits_for_its_own_approval() -> None:
    plan = a_plan(gates=Gates(approval="every step", soak=dt.timedelta(0)))
    world = World(plan, NOON)
    world.tick(NOON)
    assert world.state.of("n1").held == ("approval",)
    world.state = approve(plan, world.state, "n1", 5, now=NOON, **ADA).state
    assert approve(plan, world.state, "n1", 5, now=NOON, **ADA).entries == ()
    world.run(
        NOON + dt.timedelta(minutes=1), NOON + dt.timedelta(minutes=9), dt.timedelta(minutes=1)
    )
    assert world.state.of("n1").percent == 5
    assert world.state.of("n1").held == ("approval",)
    with pytest.raises(PlanError, match="5%, 25%, 50%, 100%"):
        approve(plan, world.state, "n1", 30, now=NOON, **ADA)


@pytest.mark.parametrize(
    ("fields", "shut"),
    [
        ({}, {}),
        ({"incident": "k"}, {"incident": "stop"}),
        ({"policy_reviewed": False}, {"policy": "stop"}),
        ({"readiness": ("OPENAI_API_KEY is missing. Fix: enter it.",)}, {"readiness": "stop"}),
        ({"readiness_waits": ("Nobody has accepted it. Fix: do.",)}, {"readiness": "stop"}),
        ({"parity": "fail"}, {"parity": "stop"}),
        ({"parity": "undecided"}, {"parity": "wait"}),
        ({"calls": 19}, {"calls": "wait"}),
        ({"bad_calls": 1}, {}),
        ({"bad_calls": 2}, {"error budget": "stop"}),
        ({"calls": 99, "bad_calls": 2}, {"error budget": "stop"}),
        ({"calls": 100, "bad_calls": 2}, {}),
        ({"first_word_p95_ms": 3_001}, {"latency": "stop"}),
        ({"turn_p95_ms": 3_001}, {"latency": "stop"}),
        ({"turn_p95_ms": 3_000}, {}),
        ({"first_word_p95_ms": None}, {"latency": "wait"}),
    ],
)
def test_the_gates_before_a_further_step(fields: dict[str, Any], shut: dict[str, str]) -> None:
    plan = a_plan()
    progress = replace(started(plan).of("n1"), percent=5, since=NOON - dt.timedelta(hours=1))
    facts = replace(GOOD, **{"route": "canary", "canary_percent": 5} | fields)
    found = gates_of(plan, progress, facts, NOON)
    assert {gate.name: gate.verdict for gate in found if not gate.is_open} == shut


def test_the_soak_is_real_time_across_a_change_of_the_clock() -> None:
    plan = a_plan(
        zone=NEW_YORK, first_day=dt.date(2026, 11, 1), gates=Gates(soak=dt.timedelta(hours=2))
    )
    begin = dt.datetime(2026, 11, 1, 5, 30, tzinfo=dt.UTC)  # 1:30, the first of two
    world = World(plan, begin)
    world.run(begin, begin + dt.timedelta(hours=3), dt.timedelta(minutes=1))
    steps = [entry.at for entry in world.entries if entry.action == "step ordered"]
    assert steps == [begin, begin + dt.timedelta(hours=2, minutes=1)]


def test_a_step_that_falls_into_quiet_hours_or_a_freeze_day_waits_for_their_end() -> None:
    plan = a_plan(
        quiet=((Span(12 * 60 + 30, 8 * 60),),) * 7, freeze_days=frozenset({dt.date(2026, 11, 24)})
    )
    world = World(plan, NOON)
    world.run(NOON, NOON + dt.timedelta(hours=46), dt.timedelta(minutes=15))
    steps = [entry.at for entry in world.entries if entry.action == "step ordered"]
    assert steps[:2] == [NOON, NOON + dt.timedelta(hours=44)]  # Wednesday, 8:00
    assert [entry.action for entry in world.entries][:2] == ["wave opened", "step ordered"]


def test_quiet_hours_follow_the_wall() -> None:
    spring = a_plan(zone=NEW_YORK, quiet=((Span(22 * 60, 150),),) * 7)  # 22:00 to 2:30
    assert closed_by(spring, dt.datetime(2026, 3, 8, 6, 59, tzinfo=dt.UTC))  # 1:59
    opens = dt.datetime(2026, 3, 8, 7, tzinfo=dt.UTC)  # 3:00; there is no 2:30
    assert closed_by(spring, opens) == ""
    assert next_open(spring, opens - dt.timedelta(hours=3)) == opens
    autumn = a_plan(zone=NEW_YORK, quiet=((Span(60, 90),),) * 7)  # 1:00 to 1:30, twice
    for hour in (5, 6):
        assert closed_by(autumn, dt.datetime(2026, 11, 1, hour, 10, tzinfo=dt.UTC))
        assert not closed_by(autumn, dt.datetime(2026, 11, 1, hour, 30, tzinfo=dt.UTC))
    never = a_plan(quiet=((Span(0, 1440),),) * 7)
    assert next_open(never, NOON) is None


def test_a_clock_that_is_put_on_at_midnight_is_seen_on_the_new_day() -> None:
    plan = a_plan(zone="America/Santiago")
    found = list(clock_changes(plan, dt.date(2026, 9, 6)))
    assert found == [(dt.datetime(2026, 9, 6, 4, tzinfo=dt.UTC), dt.timedelta(hours=1))]
    assert list(clock_changes(plan, dt.date(2026, 9, 5))) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"waves": ()}, "no number"),
        ({"waves": (("n1",), ())}, "a wave has no number"),
        ({"waves": (("n1",), ("n1",))}, "twice"),
        ({"steps": (5, 50)}, "rise to 100"),
        ({"steps": (50, 5, 100)}, "rise to 100"),
        ({"steps": (0, 100)}, "rise to 100"),
        ({"zone": "Mars/Olympus"}, "not known"),
        ({"days_apart": 0}, "one wave"),
        ({"quiet": ()}, "seven days"),
        ({"gates": Gates(budget_share=2)}, "budget_share"),
        ({"gates": Gates(soak=dt.timedelta(-1))}, "negative"),
    ],
)
def test_a_plan_that_cannot_be_says_why(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        a_plan(**fields)


def test_people_give_a_reason_and_cannot_ask_for_what_does_not_fit() -> None:
    plan = a_plan()
    state = started(plan)
    with pytest.raises(PlanError, match="why is empty"):
        skip(plan, state, "n1", who="user:ada", why=" ", now=NOON)
    with pytest.raises(PlanError, match="no number other"):
        skip(plan, state, "other", now=NOON, **ADA)
    with pytest.raises(PlanError, match="waiting"):
        retry(plan, state, "n1", now=NOON, **ADA)
    skipped = skip(plan, state, "n1", now=NOON, **ADA).state
    with pytest.raises(PlanError, match="nothing to skip"):
        skip(plan, skipped, "n1", now=NOON, **ADA)
    finished = advance(plan, skipped, {}, NOON).state
    assert finished.status == "finished"
    assert retry(plan, finished, "n1", now=NOON, **ADA).state.status == "running"


def test_a_dearer_number_stops_until_somebody_accepts_it() -> None:
    plan = a_plan()
    progress = started(plan).of("n1")
    facts = replace(GOOD, dearer="a minute is dearer here")
    (gate,) = (each for each in gates_of(plan, progress, facts, NOON) if each.name == "cost")
    assert (gate.verdict, gate.evidence) == ("stop", {"dearer": "a minute is dearer here"})
    assert "nobody has accepted" in gate.words
    (gate,) = (each for each in gates_of(plan, progress, GOOD, NOON) if each.name == "cost")
    assert gate.is_open
