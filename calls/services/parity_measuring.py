"""What the calls of a run say together: its pairs in the order in which they were dealt.

Owns how rows become pairs and measures become columns. A row that no key opens, or that another
version wrote, is a pair that is missing, never an error of the run. What a measure is, is
``calls.parity.measures``'s.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from django.db.models import F, TextField
from django.db.models.functions import Cast

from calls.models import ParityCall, ParityRun
from calls.parity.lacking import Lacks
from calls.parity.measures import Measures, Pair, measure, worst_of
from calls.parity.sequence import Sequence, SequenceUnreadable, sequence_load
from calls.parity.stored import measures_stored
from calls.services.parity_marks import run_region, run_renames
from voiceplatform.base.fields import DecryptionError, unseal

VAPI, DIRECT, AGAIN = ParityCall.Stack.VAPI, ParityCall.Stack.DIRECT, ParityCall.Stack.AGAIN
_OVER = (ParityCall.State.DONE, ParityCall.State.FAILED)


@dataclass(frozen=True, slots=True)
class PlayedPair:
    """One pair of a run; a side is None where it is not over, failed, or cannot be read."""

    position: int
    scenario: str
    index: int
    old: Sequence | None
    new: Sequence | None
    again: Sequence | None = None
    calls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Tell whether both sides can be compared."""
        return self.old is not None and self.new is not None


_COLUMNS = (
    *("id", "position", "scenario", "index", "stack", "state", "is_cut", "audio_seconds"),
    *("latency", "cost_usd", "problem", "source_call_id", "audio_key"),
)


