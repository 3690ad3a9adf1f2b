"""Sums over calls for ``POST /analytics`` (vapi.md 8.3); writes nothing.

Owns which of Vapi's columns our rows know. What a speech-to-speech call does not have (separate
speech recognition, synthesis, a platform fee) is zero, as in ``calls.services.vapi_objects``.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Aggregate, Avg, Count, F, FloatField, Max, Min, Sum, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, Trunc

from calls.models import Call
from voiceplatform.base.models import Organisation
from voiceplatform.base.rest import iso

OPERATIONS: Final[Mapping[str, type[Aggregate]]] = {
    "count": Count,
    "sum": Sum,
    "avg": Avg,
    "min": Min,
    "max": Max,
}
STEPS: Final = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
GROUPS: Final[Mapping[str, str]] = {
    "type": "direction",
    "assistantId": "revision__assistant_id",
    "endedReason": "ended_reason",
    "status": "status",
}
CALL_TYPES: Final = {
    "inbound": "inboundPhoneCall",
    "outbound": "outboundPhoneCall",
    "web": "webCall",
}
_ZERO: Final = Value(0.0, output_field=FloatField())
_COST: Final = Cast(F("cost_usd"), FloatField())
# Minutes, the unit that Vapi bills and shows.
_MINUTES: Final = Cast(F("duration_seconds"), FloatField()) / Value(60.0)
COLUMNS: Final[Mapping[str, Any]] = {
    "id": F("pk"),
    "cost": _COST,
    "duration": _MINUTES,
    "minutesUsed": _MINUTES,
    "costBreakdown.llm": Coalesce(Cast(KT("metrics__cost_usd__model"), FloatField()), _COST),
    "costBreakdown.transport": Coalesce(
        Cast(KT("metrics__cost_usd__carrier"), FloatField()), _ZERO
    ),
    **dict.fromkeys(
        (
            *("costBreakdown.stt", "costBreakdown.tts", "costBreakdown.vapi"),
            *("costBreakdown.transcriber", "costBreakdown.ttsCharacters"),
            "costBreakdown.analysisBreakdown.summary",
        ),
        _ZERO,
    ),
}
_MAX_GROUPS: Final = 10_000
_BY_DATE: Final = ("day", "week", "month", "quarter", "year")


@dataclass(frozen=True, slots=True)
class Operation:
    """One sum: ``kind`` is of ``OPERATIONS``, ``column`` of ``COLUMNS``, ``name`` in the answer."""

    kind: str
    column: str
    name: str


@dataclass(frozen=True, slots=True)
class Query:
    """What to sum over calls made from ``start`` (inclusive) to ``end`` (exclusive)."""

    operations: Sequence[Operation]
    groups: Sequence[str]
    start: dt.datetime
    end: dt.datetime
    step: str
    zone: zoneinfo.ZoneInfo


def call_sums(organisation: Organisation, query: Query) -> list[dict[str, Any]]:
    """Return one object per group that has calls, at most 10,000, by date and group."""
    rows = Call.objects.for_organisation(organisation).filter(
        created_at__gte=query.start,
        created_at__lt=query.end,
        imported_at__isnull=True,  # Vapi's own analytics have counted, and billed, those
    )
    by = [GROUPS[name] for name in query.groups]
    if query.step:
        rows = rows.annotate(bucket=Trunc("created_at", query.step, tzinfo=query.zone))
        by = ["bucket", *by]
    sums = {
        f"sum_{index}": OPERATIONS[each.kind](COLUMNS[each.column])
        for index, each in enumerate(query.operations)
    }
    if not by:
        return [_object(query, rows.aggregate(**sums))]
    found = rows.order_by().values(*by).annotate(**sums).order_by(*by)
    return [_object(query, row) for row in found[:_MAX_GROUPS]]


def _object(query: Query, row: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if query.step:
        moment = row["bucket"]
        shown["date"] = moment.date().isoformat() if query.step in _BY_DATE else iso(moment)
    for name in query.groups:
        value = row[GROUPS[name]]
        if name == "type":
            value = CALL_TYPES.get(value, value)
        shown[name] = None if value in (None, "") else str(value)
    for index, operation in enumerate(query.operations):
        shown[operation.name] = row[f"sum_{index}"] or 0
    return shown
