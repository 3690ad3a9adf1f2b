"""What a page, a file or a dossier shows of a run, in its order: the verdict first.

Pure. Owns the sections, their figures and sentences, and where things stand on the scale of a bar;
no HTML, no drawing. Unlike ``measures`` it holds what people said (arguments, words), for those who
may see it: nothing of it is stored or logged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from calls.parity.differ import (
    ArgumentDifference,
    Difference,
    OutcomeDifference,
    Renames,
    RowKind,
    difference,
)
from calls.parity.fields import DEFAULT_REGION, Marks
from calls.parity.measures import Gate, GateName, Measures, ScenarioLine, ToolLine
from calls.parity.played import CallResult, Utterance
from calls.parity.procedure import State
from calls.parity.sequence import ToolCall, canonical_arguments

LABELS: Final[dict[GateName, str]] = {
    "order": "Order of the tools",
    "arguments": "Critical arguments",
    "outcome": "How the call came out",
}
_TITLES: Final[dict[State, str]] = {
    "pass": "Pass",
    "fail": "Fail",
    "undecided": "Undecided",
}
# The limit stands at a quarter of the scale, unless what was seen needs more of it.
_SCALE: Final = 4
_P95: Final = 0.95


@dataclass(frozen=True, slots=True)
class PlayedBoth:
    """One pair with all that was kept of it. ``index``: as in ``WorstPair``."""

    index: int
    scenario: str
    old: CallResult
    new: CallResult


@dataclass(frozen=True, slots=True)
class Bar:
    """Where things stand on a line from 0 to ``scale``, in percent of its length."""

    scale: float
    point: float
    lower: float
    upper: float
    limit: float


@dataclass(frozen=True, slots=True)
class GateView:
    """One gate: ``state`` is "not asked" where nothing is marked; ``unit`` what ``n`` counts."""

    name: GateName
    label: str
    state: str
    words: str
    k: int
    n: int
    unit: str
    lower: float
    upper: float
    limit: float
    more: int | None
    failed_pairs: int
    bar: Bar


@dataclass(frozen=True, slots=True)
class CallView:
    """One tool call as it is shown: its arguments as JSON in one order."""

    name: str
    arguments: str = field(repr=False)
    outcome: str
    at_ms: int | None


@dataclass(frozen=True, slots=True)
class RowView:
    """A line of two calls side by side."""

    kind: RowKind
    old: CallView | None
    new: CallView | None
    wrong: tuple[ArgumentDifference, ...]
    same_arguments: bool


@dataclass(frozen=True, slots=True)
class PairView:
    """One pair side by side, with the words of both calls."""

    index: int
    scenario: str
    differences: int
    words: str
    rows: tuple[RowView, ...]
    outcome: tuple[OutcomeDifference, ...]
    old_words: tuple[Utterance, ...] = field(repr=False)
    new_words: tuple[Utterance, ...] = field(repr=False)
    old_audio: str = ""
    new_audio: str = ""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One figure of both stacks; None where nothing was measured. ``unit``: ``ms`` or ``USD``."""

    label: str
    old: float | None
    new: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Report:
    """A run in the order in which it is read."""

    state: State
    title: str
    sentence: str
    gates: tuple[GateView, ...]
    drift: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    noise: str
    tools: tuple[ToolLine, ...]
    scenarios: tuple[ScenarioLine, ...]
    worst: tuple[PairView, ...]
    latency: tuple[SideBySide, ...]
    cost: tuple[SideBySide, ...]


def report(
    measures: Measures,
    played: Iterable[PlayedBoth],
    marks: Marks,
    *,
    renames: Renames | None = None,
    region: str = DEFAULT_REGION,
) -> Report:
    """Lay out a run.

    Args:
        played: the pairs that were kept; of those that are gone only the measures are left.
    """
    kept = list(played)
    by_index = {pair.index: pair for pair in kept}
    worst = [by_index[line.index] for line in measures.worst if line.index in by_index]
    return Report(
        state=measures.verdict,
        title=_TITLES[measures.verdict],
        sentence=_sentence(measures),
        gates=tuple(_gate(gate) for gate in measures.gates),
        drift=(
            ("omitted", measures.omitted),
            ("extra", measures.extra),
            ("reordered", measures.reordered),
        ),
        notes=tuple(_notes(measures)),
        noise=measures.noise.words() if measures.noise else "",
        tools=measures.tools,
        scenarios=measures.scenarios,
        worst=tuple(pair_view(pair, marks, renames=renames, region=region) for pair in worst),
        latency=tuple(_latency(kept)),
        cost=tuple(_cost(kept)),
    )


def pair_view(
    pair: PlayedBoth,
    marks: Marks,
    *,
    renames: Renames | None = None,
    region: str = DEFAULT_REGION,
) -> PairView:
    """Lay one pair out side by side."""
    old, new = pair.old.sequence, pair.new.sequence
    found = difference(old, new, marks, renames=renames, region=region)
    return PairView(
        index=pair.index,
        scenario=pair.scenario,
        differences=found.count,
        words=pair_words(found),
        rows=tuple(
            RowView(
                row.kind,
                _call(row.old),
                _call(row.new),
                tuple(each for each in row.arguments if each.differs),
                row.same_arguments,
            )
            for row in found.aligned
        ),
        outcome=found.outcome,
        old_words=pair.old.transcript,
        new_words=pair.new.transcript,
        old_audio=pair.old.audio_key,
        new_audio=pair.new.audio_key,
    )


