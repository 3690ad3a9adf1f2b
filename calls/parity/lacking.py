"""What a run lacks, and when it lacks so much that a pass would say more than was seen. Pure.

Owns the rule of docs/parity.md, "What is missing". A call that could not be played is not a call
like the others: it may have failed because of what parity asks. So a pass is withheld where too
many pairs are missing, where most were compared in their beginning only, and where the run was
ended before all of it was played. It takes back no ``fail``: what was seen was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from calls.parity.measures import LIMITS
from calls.parity.procedure import clean_until_pass

# Missing pairs may be no larger a share than the drift that is looked for: were all of them to
# drift, the limit would be reached by them alone.
MOST_MISSING: Final = 0.05
# Of the pairs that were compared at all; behind a cut nothing is known.
MOST_CUT: Final = 0.5


def too_few_words(pairs: int, *, has_marks: bool) -> str:
    """Say before a run begins that so many pairs can never pass it, '' where they may.

    Args:
        has_marks: fields are marked as critical, which have a gate of their own.
    """
    least = clean_until_pass(0, 0, LIMITS["order"]) or 0
    if pairs >= least:
        return ""
    fields = clean_until_pass(0, 0, LIMITS["arguments"]) or 0
    words = f"{pairs} pairs can fail and never pass: without one difference it takes {least}"
    return words + (f", and {fields} critical fields" if has_marks else "")


def enough_pairs(fields: Sequence[int], most: int = 400) -> int:
    """Return how many pairs pass a run in which nothing differs, ``most`` where it takes more.

    Args:
        fields: how many critical fields each scenario fills in, in the order of dealing.
    """
    least = clean_until_pass(0, 0, LIMITS["order"]) or 0
    wanted = clean_until_pass(0, 0, LIMITS["arguments"]) or 0
    if not sum(fields):
        return least
    whole, left = divmod(wanted, sum(fields))
    rest = next(at for at, seen in enumerate((0, *accumulate(fields))) if seen >= left)
    return min(max(least, whole * len(fields) + rest), most)


@dataclass(frozen=True, slots=True)
class Lacks:
    """Pairs of a run by what became of them.

    ``compared``: both calls are there and say something. ``missing``: one could not be played, was
    lost or cannot be read. ``empty``: cut before the first tool. ``cut``: compared, but only in
    their beginning. ``unplayed``: nobody played them, though nothing was decided.
    """

    compared: int
    missing: int = 0
    empty: int = 0
    cut: int = 0
    unplayed: int = 0

    @property
    def told(self) -> str:
        """Say in words what is lacking, '' when nothing is."""
        parts = (
            (self.missing, "could not be compared"),
            (self.empty, "were cut before their first tool"),
            (self.cut, "were compared in their beginning only"),
            (self.unplayed, "were not played"),
        )
        return ", ".join(f"{count} {words}" for count, words in parts if count)

    @property
    def withholds(self) -> str:
        """Say why no pass can be given, '' when nothing speaks against one."""
        whole = self.compared + self.missing + self.empty
        if self.unplayed:
            return f"{self.unplayed} pairs were not played; a run that is not whole gives no pass"
        if self.missing > MOST_MISSING * whole:
            return (
                f"{self.missing} of {whole} pairs could not be compared; a pass allows "
                f"{MOST_MISSING:.0%}, since lost calls may be those that differ"
            )
        if self.cut + self.empty > MOST_CUT * (self.compared + self.empty):
            return (
                f"{self.cut + self.empty} of {self.compared + self.empty} pairs were cut; a pass "
                f"allows {MOST_CUT:.0%}, since nothing is known of what came behind"
            )
        return ""

    def stored(self) -> dict[str, int]:
        """Return the counts as JSON."""
        return {
            "missing": self.missing,
            "empty": self.empty,
            "cut": self.cut,
            "unplayed": self.unplayed,
        }
