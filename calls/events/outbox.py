"""The outbox: rows written with their cause, claimed with a lease, settled once.

An event exists if and only if its cause was committed. Celery is only the doorbell: the poke may
fail, the beat comes round every few seconds. A call's events reach one endpoint in order, until one
of them has failed for a minute; then the later ones pass it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.db import connection, transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from calls.events.composed import whole_payload
from calls.events.receivers import (
    endpoint_of_row,
    endpoint_of_url,
    receivers_for,
)
from calls.events.retry import delay_seconds, is_permanent
from calls.models import (
    Call,
    DeliveryAttempt,
    EventDestination,
    Notice,
    NoticeReceiver,
    OutboxEvent,
)
from voiceplatform.base.job_bell import Doorbell
from voiceplatform.base.services import audit_write

LEASE_SECONDS = 60
# How long a failing event holds up the later ones of its call.
ORDER_HOLDS = timedelta(seconds=60)
SCHEMA_VERSION = 1
# A person asked for it and looks at the answer: it is sent once.
TEST_KIND = "test"
NOTICE_KIND = "notice"

log = structlog.get_logger(__name__)
_doorbell = Doorbell("outbox-poke")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an event goes; ``headers`` hold Vapi's secret, ``signing_secret`` signs our own log.

    ``credential_id`` names how a Vapi server is asked (vapi.md 4.2); its secrets are looked up when
    the event is sent. ``secrets`` sign as Standard Webhooks do and are never stored with an event.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 20.0
    signing_secret: str = field(default="", repr=False)
    credential_id: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "url": self.url,
            "headers": dict(self.headers),
            "timeout_seconds": self.timeout_seconds,
            "signing_secret": self.signing_secret,
            **({"credential_id": self.credential_id} if self.credential_id else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Destination:
        """Read the stored form, also one that another version wrote."""
        known = {each.name for each in fields(cls)} - {"secrets"}
        return cls(**{name: each for name, each in value.items() if name in known})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one try; ``is_final``: another one can never do better."""

    duration_ms: int
    status_code: int | None = None
    error: str = ""
    response_excerpt: str = ""
    retry_after_seconds: float | None = None
    is_final: bool = False

    @property
    def delivered(self) -> bool:
        """Tell whether the receiver has it: any 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300


def event_id(dedupe_key: str) -> uuid.UUID:
    """Return the id of an event: the same cause has the same id, whoever writes it and when."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"voiceplatform:{dedupe_key}")


# Given the id of the event and its sequence.
Render = Callable[[str, int], Mapping[str, Any]]


def event_enqueue(
    *,
    call: Call,
    kind: str,
    dedupe_key: str,
    destination: Destination | None,
    payload: Mapping[str, Any] | Render,
) -> bool:
    """Write an event in the caller's transaction; False if it has been written before.

    It goes to ``destination``, if there is one, and to every receiver that wants its kind. The
    payload is stored as it is now: a later deploy cannot change what happened.

    Args:
        payload: a function renders it for each of them.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an event is written in the transaction of its cause")
    created = False
    if destination is not None:
        created = _write(
            call=call,
            kind=kind,
            dedupe_key=dedupe_key,
            endpoint=endpoint_of_url(destination.url),
            payload=payload,
            destination=destination.to_json(),
            destination_host=urlsplit(destination.url).hostname or "",
        )
    for row in receivers_for(call, kind):
        created |= _write(
            call=call,
            kind=kind,
            dedupe_key=f"{dedupe_key}:{row.pk}",
            endpoint=endpoint_of_row(row.pk),
            payload=payload,
            destination={},
            destination_host=row.url_host,
            receiver_id=row.pk,
        )
    if created:
        transaction.on_commit(poke)
    return created


@dataclass(frozen=True, slots=True)
class Told:
    """One of several events that are written together."""

    kind: str
    dedupe_key: str
    payload: Mapping[str, Any]


def endpoint_of(who: Destination | EventDestination) -> str:
    """Return the endpoint of a server, or of a team's receiver."""
    if isinstance(who, Destination):
        return endpoint_of_url(who.url)
    return endpoint_of_row(who.pk)


