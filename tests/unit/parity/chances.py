"""The exact chances of the sequential procedure, by adding up every path.

Independent of the procedure's own arithmetic but for asking it where it stops: the chance of each
count after each pair follows from the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from calls.parity.procedure import State, most_pairs, state_at

NEVER = 10**9


@dataclass(frozen=True)
class Chances:
    """Chances of each verdict, and the mean number of pairs until it (or until it gives up)."""

    passed: float
    failed: float
    undecided: float
    pairs: float


@cache
def stops(limit: float) -> tuple[list[int], list[int]]:
    """Return for every n the most faults that pass (-1: none) and the fewest that fail."""
    most, passes, fails = most_pairs(limit), [-1], [NEVER]
    for n in range(1, most + 1):
        k = passes[-1]
        while k + 1 <= n and _is(k + 1, n, limit, "pass"):
            k += 1
        passes.append(k)
        k = min(fails[-1], n + 1)
        while k and _is(k - 1, n, limit, "fail"):
            k -= 1
        while k <= n and not _is(k, n, limit, "fail"):
            k += 1
        fails.append(k if k <= n else NEVER)
    return passes, fails


def chances(share: float, limit: float) -> Chances:
    """Return what comes of calls that drift with this chance, each by itself."""
    passes, fails = stops(limit)
    going = {0: 1.0}
    passed = failed = pairs = 0.0
    for n in range(1, len(passes)):
        after: dict[int, float] = {}
        for k, chance in going.items():
            after[k] = after.get(k, 0.0) + chance * (1 - share)
            after[k + 1] = after.get(k + 1, 0.0) + chance * share
        going = {}
        for k, chance in after.items():
            if k <= passes[n]:
                passed, pairs = passed + chance, pairs + n * chance
            elif k >= fails[n]:
                failed, pairs = failed + chance, pairs + n * chance
            else:
                going[k] = chance
    rest = sum(going.values())
    return Chances(passed, failed, rest, pairs + (len(passes) - 1) * rest)


def _is(k: int, n: int, limit: float, state: State) -> bool:
    return state_at(k, n, limit) == state
