"""What a run of replays found beside its gates: what was misheard, and where calls were cut.

Owns the reading of what the runners stored of each call. It compares nothing itself. Strings that
callers said are in it, so whoever shows them asks who may read transcripts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import F, TextField
from django.db.models.functions import Cast

from calls.models import ImportedCall, ParityCall, ParityRun, Recording
from calls.parity import bounds
from calls.parity.entities import KINDS
from tools.loose_json import as_list, as_object
from voiceplatform.base.fields import DecryptionError, unseal

MOST_SHOWN: Final = 500
_TITLES: Final = {
    "phone": "Phone numbers",
    "email": "E-mail addresses",
    "name": "Names",
    "date": "Dates",
}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of one kind: how many are the same on both stacks, of how many, and the exact 95% bounds of
    the share that is not.
    """

    title: str
    agree: int
    of: int
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Misheard:
    """One string that differs. ``sound_url``: the recording from that second on, '' without one."""

    call_id: str
    where: str
    kind: str
    old: str
    new: str
    start_seconds: float
    end_seconds: float
    has_sound: bool

    @property
    def at(self) -> str:
        """Return the second as minutes and seconds."""
        minutes, seconds = divmod(int(self.start_seconds), 60)
        return f"{minutes}:{seconds:02}"

    @property
    def fragment(self) -> str:
        """Return the part of a recording as players take it in an address."""
        return f"#t={self.start_seconds:.2f},{self.end_seconds:.2f}"


@dataclass(frozen=True, slots=True)
class HeardRun:
    """What the calls of a run say together. ``cuts``: why so many were compared only so far.

    ``unknown_consent``: calls of which no log says whether the caller agreed to be recorded.
    """

    calls: int
    heard_seconds: float
    accuracy: tuple[Accuracy, ...]
    cuts: tuple[tuple[str, int], ...]
    differences: tuple[Misheard, ...]
    not_shown: int
    unknown_consent: int

    @property
    def cut(self) -> int:
        """Return how many calls were compared only so far."""
        return sum(count for _, count in self.cuts)


def heard_run(run: ParityRun, *, with_words: bool) -> HeardRun:
    """Return what a run of replays found beside its gates; three queries.

    Args:
        with_words: what callers said is in it; without, only counts and seconds.
    """
    agree: Counter[str] = Counter()
    every: Counter[str] = Counter()
    cuts: Counter[str] = Counter()
    found: list[Misheard] = []
    calls: set[str] = set()
    seconds = 0.0
    stored = set(
        Recording.objects.filter(
            call__in=run.calls.values("source_call"), state=Recording.State.STORED
        ).values_list("call", flat=True)
    )
    for source_call, heard, extras in _rows(run):
        calls.add(str(source_call))
        seconds += heard
        if extras.get("cut"):
            cuts[str(extras.get("cut_words") or extras["cut"])] += 1
        for kind, counts in as_object(extras.get("agree")).items():
            one, of = (*as_list(counts), 0, 0)[:2]
            agree[kind] += int(one)
            every[kind] += int(of)
        for each in as_list(extras.get("differences")):
            found.append(_misheard(source_call, as_object(each), source_call in stored))
    if not with_words:
        found = [_silent(each) for each in found]
    return HeardRun(
        calls=len(calls),
        heard_seconds=seconds,
        accuracy=tuple(_accuracy(kind, agree[kind], every[kind]) for kind in KINDS if every[kind]),
        cuts=tuple(cuts.most_common()),
        differences=tuple(found[:MOST_SHOWN]),
        not_shown=max(len(found) - MOST_SHOWN, 0),
        unknown_consent=ImportedCall.objects.filter(
            call__in=run.calls.values("source_call"), consent=ImportedCall.Consent.UNKNOWN
        ).count(),
    )


def _rows(run: ParityRun) -> Iterator[tuple[Any, float, Mapping[str, Any]]]:
    """Yield (past call, seconds heard, what was found) of each call; what no key opens is passed
    over.
    """
    rows = run.calls.filter(stack=ParityCall.Stack.DIRECT, state=ParityCall.State.DONE)
    sealed = rows.annotate(sealed=Cast(F("extras"), TextField())).order_by("position")
    for source_call, heard, text in sealed.values_list("source_call", "audio_seconds", "sealed"):
        try:
            extras = as_object(json.loads(unseal(text.encode("ascii")))) if text else {}
        except (DecryptionError, ValueError):
            continue
        if extras:
            yield source_call, heard, extras


def _misheard(call_id: Any, stored: Mapping[str, Any], has_sound: bool) -> Misheard:
    return Misheard(
        call_id=str(call_id),
        where=str(stored.get("where", "")),
        kind=str(stored.get("kind", "")),
        old=str(stored.get("old") or ""),
        new=str(stored.get("new") or ""),
        start_seconds=float(stored.get("start_seconds") or 0),
        end_seconds=float(stored.get("end_seconds") or 0),
        has_sound=has_sound,
    )


def _silent(each: Misheard) -> Misheard:
    return Misheard(
        call_id=each.call_id,
        where=each.where,
        kind=each.kind,
        old="",
        new="",
        start_seconds=each.start_seconds,
        end_seconds=each.end_seconds,
        has_sound=each.has_sound,
    )


def _accuracy(kind: str, agree: int, of: int) -> Accuracy:
    wrong = of - agree
    return Accuracy(_TITLES[kind], agree, of, bounds.lower(wrong, of), bounds.upper(wrong, of))
