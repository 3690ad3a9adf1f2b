"""The rows of live calls, looked at by one task per process for however many readers.

Owns that task and what it asks the database: one sum per watched call, and the rows only where the
sum has changed. Calls notice nothing: no reader reaches a media process. A reader keeps nothing
here but its place, so a slow one is told the newest state when it gets round to reading.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog
from django.db import DatabaseError
from django.db.models import Count, Max, QuerySet, Sum
from django.db.models.functions import Length

from calls.media.database import in_database
from calls.models import Call, ToolInvocation, Turn
from calls.services.live_entries import Entry, Snapshot

LOOK_SECONDS: Final = 0.5  # the journal stores what is being said as often
# A change that no sum shows (as many letters, other words) is found by then at the latest.
WHOLE_EVERY: Final = 10
MOST_READERS: Final = 200

Sums = tuple[Any, ...]

log = structlog.get_logger(__name__)


class Watch:
    """One call that somebody reads; ``snapshot`` None: not looked at yet, or erased."""

    def __init__(self) -> None:
        self.readers = 0
        self.snapshot: Snapshot | None = None
        self.looked = False
        self.sums: Sums = ()
        self._changed = asyncio.Event()

    def change(self) -> None:
        """Wake everybody who waits."""
        self._changed.set()
        self._changed = asyncio.Event()

    def next_change(self) -> asyncio.Event:
        """Return the event of the next change; take it before reading ``snapshot``."""
        return self._changed


class Feed:
    """The watched calls of one event loop."""

    def __init__(self) -> None:
        self._watches: dict[uuid.UUID, Watch] = {}
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self.readers = 0

    @contextmanager
    def reading(self, call_id: uuid.UUID) -> Iterator[Watch]:
        """Watch a call for the length of the block."""
        watch = self._watches.setdefault(call_id, Watch())
        watch.readers += 1
        self.readers += 1
        self._hurry.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="live-feed")
        try:
            yield watch
        finally:
            watch.readers -= 1
            self.readers -= 1
            if not watch.readers:
                self._watches.pop(call_id, None)

    async def _run(self) -> None:
        """Look until nobody reads."""
        round_number = 0
        while self._watches:
            self._hurry.clear()
            watched = dict(self._watches)
            whole = round_number % WHOLE_EVERY == 0
            round_number += 1
            known = {
                call_id: () if whole or not watch.looked else watch.sums
                for call_id, watch in watched.items()
            }
            try:
                found = await in_database(look, known)
            except DatabaseError as error:
                # Readers wait; what they lack is in the rows whenever the database is back.
                log.warning("live_feed_not_read", error=type(error).__name__)
            else:
                _tell(watched, found)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._hurry.wait()
            except TimeoutError:
                continue


def _tell(watched: Mapping[uuid.UUID, Watch], found: Mapping[uuid.UUID, _Found]) -> None:
    for call_id, watch in watched.items():
        now = found.get(call_id)
        if now is None:
            news, watch.snapshot = not watch.looked or watch.snapshot is not None, None
        elif now.snapshot is None:
            news = False  # as it was
        else:
            news = now.snapshot != watch.snapshot
            watch.snapshot, watch.sums = now.snapshot, now.sums
        watch.looked = True
        if news:
            watch.change()


@dataclass(slots=True)
class _Found:
    sums: Sums
    snapshot: Snapshot | None = None


def look(known: Mapping[uuid.UUID, Sums]) -> dict[uuid.UUID, _Found]:
    """Return what is new of each call that still exists; ``known`` are its sums at the last look.

    A call whose sums have not changed comes without its rows.
    """
    ids = list(known)
    calls = {
        call.pk: call
        for call in Call.objects.filter(pk__in=ids)
        .only("status", "ended_reason", "report_due_at")
        .order_by()
    }
    turns = _by_call(
        Turn.objects.filter(call_id__in=ids),
        *(Count("id"), Count("ended_ms"), Max("ended_ms"), Sum(Length("text"))),
    )
    tools = _by_call(
        ToolInvocation.objects.filter(call_id__in=ids), *(Count("id"), Count("duration_ms"))
    )
    found: dict[uuid.UUID, _Found] = {}
    changed: list[uuid.UUID] = []
    for call_id, call in calls.items():
        over = call.status == Call.Status.ENDED and call.report_due_at is None
        sums = (call.status, call.ended_reason, over, turns.get(call_id), tools.get(call_id))
        found[call_id] = _Found(sums)
        # The last look takes no sum's word for it.
        if over or known[call_id] != sums:
            changed.append(call_id)
    said = _entries(Turn.objects.filter(call_id__in=changed).order_by("ordinal"), turn_entry)
    asked = _entries(ToolInvocation.objects.filter(call_id__in=changed).order_by("id"), tool_entry)
    for call_id in changed:
        status, reason, over = found[call_id].sums[:3]
        found[call_id].snapshot = Snapshot(
            status, reason, over, tuple(said.get(call_id, ())), tuple(asked.get(call_id, ()))
        )
    return found


def _by_call(rows: QuerySet[Any], *sums: Any) -> dict[uuid.UUID, Sums]:
    named = {f"sum_{number}": each for number, each in enumerate(sums)}
    grouped = rows.order_by().values("call_id").annotate(**named)
    return {row["call_id"]: tuple(row[name] for name in named) for row in grouped}


def _entries(rows: QuerySet[Any], make: Callable[[Any], Entry]) -> dict[uuid.UUID, list[Entry]]:
    found: dict[uuid.UUID, list[Entry]] = {}
    for row in rows:
        found.setdefault(row.call_id, []).append(make(row))
    return found


def turn_entry(turn: Turn) -> Entry:
    """Return a turn as readers get it; nothing while it has no words."""
    data = {
        "ordinal": turn.ordinal,
        "role": turn.role,
        "text": turn.text,
        "final": turn.ended_ms is not None,
        "interrupted": turn.interrupted,
        "startedMs": turn.started_ms,
        "endedMs": turn.ended_ms,
    }
    return Entry(turn.started_ms, data if turn.text else None)


def tool_entry(tool: ToolInvocation) -> Entry:
    """Return a tool call as readers get it; question and answer are in the call's artifact."""
    data = {
        "toolCallId": tool.tool_call_id,
        "name": tool.name,
        "state": tool.state,
        "startedMs": tool.started_ms,
        "durationMs": tool.duration_ms,
    }
    return Entry(tool.started_ms, data)


def snapshots(ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Snapshot]:
    """Return the calls as they are now; those that do not exist are left out."""
    found = look(dict.fromkeys(ids, ()))
    return {call_id: each.snapshot for call_id, each in found.items() if each.snapshot is not None}


_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, Feed] = WeakKeyDictionary()


def feed() -> Feed:
    """Return the feed of the running loop."""
    return _feeds.setdefault(asyncio.get_running_loop(), Feed())


def reader_count() -> int:
    """Return how many read in this process; from any thread."""
    return sum(each.readers for each in list(_feeds.values()))