def pair_words(found: Difference) -> str:
    """Say in one sentence what a pair differs in, by names only."""
    parts = [
        f"{what} {', '.join(names)}"
        for what, names in (
            ("omitted", found.omitted),
            ("extra", found.extra),
            ("reordered", found.reordered),
            ("other", tuple(f"{each.tool}: {each.path}" for each in found.arguments)),
            ("came out otherwise:", tuple(each.fact for each in found.outcome)),
        )
        if names
    ]
    return "; ".join(parts) or "no difference"


def bar(k: int, n: int, lower: float, upper: float, limit: float) -> Bar:
    """Place a share and its bounds on a scale on which the limit can be seen."""
    point = k / n if n else 0.0
    scale = min(1.0, max(_SCALE * limit, 1.1 * point, 1.1 * lower))
    places = (min(100.0, round(100 * each / scale, 2)) for each in (point, lower, upper, limit))
    return Bar(scale, *places)


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value that ``share`` of them do not exceed (nearest rank), None for none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


def _sentence(measures: Measures) -> str:
    if not measures.pairs:
        return "No pair was compared yet."
    if measures.verdict == "fail":
        failed = [gate for gate in measures.gates if gate.applies and gate.verdict.state == "fail"]
        return " ".join(f"{LABELS[gate.name]}: {gate.words()}." for gate in failed)
    if measures.verdict == "pass":
        sound = (
            f"{measures.audio_pairs} of them with a caller's sound"
            if measures.audio_pairs
            else "none of them with a caller's sound, which a number needs before it may move"
        )
        return f"Every gate is under its limit after {measures.pairs} pairs, {sound}."
    if measures.more:
        return f"About {measures.more} more pairs without a difference would pass every gate."
    return "More pairs alike would not decide every gate; the gates say which and why."


def _gate(gate: Gate) -> GateView:
    verdict = gate.verdict
    return GateView(
        name=gate.name,
        label=LABELS[gate.name],
        state=verdict.state if gate.applies else "not asked",
        words=gate.words(),
        k=verdict.k,
        n=verdict.n,
        unit="fields" if gate.name == "arguments" else "pairs",
        lower=verdict.lower,
        upper=verdict.upper,
        limit=verdict.limit,
        more=verdict.more,
        failed_pairs=gate.failed_pairs,
        bar=bar(verdict.k, verdict.n, verdict.lower, verdict.upper, verdict.limit),
    )


def _notes(measures: Measures) -> Iterable[str]:
    for gate in measures.gates:
        verdict = gate.verdict
        count = gate.pairs if gate.name == "arguments" else verdict.n
        if verdict.decided_at is not None and verdict.decided_at < count:
            yield (
                f"{LABELS[gate.name]}: the verdict fell with pair {verdict.decided_at} and stands; "
                f"the figures are those of all {count}."
            )
    if measures.cut:
        yield f"Compared only as far as one side is known: {measures.cut} of the pairs."
    if measures.empty:
        yield f"Ended before the first tool, and so counted nowhere: {measures.empty} of the pairs."
    if any(measures.retries):
        old, new = measures.retries
        yield f"Calls that failed and were made again at once count once: {old} old, {new} new."
    if not measures.audio_pairs and measures.pairs:
        yield "No caller's sound was heard in this run."


def _call(tool: ToolCall | None) -> CallView | None:
    if tool is None:
        return None
    return CallView(tool.name, canonical_arguments(tool.arguments), tool.outcome, tool.at_ms)


def _latency(kept: Sequence[PlayedBoth]) -> Iterable[SideBySide]:
    sides = [[pair.old for pair in kept], [pair.new for pair in kept]]
    first = [
        [each.latency.first_word_ms for each in side if each.latency.first_word_ms is not None]
        for side in sides
    ]
    turns = [[ms for each in side for ms in each.latency.turns_ms] for side in sides]
    for label, (old, new) in (("first word", first), ("answer", turns)):
        yield SideBySide(f"{label}, median", percentile(old, 0.5), percentile(new, 0.5), "ms")
        yield SideBySide(f"{label}, P95", percentile(old, _P95), percentile(new, _P95), "ms")


def _cost(kept: Sequence[PlayedBoth]) -> Iterable[SideBySide]:
    if not kept:
        return
    old = sum((pair.old.cost_usd for pair in kept), Decimal(0))
    new = sum((pair.new.cost_usd for pair in kept), Decimal(0))
    yield SideBySide("all calls", float(old) or None, float(new) or None, "USD")
    yield SideBySide(
        "a call on average", float(old / len(kept)) or None, float(new / len(kept)) or None, "USD"
    )
