"""Drift on live traffic: whether real calls still do what the measured calls did.

Pure. Owns what of a measure live calls are held against, when one of them is unfamiliar, and from
which share of unfamiliar calls on something has changed. There are no pairs on live traffic, so
this says "not seen before", never "wrong". Without a measure it says nothing at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from calls.numbers.sequential import Sequential
from calls.parity.bounds import upper
from calls.parity.logs.sequencing import tool_name
from calls.parity.sequence import Sequence

Order = tuple[str, ...]

LEAST_CALLS: Final = 50
# Where so many calls are unlike all others, another unlike one says nothing.
MOST_UNSEEN: Final = 0.3
ALPHA: Final = 1e-8
# The odds of an unfamiliar call rise by this much before it is called a change.
_ODDS: Final = 8.0
_LEAST_CLEAN: Final = 0.01
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The orders of tools that measured calls had. ``singles``: orders that one call alone had."""

    orders: frozenset[Order]
    calls: int
    singles: int

    @property
    def clean_share(self) -> float:
        """Return how many calls are unfamiliar although nothing has changed, at most (95%).

        The share of orders that were seen once is the share of calls whose order was never seen
        (Good and Turing, Biometrika 40, 1953); the upper exact bound of it allows for chance.
        """
        return max(upper(self.singles, self.calls), _LEAST_CLEAN)

    @property
    def test(self) -> Sequential:
        """Return the test that live calls are read by, one after the other."""
        clean = self.clean_share
        odds = clean / (1 - clean) * _ODDS
        return Sequential(clean, odds / (1 + odds), ALPHA)

    def is_unfamiliar(self, names: Iterable[str]) -> bool:
        """Tell whether no measured call had tools in this order."""
        return order_of(names) not in self.orders


def order_of(names: Iterable[str]) -> Order:
    """Return the order of a call's tools; a tool that is called again at once counts once."""
    found: list[str] = []
    for each in names:
        # A session has legal names (trap O8), a log those of the export.
        name = _ILLEGAL.sub("_", tool_name(each))
        if not found or found[-1] != name:
            found.append(name)
    return tuple(found)


def baseline_of(calls: Iterable[Sequence]) -> Baseline | None:
    """Return what live calls are held against, None where too few or too many-sided ones are known.

    Calls that were cut are left out: nobody knows how they went on.
    """
    counts = Counter(order_of(tool.name for tool in call.tools) for call in calls if not call.cut)
    total = sum(counts.values())
    singles = sum(count == 1 for count in counts.values())
    if total < LEAST_CALLS or upper(singles, total) > MOST_UNSEEN:
        return None
    return Baseline(frozenset(counts), total, singles)
