"""What differs by chance: the old stack against itself, and two sets of calls without pairs.

Pure. Owns the noise floor and the permutation test. It must not judge a number: the floor is shown
beside the verdict, and a test over unpaired calls is a hint that pairs are worth making.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Row
from dataclasses import dataclass
from typing import Final

from calls.parity import bounds
from calls.parity.differ import Difference, difference
from calls.parity.renames import Renames
from calls.parity.sequence import Sequence

_MOST_ARRANGEMENTS: Final = 20_000
_DRAWS: Final = 1_999
_SURE: Final = 0.05
# Sums of the same numbers in another order differ in their last digits.
_SLACK: Final = 1e-9

_Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """How often two calls of one scenario differ though the old stack made both: ``k`` of ``n``."""

    k: int
    n: int
    lower: float
    upper: float

    def words(self) -> str:
        """Say it in one sentence for people."""
        if not self.n:
            return "the old stack was not compared with itself"
        if not self.k:
            return (
                f"the old stack never differed from itself in {self.n} repeats, which still "
                f"allows {self.upper:.1%}"
            )
        return (
            f"the old stack differs from itself in {self.k} of {self.n} repeats, "
            f"between {self.lower:.1%} and {self.upper:.1%}: nothing below that can be asked of "
            "another stack"
        )


@dataclass(frozen=True, slots=True)
class SetsCompared:
    """Whether two sets of calls without pairs order their tools alike.

    ``p_value``: how often sets as far apart as these would come from one stack. ``distance``: 0
    for sets that are alike. ``is_exact``: every arrangement was looked at, else ``arrangements``
    were drawn. ``skipped``: calls of scenarios that only one set has.
    """

    p_value: float
    distance: float
    is_exact: bool
    arrangements: int
    old: int
    new: int
    skipped: int

    def words(self) -> str:
        """Say it in one sentence for people."""
        if not self.old or not self.new:
            return "no scenario was called on both sides: nothing to compare"
        seen = f"{self.old} calls of the old stack, {self.new} of the new, p = {self.p_value:.3f}"
        if self.p_value < _SURE:
            return f"the two sets order their tools differently ({seen})"
        return f"no difference was found, which is no proof that there is none ({seen})"


def floor_of(differences: Iterable[Difference]) -> NoiseFloor:
    """Return the noise floor of pairs in which the old stack made both calls."""
    drifts = [each.drifts for each in differences if not each.says_nothing]
    k, n = sum(drifts), len(drifts)
    return NoiseFloor(k, n, bounds.lower(k, n), bounds.upper(k, n))


def repeats(calls: Iterable[Sequence]) -> list[tuple[Sequence, Sequence]]:
    """Pair the calls of one stack by scenario, in their order; no call is in two pairs.

    A call in two pairs would make these depend on each other, and the bounds would be too narrow.
    """
    by_scenario: dict[str, list[Sequence]] = defaultdict(list)
    for call in calls:
        by_scenario[call.scenario].append(call)
    return [
        (same[at], same[at + 1])
        for _, same in sorted(by_scenario.items())
        for at in range(0, len(same) - 1, 2)
    ]


def distance(old: Sequence, new: Sequence, renames: Renames | None = None) -> float:
    """Return how far apart two calls order their tools: 0 for alike, 1 for nothing in common."""
    return _apart(difference(old, new, {}, renames=renames))


def compare_sets(
    old: Iterable[Sequence],
    new: Iterable[Sequence],
    *,
    seed: int = 0,
    renames: Renames | None = None,
) -> SetsCompared:
    """Test whether which stack made a call matters, scenario by scenario, without pairs.

    The statistic is the energy distance (Székely and Rizzo 2004) over ``distance``. Under "it does
    not matter" every way of dealing the labels within a scenario is as likely: all of them are
    tried when there are at most 20,000, else 1,999 are drawn from ``seed``.
    """
    sides = (_by_scenario(old), _by_scenario(new))
    both = sorted(sides[0].keys() & sides[1].keys())
    skipped = sum(len(calls) for side in sides for name, calls in side.items() if name not in both)
    tables = [_Table(sides[0][name], sides[1][name], renames) for name in both]
    if not tables:
        return SetsCompared(1.0, 0.0, True, 0, 0, 0, skipped)
    seen = sum(table.apart(table.dealt) for table in tables)
    ways = math.prod(math.comb(len(table.kinds), table.old) for table in tables)
    is_exact = ways <= _MOST_ARRANGEMENTS
    others = _all(tables) if is_exact else _drawn(tables, seed)
    as_far = sum(value >= seen - _SLACK for value in others)
    p_value = as_far / ways if is_exact else (as_far + 1) / (_DRAWS + 1)
    return SetsCompared(
        p_value=p_value,
        distance=seen / len(tables),
        is_exact=is_exact,
        arrangements=ways if is_exact else _DRAWS,
        old=sum(table.old for table in tables),
        new=sum(len(table.kinds) - table.old for table in tables),
        skipped=skipped,
    )


class _Table:
    """The calls of one scenario: of which kind each is, and how far the kinds are apart."""

    def __init__(self, old: list[Sequence], new: list[Sequence], renames: Renames | None) -> None:
        examples: dict[tuple[tuple[str, int | None], ...], Sequence] = {}
        shapes = []
        for call in (*old, *new):
            shape = (*((tool.name, tool.message) for tool in call.tools), ("", int(call.cut)))
            examples.setdefault(shape, call)
            shapes.append(shape)
        places = {shape: at for at, shape in enumerate(examples)}
        self.kinds = [places[shape] for shape in shapes]
        self.old = len(old)
        self.dealt = self.kinds[: self.old]
        known = list(examples.values())
        self._far = [[0.0] * len(known) for _ in known]
        for (one, left), (two, right) in itertools.combinations(enumerate(known), 2):
            self._far[one][two] = self._far[two][one] = distance(left, right, renames)
        self._to_all = [sum(row[kind] for kind in self.kinds) for row in self._far]
        self._whole = sum(self._to_all[kind] for kind in self.kinds)

    def apart(self, dealt: Iterable[int]) -> float:
        """Return the energy distance if the old stack had made the calls of these kinds.

        What is within the new stack follows from the whole, so only one side is added up.
        """
        side = Counter(dealt).items()
        within = sum(
            many * times * self._far[kind][other] for kind, many in side for other, times in side
        )
        between = sum(many * self._to_all[kind] for kind, many in side) - within
        rest = self._whole - 2 * between - within
        old, new = self.old, len(self.kinds) - self.old
        return 2 * between / (old * new) - within / old**2 - rest / new**2


def _all(tables: list[_Table]) -> Iterator[float]:
    ways = [[table.apart(way) for way in _choices(table)] for table in tables]
    return (sum(way) for way in itertools.product(*ways))


def _choices(table: _Table) -> Iterator[Row[int]]:
    return itertools.combinations(table.kinds, table.old)


def _drawn(tables: list[_Table], seed: int) -> Iterator[float]:
    dice = random.Random(seed)  # noqa: S311 - an arrangement, no secret
    for _ in range(_DRAWS):
        yield sum(table.apart(dice.sample(table.kinds, table.old)) for table in tables)


def _by_scenario(calls: Iterable[Sequence]) -> dict[str, list[Sequence]]:
    found: dict[str, list[Sequence]] = defaultdict(list)
    for call in calls:
        found[call.scenario].append(call)
    return found


def _apart(found: Difference) -> float:
    calls = sum((row.old is not None) + (row.new is not None) for row in found.aligned)
    odd = len(found.omitted) + len(found.extra) + 2 * len(found.reordered)
    return odd / calls if calls else 0.0
