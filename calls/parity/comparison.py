"""Calls of both stacks beside each other without pairs: past calls, as logs and rows hold them.

Pure. Owns which tools are used in how many calls on each side, with the exact test of Fisher
(Statistical Methods for Research Workers, 1934), beside the order of all of them (``noise``). It
must not give a verdict: callers were not the same, so a difference may be theirs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence as Row
from dataclasses import dataclass
from typing import Final

from calls.parity import bounds
from calls.parity.noise import SetsCompared, compare_sets
from calls.parity.sequence import Sequence

SURE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Used:
    """In how many calls a tool was used, with one-sided exact bounds."""

    k: int
    n: int
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class ToolUsed:
    """A tool on both sides. ``p_value``: how often shares of one and the same origin are as far
    apart as these, or further; ``words`` claim no more than that.
    """

    name: str
    old: Used
    new: Used
    p_value: float
    words: str


@dataclass(frozen=True, slots=True)
class PastCompared:
    """Past calls of both stacks: the order of their tools, and each tool by itself.

    ``old`` and ``new`` count the calls that were compared, ``left_out`` those of which only the
    beginning is known.
    """

    old: int
    new: int
    order: SetsCompared
    tools: tuple[ToolUsed, ...]
    left_out: int


def compare_past(old: Row[Sequence], new: Row[Sequence], *, seed: int = 0) -> PastCompared:
    """Compare calls that no scenario pairs, whole ones only."""
    known = [[call for call in side if not call.cut] for side in (old, new)]
    used = [Counter(name for call in side for name in _names(call)) for side in known]
    return PastCompared(
        old=len(known[0]),
        new=len(known[1]),
        order=compare_sets(*known, seed=seed),
        tools=tuple(
            _tool(
                name, *((counts[name], len(side)) for counts, side in zip(used, known, strict=True))
            )
            for name in sorted({*used[0], *used[1]})
        ),
        left_out=len(old) + len(new) - len(known[0]) - len(known[1]),
    )


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


def _tool(name: str, old: tuple[int, int], new: tuple[int, int]) -> ToolUsed:
    p_value = fisher(*old, *new)
    if p_value >= SURE:
        words = "cannot be told apart"
    elif new[0] * old[1] < old[0] * new[1]:
        words = "used less here"
    else:
        words = "used more here"
    return ToolUsed(name, _used(*old), _used(*new), p_value, words)


def _used(k: int, n: int) -> Used:
    return Used(k, n, bounds.lower(k, n), bounds.upper(k, n))


def _names(call: Sequence) -> set[str]:
    return {tool.name for tool in call.tools}
