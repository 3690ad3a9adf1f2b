"""A plan through its rows: a week on a moved clock, two ticks at once, a kill, the guard's word."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.models import Incident, NumberChange, NumberMove, PhoneNumber, PlanEntry, PlanNumber
from calls.numbers.hours import Span
from calls.numbers.plan import Gates, PlanError
from calls.numbers.plan_step import advance
from calls.numbers.plan_words import seen_of
from calls.services import plan_ticks
from calls.services.number_routes import RouteOrder, route_set
from calls.services.plan_facts import NOT_CHECKED, NOT_HERE, plan_facts
from calls.services.plan_ticks import plan_tick, plans_tick
from calls.services.plans import (
    PlanOvertaken,
    plan_approve,
    plan_of,
    plan_pause,
    plan_resume,
    plan_retry,
    plan_skip,
    plan_start,
)
from tests import factories
from tests.integration.plans.week import (
    Week,
    make_calls,
    make_readiness,
    make_ready_number,
    with_parity,
)

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NEW_YORK = "America/New_York"
AT_NIGHT = ((Span(18 * 60, 9 * 60),),) * 7
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
SOON = Gates(soak=dt.timedelta(0), least_calls=0)


def local(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK)).astimezone(dt.UTC)


def progress(row: Any, number: PhoneNumber) -> Any:
    row.refresh_from_db()
    return plan_of(row)[1].of(str(number.pk))


def started(*numbers: PhoneNumber, **fields: Any) -> Any:
    row = factories.make_plan(numbers=numbers, **({"gates": SOON} | fields))
    return plan_start(row=row, actor="user:ada", why="as agreed", version=1)


def kinds(row: Any) -> list[str]:
    return list(PlanEntry.objects.filter(plan=row).order_by("pk").values_list("kind", flat=True))


def test_a_week_over_seven_numbers_through_rows(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A freeze day (Saturday), the end of summer time (Sunday), a gate that fails until Friday (n5),
    # a skip by a person (n6, the day before).
    begin = local("2026-10-29T08:00")
    time_machine.move_to(begin, tick=False)
    parity = with_parity(monkeypatch)
    numbers = [make_ready_number(name=f"n{index}") for index in range(1, 8)]
    parity.says[numbers[4].pk] = ("fail", "4 of 60 differ")
    row = started(
        *numbers,
        first_day=dt.date(2026, 10, 29),
        zone=NEW_YORK,
        quiet=AT_NIGHT,
        freeze_days=frozenset({dt.date(2026, 10, 31)}),
        gates=Gates(soak=dt.timedelta(minutes=30)),
        goes_on=True,
    )
    week = Week(row, numbers, time_machine, NEW_YORK)

    def skip_n6() -> None:
        number_id = str(numbers[5].pk)
        seen = "waiting/0/1/"
        plan_skip(row=row, number_id=number_id, actor="user:ada", why="line sold", seen=seen)

    def mend_n5() -> None:
        parity.says[numbers[4].pk] = ("pass", "")

    every = dt.timedelta(minutes=30)
    events = {local("2026-11-03T15:00"): skip_n6, local("2026-11-06T09:00"): mend_n5}
    for day in range(9):
        morning = local(f"{dt.date(2026, 10, 29) + dt.timedelta(days=day)}T08:30")
        week.run(morning, morning + dt.timedelta(hours=6.5), every, events)

    def a_day(day: str, name: str) -> list[tuple[str, str, str]]:
        # Each step is seen at the next tick, and has to stand for 30 minutes from there.
        times = ("09:00", "10:00", "11:00", "12:00", "13:00")
        what = ("5%", "25%", "50%", "100%", "arrived")
        return [(f"{day} {time}", name, each) for time, each in zip(times, what, strict=True)]

    assert week.moves() == [
        *a_day("Thu 29", "n1"),
        *a_day("Fri 30", "n2"),
        *a_day("Sun 01", "n3"),
        *a_day("Mon 02", "n4"),
        ("Tue 03 09:00", "n5", "held"),
        ("Tue 03 15:00", "n6", "skipped"),
        *a_day("Thu 05", "n7"),
        *a_day("Fri 06", "n5"),
    ]
    row.refresh_from_db()
    assert row.status == "finished"
    assert not PlanNumber.objects.filter(plan=row, holds=True).exists()
    routes = dict(PhoneNumber.objects.values_list("name", "route"))
    assert routes == {f"n{i}": "vapi" if i == 6 else "direct" for i in range(1, 8)}
    changes = NumberChange.objects.filter(kind="plan")
    assert changes.count() == 4 * 6
    assert set(changes.values_list("who", flat=True)) == {f"plan:{row.pk}"}
    sunday = PlanEntry.objects.filter(number=numbers[2], kind="step ordered").earliest("at")
    assert sunday.at == dt.datetime(2026, 11, 1, 14, tzinfo=dt.UTC)  # 13:00 while it was summer
    assert sunday.evidence["gates"]["parity"]["parity"] == "pass"
    third = PlanEntry.objects.filter(number=numbers[0], kind="step ordered")[1]
    assert third.evidence["gates"]["calls"]["calls"] >= 20


def test_an_order_that_was_lost_with_its_process_is_given_again(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    number = make_ready_number()
    row = started(number)
    with monkeypatch.context() as killed:
        killed.setattr(plan_ticks, "_carry_out", lambda *_: None)
        plans_tick()
    number.refresh_from_db()
    assert (number.route, progress(row, number).pending.percent) == ("vapi", 5)
    time_machine.shift(30)
    plans_tick()
    number.refresh_from_db()
    assert number.route == "vapi"  # it may still be on its way
    time_machine.shift(120)
    plans_tick()
    number.refresh_from_db()
    assert (number.route, number.canary_percent) == ("canary", 5)
    time_machine.shift(30)
    plans_tick()
    wanted = ["plan started", "wave opened", "step ordered", "step ordered again", "step seen"]
    assert kinds(row)[:5] == wanted
    assert NumberChange.objects.filter(number=number, after__canary_percent=5).count() == 1


def test_an_order_that_was_undone_at_once_stops_the_number_and_is_not_repeated(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    number = make_ready_number()
    row = started(number)
    plans_tick()
    route_set(number_id=number.pk, order=RouteOrder("vapi"), actor="user:bob", why="no")
    for _ in range(5):
        time_machine.shift(60)
        plans_tick()
    assert progress(row, number).phase == "stopped"
    assert "somebody else has changed the route" in row.entries.first().why
    number.refresh_from_db()
    assert number.route == "vapi"


def test_what_the_guard_has_put_back_meanwhile_is_not_written_over(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    number = make_ready_number(route="canary", canary_percent=5)
    row = started(number)
    carry_out = plan_ticks._carry_out

    def guard_first(*arguments: Any) -> None:
        route_set(number_id=number.pk, order=RouteOrder("vapi"), actor="guard", why="5 of 5")
        Incident.objects.create(
            organisation=number.organisation,
            key="k",
            number=number,
            stack="direct",
            opened_at=timezone.now(),
            state="restored",
            words="x",
        )
        carry_out(*arguments)

    with monkeypatch.context() as between:
        between.setattr(plan_ticks, "_carry_out", guard_first)
        plans_tick()
    number.refresh_from_db()
    assert (progress(row, number).pending.percent, number.route) == (25, "vapi")
    time_machine.shift(30)
    plans_tick()
    assert progress(row, number).phase == "stopped"
    assert row.status == "paused"
    assert kinds(row)[-2:] == ["number stopped", "plan paused"]
    # Without the incident alone the version of the route says it too.
    Incident.objects.update(closed_at=timezone.now())
    plan_retry(
        row=row,
        number_id=str(number.pk),
        actor="user:ada",
        why="again",
        seen="stopped/5/1/",
    )
    row.refresh_from_db()
    plan_resume(row=row, actor="user:ada", why="mended", version=row.version)

    def person_first(*arguments: Any) -> None:
        route_set(number_id=number.pk, order=RouteOrder("paused"), actor="user:bob", why="stop")
        carry_out(*arguments)

    monkeypatch.setattr(plan_ticks, "_carry_out", person_first)
    time_machine.shift(30)
    plans_tick()
    number.refresh_from_db()
    assert number.route == "paused"


@pytest.mark.parametrize("is_paused", [True, False], ids=["paused", "left out"])
def test_what_a_person_stops_between_the_tick_and_its_order_is_not_ordered(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch, is_paused: bool
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    number, other = make_ready_number(), make_ready_number()
    row = started(number, other)
    carry_out = plan_ticks._carry_out

    def person_first(*arguments: Any) -> None:
        by: dict[str, Any] = {"row": row, "actor": "user:ada", "why": "wait"}
        if is_paused:
            plan_pause(**by)
        else:
            seen = seen_of(progress(row, number))
            plan_skip(**by, number_id=str(number.pk), seen=seen)
        carry_out(*arguments)

    monkeypatch.setattr(plan_ticks, "_carry_out", person_first)
    plans_tick()
    number.refresh_from_db()
    assert number.route == "vapi"


def test_a_route_that_cannot_be_set_stops_the_number_with_the_reason(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    number = make_ready_number(assistant=None)
    row = started(number)
    plans_tick()
    assert progress(row, number).phase == "stopped"
    assert "Fix:" in row.entries.first().why
    number.refresh_from_db()
    assert number.route == "vapi"


def test_a_number_that_is_not_here_or_was_never_checked_waits(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    number = factories.make_number(route="vapi", previous_voice_url="https://old.example/x")
    row = started(number)
    plans_tick()
    held = row.entries.get(kind="number held")
    assert NOT_HERE in held.why and NOT_CHECKED in held.why
    make_readiness(number, "It is Vapi's number.")
    assert _readiness(row) == (NOT_HERE, "It is Vapi's number.")
    make_readiness(number)
    make_calls(number, 1, stack="vapi")
    assert _readiness(row) == ()
    # Its newest move is what counts, and a way back that was finished says that it is elsewhere.
    here = _move(number, "here", step="tested")
    assert _readiness(row) == ()
    here.step, here.closed_at, here.finished_at = "done", timezone.now(), timezone.now()
    here.save()
    time_machine.shift(1)
    _move(number, "back", restores=here, step="done", finished_at=timezone.now())
    assert _readiness(row) == (NOT_HERE,)


def _readiness(row: Any) -> tuple[str, ...]:
    plan, state = plan_of(row)
    (facts,) = plan_facts(plan, state).facts.values()
    return facts.readiness


def _move(number: PhoneNumber, direction: str, **columns: Any) -> NumberMove:
    return NumberMove.objects.create(
        organisation=number.organisation,
        number=number,
        direction=direction,
        state={},
        snapshot={},
        may_be_written=True,
        who="system",
        **columns,
    )


def test_calls_since_the_step_are_judged_as_the_guard_judges_them(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    number = make_ready_number(route="canary", canary_percent=5)
    make_calls(number, 3, ended_reason="pipeline-error-openai-llm-failed")  # before the plan
    row = started(number, gates=Gates(soak=dt.timedelta(hours=9)))
    time_machine.shift(1)
    plans_tick()
    time_machine.shift(1)
    make_calls(number, 30)
    make_calls(number, 2, ended_reason="pipeline-error-openai-llm-failed")
    (dead,) = make_calls(number, 1, metrics={"streams": [{"counters": {"dead_air": 1}}]})
    (tooled,) = make_calls(number, 1, first_word_ms=9_000)
    factories.make_tool_invocation(tooled, state="error", started_ms=1)
    make_calls(number, 5, stack="vapi")
    plan, state = plan_of(type(row).objects.get(pk=row.pk))
    (facts,) = plan_facts(plan, state).facts.values()
    assert (facts.calls, facts.bad_calls) == (34, 4)
    assert (facts.first_word_p95_ms, facts.turn_p95_ms) == (900, 1_100)
    assert dead.metrics["streams"]


def test_facts_of_forty_numbers_take_as_few_queries_as_of_one(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    counts = []
    for many in (1, 40):
        shared: dict[str, Any] = {
            "twilio_account": factories.make_account(),
            "assistant": factories.make_assistant(),
            "connection": factories.make_connection(),
            "policy": factories.make_policy(),
        }
        numbers = [
            make_ready_number(route="canary", canary_percent=5, **shared) for _ in range(many)
        ]
        row = started(*numbers, waves=(tuple(str(number.pk) for number in numbers),))
        plan_tick(row.pk)
        row.refresh_from_db()
        plan, state = plan_of(row)
        with CaptureQueriesContext(connection) as queries:
            known = plan_facts(plan, state)
        assert len(known.facts) == many
        counts.append(len(queries))
    assert counts[1] <= counts[0] <= 8


def test_a_plan_holds_its_numbers_until_it_lets_them_go(time_machine: Any) -> None:
    time_machine.move_to(NOON, tick=False)
    number = make_ready_number()
    first = started(number)
    second = factories.make_plan(numbers=[number])
    with pytest.raises(PlanError, match="another plan that is on has one of these numbers"):
        plan_start(row=second, actor="user:bob", why="too", version=1)
    number_id = str(number.pk)
    plan_skip(row=first, number_id=number_id, actor="user:ada", why="x", seen="waiting/0/1/")
    plan_start(row=second, actor="user:bob", why="now", version=1)
    with pytest.raises(PlanError, match="another plan"):
        plan_retry(row=first, number_id=number_id, actor="user:ada", why="x", seen="skipped/0/1/")


def test_who_presses_a_button_on_an_old_page_is_told_and_changes_nothing(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    number = make_ready_number()
    row = started(number, gates=Gates(approval="every step"))
    by = {"row": row, "number_id": str(number.pk), "actor": "user:ada", "why": "fine"}
    plan_approve(**by, percent=5, seen="waiting/0/1/")
    plans_tick()
    with pytest.raises(PlanOvertaken, match="stands differently"):
        plan_skip(**by, seen="waiting/0/1/")
    plan_pause(row=row, actor="user:ada", why="hold on")
    with pytest.raises(PlanOvertaken, match="has changed since"):
        plan_resume(row=row, actor="user:bob", why="go", version=2)
    with pytest.raises(PlanError, match="why is empty"):
        plan_pause(row=row, actor="user:ada", why=" ")


def test_a_plan_that_cannot_be_read_says_so_and_stops_no_other(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    broken, number = started(make_ready_number()), make_ready_number()
    type(broken).objects.filter(pk=broken.pk).update(definition={"version": 9})
    good = started(number)
    plans_tick()
    broken.refresh_from_db()
    assert "form 9" in broken.problem and "Fix:" in broken.problem
    assert progress(good, number).pending is not None


def test_a_number_that_was_deleted_is_left_out(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    gone = factories.make_number(route="vapi")
    number = make_ready_number()
    row = started(gone, number, first_day=NOON.date())
    gone.delete()
    plans_tick()
    time_machine.shift(86_400)
    plans_tick()
    assert progress(row, number).pending is not None
    assert row.entries.get(kind="number skipped").why == "the number was deleted"


def test_two_ticks_at_once_order_one_step(
    time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_machine.move_to(NOON, tick=False)
    with_parity(monkeypatch)
    number = make_ready_number()
    row = started(number)
    done: list[bool] = []

    def other_first(*arguments: Any) -> Any:
        monkeypatch.setattr(plan_ticks, "advance", advance)
        done.append(plan_tick(row.pk))
        return advance(*arguments)

    monkeypatch.setattr(plan_ticks, "advance", other_first)
    done.append(plan_tick(row.pk))
    assert done == [True, False]
    assert kinds(row).count("step ordered") == 1
    assert NumberChange.objects.filter(number=number).count() == 1
