"""Refused requests as rows: the newest few of each account, and those that concern one call.

Written by the process that refused, in batches (``calls.telephony.refusals``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from calls.models import Call, RefusedRequest, TwilioAccount

Cause = Literal["other-url", "wrong", "unsigned", "unknown-account"]

# Of each account; those that name an unknown one share as many.
KEPT_ROWS: Final = 50
# A webhook of a call may be refused before its row is there, or come after its end.
AROUND: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Refused:
    """One kind of refused request; ``signed_url`` is the address Twilio signed, '' if unknown."""

    account_sid: str
    cause: Cause
    url: str
    signed_url: str = ""
    call_id: str = ""


def refusals_store(*, counts: Iterable[tuple[Refused, int]], now: datetime | None = None) -> None:
    """Add so many requests of each kind to this minute, and drop the oldest rows beyond the bound.

    A repeat counts again; nobody repeats it.
    """
    moment = now or timezone.now()
    counted = list(counts)
    accounts = TwilioAccount.objects.in_bulk(
        {refused.account_sid for refused, _ in counted}, field_name="account_sid"
    )
    calls = Call.objects.in_bulk({refused.call_id for refused, _ in counted if refused.call_id})
    known_calls = {str(key): call for key, call in calls.items()}
    for refused, count in counted:
        account = accounts.get(refused.account_sid)
        call = known_calls.get(refused.call_id)
        if call is not None and (account is None or call.twilio_account_id != account.pk):
            call = None  # the address names a call of somebody else
        _count(refused, count, account, call, moment)
    for owner in {accounts.get(refused.account_sid) for refused, _ in counted}:
        _forget_old(owner)


def _count(
    refused: Refused, count: int, account: TwilioAccount | None, call: Call | None, now: datetime
) -> None:
    same = RefusedRequest.objects.filter(
        account_sid=refused.account_sid,
        url=refused.url,
        cause=refused.cause,
        minute=now.replace(second=0, microsecond=0),
    )
    if same.update(count=F("count") + count, last_at=now):
        return
    owner: dict[str, Any] = {"organisation_id": account.organisation_id} if account else {}
    try:
        with transaction.atomic():
            RefusedRequest.objects.create(
                **owner,
                account=account,
                account_sid=refused.account_sid,
                call=call,
                cause=refused.cause,
                url=refused.url,
                signed_url=refused.signed_url,
                minute=now.replace(second=0, microsecond=0),
                count=count,
                last_at=now,
            )
    except IntegrityError:  # another process was first
        same.update(count=F("count") + count, last_at=now)


def _forget_old(account: TwilioAccount | None) -> None:
    rows = RefusedRequest.objects.filter(account=account).order_by("-last_at", "-pk")
    old = list(rows.values_list("pk", flat=True)[KEPT_ROWS:])
    if old:
        RefusedRequest.objects.filter(pk__in=old).delete()


def refusals_for_call(call: Call) -> QuerySet[RefusedRequest]:
    """Return what was refused of a call, and of its account at the time of the call."""
    began = call.created_at - AROUND
    ended = (call.ended_at or timezone.now()) + AROUND
    meanwhile = Q(account_id=call.twilio_account_id, call=None, last_at__range=(began, ended))
    rows: QuerySet[RefusedRequest] = RefusedRequest.objects.filter(Q(call=call) | meanwhile)
    return rows.order_by("-last_at")


def refusals_since(moment: datetime) -> QuerySet[RefusedRequest]:
    """Return what was refused since ``moment``, of every account."""
    rows: QuerySet[RefusedRequest] = RefusedRequest.objects.filter(last_at__gte=moment)
    return rows.select_related("account").order_by("-last_at")
