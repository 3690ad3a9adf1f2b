"""Orders from people about the outbox; delivery itself is not decided here."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from calls.events import outbox
from calls.models import OutboxEvent


def event_redeliver(*, event: OutboxEvent) -> bool:
    """Make ``event`` due now, delivered or not, with a whole series of attempts before it.

    Returns False while a worker holds it. The receiver recognises it by the same event id.
    """
    now = timezone.now()
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    changed = OutboxEvent.objects.filter(free, pk=event.pk).update(
        state=OutboxEvent.State.PENDING,
        next_attempt_at=now,
        lease_until=None,
        settled_at=None,
        earlier_attempts=F("attempt_count"),
    )
    if changed:
        transaction.on_commit(outbox.poke)
    return bool(changed)