def events_enqueue(
    *, call: Call, told: Sequence[tuple[Destination | EventDestination, Sequence[Told]]]
) -> int:
    """Write events of a call in order, as ``event_enqueue`` would, in a handful of statements.

    Return how many are new.

    Args:
        told: what each is told.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an event is written in the transaction of its cause")
    wanted: list[tuple[str, str, Told, dict[str, Any]]] = []
    for who, events in told:
        columns: dict[str, Any] = {"destination": {}}
        if isinstance(who, Destination):
            columns["destination"] = who.to_json()
            columns["destination_host"] = urlsplit(who.url).hostname or ""
            suffix = ""
        else:
            columns |= {"destination_host": who.url_host, "receiver_id": who.pk}
            suffix = f":{who.pk}"
        wanted += [
            (f"{each.dedupe_key}{suffix}", endpoint_of(who), each, columns) for each in events
        ]
    keys = [key for key, *_ in wanted]
    known = set(
        OutboxEvent.objects.filter(dedupe_key__in=keys).values_list("dedupe_key", flat=True)
    )
    new = [each for each in wanted if each[0] not in known]
    next_of = {endpoint: _next_sequence(call, endpoint) for endpoint in {each[1] for each in new}}
    rows = []
    for key, endpoint, each, columns in new:
        rows.append(
            OutboxEvent(
                id=event_id(key),
                organisation_id=call.organisation_id,
                call=call,
                kind=each.kind,
                dedupe_key=key,
                schema_version=SCHEMA_VERSION,
                endpoint=endpoint,
                sequence=next_of[endpoint],
                payload=dict(each.payload),
                next_attempt_at=timezone.now(),
                **columns,
            )
        )
        next_of[endpoint] += 1
    OutboxEvent.objects.bulk_create(rows, ignore_conflicts=True)
    if rows:
        transaction.on_commit(poke)
    return len(rows)


def _write(
    *,
    call: Call,
    kind: str,
    dedupe_key: str,
    endpoint: str,
    payload: Mapping[str, Any] | Render,
    **columns: Any,
) -> bool:
    if OutboxEvent.objects.filter(dedupe_key=dedupe_key).exists():
        return False
    sequence = _next_sequence(call, endpoint)
    own_id = event_id(dedupe_key)
    said = payload(str(own_id), sequence) if callable(payload) else payload
    _, created = OutboxEvent.objects.get_or_create(
        dedupe_key=dedupe_key,
        defaults={
            "id": own_id,
            "organisation_id": call.organisation_id,
            "call": call,
            "kind": kind,
            "schema_version": SCHEMA_VERSION,
            "endpoint": endpoint,
            "sequence": sequence,
            "payload": dict(said),
            "next_attempt_at": timezone.now(),
            **columns,
        },
    )
    return created


def _next_sequence(call: Call, endpoint: str) -> int:
    if connection.features.has_select_for_update:
        # Two that count at once would count the same; SQLite has one writer anyway.
        list(Call.objects.select_for_update().filter(pk=call.pk).values_list("pk"))
    rows = OutboxEvent.objects.filter(call_id=call.pk, endpoint=endpoint)
    return int(rows.aggregate(newest=Max("sequence"))["newest"] or 0) + 1


def trial_write(row: EventDestination, payload: Render) -> OutboxEvent:
    """Write an event that a person asked for, to see whether ``row`` is reached; sent once."""
    own_id = uuid.uuid4()
    event: OutboxEvent = OutboxEvent.objects.create(
        id=own_id,
        organisation_id=row.organisation_id,
        kind=TEST_KIND,
        dedupe_key=f"{TEST_KIND}:{own_id}",
        schema_version=SCHEMA_VERSION,
        receiver=row,
        endpoint=endpoint_of_row(row.pk),
        destination={},
        destination_host=row.url_host,
        payload=dict(payload(str(own_id), 0)),
        next_attempt_at=timezone.now(),
    )
    return event


def notices_write(
    notice: Notice, told: Sequence[tuple[NoticeReceiver, Callable[[str], Mapping[str, Any]]]]
) -> int:
    """Write a notice for each of its receivers in the caller's transaction; return how many.

    Args:
        told: who, and what renders the payload, given the id of the event.
    """
    for row, payload in told:
        key = f"{NOTICE_KIND}:{notice.pk}:{row.pk}"
        _notice_write(row, kind=NOTICE_KIND, key=key, payload=payload, notice=notice)
    if told:
        transaction.on_commit(poke)
    return len(told)


def trial_notice_write(
    row: NoticeReceiver, payload: Callable[[str], Mapping[str, Any]]
) -> OutboxEvent:
    """Write a notice that a person asked for, to see whether ``row`` is reached; sent once."""
    return _notice_write(row, kind=TEST_KIND, key=f"{TEST_KIND}:{uuid.uuid4()}", payload=payload)


def _notice_write(
    row: NoticeReceiver,
    *,
    kind: str,
    key: str,
    payload: Callable[[str], Mapping[str, Any]],
    notice: Notice | None = None,
) -> OutboxEvent:
    own_id = event_id(key)
    event: OutboxEvent = OutboxEvent.objects.create(
        id=own_id,
        organisation_id=row.organisation_id,
        kind=kind,
        dedupe_key=key,
        schema_version=SCHEMA_VERSION,
        notice=notice,
        notice_receiver_id=row.pk,
        endpoint=endpoint_of_row(row.pk),
        destination={},
        destination_host=row.address_hint,
        payload=dict(payload(str(own_id))),
        next_attempt_at=timezone.now(),
    )
    return event


def poke() -> None:
    """Ask a worker to look now, from a thread; a lost poke costs seconds, never an event."""
    _doorbell.press(_ring)


def _ring() -> None:
    from calls.tasks import drain_outbox

    try:
        drain_outbox.apply_async(retry=False)
    except (OperationalError, OSError) as error:
        log.info("outbox_poke_lost", error=type(error).__name__)


def due_ids(limit: int) -> list[Any]:
    """Return ids of events whose time has come and that nobody holds."""
    return [event_id for event_id, _ in due_events(limit)]


def due_events(
    limit: int, *, held: Collection[Any] = (), full: Collection[str] = ()
) -> list[tuple[Any, str]]:
    """Return events whose time has come and that nobody holds, each with its endpoint.

    Args:
        held: ids that the caller has in hand.
        full: endpoints that have as much to do as they may.
    """
    rows = _due(timezone.now())
    if held:
        rows = rows.exclude(pk__in=held)
    if full:
        rows = rows.exclude(endpoint__in=full)
    found = rows.order_by("next_attempt_at", "sequence").values_list("pk", "endpoint")[:limit]
    return [(event_id, endpoint or "") for event_id, endpoint in found]


def _due(now: datetime) -> QuerySet[Any]:
    earlier = OutboxEvent.objects.filter(
        Q(failing_since__isnull=True) | Q(failing_since__gt=now - ORDER_HOLDS),
        call=OuterRef("call"),
        endpoint=OuterRef("endpoint"),
        sequence__lt=OuterRef("sequence"),
        state=OutboxEvent.State.PENDING,
    )
    rows: QuerySet[Any] = OutboxEvent.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now),
        # One that was switched off keeps what waits for it until somebody switches it on.
        Q(receiver__isnull=True) | Q(receiver__enabled=True),
        Q(notice_receiver__isnull=True) | Q(notice_receiver__enabled=True),
        ~Exists(earlier),
        state=OutboxEvent.State.PENDING,
        next_attempt_at__lte=now,
    )
    return rows


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
    if not taken:
        return None
    event: OutboxEvent = OutboxEvent.objects.select_related("receiver", "notice_receiver").get(
        pk=event_id
    )
    event.payload = whole_payload(event)
    return event


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
        changes = {"lease_until": None, **_consequence(event, attempt, now)}
        held = OutboxEvent.objects.filter(
            pk=event.pk, state=OutboxEvent.State.PENDING, attempt_count=event.attempt_count
        ).update(**changes)
        if held and is_permanent(attempt.status_code):
            if event.receiver_id is not None:
                _switch_off(event.receiver_id, now)
            if event.notice_receiver_id is not None:
                _notices_switch_off(event.notice_receiver_id, now)
    log.info(
        "event_attempted",
        event_id=str(event.pk),
        kind=event.kind,
        attempt=event.attempt_count,
        status_code=attempt.status_code,
        error=attempt.error,
        delivered=attempt.delivered,
    )


def _consequence(event: OutboxEvent, attempt: Attempt, now: datetime) -> dict[str, Any]:
    if attempt.delivered:
        return {"state": OutboxEvent.State.DELIVERED, "settled_at": now}
    tries = event.attempt_count - event.earlier_attempts
    jitter = random.random()  # noqa: S311 - spreads load only
    wait = delay_seconds(tries, jitter, attempt.retry_after_seconds)
    over = wait is None or attempt.is_final or event.kind == TEST_KIND
    failing = {"failing_since": event.failing_since or now}
    if wait is None or over or is_permanent(attempt.status_code):
        return {"state": OutboxEvent.State.DEAD, "settled_at": now, **failing}
    return {"next_attempt_at": now + timedelta(seconds=wait), **failing}


def _switch_off(receiver_id: uuid.UUID, now: datetime) -> None:
    """Send nothing more to a receiver that is gone (410) until somebody switches it on again."""
    rows = EventDestination.objects.filter(pk=receiver_id, enabled=True)
    if rows.update(enabled=False, switched_off_at=now):
        row = (
            EventDestination.objects.select_related("organisation")
            .only("name", "organisation")
            .get(pk=receiver_id)
        )
        audit_write(
            actor=None,
            action="eventdestination.switched_off",
            organisation=row.organisation,
            target=row,
            details={"status_code": 410},
        )


def _notices_switch_off(receiver_id: uuid.UUID, now: datetime) -> None:
    rows = NoticeReceiver.objects.filter(pk=receiver_id, enabled=True)
    if rows.update(enabled=False, switched_off_at=now):
        row = (
            NoticeReceiver.objects.select_related("organisation")
            .only("name", "organisation")
            .get(pk=receiver_id)
        )
        audit_write(
            actor=None,
            action="noticereceiver.switched_off",
            organisation=row.organisation,
            target=row,
            details={"status": 410},
        )
