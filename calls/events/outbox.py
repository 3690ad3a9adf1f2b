"""The outbox: rows written with their cause, claimed with a lease, settled once.

An event exists if and only if its cause was committed. Celery is only the doorbell: the poke may
fail, the beat comes round every few seconds.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from kombu.exceptions import OperationalError

from calls.events.retry import delay_seconds, is_permanent
from calls.models import Call, DeliveryAttempt, OutboxEvent

LEASE_SECONDS = 60
SCHEMA_VERSION = 1

log = structlog.get_logger(__name__)
# One thread, and at most one poke waiting: pokes of many calls fold into one, and nobody waits for
# the broker.
_doorbell = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox-poke")
_poke_waits = threading.Event()


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an event goes; ``headers`` hold Vapi's secret, ``signing_secret`` signs our own log."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 20.0
    signing_secret: str = field(default="", repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "url": self.url,
            "headers": dict(self.headers),
            "timeout_seconds": self.timeout_seconds,
            "signing_secret": self.signing_secret,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Destination:
        """Read the stored form, also one that another version wrote."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: each for name, each in value.items() if name in known})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one try."""

    duration_ms: int
    status_code: int | None = None
    error: str = ""
    response_excerpt: str = ""

    @property
    def delivered(self) -> bool:
        """Tell whether the receiver has it: any 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300


def event_id(dedupe_key: str) -> uuid.UUID:
    """Return the id of an event: the same cause has the same id, whoever writes it and when."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"voiceplatform:{dedupe_key}")


def event_enqueue(
    *, call: Call, kind: str, dedupe_key: str, destination: Destination, payload: Mapping[str, Any]
) -> bool:
    """Write an event in the caller's transaction; False if it has been written before.

    The payload is stored as it is now: a later deploy cannot change what happened.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an event is written in the transaction of its cause")
    _, created = OutboxEvent.objects.get_or_create(
        dedupe_key=dedupe_key,
        defaults={
            "id": event_id(dedupe_key),
            "organisation_id": call.organisation_id,
            "call": call,
            "kind": kind,
            "schema_version": SCHEMA_VERSION,
            "destination": destination.to_json(),
            "destination_host": urlsplit(destination.url).hostname or "",
            "payload": dict(payload),
            "next_attempt_at": timezone.now(),
        },
    )
    if created:
        transaction.on_commit(poke)
    return created


def poke() -> None:
    """Ask a worker to look now, from a thread; a lost poke costs seconds, never an event."""
    if not _poke_waits.is_set():
        _poke_waits.set()
        _doorbell.submit(_ring)


def _ring() -> None:
    from calls.tasks import drain_outbox

    _poke_waits.clear()  # what is committed from now on needs a ring of its own
    try:
        drain_outbox.apply_async(retry=False)
    except (OperationalError, OSError) as error:
        log.info("outbox_poke_lost", error=type(error).__name__)


def due_ids(limit: int) -> list[Any]:
    """Return ids of events whose time has come and that nobody holds."""
    now = timezone.now()
    return list(
        OutboxEvent.objects.filter(
            Q(lease_until__isnull=True) | Q(lease_until__lt=now),
            state=OutboxEvent.State.PENDING,
            next_attempt_at__lte=now,
        )
        .order_by("next_attempt_at")
        .values_list("pk", flat=True)[:limit]
    )


def claim(event_id: Any) -> OutboxEvent | None:
    """Take an event for one attempt by a conditional UPDATE; None if somebody else was first.

    Raises:
        DecryptionError: it is taken, but no key opens it; ``claimed_sealed`` returns it.
    """
    now = timezone.now()
    taken = OutboxEvent.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now),
        pk=event_id,
        state=OutboxEvent.State.PENDING,
        next_attempt_at__lte=now,
    ).update(
        lease_until=now + timedelta(seconds=LEASE_SECONDS), attempt_count=F("attempt_count") + 1
    )
    return OutboxEvent.objects.get(pk=event_id) if taken else None


def claimed_sealed(event_id: Any) -> OutboxEvent:
    """Return an event that was taken, without what is sealed in it: enough to settle it."""
    event: OutboxEvent = OutboxEvent.objects.defer("destination", "payload").get(pk=event_id)
    return event


def settle(event: OutboxEvent, attempt: Attempt) -> None:
    """Store an attempt and what follows from it, if the lease is still ours."""
    now = timezone.now()
    with transaction.atomic():
        DeliveryAttempt.objects.get_or_create(
            event=event,
            number=event.attempt_count,
            defaults={
                "duration_ms": attempt.duration_ms,
                "status_code": attempt.status_code,
                "error": attempt.error[:300],
                "response_excerpt": attempt.response_excerpt.replace("\x00", "")[:500],
            },
        )
        changes: dict[str, Any] = {"lease_until": None}
        tries = event.attempt_count - event.earlier_attempts
        wait = delay_seconds(tries, random.random())  # noqa: S311 - spreads load only
        if attempt.delivered:
            changes |= {"state": OutboxEvent.State.DELIVERED, "settled_at": now}
        elif wait is None or is_permanent(attempt.status_code):
            changes |= {"state": OutboxEvent.State.DEAD, "settled_at": now}
        else:
            changes["next_attempt_at"] = now + timedelta(seconds=wait)
        OutboxEvent.objects.filter(
            pk=event.pk, state=OutboxEvent.State.PENDING, attempt_count=event.attempt_count
        ).update(**changes)
    log.info(
        "event_attempted",
        event_id=str(event.pk),
        kind=event.kind,
        attempt=event.attempt_count,
        status_code=attempt.status_code,
        error=attempt.error,
        delivered=attempt.delivered,
    )
