"""Gathers what the dossier of a number is made of, and says that somebody read it.

Reads rows of every room of the migration in a fixed number of queries; what a dossier says is
``calls.numbers.dossier``. Opens no sealed column: nothing here can hold a secret or a caller.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

from django.utils import timezone

from calls.models import Call, OldStackRate, PhoneNumber
from calls.numbers.dossier import Dossier, DossierCall, DossierFacts, OldRate, compose
from calls.numbers.guard import EndedCall
from voiceplatform.base.services import audit_write

# Enough for exact bounds of a percent; more would only make the page slow.
MOST_CALLS: Final = 20_000
PERIOD: Final = dt.timedelta(days=120)


def dossier_of(number: PhoneNumber) -> Dossier:
    """Return the dossier of a number as its rows are now."""
    now = timezone.now()
    calls, left_out = _calls(number, now)
    return compose(
        DossierFacts(
            number_id=str(number.pk),
            number=number.number_e164,
            name=number.name,
            organisation=number.organisation.name,
            route=number.route,
            made_at=now,
            calls=calls,
            calls_left_out=left_out,
            old_rate=_old_rate(number),
        )
    )


def dossier_read(*, number: PhoneNumber, actor: Any, through: str) -> Dossier:
    """Return the dossier for somebody, which is audited. ``through``: admin or api."""
    dossier = dossier_of(number)
    audit_write(
        actor=actor,
        action="dossier.read",
        organisation=number.organisation,
        target=number,
        details={"through": through},
    )
    return dossier


def _calls(number: PhoneNumber, now: dt.datetime) -> tuple[list[DossierCall], bool]:
    rows = (
        Call.objects.filter(number=number, status=Call.Status.ENDED, created_at__gte=now - PERIOD)
        .order_by("-created_at")
        .values_list(
            *("pk", "stack", "created_at", "ended_at", "ended_reason", "duration_seconds"),
            *("first_word_ms", "turn_latency_p95_ms", "cost_usd"),
        )[: MOST_CALLS + 1]
    )
    found = [_call(number, row) for row in rows]
    return found[:MOST_CALLS], len(found) > MOST_CALLS


def _call(number: PhoneNumber, row: tuple[Any, ...]) -> DossierCall:
    pk, stack, begun_at, ended_at, reason, seconds, first_word_ms, turn_ms, cost = row
    return DossierCall(
        EndedCall(
            call_id=str(pk),
            number_id=str(number.pk),
            stack=stack,
            begun_at=begun_at,
            ended_at=ended_at,
            ended_reason=reason,
            duration_seconds=seconds,
            first_word_ms=first_word_ms,
            turn_p95_ms=turn_ms,
        ),
        Decimal(cost),
    )


def _old_rate(number: PhoneNumber) -> OldRate | None:
    row = OldStackRate.objects.for_organisation(number.organisation).first()
    if row is None:
        return None
    is_measured = row.source == OldStackRate.Source.MEASURED
    words = f"measured on {row.calls} of Vapi's own records of calls" if is_measured else "entered"
    return OldRate(row.usd_per_minute, words, row.note, is_measured)
