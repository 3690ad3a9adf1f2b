"""Compares our calls with Twilio's list of them, and with the outbox, every few minutes.

What Twilio knows to be over is closed; what was never told of a call that ended is told; a call to
a number of ours that never reached us is shown as missed. It asks Twilio outside of transactions,
and an account that does not answer keeps no other one waiting.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from calls.events.receivers import SEALED
from calls.models import (
    Call,
    CarrierCheck,
    EventDestination,
    MissedCall,
    OutboxEvent,
    PhoneNumber,
    TwilioAccount,
)
from calls.selectors.erasures import erased_sids
from calls.services.call_finish import LONGEST_CALL, carrier_says_over
from calls.services.reports import REPORT, reports_enqueue
from calls.services.server_messages.targets import target_of
from calls.telephony.twilio_client import CarrierCall, CarrierSilent, access_of, calls_since
from calls.wire.call_events import CALL_ENDED
from calls.wire.twilio_voice import TERMINAL_STATUSES
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation

LOOKS_BACK = timedelta(days=1)
# What ended just now: its own webhooks and its media process are still telling of it.
SETTLES_IN = timedelta(seconds=60)
MOST_CALLS = 10_000  # of one account and look
_PAGE = 200

log = structlog.get_logger(__name__)


def reconcile() -> int:
    """Look once at every account and at the outbox; return how many things were put right."""
    done = untold_calls_tell()
    accounts = TwilioAccount.objects.order_by("pk")
    for account in accounts.defer("auth_token", "auth_token_secondary"):
        done += account_compare(account)
    return done


def account_compare(account: TwilioAccount) -> int:
    """Compare the last day of one account; return how many calls were closed or found missed."""
    now = timezone.now()
    listed = closed = missed = 0
    error = ""
    page: list[CarrierCall] = []
    try:
        access = access_of(account)
        for call in calls_since(access, now - LOOKS_BACK, most=MOST_CALLS):
            if call.started_at is None or call.started_at < now - LOOKS_BACK:
                continue
            listed += 1
            page.append(call)
            if len(page) >= _PAGE:
                closed, missed = _added((closed, missed), _compare(account, page, now))
                page = []
        closed, missed = _added((closed, missed), _compare(account, page, now))
    except (CarrierSilent, DecryptionError) as silence:
        error = str(silence)
        log.warning("carrier_list_missing", account_sid=account.account_sid[:6], reason=error)
    _store(account, now, listed=listed, closed=closed, missed=missed, error=error)
    return closed + missed


def _added(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def _compare(account: TwilioAccount, page: list[CarrierCall], now: datetime) -> tuple[int, int]:
    ours = {
        call.call_sid: call
        for call in Call.objects.filter(
            twilio_account=account, call_sid__in=[each.call_sid for each in page]
        ).only("pk", "call_sid", "status")
    }
    closed = 0
    for each in page:
        call = ours.get(each.call_sid)
        if call is None or call.status == Call.Status.ENDED or not _is_settled(each, now):
            continue
        done = carrier_says_over(
            call_id=str(call.pk),
            call_status=each.status,
            ended_at=each.ended_at,
            duration_seconds=each.duration_seconds,
        )
        if done:
            closed += 1
            log.warning("open_call_closed", call_sid=each.call_sid, status=each.status)
    return closed, _note_missed(account, (each for each in page if each.call_sid not in ours), now)


def _is_settled(call: CarrierCall, now: datetime) -> bool:
    over = call.ended_at or call.started_at
    return call.status in TERMINAL_STATUSES and over is not None and over < now - SETTLES_IN


def _note_missed(account: TwilioAccount, calls: Iterable[CarrierCall], now: datetime) -> int:
    inbound = [
        each
        for each in calls
        if each.direction == "inbound" and each.started_at and _is_settled(each, now)
    ]
    if not inbound:
        return 0
    numbers = {
        number.number_e164: number
        for number in PhoneNumber.objects.filter(
            twilio_account=account,
            route=PhoneNumber.Route.DIRECT,
            number_e164__in={each.to for each in inbound},
        )
    }
    rows = [
        MissedCall(
            organisation_id=account.organisation_id,
            account=account,
            number=numbers[each.to],
            call_sid=each.call_sid,
            caller=each.from_[:80],
            called_at=each.started_at,
            duration_seconds=each.duration_seconds,
            carrier_status=each.status[:20],
        )
        for each in inbound
        # Before its row was changed the last time it may have been somebody else's to answer.
        if each.to in numbers and each.started_at and each.started_at > numbers[each.to].updated_at
    ]
    known = set(
        MissedCall.objects.filter(call_sid__in=[row.call_sid for row in rows]).values_list(
            "call_sid", flat=True
        )
    )
    known |= erased_sids(row.call_sid for row in rows)
    fresh = [row for row in rows if row.call_sid not in known]
    MissedCall.objects.bulk_create(fresh, ignore_conflicts=True)
    return len(fresh)


def _store(
    account: TwilioAccount, now: datetime, *, listed: int, closed: int, missed: int, error: str
) -> None:
    seen = {} if error else {"checked_at": now, "listed": listed}
    with transaction.atomic():
        row, _ = CarrierCheck.objects.get_or_create(
            account=account,
            defaults={"organisation_id": account.organisation_id, "tried_at": now},
        )
        CarrierCheck.objects.filter(pk=row.pk).update(
            tried_at=now,
            error=error[:200],
            closed=F("closed") + closed,
            missed=F("missed") + missed,
            **seen,
        )


def untold_calls_tell(now: datetime | None = None) -> int:
    """Produce the reports and logs that a call which ended lacks; return of how many calls."""
    now = now or timezone.now()
    ended = Call.objects.filter(
        status=Call.Status.ENDED,
        imported_at__isnull=True,  # nobody is told of a call that never came here
        ended_at__gte=now - LOOKS_BACK,
        ended_at__lt=now - SETTLES_IN,
        report_due_at__isnull=True,
        # By the column that has an index; no call lasts longer than this.
        created_at__gte=now - LOOKS_BACK - LONGEST_CALL,
    ).order_by("created_at", "pk")
    wishes = _Wishes()
    count, later = 0, Q()
    while some := list(ended.filter(later).values_list(*_CALL)[:_PAGE]):
        for call_id in wishes.untold([_Ended(*each) for each in some]):
            count += _tell(call_id)
        last, created_at = some[-1][0], some[-1][1]
        later = Q(created_at__gt=created_at) | Q(created_at=created_at, pk__gt=last)
    return count


def _tell(call_id: uuid.UUID) -> bool:
    with transaction.atomic():
        call = Call.objects.select_for_update().get(pk=call_id)
        before = call.events.count()
        reports_enqueue(call)
        is_news = bool(call.events.count() > before)
    if is_news:
        log.warning("untold_call_told", call_sid=call.call_sid)
    return is_news


_CALL = (
    *("pk", "created_at", "ended_at", "organisation_id"),
    *("number_id", "revision_id", "revision__assistant_id", "stack"),
)


class _Ended(NamedTuple):
    """What of a call decides who is told of its end."""

    pk: uuid.UUID
    created_at: datetime
    ended_at: datetime
    organisation_id: uuid.UUID
    number_id: uuid.UUID | None
    revision_id: int | None
    assistant_id: uuid.UUID | None
    stack: str


class _Wishes:
    """Who wants the two messages of a call's end; read once, for all calls of a look."""

    def __init__(self) -> None:
        self._rows = [
            (row, {each.pk for each in row.numbers.all()}, {a.pk for a in row.assistants.all()})
            for row in EventDestination.objects.filter(enabled=True)
            .defer(*SEALED)
            .prefetch_related("numbers", "assistants")
        ]
        self._log_urls = set(
            Organisation.objects.exclude(call_log_url="").values_list("pk", flat=True)
        )
        self._servers: dict[tuple[Any, ...], bool] = {}

    def untold(self, calls: list[_Ended]) -> list[uuid.UUID]:
        """Return those of ``calls`` of which somebody has not been told."""
        written = set(
            OutboxEvent.objects.filter(
                call_id__in=[call.pk for call in calls], kind__in=(REPORT, CALL_ENDED)
            ).values_list("dedupe_key", flat=True)
        )
        return [call.pk for call in calls if not self._keys(call) <= written]

    def _keys(self, call: _Ended) -> set[str]:
        keys = set()
        if call.organisation_id in self._log_urls:
            keys.add(f"{CALL_ENDED}:{call.pk}")
        if self._server_wants(call):
            keys.add(f"{REPORT}:{call.pk}")
        for row, numbers, assistants in self._rows:
            fits = (
                row.organisation_id == call.organisation_id
                and row.active_since <= call.ended_at
                and (not numbers or call.number_id in numbers)
                and (not assistants or call.assistant_id in assistants)
            )
            for kind in (REPORT, CALL_ENDED):
                # A report is an assistant's; a call without one has none.
                if fits and kind in row.kinds and (kind == CALL_ENDED or call.revision_id):
                    keys.add(f"{kind}:{call.pk}:{row.pk}")
        return keys

    def _server_wants(self, call: _Ended) -> bool:
        # Who is told hangs on these, and calls of one number have them in common.
        key = (call.organisation_id, call.number_id, call.revision_id, call.stack)
        if key not in self._servers:
            row = Call.objects.select_related("revision", "number__organisation").get(pk=call.pk)
            target = target_of(row)
            self._servers[key] = target is not None and REPORT in target.messages
        return self._servers[key]