def played_pairs(run: ParityRun) -> list[PlayedPair]:
    """Return every pair of a run in the order of dealing, whatever became of it; one query."""
    sides: dict[int, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    # Fetched as stored: one row that no key opens must not hide the others.
    rows = ParityCall.objects.filter(run=run).annotate(
        sequence_sealed=Cast(F("sequence"), TextField()),
        extras_sealed=Cast(F("extras"), TextField()),
    )
    for row in rows.order_by("position").values(*_COLUMNS, "sequence_sealed", "extras_sealed"):
        sides[row["position"]][row["stack"]] = row
    return [_pair(position, found) for position, found in sorted(sides.items())]


def _pair(position: int, sides: dict[str, Mapping[str, Any]]) -> PlayedPair:
    first = next(iter(sides.values()))
    return PlayedPair(
        position=position,
        scenario=str(first["scenario"]),
        index=int(first["index"]),
        old=_against(sides.get(DIRECT)) or _sequence(sides.get(VAPI)),
        new=_sequence(sides.get(DIRECT)),
        again=_sequence(sides.get(AGAIN)),
        calls=sides,
    )


def _sequence(row: Mapping[str, Any] | None) -> Sequence | None:
    if row is None or row["state"] != ParityCall.State.DONE or not row["sequence_sealed"]:
        return None
    try:
        return sequence_load(json.loads(unseal(row["sequence_sealed"].encode("ascii"))))
    except (DecryptionError, SequenceUnreadable, ValueError):
        return None


def _against(row: Mapping[str, Any] | None) -> Sequence | None:
    """Return what of the old call a replay was compared with: as far as it went, and no further."""
    if row is None or not row["extras_sealed"]:
        return None
    try:
        extras = json.loads(unseal(row["extras_sealed"].encode("ascii")))
        return sequence_load(extras["old"]) if extras.get("old") else None
    except (DecryptionError, SequenceUnreadable, ValueError):
        return None


def run_measure(run: ParityRun, *, state: str = "") -> dict[str, Any]:
    """Return the columns of a run that say what its pairs show so far; nobody's words are in them.

    Pairs stand in the order of dealing; one that failed is left out, counted, and may withhold a
    pass (``calls.parity.lacking``).

    Args:
        state: that in which the run is about to be stored; by default its present one.
    """
    pairs = played_pairs(run)
    measures = measure_pairs(run, pairs)
    lacks = lacks_of(pairs, measures, is_done=(state or run.state) == ParityRun.State.DONE)
    judged = judged_by(measures, lacks)
    return {
        "done": sum(is_over(pair) for pair in pairs),
        "measures": measures_stored(judged),
        "figures": figures_of(judged)
        | {"lacks": lacks.stored(), "withheld": withheld_by(measures, lacks)},
        "verdict": judged.verdict,
    }


def is_over(pair: PlayedPair) -> bool:
    """Tell whether every call of a pair was played or given up."""
    return all(row["state"] in _OVER for row in pair.calls.values())


def lacks_of(pairs: Iterable[PlayedPair], measures: Measures, *, is_done: bool) -> Lacks:
    """Return what of a run is lacking; one that is done left unplayed only what was decided."""
    lost = [pair for pair in pairs if not pair.is_whole]
    open_pairs = sum(not is_over(pair) for pair in lost)
    return Lacks(
        compared=measures.pairs,
        missing=len(lost) - open_pairs,
        empty=measures.empty,
        cut=measures.cut - measures.empty,
        unplayed=0 if is_done else open_pairs,
    )


def withheld_by(measures: Measures, lacks: Lacks) -> str:
    """Return why a pass that the gates would give is not given, '' where none is withheld."""
    return lacks.withholds if worst_of(measures.gates) == "pass" else ""


def judged_by(measures: Measures, lacks: Lacks) -> Measures:
    """Return measures with the verdict that stands after what is lacking."""
    return replace(measures, verdict="undecided") if withheld_by(measures, lacks) else measures


def is_decided(run: ParityRun) -> bool:
    """Tell whether every gate has its verdict, in an unbroken beginning of what was dealt.

    What ended soonest would be another choice of pairs than the one that was dealt. A pass that
    too many missing pairs withhold is none: more pairs may make them few.
    """
    begun = list(takewhile(is_over, played_pairs(run)))
    measures = measure_pairs(run, begun)
    if withheld_by(measures, lacks_of(begun, measures, is_done=True)):
        return False
    return bool(figures_of(measures)["is_final"])


def measure_pairs(run: ParityRun, pairs: Iterable[PlayedPair]) -> Measures:
    """Return what pairs of a run say together."""
    whole = [pair for pair in pairs if pair.is_whole]
    repeats = [
        Pair(pair.scenario, _kept(pair.old, pair), _kept(pair.again, pair))
        for pair in whole
        if pair.again is not None
    ]
    return measure(
        (
            Pair(
                pair.scenario,
                _kept(pair.old, pair),
                _kept(pair.new, pair),
                has_audio=run.has_audio and pair.calls[DIRECT]["audio_seconds"] > 0,
            )
            for pair in whole
        ),
        run.marks,
        repeats,
        renames=run_renames(run),
        region=run_region(run),
    )


def _kept(sequence: Sequence | None, pair: PlayedPair) -> Sequence:
    """Return a side under the pair's place: measures outlive a past call that is erased."""
    assert sequence is not None, "whole pairs only"
    return replace(sequence, key=str(pair.position))


def figures_of(measures: Measures) -> dict[str, Any]:
    """Return the gates in figures, for lists, gates of plans and programs."""
    gates = {
        gate.name: {
            "state": gate.verdict.state if gate.applies else "not asked",
            "k": gate.verdict.k,
            "n": gate.verdict.n,
            "lower": round(gate.verdict.lower, 6),
            "upper": round(gate.verdict.upper, 6),
            "limit": gate.limit,
            "more": gate.verdict.more,
            "words": gate.words(),
        }
        for gate in measures.gates
    }
    final = all(
        gate.verdict.state != "undecided" or gate.verdict.is_final
        for gate in measures.gates
        if gate.applies
    )
    return {
        "gates": gates,
        "pairs": measures.pairs,
        "audio_pairs": measures.audio_pairs,
        "cut": measures.cut,
        "empty": measures.empty,
        "more": measures.more,
        "is_final": final,
    }
