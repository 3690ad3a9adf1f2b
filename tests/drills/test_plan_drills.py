"""Weeks of plans through rows on a moved clock: many seeds, each with its own days and accidents.

The services, the rows, the gates and the routes are real; only the days and the callers are not.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from calls.models import NumberChange, PhoneNumber, PlanEntry
from calls.numbers.hours import Span
from calls.numbers.plan import Gates
from calls.services import plan_ticks
from calls.services.number_routes import RouteOrder, route_set
from calls.services.plan_facts import plan_facts
from calls.services.plan_pages import plan_calendar
from calls.services.plans import plan_of, plan_skip, plan_start
from tests import factories
from tests.drills.conftest import Tell
from tests.integration.plans.week import Week, make_ready_number, with_parity

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

# Each with a first day whose week holds a change of the clock, back or forward.
WEEKS = (
    ("America/New_York", dt.date(2026, 10, 29)),
    ("Europe/Berlin", dt.date(2026, 10, 22)),
    ("America/New_York", dt.date(2027, 3, 11)),
    ("Australia/Sydney", dt.date(2027, 4, 1)),
)
STEPS = (5, 25, 50, 100)


def test_weeks_over_seven_numbers(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch, count: Callable[[int, int], int], tell: Tell
) -> None:
    weeks = count(40, 1)
    lost = steps = 0
    for seed in range(weeks):
        found = _week(seed, time_machine, monkeypatch)
        lost, steps = lost + found[0], steps + found[1]
    tell(
        "weeks of plans over seven numbers",
        f"{weeks} weeks on a moved clock, each with a change of summer time, a freeze day, a gate "
        f"that failed for a day, a manual skip and orders lost with their process ({lost}): "
        f"{steps} steps, each ordered under one key and set once, none on a freeze day or in quiet "
        "hours, none past a closed gate, and every calendar told the day on which its plan began",
    )


def _week(seed: int, clock: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    chance = random.Random(seed)
    zone, first = WEEKS[seed % len(WEEKS)]
    tz = ZoneInfo(zone)

    def at(day: int, hour: int, minute: int = 0) -> dt.datetime:
        local = dt.datetime.combine(first + dt.timedelta(days=day), dt.time(hour, minute), tz)
        return local.astimezone(dt.UTC)

    clock.move_to(at(0, 8), tick=False)
    organisation = factories.make_organisation()
    shared: dict[str, Any] = {
        "twilio_account": factories.make_account(organisation),
        "assistant": factories.make_assistant(organisation),
        "connection": factories.make_connection(organisation),
        "policy": factories.make_policy(organisation),
    }
    numbers = [make_ready_number(organisation, **shared) for _ in range(7)]
    parity = with_parity(monkeypatch)
    freeze = first + dt.timedelta(days=chance.randint(1, 2))
    bad, skipped = numbers[chance.randint(1, 2)], numbers[chance.randint(4, 5)]
    parity.says[bad.pk] = ("fail", "4 of 60 differ")
    row = factories.make_plan(
        organisation,
        numbers=numbers,
        first_day=first,
        zone=zone,
        quiet=((Span(17 * 60, 9 * 60),),) * 7,
        freeze_days=frozenset({freeze}),
        gates=Gates(soak=dt.timedelta(minutes=30)),
        goes_on=True,
    )
    assert str(first) in plan_calendar(row)[0].title
    plan_start(row=row, actor="user:ada", why="as agreed", version=1)
    lost = 0
    carry_out = plan_ticks._carry_out

    def sometimes(*arguments: Any) -> None:
        nonlocal lost
        if chance.random() < 0.2:
            lost += 1  # the process died between its commit and its order
        else:
            carry_out(*arguments)

    def skip() -> None:
        number_id = str(skipped.pk)
        seen = "waiting/0/1/"
        plan_skip(row=row, number_id=number_id, actor="user:ada", why="line sold", seen=seen)

    events: dict[dt.datetime, Callable[[], Any]] = {
        at(4, 8, 30): lambda: parity.says.pop(bad.pk),
        at(2, 8, 30): skip,
    }
    week = Week(row, numbers, clock, zone)
    with monkeypatch.context() as dying:
        dying.setattr(plan_ticks, "_carry_out", sometimes)
        for day in range(12):
            week.run(at(day, 8, 30), at(day, 17), dt.timedelta(minutes=30), events)
            row.refresh_from_db()
            if row.status == "finished":
                break
    assert row.status == "finished", (seed, plan_of(row)[1])
    steps = 0
    for number in numbers:
        number.refresh_from_db()
        changes = NumberChange.objects.filter(number=number).order_by("created_at")
        shares = [change.after["canary_percent"] for change in changes]
        entries = PlanEntry.objects.filter(number=number).order_by("pk")
        if number == skipped:
            assert (number.route, shares) == (PhoneNumber.Route.VAPI, [])
            assert entries.get().kind == "number skipped"
            continue
        assert number.route == PhoneNumber.Route.DIRECT, seed
        assert shares[:3] == list(STEPS[:3]) and len(shares) == len(STEPS), (seed, shares)
        assert len({change.key for change in changes}) == len(STEPS)
        steps += len(shares)
        for entry in entries.filter(kind__in=("step ordered", "step ordered again")):
            local = entry.at.astimezone(tz)
            assert local.date() != freeze and 9 <= local.hour < 17, (seed, local)
        for entry in entries.filter(kind="step ordered"):
            assert entry.evidence["gates"]["parity"]["parity"] == "pass"
        if number == bad:
            assert entries.earliest("pk").kind == "number held"
            assert entries.filter(kind="step ordered").earliest("pk").at >= at(4, 9)
    return lost, steps


def test_a_route_that_somebody_takes_back_at_any_moment_is_never_written_over(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch, count: Callable[[int, int], int], tell: Tell
) -> None:
    """Between any two moments of a tick somebody else sets the route; the plan then keeps off."""
    with_parity(monkeypatch)
    rounds = count(40, 2)
    noon = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
    carry_out = plan_ticks._carry_out
    for seed in range(rounds):
        time_machine.move_to(noon, tick=False)
        number = make_ready_number()
        gates = Gates(soak=dt.timedelta(0), least_calls=0)
        row = factories.make_plan(numbers=[number], first_day=noon.date(), gates=gates)
        plan_start(row=row, actor=None, why="x", version=1)
        left = random.Random(seed).randint(0, 9)

        def back(number_id: Any = number.pk) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                order = RouteOrder("vapi")
                route_set(number_id=number_id, order=order, actor="user:bob", why="back")

        def facts_then(*arguments: Any, also: Callable[[], None] = back) -> Any:
            found = plan_facts(*arguments)
            also()
            return found

        def back_then(*arguments: Any, also: Callable[[], None] = back) -> None:
            also()
            carry_out(*arguments)

        with monkeypatch.context() as between:
            between.setattr(plan_ticks, "plan_facts", facts_then)
            between.setattr(plan_ticks, "_carry_out", back_then)
            for _ in range(12):
                plan_ticks.plan_tick(row.pk)
                back()
                time_machine.shift(60)
        number.refresh_from_db()
        row.refresh_from_db()
        assert left < 0
        changed = NumberChange.objects.filter(number=number, who="user:bob").get()
        if changed.before == changed.after:
            continue  # it was back already when they pressed
        later = NumberChange.objects.filter(number=number, created_at__gt=changed.created_at)
        assert (number.route, later.exists()) == ("vapi", False), seed
        assert plan_of(row)[1].numbers[0].phase == "stopped", seed
    tell(
        "a route taken back under a plan",
        f"{rounds} times somebody set the route back at another moment of a plan's ticks: it "
        "stayed back each time, and the number waited for a person",
    )
