"""The outbox: with its cause, claimed once, settled once, at least once delivered."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from calls.events import outbox
from calls.events.outbox import (
    Attempt,
    Destination,
    claim,
    due_ids,
    event_enqueue,
    event_id,
    settle,
)
from calls.models import Call, DeliveryAttempt, OutboxEvent
from calls.services.redelivery import event_redeliver
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

PLACE = Destination("https://example.com/hook", {"X-Vapi-Secret": "s3cret"})


def _enqueue(call: Call, key: str = "report") -> bool:
    with transaction.atomic():
        return event_enqueue(
            call=call,
            kind="end-of-call-report",
            dedupe_key=f"{key}:{call.pk}",
            destination=PLACE,
            payload={"message": {"type": "end-of-call-report"}},
        )


def test_an_event_outside_a_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError, match="transaction of its cause"):
        event_enqueue(
            call=factories.make_call(), kind="k", dedupe_key="k", destination=PLACE, payload={}
        )


def test_an_event_goes_with_its_cause(doorbell: list[str]) -> None:
    call = factories.make_call()
    with pytest.raises(LookupError), transaction.atomic():
        event_enqueue(call=call, kind="k", dedupe_key="k", destination=PLACE, payload={})
        raise LookupError
    assert OutboxEvent.objects.count() == 0
    assert doorbell == []


def test_one_cause_is_one_event_with_one_id(doorbell: list[str]) -> None:
    call = factories.make_call()
    assert _enqueue(call)
    assert not _enqueue(call)
    event = OutboxEvent.objects.get()
    assert event.pk == event_id(f"report:{call.pk}")
    assert doorbell == ["rung"]


def test_destination_and_payload_are_sealed_at_rest() -> None:
    _enqueue(factories.make_call())
    with connection.cursor() as cursor:
        cursor.execute("SELECT destination, payload FROM calls_outboxevent")
        stored = "".join(cursor.fetchone())
    assert "s3cret" not in stored
    assert "end-of-call-report" not in stored


def test_only_one_of_many_workers_gets_an_event() -> None:
    _enqueue(factories.make_call())
    (wanted,) = due_ids(10)
    start, taken = Barrier(4), []

    def work() -> None:
        start.wait()
        taken.append(claim(wanted))
        connection.close()

    workers = [Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len([event for event in taken if event is not None]) == 1
    assert due_ids(10) == []


def test_an_abandoned_lease_runs_out(time_machine: Any) -> None:
    _enqueue(factories.make_call())
    first = claim(due_ids(1)[0])
    assert first is not None
    time_machine.move_to(timezone.now() + timedelta(seconds=outbox.LEASE_SECONDS + 1))
    second = claim(due_ids(1)[0])
    assert second is not None
    assert (first.attempt_count, second.attempt_count) == (1, 2)


def test_a_late_settlement_does_not_undo_the_newer_attempt(time_machine: Any) -> None:
    _enqueue(factories.make_call())
    first = claim(due_ids(1)[0])
    time_machine.move_to(timezone.now() + timedelta(seconds=outbox.LEASE_SECONDS + 1))
    second = claim(due_ids(1)[0])
    assert first is not None and second is not None
    settle(second, Attempt(5, 200))
    settle(first, Attempt(70_000, None, "timeout"))
    event = OutboxEvent.objects.get()
    assert event.state == OutboxEvent.State.DELIVERED
    assert list(DeliveryAttempt.objects.values_list("number", flat=True)) == [1, 2]


def test_a_failure_waits_and_then_comes_again() -> None:
    _enqueue(factories.make_call())
    event = claim(due_ids(1)[0])
    assert event is not None
    settle(event, Attempt(12, 503, response_excerpt="busy"))
    event.refresh_from_db()
    assert event.state == OutboxEvent.State.PENDING
    assert event.lease_until is None
    assert event.next_attempt_at > timezone.now()
    assert due_ids(10) == []


@pytest.mark.parametrize("attempts_before", [0, 50])
def test_gone_or_too_often_is_given_up_visibly(attempts_before: int) -> None:
    _enqueue(factories.make_call())
    OutboxEvent.objects.update(attempt_count=attempts_before)
    event = claim(due_ids(1)[0])
    assert event is not None
    settle(event, Attempt(12, 410 if attempts_before == 0 else 500))
    event.refresh_from_db()
    assert event.state == OutboxEvent.State.DEAD
    assert event.settled_at is not None


def test_a_redelivered_event_gets_a_whole_new_series_of_attempts() -> None:
    _enqueue(factories.make_call())
    OutboxEvent.objects.update(attempt_count=50)
    event = claim(due_ids(1)[0])
    assert event is not None
    settle(event, Attempt(12, 500))
    assert event_redeliver(event=event)
    event = claim(due_ids(1)[0])
    assert event is not None
    settle(event, Attempt(12, 500))
    event.refresh_from_db()
    assert event.state == OutboxEvent.State.PENDING
    assert event.next_attempt_at < timezone.now() + timedelta(seconds=10)
    assert list(event.attempts.values_list("number", flat=True)) == [51, 52]


def test_redelivery_keeps_the_id(doorbell: list[str]) -> None:
    _enqueue(factories.make_call())
    event = claim(due_ids(1)[0])
    assert event is not None
    settle(event, Attempt(3, 200))
    assert event_redeliver(event=event)
    assert due_ids(10) == [event.pk]
