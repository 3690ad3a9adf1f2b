"""Recording addresses: made, ended, found by their secret part, and what came through them.

Owns that an address fails open: whatever is wrong with our recording, the request goes on to the
customer's tool server and its answer back. Nothing is kept after the time of an address, nor when a
person ended it; forwarding goes on until the address is deleted, since somebody's live calls use it
until it is put back at Vapi. Sends nothing itself.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError, DataError, transaction
from django.db.models import F
from django.utils import timezone

from calls.models import ShimRecord, ToolShim
from calls.parity.logs.shim import kept_as_call
from calls.services.call_log_store import Store
from voiceplatform.base.egress import EgressRefused, encrypted
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation
from voiceplatform.base.services import audit_write

PREFIX: Final = "/tool-shim/"
USUAL_DAYS: Final = 7
LONGEST_DAYS: Final = 30
# An address that was asked so lately is still entered somewhere.
IN_USE: Final = dt.timedelta(hours=24)
# A record that could not be made part of its call in that time is given up.
KEPT_AT_MOST: Final = dt.timedelta(days=1)
_FRESH_SECONDS: Final = 5.0
_MOST_KNOWN: Final = 1000
_BATCH: Final = 200

log = structlog.get_logger(__name__)


class ShimRefused(ValueError):
    """The address cannot be made or taken away like that; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Where requests to one address go, and until when they are recorded."""

    shim_id: Any
    target_url: str = field(repr=False)
    records_until: dt.datetime

    def records(self, now: dt.datetime) -> bool:
        """Tell whether something is kept of a request that comes now."""
        return now < self.records_until


# By the secret's checksum: when it was read, and what was found. The last word of a database that
# is away is better than none.
_known: dict[str, tuple[float, Passage]] = {}


def token_hash(token: str) -> str:
    """Return under which checksum an address is found."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def shim_make(
    *,
    organisation: Organisation,
    name: str,
    target_url: str,
    days: int,
    actor: Any,
) -> ToolShim:
    """Make a recording address in front of ``target_url``.

    Raises:
        ShimRefused: the URL cannot be requested, is one of ours, or the days are none.
    """
    if not 1 <= days <= LONGEST_DAYS:
        raise ShimRefused(f"days: {days}. Fix: give 1 to {LONGEST_DAYS}")
    if not name.strip():
        raise ShimRefused("the name is empty. Fix: say which tools it is for")
    target_url = target_url.strip()
    try:
        encrypted(target_url)
    except EgressRefused as error:
        raise ShimRefused(str(error).rstrip(".")) from error
    if PREFIX in target_url and target_url.startswith(settings.PUBLIC_BASE_URL):
        raise ShimRefused("it leads to a recording address. Fix: enter the tool server's own URL")
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        row: ToolShim = ToolShim.objects.create(
            organisation=organisation,
            name=name.strip()[:120],
            target_url=target_url,
            token=token,
            token_hash=token_hash(token),
            records_until=timezone.now() + dt.timedelta(days=days),
            created_by=actor if getattr(actor, "pk", None) else None,
        )
        audit_write(actor=actor, action="shim.make", organisation=organisation, target=row)
    return row


def shim_address(row: ToolShim) -> str:
    """Return the address to be entered at Vapi; whoever has it can reach the tool server by it."""
    return f"{settings.PUBLIC_BASE_URL.rstrip('/')}{PREFIX}{row.token}"


def shim_stop(*, shim: ToolShim, actor: Any) -> bool:
    """End the recording; forwarding goes on. False when it had ended already."""
    now = timezone.now()
    with transaction.atomic():
        rows = ToolShim.objects.filter(pk=shim.pk, stopped_at__isnull=True, records_until__gt=now)
        if not rows.update(stopped_at=now):
            return False
        audit_write(actor=actor, action="shim.stop", organisation=shim.organisation, target=shim)
    return True


