"""Two at the same number at the same time: one move, one restore, one incident, and no deadlock.

Run on both databases: SQLite lets one write at a time, PostgreSQL locks rows.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from django.db import connection, transaction
from django.utils import timezone

from calls.models import Incident, NumberChange, NumberGuard, NumberMove, PhoneNumber
from calls.services.guards import Memory, guards_judge, incident_close, tries_due, try_carry_out
from calls.services.incidents import IncidentError
from calls.services.move_rows import Held, MoveLost, take
from calls.services.number_moves import move_continue, move_run, restore_begin
from calls.services.number_routes import RouteOrder, RouteOvertaken, route_set
from tests.integration.guard.test_restores import go_bad, here, standins, twilio
from tests.integration.moves.test_moves import begin
from tests.integration.moves.twilio import Twilio
from tests.platform import wait_until

__all__ = ["standins", "twilio"]

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

T = TypeVar("T")


def together(*work: Callable[[], T]) -> list[T | BaseException]:
    """Do everything at once, each in a thread with a connection of its own."""
    gate = threading.Barrier(len(work))
    found: list[T | BaseException] = [RuntimeError("never ran") for _ in work]

    def run(place: int) -> None:
        gate.wait(20)
        try:
            found[place] = work[place]()
        except (IncidentError, RouteOvertaken) as error:
            found[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(work))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert not any(each.is_alive() for each in threads)
    return found


def waits_for_a_lock() -> bool:
    """Tell whether somebody waits for a row; SQLite's waiters cannot be seen."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_of_all_who_want_a_move_one_has_it_and_who_lost_it_writes_nothing(twilio: Twilio) -> None:
    move = begin(twilio.number(0))
    held = [each for each in together(*[lambda: take(move.pk)] * 4) if each is not None]
    [first] = held
    assert isinstance(first, Held)
    NumberMove.objects.filter(pk=move.pk).update(lease_until=timezone.now())
    second = take(move.pk)
    assert second is not None
    with pytest.raises(MoveLost):
        first.write(problem="late")
    first.release()
    second.write(problem="mine")
    assert NumberMove.objects.get(pk=move.pk).problem == "mine"


def test_restores_that_are_ordered_at_once_are_one(twilio: Twilio) -> None:
    number = here(twilio)

    def order() -> Any:
        return restore_begin(number=number, actor=None, why="now", tells_workers=False)

    found = together(*[order] * 3)
    assert len({each.pk for each in found if isinstance(each, NumberMove)}) == 1
    assert NumberMove.objects.filter(direction="back").count() == 1
    assert NumberChange.objects.filter(number=number).count() == 1


def test_a_failed_test_call_and_a_restore_by_a_person_do_not_wait_for_each_other(
    twilio: Twilio,
) -> None:
    number = twilio.number(0)
    twilio.number(0, can_call=True)
    move = begin(number)
    move_continue(move.pk, within_seconds=0)
    rows = NumberMove.objects.filter(pk=move.pk)
    assert rows.update(test_placed_at=timezone.now() - dt.timedelta(minutes=1), test_call_sid="CA1")
    ended: list[str] = []

    def engine() -> None:
        try:
            ended.append(move_run(move.pk, within_seconds=5).state)
        finally:
            connection.close()

    worker = threading.Thread(target=engine)
    with transaction.atomic():
        PhoneNumber.objects.select_for_update(of=("self",)).get(pk=number.pk)
        worker.start()
        wait_until(waits_for_a_lock, what="the engine at the number's lock", seconds=20)
        assert restore_begin(number=number, actor=None, why="now", tells_workers=False) is not None
    worker.join(30)
    assert ended == ["nothing"]
    assert rows.get().step == "replaced"
    assert NumberMove.objects.filter(direction="back").count() == 1


def test_guard_plan_and_person_at_one_number_open_one_incident_and_it_goes_home(
    twilio: Twilio,
) -> None:
    number = here(twilio)
    number.refresh_from_db()
    go_bad(number)

    def watch() -> Any:
        tries = guards_judge(timezone.now(), Memory())[1]
        return [*tries, *tries_due(timezone.now())]

    def plan() -> Any:
        return route_set(
            number_id=number.pk,
            order=RouteOrder("canary", canary_percent=50),
            actor="plan",
            why="next step",
            kind="plan",
            expected_version=number.version,
        )

    def person() -> Any:
        for row in Incident.objects.all():
            incident_close(incident=row, actor="user:ops", why="it is over")

    first, second, step, _ = together(watch, watch, plan, person)
    assert isinstance(first, list) and isinstance(second, list)
    assert len([*first, *second]) == 1
    [row] = Incident.objects.all()
    assert row.closed_at is None, "it is being restored"
    if not isinstance(step, RouteOvertaken):
        # The plan was first; whoever comes after it sends the number home all the same.
        assert isinstance(step, NumberChange)
    number.refresh_from_db()
    assert number.route == "vapi"
    assert try_carry_out([*first, *second][0]) == "restored"
    assert twilio.changed() == {}
    assert NumberGuard.objects.get(number=number, stack="direct").next_at is None
