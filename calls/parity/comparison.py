"""Two measured runs beside each other: two revisions, two models, before and after a change.

Pure. Owns the exact test of Fisher on two shares (Statistical Methods for Research Workers, 1934),
and the words for it. It must not give a verdict: each run has its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from calls.parity.measures import GATES, GateName, Measures, Share, share

_SURE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Compared:
    """One gate, tool or scenario of two runs. ``p_value``: how often shares of one and the same
    origin are as far apart as these, or further.
    """

    name: str
    first: Share
    second: Share
    p_value: float
    words: str


@dataclass(frozen=True, slots=True)
class RunsCompared:
    """Two runs: by gate, by tool, by scenario. What only one of them has is left out."""

    gates: tuple[Compared, ...]
    tools: tuple[Compared, ...]
    scenarios: tuple[Compared, ...]


def compare_runs(first: Measures, second: Measures) -> RunsCompared:
    """Lay two runs beside each other, the drift of each gate, tool and scenario."""
    tools = {line.name: line.drift for line in second.tools}
    scenarios = {line.name: line.drift for line in second.scenarios}
    return RunsCompared(
        gates=tuple(
            compare(name, _share(first, name), _share(second, name))
            for name in GATES
            if first.gate(name).applies and second.gate(name).applies
        ),
        tools=tuple(
            compare(line.name, line.drift, tools[line.name])
            for line in first.tools
            if line.name in tools
        ),
        scenarios=tuple(
            compare(line.name, line.drift, scenarios[line.name])
            for line in first.scenarios
            if line.name in scenarios
        ),
    )


def compare(name: str, first: Share, second: Share) -> Compared:
    """Lay two shares beside each other, in words that claim no more than they show."""
    p_value = fisher(first.k, first.n, second.k, second.n)
    if p_value >= _SURE:
        words = "cannot be told apart"
    elif second.k * first.n < first.k * second.n:
        words = "less in the second"
    else:
        words = "more in the second"
    return Compared(name, first, second, p_value, words)


def fisher(k1: int, n1: int, k2: int, n2: int) -> float:
    """Return the two-sided exact p-value of ``k1`` of ``n1`` against ``k2`` of ``n2``.

    All tables with the same sums that are no likelier than this one are added up.

    Raises:
        ValueError: a count is not among its number.
    """
    if not 0 <= k1 <= n1 or not 0 <= k2 <= n2:
        raise ValueError(f"{k1} of {n1} and {k2} of {n2} are no shares")
    faults, whole = k1 + k2, math.comb(n1 + n2, k1 + k2)
    ways = [
        math.comb(n1, k) * math.comb(n2, faults - k)
        for k in range(max(0, faults - n2), min(n1, faults) + 1)
    ]
    seen = math.comb(n1, k1) * math.comb(n2, k2)
    # Whole numbers: what is as likely is equal, so nothing is lost by rounding.
    return min(1.0, sum(way for way in ways if way <= seen) / whole)


def _share(measures: Measures, name: GateName) -> Share:
    gate = measures.gate(name)
    return share(gate.verdict.k, gate.verdict.n, gate.limit)
