"""The report of a run: verdict first, then why, then every pair; and two runs beside each other.

Owns what is read of a run and in which order it is told; the page, the files of
``parity_exports`` and the command all show this one value. What people said is in ``PairLine``
only, for those who may read it; everything else are names, counts and figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from django.db.models import F, TextField
from django.db.models.functions import Cast

from calls.models import ParityCall, ParityRun
from calls.parity.differ import Difference, difference
from calls.parity.lacking import too_few_words
from calls.parity.logs.sequencing import PLATFORM_TOOLS
from calls.parity.measures import Measures
from calls.parity.sequence import ToolCall, canonical_arguments
from calls.parity.stored import MeasuresUnreadable, measures_read
from calls.services.call_plan import offered_tools
from calls.services.parity_marks import OURS_ALONE, run_region, run_renames
from calls.services.parity_measuring import (
    PlayedPair,
    judged_by,
    lacks_of,
    measure_pairs,
    played_pairs,
    withheld_by,
)
from calls.services.parity_tries import Try, tries_note, tries_of
from voiceplatform.base.fields import DecryptionError, unseal

# What a page shows; files hold all.
MOST_SHOWN: Final = 200

_UNPLAYED: Final = "not played yet"
_SAYS: Final[Mapping[str, str]] = {
    "pass": "Both stacks do the same, as far as {pairs} pairs can tell.",
    "fail": "The stacks differ by more than is allowed.",
    "undecided": "{pairs} pairs are too few to tell.",
}
_REHEARSED: Final = (
    "A rehearsal says whether this platform does what the scenarios expect. The old stack in it is "
    "a model, so it never opens a number's gate: for that, hear past calls again."
)


@dataclass(frozen=True, slots=True)
class CellLine:
    """One tool call as one side of a line shows it; ``marks`` are its critical fields."""

    name: str
    arguments: str
    outcome: str
    at_seconds: str


@dataclass(frozen=True, slots=True)
class RowLine:
    """A line of two calls side by side; ``words`` say what differs in it."""

    kind: str
    old: CellLine | None
    new: CellLine | None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PairLine:
    """A pair: what each side did, how it differs, what was said."""

    position: int
    scenario: str
    index: int
    state: str  # same, differs, missing, unplayed
    words: str
    rows: tuple[RowLine, ...] = ()
    facts: tuple[str, ...] = ()
    old_said: tuple[Mapping[str, Any], ...] = ()
    new_said: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[str, ...] = ()
    is_cut: bool = False

    @property
    def anchor(self) -> str:
        """Return the place of the pair on a page."""
        return f"pair-{self.position + 1}"

    @property
    def number(self) -> int:
        """Return the pair's place, counted from 1."""
        return self.position + 1


@dataclass(frozen=True, slots=True)
class Side:
    """One stack in figures: waits in ms, money in USD."""

    name: str
    calls: int
    first_word_p50_ms: int | None
    first_word_p95_ms: int | None
    turn_p50_ms: int | None
    turn_p95_ms: int | None
    cost_usd: Decimal
    cost_per_call_usd: Decimal | None
    minutes: float


