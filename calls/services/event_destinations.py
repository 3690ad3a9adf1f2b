"""Receivers of events as people keep them: their secrets, whether they are on, a test, the end.

Writes rows and audit entries; what is sent to whom is ``calls.events``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from calls.events.delivery import deliver_now
from calls.events.outbox import trial_write
from calls.events.signature import new_secret
from calls.models import DeliveryAttempt, EventDestination, OutboxEvent
from calls.wire import call_events
from voiceplatform.base.services import audit_write

# A receiver needs a working day to change over; both secrets sign meanwhile.
OVERLAP = timedelta(hours=24)
_SLICE = 200  # rows of one transaction (design.md 9)


def destination_created(*, row: EventDestination, actor: Any, fields: Sequence[str]) -> str:
    """Store a new receiver and return its secret, which is shown this once."""
    row.secret = new_secret()
    row.active_since = timezone.now()
    with transaction.atomic():
        row.save()
        _audit(row, actor, "create", fields=list(fields))
    return row.secret


def destination_changed(*, row: EventDestination, actor: Any, fields: Sequence[str]) -> None:
    """Store what a person changed of a receiver.

    What it did not want until now is not told of calls that ended before.
    """
    if {"enabled", "kinds", "assistants", "numbers"} & set(fields):
        row.active_since = timezone.now()
    if row.enabled:
        row.switched_off_at = None
    with transaction.atomic():
        row.save()
        _audit(row, actor, "update", fields=list(fields))


def destination_switch_on(*, row: EventDestination, actor: Any) -> None:
    """Send again to a receiver that was switched off; what waited for it goes out now."""
    with transaction.atomic():
        EventDestination.objects.filter(pk=row.pk).update(enabled=True, switched_off_at=None)
        _audit(row, actor, "switched_on")


def secret_renew(*, row: EventDestination, actor: Any) -> str:
    """Give a receiver a new secret and return it; the one before signs too for ``OVERLAP``."""
    fresh = new_secret()
    with transaction.atomic():
        EventDestination.objects.filter(pk=row.pk).update(
            secret=fresh,
            earlier_secret=row.secret,
            earlier_secret_until=timezone.now() + OVERLAP if row.secret else None,
        )
        _audit(row, actor, "renew_secret")
    return fresh


def earlier_secret_end(*, row: EventDestination, actor: Any) -> bool:
    """Let the secret before the present one sign no more; False where there is none."""
    with transaction.atomic():
        rows = EventDestination.objects.filter(pk=row.pk, earlier_secret_until__isnull=False)
        if not rows.update(earlier_secret="", earlier_secret_until=None):
            return False
        _audit(row, actor, "end_earlier_secret")
    return True


def destination_test(*, row: EventDestination, actor: Any) -> DeliveryAttempt | None:
    """Send a receiver a test event now and return the attempt; it is not repeated.

    Returns None where the attempt is a worker's, or could not be made.
    """
    with transaction.atomic():
        event = trial_write(row, lambda event_id, _: call_events.trial(event_id, row.name))
        _audit(row, actor, "test")
    asyncio.run(deliver_now(event.pk))
    found: DeliveryAttempt | None = event.attempts.first()
    return found


def destination_delete(*, row: EventDestination, actor: Any) -> int:
    """Remove a receiver; what waited for it is given up. Returns how many events that were."""
    with transaction.atomic():
        EventDestination.objects.filter(pk=row.pk).update(enabled=False)
        _audit(row, actor, "delete")
    waiting = OutboxEvent.objects.filter(receiver=row, state=OutboxEvent.State.PENDING)
    given_up = 0
    while some := list(waiting.values_list("pk", flat=True)[:_SLICE]):
        given_up += OutboxEvent.objects.filter(pk__in=some, state=OutboxEvent.State.PENDING).update(
            state=OutboxEvent.State.DEAD, settled_at=timezone.now(), lease_until=None
        )
    # Django would set the column of all of them in one transaction.
    told = OutboxEvent.objects.filter(receiver=row)
    while some := list(told.values_list("pk", flat=True)[:_SLICE]):
        OutboxEvent.objects.filter(pk__in=some).update(receiver=None)
    row.delete()
    return given_up


def _audit(row: EventDestination, actor: Any, verb: str, **details: Any) -> None:
    audit_write(
        actor=actor,
        action=f"eventdestination.{verb}",
        organisation=row.organisation,
        target=row,
        details=details,
    )
