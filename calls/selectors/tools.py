"""Reads of tool calls: how a tool did over the last days; writes nothing."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from calls.models import ToolInvocation
from tools.models import Tool

# So many of the newest calls of a tool are looked at; more would make a list as slow as the table
# is long, and changes no figure that a person acts on.
MOST_IN_LIST: Final = 200
MOST_ON_PAGE: Final = 5000

_COUNTED: Final = (
    ToolInvocation.State.OK,
    ToolInvocation.State.ERROR,
    ToolInvocation.State.TIMEOUT,
)


@dataclass(frozen=True, slots=True)
class ToolFigures:
    """How a tool did; times are nearest-rank percentiles over all answered or given up calls."""

    count: int = 0
    ok_count: int = 0
    p50_ms: int | None = None
    p95_ms: int | None = None
    is_capped: bool = False

    @property
    def ok_percent(self) -> float | None:
        """Return the share of calls that were answered without an error, None without calls."""
        return 100 * self.ok_count / self.count if self.count else None


def tool_figures(
    tool_ids: Iterable[uuid.UUID], *, days: int, most: int = MOST_IN_LIST
) -> dict[uuid.UUID, ToolFigures]:
    """Return the figures of tools over the last ``days``, each from its newest ``most`` calls.

    Two queries for any number of tools. Calls that are on their way or were refused by us do not
    count.
    """
    wanted = list(tool_ids)
    newest = ToolInvocation.objects.filter(tool=OuterRef("pk")).order_by("-pk")
    oldest_read = dict(
        Tool.objects.filter(pk__in=wanted)
        .annotate(oldest_read=Subquery(newest.values("pk")[most - 1 : most]))
        .values_list("pk", "oldest_read")
    )
    read = Q(tool__in=[pk for pk, first in oldest_read.items() if first is None])
    for pk, first in oldest_read.items():
        if first is not None:
            read |= Q(tool=pk, pk__gte=first)
    since = timezone.now() - dt.timedelta(days=days)
    # Time and state are looked at here: in SQL they would lead a planner off the index by tool.
    rows = ToolInvocation.objects.filter(read).order_by()
    found: dict[uuid.UUID, list[tuple[str, int | None]]] = {pk: [] for pk in wanted}
    for pk, state, duration_ms, at in rows.values_list(
        "tool_id", "state", "duration_ms", "created_at"
    ):
        if at is not None and at >= since and state in _COUNTED:
            found[pk].append((state, duration_ms))
    return {pk: _figures(calls, most) for pk, calls in found.items()}


def _figures(calls: Sequence[tuple[str, int | None]], most: int) -> ToolFigures:
    durations = sorted(ms for _, ms in calls if ms is not None)
    return ToolFigures(
        count=len(calls),
        ok_count=sum(state == ToolInvocation.State.OK for state, _ in calls),
        p50_ms=percentile(durations, 50),
        p95_ms=percentile(durations, 95),
        is_capped=len(calls) >= most,
    )


def percentile(ordered: Sequence[int], percent: int) -> int | None:
    """Return the nearest-rank percentile of ascending numbers, None where there are none."""
    if not ordered:
        return None
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]