@dataclass(frozen=True, slots=True)
class GateLine:
    """A gate for people and for drawing; shares are 0 to 1, ``x`` places 0 to 100."""

    name: str
    title: str
    state: str
    words: str
    k: int
    n: int
    share: float
    lower: float
    upper: float
    limit: float
    more: int | None
    scale: float
    applies: bool
    decided: str = ""  # when the verdict fell, if that was before the last pair

    def x(self, share: float) -> float:
        """Return where a share stands on the drawing, in percent of its width."""
        return round(min(share / self.scale, 1.0) * 100, 2)

    @property
    def drawn(self) -> Mapping[str, float]:
        """Return the places that a drawing needs."""
        low, high = self.x(self.lower), self.x(self.upper)
        return {
            "low": low,
            "wide": round(max(high - low, 0.6), 2),
            "at": self.x(self.share),
            "limit": self.x(self.limit),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a run shows, in the order in which it is told."""

    run: ParityRun
    verdict: str
    says: str
    more: int | None
    notes: tuple[str, ...]
    gates: tuple[GateLine, ...]
    measures: Measures
    sides: tuple[Side, ...]
    pairs: tuple[PairLine, ...] = field(repr=False)
    missing: int = 0  # could not be played or read
    unplayed: int = 0  # a run that was decided early has some, and lacks nothing
    withheld: str = ""  # why the gates' pass is not the run's
    tries: tuple[Try, ...] = ()

    @property
    def worst(self) -> tuple[PairLine, ...]:
        """Return the pairs with most differences, the worst first."""
        places = {line.position: line for line in self.pairs}
        found = (places.get(int(each.old_key)) for each in self.measures.worst)
        return tuple(line for line in found if line is not None)


_TITLES: Final = {
    "order": "Order of tool calls",
    "arguments": "Critical arguments",
    "outcome": "Outcome of calls",
}


def report_of(run: ParityRun, *, with_words: bool = True) -> Report:
    """Read a run's report; of one that is still going on, what it shows so far.

    Args:
        with_words: with what people said and with arguments, for those who may read them.
    """
    pairs = played_pairs(run)
    measures = _measures(run, pairs)
    said = _transcripts(run) if with_words else {}
    lines = tuple(_pair(run, pair, said, with_words=with_words) for pair in pairs)
    lacks = lacks_of(pairs, measures, is_done=run.state == ParityRun.State.DONE)
    withheld = withheld_by(measures, lacks)
    verdict = judged_by(measures, lacks).verdict
    unplayed = sum(line.state == "unplayed" for line in lines)
    tries = tries_of(run)
    says = f"{withheld}." if withheld else _SAYS[verdict].format(pairs=measures.pairs)
    return Report(
        run=run,
        verdict=verdict,
        says=f"No pass is given: {says}" if withheld else says,
        more=measures.more if verdict == "undecided" and not withheld else None,
        notes=(*tries_note(run, tries), *_notes(run, measures, unplayed)),
        gates=tuple(_gate(gate) for gate in measures.gates),
        measures=measures,
        sides=_sides(pairs),
        pairs=lines,
        missing=sum(line.state == "missing" for line in lines),
        unplayed=unplayed,
        withheld=withheld,
        tries=tries,
    )


def _measures(run: ParityRun, pairs: list[PlayedPair]) -> Measures:
    """Return what is stored of a run that has ended; else, or if it is another version's, anew."""
    if run.measures is not None and run.finished_at is not None:
        try:
            return measures_read(run.measures)
        except MeasuresUnreadable:
            pass
    return measure_pairs(run, pairs)


def _lacking_tools(run: ParityRun, measures: Measures) -> list[str]:
    """Say which expected tools nobody can call: a wrong name is no drift of a model's."""
    left_out = {line.name for line in measures.tools if line.omitted} - PLATFORM_TOOLS
    if not left_out:
        return []
    left_out -= set(offered_tools(run.revision).values_list("name", flat=True))
    names = ", ".join(sorted(left_out))
    fix = "correct the scenarios, add the tool, or say which names mean the same (--rename)"
    return [f"Revision {run.revision.number} has no tool {names}. Fix: {fix}."] if names else []


def _live_note(run: ParityRun) -> str:
    confirmed = run.options.get("tools_confirmed")
    by = confirmed.get("by") if isinstance(confirmed, dict) else None
    words = "Both stacks were really called, and so were their tools"
    return f"{words}, as {by} has confirmed." if by else f"{words}."


def _notes(run: ParityRun, measures: Measures, unplayed: int) -> tuple[str, ...]:
    few = too_few_words(run.wanted, has_marks=any(run.marks.values()))
    notes = [f"{few}."] if few and measures.verdict != "fail" else []
    if run.kind == ParityRun.Kind.REHEARSAL:
        notes += _lacking_tools(run, measures)
        notes.append(_REHEARSED)
    elif run.kind == ParityRun.Kind.LIVE:
        notes.append(_live_note(run))
    elif not measures.audio_pairs:
        notes.append("No call of this run was heard, so it does not open a number's gate alone.")
    if run.options.get(OURS_ALONE):
        notes.append(
            "The past calls were answered by this platform: the old stack had no part in this run, "
            "so it never opens a number's gate."
        )
    if run.model:
        notes.append(f"Our calls were answered by {run.model}, as this run was begun with.")
    if unplayed and run.state == ParityRun.State.DONE:
        notes.append(f"It was decided before the last {unplayed} pairs, which were not played.")
    if measures.cut:
        notes.append(
            f"{measures.cut} pairs were compared only as far as the results of tools were known."
        )
    if measures.empty:
        notes.append(f"{measures.empty} pairs were cut before their first tool: no evidence.")
    notes += [f"{_TITLES[gate.name]}: {note}." for gate in measures.gates if (note := gate.note())]
    if measures.noise is not None:
        notes.append(f"Noise floor: {measures.noise.words()}.")
    return tuple(notes)


def _gate(gate: Any) -> GateLine:
    verdict = gate.verdict
    share = verdict.k / verdict.n if verdict.n else 0.0
    # The limit stands at a third of the width, unless the interval wants more room.
    scale = min(1.0, max(gate.limit * 3, verdict.upper * 1.1 if verdict.n else 0.0))
    return GateLine(
        name=gate.name,
        title=_TITLES[gate.name],
        state=verdict.state if gate.applies else "not asked",
        words=gate.words(),
        k=verdict.k,
        n=verdict.n,
        share=share,
        lower=verdict.lower,
        upper=verdict.upper,
        limit=gate.limit,
        more=verdict.more,
        scale=scale,
        applies=gate.applies,
        decided=_decided(gate),
    )


def _decided(gate: Any) -> str:
    at = gate.verdict.decided_at
    if not gate.applies or at is None or at >= gate.pairs:
        return ""
    return f"The verdict fell at pair {at} of {gate.pairs}; what came after does not change it."


def _sides(pairs: list[PlayedPair]) -> tuple[Side, ...]:
    return (
        _side("Old stack", [p.calls["vapi"] for p in pairs if "vapi" in p.calls]),
        _side("This platform", [p.calls["direct"] for p in pairs if "direct" in p.calls]),
    )


def _side(name: str, rows: list[Mapping[str, Any]]) -> Side:
    played = [row for row in rows if row["state"] == ParityCall.State.DONE]
    first = [row["latency"].get("first_word_ms") for row in played]
    turns = [ms for row in played for ms in row["latency"].get("turns_ms") or ()]
    cost = sum((row["cost_usd"] for row in played), Decimal(0))
    return Side(
        name=name,
        calls=len(played),
        first_word_p50_ms=_at(first, 0.5),
        first_word_p95_ms=_at(first, 0.95),
        turn_p50_ms=_at(turns, 0.5),
        turn_p95_ms=_at(turns, 0.95),
        cost_usd=cost,
        cost_per_call_usd=(cost / len(played)).quantize(Decimal("0.0001")) if played else None,
        minutes=round(sum(row["audio_seconds"] for row in played) / 60, 1),
    )


def _at(values: Iterable[Any], share: float) -> int | None:
    ordered = sorted(int(each) for each in values if each is not None)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _transcripts(run: ParityRun) -> dict[Any, tuple[Mapping[str, Any], ...]]:
    rows = ParityCall.objects.filter(run=run, state=ParityCall.State.DONE).annotate(
        sealed=Cast(F("transcript"), TextField())
    )
    found: dict[Any, tuple[Mapping[str, Any], ...]] = {}
    for pk, sealed in rows.values_list("pk", "sealed"):
        try:
            said = json.loads(unseal(sealed.encode("ascii"))) if sealed else ()
        except (DecryptionError, ValueError):
            continue
        found[pk] = tuple(each for each in said if isinstance(each, Mapping))
    return found


# ---- pairs -----------------------------------------------------------------------------------


def _pair(
    run: ParityRun, pair: PlayedPair, said: Mapping[Any, Any], *, with_words: bool
) -> PairLine:
    common: dict[str, Any] = {
        "position": pair.position,
        "scenario": pair.scenario,
        "index": pair.index,
        "old_said": said.get(pair.calls.get("vapi", {}).get("id"), ()),
        "new_said": said.get(pair.calls.get("direct", {}).get("id"), ()),
        "problems": tuple(str(row["problem"]) for row in pair.calls.values() if row.get("problem")),
    }
    if pair.old is None or pair.new is None:
        words = _missing(pair)
        return PairLine(
            state="unplayed" if words == _UNPLAYED else "missing", words=words, **common
        )
    found = difference(
        pair.old, pair.new, run.marks, renames=run_renames(run), region=run_region(run)
    )
    differs = found.drifts or bool(found.arguments) or bool(found.outcome)
    return PairLine(
        state="differs" if differs else "same",
        words=_differs(found) or "the same",
        rows=tuple(_row(row, with_words=with_words) for row in found.aligned),
        facts=tuple(
            f"{fact.fact}: {fact.old or 'nothing'} → {fact.new or 'nothing'}"
            if with_words
            else fact.fact
            for fact in found.outcome
        ),
        is_cut=found.cut,
        **common,
    )


def _missing(pair: PlayedPair) -> str:
    states = {row["state"] for row in pair.calls.values()}
    if ParityCall.State.FAILED in states:
        return "a call could not be played"
    if states & {ParityCall.State.WAITING, ParityCall.State.RUNNING}:
        return _UNPLAYED
    return "a call cannot be read"


def _differs(found: Difference) -> str:
    parts = [
        f"{words} {', '.join(names)}"
        for words, names in (
            ("left out", found.omitted),
            ("made besides", found.extra),
            ("in another order", found.reordered),
        )
        if names
    ]
    parts += [f"{each.tool}: another {each.path}" for each in found.arguments]
    parts += [f"another outcome ({each.fact})" for each in found.outcome]
    return "; ".join(parts)


def _row(row: Any, *, with_words: bool) -> RowLine:
    words = [
        f"{each.path}: {each.old or 'nothing'} → {each.new or 'nothing'}"
        if with_words
        else f"another {each.path}"
        for each in row.arguments
        if each.differs
    ]
    if not words and not row.same_arguments and row.kind == "same":
        words = ["other arguments, none of them critical"]
    return RowLine(
        kind=row.kind,
        old=_cell(row.old, with_words=with_words),
        new=_cell(row.new, with_words=with_words),
        words=tuple(words),
    )


def _cell(tool: ToolCall | None, *, with_words: bool) -> CellLine | None:
    if tool is None:
        return None
    return CellLine(
        name=tool.name,
        arguments=canonical_arguments(dict(tool.arguments)) if with_words else "",
        outcome=tool.outcome,
        at_seconds=f"{tool.at_ms / 1000:.1f} s" if tool.at_ms is not None else "",
    )
