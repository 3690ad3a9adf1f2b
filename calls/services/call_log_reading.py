"""One import of call logs on its way: documents to calls, counted, with a cursor.

Owns the reading loop of files and of Vapi's API: what is counted, which problems are kept, and how
far it came, which is written every second or so. An import that was stopped or killed goes on from
its cursor; what it reads twice is unchanged. What a document says is ``calls.parity.logs``'s, what
becomes of it ``call_log_store``'s. It must not know jobs, pages or commands.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from assistants.vapi_api import VapiApi, VapiApiError, VapiCancelled
from calls.models import CallLogImport
from calls.parity.logs.loose import time_of
from calls.parity.logs.reading import NotACall, Nothing, NotOver, read_log
from calls.parity.logs.streams import Item, items_in
from calls.services.call_log_store import Store
from voiceplatform.base.rest import iso

# Calls between two writes of the cursor, and the longest time between them.
_BATCH: Final = 50
_BEAT_SECONDS: Final = 1.0
# SQLite has no queue of writers: who waits looks every 100 ms at most whether nobody writes.
_SQLITE_PAUSE_SECONDS: Final = 0.12
_MOST_PROBLEMS: Final = 200
_DONE: Final = {"done": True}

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its name, and its bytes in pieces, to be read from the begin."""

    name: str
    pieces: Callable[[], Iterable[bytes]]