def shim_remove(*, shim: ToolShim, actor: Any, is_sure: bool = False) -> None:
    """Delete an address, after which requests to it fail.

    Raises:
        ShimRefused: it was asked within a day, so it is still entered at Vapi.
    """
    with transaction.atomic():
        rows = ToolShim.objects.select_for_update().defer("target_url", "token")
        row = rows.filter(pk=shim.pk).first()
        if row is None:
            return
        last = row.last_request_at
        if last is not None and last > timezone.now() - IN_USE and not is_sure:
            raise ShimRefused(
                "requests came within a day, so it is still entered at Vapi, and live calls would "
                "lose their tools. Fix: put the tool server's own URL back at Vapi first"
            )
        audit_write(actor=actor, action="shim.remove", organisation=shim.organisation, target=shim)
        while found := list(row.records.values_list("pk", flat=True)[:_BATCH]):
            ShimRecord.objects.filter(pk__in=found).delete()
        row.delete()


def passage_of(token: str) -> Passage | None:
    """Return where an address leads; None for one that does not exist.

    With the database away, or the row's key lost, what was known of it last.
    """
    key = token_hash(token)
    at, known = _known.get(key, (0.0, None))
    if known is not None and time.monotonic() - at < _FRESH_SECONDS:
        return known
    try:
        row = ToolShim.objects.filter(token_hash=key).first()
    except (DatabaseError, DecryptionError) as error:
        log.error("shim_unread", error=type(error).__name__)
        if known is None:
            raise
        return known
    if row is None:
        _known.pop(key, None)
        return None
    until = min(row.records_until, row.stopped_at or row.records_until)
    found = Passage(row.pk, row.target_url, until)
    if len(_known) >= _MOST_KNOWN:
        _known.pop(next(iter(_known)))
    _known[key] = (time.monotonic(), found)
    return found


def request_note(
    passage: Passage, *, kept: dict[str, Any] | None, received_at: dt.datetime, failed: bool
) -> None:
    """Count a request, and keep what is kept of it, in one transaction; after the answer."""
    with transaction.atomic():
        counted = ToolShim.objects.filter(pk=passage.shim_id).update(
            request_count=F("request_count") + 1,
            failure_count=F("failure_count") + int(failed),
            last_request_at=received_at,
        )
        if counted and kept is not None:
            ShimRecord.objects.create(
                shim_id=passage.shim_id, content=kept, received_at=received_at
            )


def _waiting() -> Iterator[tuple[int, Any]]:
    """Yield all that waits, in its order; what stays behind is not met twice."""
    last = 0
    rows = ShimRecord.objects.order_by("pk").values_list("pk", "shim__organisation")
    while found := list(rows.filter(pk__gt=last)[:_BATCH]):
        yield from found
        last = found[-1][0]


def records_drain(now: dt.datetime | None = None) -> int:
    """Make what came through part of the calls it belongs to; return how many requests.

    Done twice it changes nothing. What no key opens, or what cannot be stored, is gone in a day.
    """
    now = now or timezone.now()
    stores: dict[Any, Store] = {}
    done = 0
    for pk, organisation_id in _waiting():
        try:
            record = ShimRecord.objects.get(pk=pk)
            if organisation_id not in stores:
                owner = Organisation.objects.get(pk=organisation_id)
                stores[organisation_id] = Store(owner)
            stores[organisation_id].put(kept_as_call(record.content))
        except ShimRecord.DoesNotExist:
            continue  # another worker had it
        except (DecryptionError, LookupError, TypeError, ValueError, DataError) as error:
            # One that cannot be read, of another version or with what no column takes, must not
            # hold up the others.
            log.error("shim_record_unreadable", record_id=pk, error=type(error).__name__)
            continue
        ShimRecord.objects.filter(pk=pk).delete()
        done += 1
    ShimRecord.objects.filter(received_at__lt=now - KEPT_AT_MOST).delete()
    return done
