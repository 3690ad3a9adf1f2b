"""People are told that something needs them: notices into the outbox, and who receives them.

Owns what a notice is for each kind of receiver and the rows of receivers. Delivery, its retries
and its record are the outbox's. It must not name a telephone number, a caller or what was said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from calls.events.delivery import deliver_now
from calls.events.outbox import notices_write, trial_notice_write
from calls.events.receivers import endpoint_of_row
from calls.events.signature import new_secret
from calls.models import DeliveryAttempt, Incident, Notice, NoticeReceiver, OutboxEvent
from calls.services.event_destinations import OVERLAP
from calls.wire import notices as wire
from voiceplatform.base.models import Organisation
from voiceplatform.base.rest import iso
from voiceplatform.base.services import audit_write

_SUBJECT, _WORDS = 200, 4_000


def notice_enqueue(
    *,
    organisation: Organisation,
    key: str,
    subject: str,
    words: str,
    ids: Mapping[str, str],
    incident: Incident | None = None,
) -> int:
    """Tell everybody who wants notices of this organisation; in the caller's transaction.

    The same ``key`` is told once, whoever asks and how often.

    Args:
        key: names the cause, at most 160 characters.
        subject, words: sentences with ids and figures only; what looks like a telephone number is
            masked.
        ids: what a receiver looks the matter up by, e.g. ``{"incident": "…"}``.

    Returns:
        How many receivers are told.

    Raises:
        RuntimeError: there is no transaction, so the notice could outlive its cause.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("a notice is written in the transaction of its cause")
    subject, words = wire.without_numbers(subject)[:_SUBJECT], wire.without_numbers(words)[:_WORDS]
    notice, is_new = Notice.objects.get_or_create(
        organisation=organisation,
        key=key,
        defaults={"subject": subject, "words": words, "ids": dict(ids), "incident": incident},
    )
    if not is_new:
        return 0
    receivers = NoticeReceiver.objects.filter(organisation=organisation, enabled=True)
    rows = list(receivers.defer("address", "secret", "earlier_secret").order_by("pk"))
    return notices_write(notice, [(row, partial(_payload, row.kind, notice)) for row in rows])


def _payload(kind: str, notice: Notice, event_id: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "subject": notice.subject,
        "words": notice.words,
        "ids": {str(name): str(value) for name, value in notice.ids.items()},
    }
    if kind == NoticeReceiver.Kind.SLACK:
        return wire.slack_notice(**said)
    if kind == NoticeReceiver.Kind.EMAIL:
        return wire.mail_notice(**said)
    return wire.json_notice(event_id, **said, at=iso(notice.created_at) or "")


def receiver_created(*, row: NoticeReceiver, actor: Any, fields: Sequence[str]) -> str:
    """Store a new receiver; return the secret of a webhook, which is shown this once, else ''."""
    row.secret = new_secret() if row.kind == NoticeReceiver.Kind.WEBHOOK else ""
    with transaction.atomic():
        row.save()
        _audit(row, actor, "create", fields=list(fields))
    return row.secret


def receiver_changed(*, row: NoticeReceiver, actor: Any, fields: Sequence[str]) -> None:
    """Store what a person changed of a receiver."""
    if row.enabled:
        row.switched_off_at = None
    with transaction.atomic():
        row.save()
        _audit(row, actor, "update", fields=list(fields))


def receiver_secret_renew(*, row: NoticeReceiver, actor: Any) -> str:
    """Give a webhook a new secret and return it; the one before signs too for ``OVERLAP``."""
    fresh = new_secret()
    with transaction.atomic():
        NoticeReceiver.objects.filter(pk=row.pk).update(
            secret=fresh,
            earlier_secret=row.secret,
            earlier_secret_until=timezone.now() + OVERLAP if row.secret else None,
        )
        _audit(row, actor, "renew_secret")
    return fresh


def receiver_earlier_secret_end(*, row: NoticeReceiver, actor: Any) -> bool:
    """Let the secret before the present one sign no more; False where there is none."""
    with transaction.atomic():
        rows = NoticeReceiver.objects.filter(pk=row.pk, earlier_secret_until__isnull=False)
        if not rows.update(earlier_secret="", earlier_secret_until=None):
            return False
        _audit(row, actor, "end_earlier_secret")
    return True


def receiver_test(*, row: NoticeReceiver, actor: Any) -> DeliveryAttempt | None:
    """Send a receiver a test notice now and return the attempt; it is not repeated.

    Returns None where the attempt is a worker's, or could not be made.
    """
    said = Notice(
        organisation_id=row.organisation_id,
        subject="A test of notices",
        words=f"A test of “{row.name}”. Nothing happened, and nothing is to be done.",
        created_at=timezone.now(),
    )
    with transaction.atomic():
        event = trial_notice_write(row, partial(_payload, row.kind, said))
        _audit(row, actor, "test")
    asyncio.run(deliver_now(event.pk))
    found: DeliveryAttempt | None = event.attempts.first()
    return found


def receiver_delete(*, row: NoticeReceiver, actor: Any) -> int:
    """Remove a receiver; what waited for it is given up. Returns how many notices that were."""
    with transaction.atomic():
        _audit(row, actor, "delete")
        waiting = OutboxEvent.objects.filter(
            notice_receiver=row, state=OutboxEvent.State.PENDING, endpoint=endpoint_of_row(row.pk)
        )
        given_up = waiting.update(
            state=OutboxEvent.State.DEAD, settled_at=timezone.now(), lease_until=None
        )
        row.delete()
    return given_up


def _audit(row: NoticeReceiver, actor: Any, verb: str, **details: Any) -> None:
    audit_write(
        actor=actor,
        action=f"noticereceiver.{verb}",
        organisation=row.organisation,
        target=row,
        details=details,
    )