@dataclass(slots=True)
class Report:
    """What an import has done so far, as its row says it."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[dict[str, Any]] = field(default_factory=list)
    is_cancelled: bool = False
    problem: str = ""

    def note(self, outcome: str, *, file: str = "", line: int = 0, why: str = "") -> None:
        """Count an outcome, and keep why where something was wrong."""
        self.counts[outcome] += 1
        if why and len(self.problems) < _MOST_PROBLEMS:
            self.problems.append({"file": file, "line": line, "why": why[:300]})

    @property
    def read(self) -> int:
        """Return how many documents were read."""
        return sum(self.counts.values())


def import_continue_files(
    row: CallLogImport,
    sources: Sequence[Source],
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    hold: Callable[[], None] = lambda: None,
) -> Report:
    """Read files from where the import stopped, to their end; return what was done in all."""
    carrying = _Import(row, progress, cancelled, hold)
    done = dict(row.cursor.get("files", {}))
    for source in sources:
        seen = int(done.get(source.name, 0))
        for place, item in enumerate(items_in(source.pieces()), 1):
            if place <= seen:
                continue
            if carrying.is_stopped():
                return carrying.stopped()
            carrying.take(item, source.name)
            done[source.name] = place
            carrying.came_to({"files": done}, source.name)
    return carrying.finished()


def import_continue_api(
    row: CallLogImport,
    client: VapiApi,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    hold: Callable[[], None] = lambda: None,
) -> Report:
    """Read the calls of an account, newest first, from where the import stopped.

    A call that is still going on is left to the next import. What goes wrong on the way is the
    report's ``problem``; what was stored until then stays.
    """
    carrying = _Import(row, progress, cancelled, hold)
    client.cancelled = cancelled
    filters = {"createdAtGe": iso(row.since) or ""} if row.since is not None else {}
    oldest = str(row.cursor.get("before") or "")
    if oldest:
        filters["createdAtLe"] = oldest
    try:
        for document in client.objects("call", filters):
            if carrying.is_stopped():
                return carrying.stopped()
            carrying.take(Item(0, document), f"call {str(document.get('id'))[:64]}")
            created_at = document.get("createdAt")
            if time_of(created_at) is not None:
                oldest = str(created_at)[:40]
            carrying.came_to({"before": oldest}, f"back to {oldest[:10]}")
    except VapiApiError as error:
        return carrying.stopped(str(error))
    except VapiCancelled:
        return carrying.stopped()
    return carrying.finished()


class _Import:
    """One import on its way: counts, cursor, and when they are written."""

    def __init__(
        self,
        row: CallLogImport,
        progress: Progress | None,
        cancelled: Callable[[], bool],
        hold: Callable[[], None],
    ) -> None:
        self.row = row
        self.report = Report(Counter(row.counts), list(row.problems))
        self._progress = progress
        self._cancelled = cancelled
        self._hold = hold
        self._store = Store(row.organisation, row, row.since, hold)
        self._cursor: dict[str, Any] = dict(row.cursor)
        self._unwritten = 0
        self._next_write = time.monotonic() + _BEAT_SECONDS

    def take(self, item: Item, name: str) -> None:
        """Read and store one document."""
        where: dict[str, Any] = {"file": name, "line": item.line}
        if item.problem:
            self.report.note("wrong", why=item.problem, **where)
            return
        try:
            past = read_log(item.document)
        except NotACall as error:
            self.report.note("wrong", why=str(error), **where)
            return
        except NotOver:
            self.report.note("going_on")
            return
        except Nothing:
            self.report.note("ignored")
            return
        outcome = self._store.put(past)
        if outcome == "unreadable":
            words = "what is stored of this call was sealed with a key that is gone"
            self.report.note("unreadable", why=words, **where)
            return
        self.report.note(outcome)
        for each in past.problems:
            if outcome in {"created", "updated"} and len(self.report.problems) < _MOST_PROBLEMS:
                self.report.problems.append({**where, "why": f"read all the same: {each}"[:300]})

    def came_to(self, cursor: Mapping[str, Any], label: str) -> None:
        """Note how far it is; written after some calls or a second, and at the end."""
        self._cursor = dict(cursor)
        self._unwritten += 1
        if self._unwritten >= _BATCH or time.monotonic() >= self._next_write:
            self._write()
            self._store.refresh()
            if connection.vendor == "sqlite":
                # Calls that go on have rows to write, too, and an erasure must get its turn.
                time.sleep(_SQLITE_PAUSE_SECONDS)
        if self._progress is not None:
            self._progress(self.report.read, 0, label)

    def is_stopped(self) -> bool:
        """Tell whether somebody asked to stop."""
        return self._cancelled()

    def stopped(self, problem: str = "") -> Report:
        """Write how far it came; it can go on from there."""
        self._write()
        self.report.problem = problem
        self.report.is_cancelled = not problem
        return self.report

    def finished(self) -> Report:
        """Write that it is through."""
        self._cursor = dict(_DONE)
        # What a killed worker stored behind its cursor was counted as unchanged the second time.
        counts = self.report.counts
        uncounted = min(self.row.calls.count() - counts["created"], counts["unchanged"])
        if uncounted > 0:
            counts["created"] += uncounted
            counts["unchanged"] -= uncounted
        self._write(finished_at=timezone.now())
        return self.report

    def _write(self, **columns: Any) -> None:
        with transaction.atomic():
            self._hold()
            CallLogImport.objects.filter(pk=self.row.pk).update(
                cursor=self._cursor,
                counts=dict(self.report.counts),
                problems=self.report.problems,
                **columns,
            )
        self._unwritten = 0
        self._next_write = time.monotonic() + _BEAT_SECONDS


WORDS: Final[Mapping[str, str]] = {
    "created": "new",
    "updated": "told more of",
    "unchanged": "unchanged",
    "older": "older than asked for",
    "going_on": "still going on",
    "ours": "answered by this platform",
    "erased": "of erased callers",
    "ignored": "messages that tell nothing",
    "unreadable": "sealed with a lost key",
    "wrong": "wrong",
}


def words_of(report: Report) -> str:
    """Return the counts in words, e.g. ``12 new, 3 unchanged, 1 wrong``."""
    found = [
        f"{report.counts[name]} {words}" for name, words in WORDS.items() if report.counts[name]
    ]
    return ", ".join(found) or "nothing"
