"""How often the same thing was measured: the runs of a revision on a number, with their verdicts.

Owns which runs count as tries of one question. Who repeats a run until it passes has measured
luck: each run by itself keeps its chances of error, several together do not. So every report and
every gate says how many there were and how they ended. Reads only.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import F

from calls.models import ParityRun

MOST_TOLD: Final = 50
_HEARD: Final = ParityRun.AUDIO_KINDS


@dataclass(frozen=True, slots=True)
class Try:
    """One run of the same revision, number and kind of question; ``words``: how it ended."""

    run_id: uuid.UUID
    created_at: dt.datetime
    kind: str
    words: str


def tries_of(run: ParityRun) -> tuple[Try, ...]:
    """Return the runs that asked what ``run`` asks, itself among them, the oldest first.

    The same revision and number, whatever the model; runs in which callers were heard apart from
    runs of one other kind. Runs that nobody has begun are none. One query.
    """
    rows: Any = ParityRun.objects.filter(
        revision=run.revision_id, number=run.number_id, begun_at__isnull=False
    )
    rows = rows.filter(kind__in=_HEARD if run.kind in _HEARD else (run.kind,))
    rows = rows.order_by(F("created_at").desc(), "-pk").values_list(
        "pk", "created_at", "kind", "state", "verdict"
    )
    found = [
        Try(pk, created_at, kind, ended_as(state, verdict))
        for pk, created_at, kind, state, verdict in rows[:MOST_TOLD]
    ]
    return tuple(reversed(found))


def ended_as(state: str, verdict: str) -> str:
    """Return in a word or two how a run ended."""
    if state == ParityRun.State.DONE:
        return verdict or "without a verdict"
    if state == ParityRun.State.CANCELLED and verdict == "fail":
        return "fail, cancelled"
    return {"queued": "waiting", "running": "under way"}.get(state, state)


def counted(ends: Iterable[str]) -> str:
    """Return how several runs ended, most frequent first."""
    return ", ".join(f"{count} {words}" for words, count in Counter(ends).most_common())


def tries_note(run: ParityRun, tries: Sequence[Try]) -> tuple[str, ...]:
    """Return a sentence for a report, if the run is not the only one of its question."""
    others = [each.words for each in tries if each.run_id != run.pk]
    if not others:
        return ()
    place = next((at for at, each in enumerate(tries, 1) if each.run_id == run.pk), None)
    of = f"Run {place} of {len(tries)}" if place is not None else f"One of {len(tries) + 1} runs"
    where = " on the same number" if run.number_id else ""
    return (
        f"{of} of this revision{where}; the others: {counted(others)}. Who repeats a run until it "
        "passes has measured luck.",
    )
