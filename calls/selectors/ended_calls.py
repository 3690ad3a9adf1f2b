"""Calls that are over, as they are judged: by guards, by the gates of plans, in a dossier.

Owns which calls are evidence of how callers fare, and how a row with its tools and streams becomes
an ``EndedCall``. It must not judge, which is ``calls.numbers.guard``'s.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from django.db.models import Count, Q, QuerySet

from calls.models import Call, ToolInvocation
from calls.numbers.guard import EndedCall, Stack

COLUMNS: Final = (
    *("pk", "number_id", "stack", "created_at", "ended_at", "ended_reason", "duration_seconds"),
    *("first_word_ms", "turn_latency_p95_ms", "metrics"),
)
FAILED_TOOLS: Final = (ToolInvocation.State.ERROR, ToolInvocation.State.TIMEOUT)


class EndedRow(NamedTuple):
    """The columns of a call that is over, in the order of ``COLUMNS``."""

    pk: uuid.UUID
    number_id: uuid.UUID
    stack: Stack
    created_at: dt.datetime
    ended_at: dt.datetime
    ended_reason: str
    duration_seconds: int
    first_word_ms: int | None
    turn_latency_p95_ms: int | None
    metrics: Any


def callers() -> QuerySet[Any]:
    """Return the calls of callers that came here: none that this platform placed, none imported.

    Test calls of moves are hung up by ourselves, and a drill's call is refused on purpose. The log
    of a call of the old stack tells of a time in which no number here was watched.
    """
    return Call.objects.filter(is_test__isnull=True, imported_at__isnull=True)


def rows_of(calls: QuerySet[Any]) -> list[EndedRow]:
    """Return the rows of calls that are over, in the order that ``calls`` has."""
    return [EndedRow(*row) for row in calls.values_list(*COLUMNS)]


def ended_calls(rows: Iterable[EndedRow], tools: QuerySet[Any] | None = None) -> list[EndedCall]:
    """Return what is known of each call; one query for the tools of all of them.

    Args:
        tools: the invocations to look among, where the calls are too many to be named one by one.
    """
    rows = list(rows)
    if tools is None:
        ids = [row.pk for row in rows if row.stack == "direct"]
        tools = ToolInvocation.objects.filter(call__in=ids)  # of none without a query
    failed = _failed_tools(tools)
    return [_ended_call(row, failed) for row in rows]


def _failed_tools(tools: QuerySet[Any]) -> dict[uuid.UUID, int]:
    return dict(
        tools.order_by()
        .values_list("call")
        .annotate(failed=Count("pk", filter=Q(state__in=FAILED_TOOLS)))
    )


def _ended_call(row: EndedRow, failed: Mapping[uuid.UUID, int]) -> EndedCall:
    is_ours = row.stack == "direct"
    return EndedCall(
        call_id=str(row.pk),
        number_id=str(row.number_id),
        stack=row.stack,
        begun_at=row.created_at,
        ended_at=row.ended_at,
        ended_reason=row.ended_reason,
        duration_seconds=row.duration_seconds,
        dead_airs=_dead_airs(row.metrics) if is_ours else None,
        # A call without tools says nothing of them.
        failed_tools=failed.get(row.pk) if is_ours else None,
        first_word_ms=row.first_word_ms,
        turn_p95_ms=row.turn_latency_p95_ms,
    )


def streams_of(metrics: Any) -> list[Mapping[str, Any]]:
    """Return what each stream of a call counted."""
    streams = metrics.get("streams", ()) if isinstance(metrics, Mapping) else ()
    return [each for each in streams or () if isinstance(each, Mapping)]


def _dead_airs(metrics: Any) -> int | None:
    streams = streams_of(metrics)
    if not streams:
        return None
    return sum(int((each.get("counters") or {}).get("dead_air", 0)) for each in streams)


def turn_ms(row: EndedRow) -> list[int]:
    """Return the waits for each answer, or the P95 of the call where only that was kept."""
    streams = streams_of(row.metrics)
    found = [int(ms) for each in streams for ms in each.get("turn_latencies_ms") or ()]
    if not found and row.turn_latency_p95_ms is not None:
        found = [row.turn_latency_p95_ms]
    return found
