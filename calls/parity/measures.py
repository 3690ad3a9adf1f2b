"""What many pairs of calls say about a number: three gates, and where the differences are.

Pure. Owns the definition of parity (design.md 7, docs/parity.md): what is counted in each gate,
its limit, the worst verdict, and the tables. It must not hold what people said: names of tools,
of fields and of facts, counts and bounds, never a value, so that it may be stored and exported.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from calls.parity import bounds
from calls.parity.differ import Difference, difference
from calls.parity.fields import DEFAULT_REGION, Marks
from calls.parity.noise import NoiseFloor, floor_of
from calls.parity.procedure import State, Verdict, follow, follow_pairs
from calls.parity.renames import Renames
from calls.parity.sequence import Sequence

GateName = Literal["order", "arguments", "outcome"]

LIMITS: Final[Mapping[GateName, float]] = {"order": 0.05, "arguments": 0.01, "outcome": 0.05}
GATES: Final[tuple[GateName, ...]] = ("order", "arguments", "outcome")
MOST_WORST: Final = 10
TOO_FEW: Final = "too few to say"
_WORST_FIRST: Final[tuple[State, ...]] = ("fail", "undecided", "pass")


@dataclass(frozen=True, slots=True)
class Pair:
    """The same scenario on both stacks. ``has_audio``: the new side heard a caller's sound."""

    scenario: str
    old: Sequence
    new: Sequence
    has_audio: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: its verdict, and how many pairs failed of those that said something.

    For ``arguments`` the verdict counts fields, not pairs. ``applies`` is false only there, when
    no field is marked: nothing is measured, and the gate has no part in the verdict.
    """

    name: GateName
    verdict: Verdict
    failed_pairs: int
    pairs: int
    applies: bool = True

    @property
    def limit(self) -> float:
        """Return the share that must not be reached."""
        return self.verdict.limit

    def words(self) -> str:
        """Say in one sentence for people where the gate stands."""
        if not self.applies:
            return "no field is marked as critical: nothing is compared here"
        if not self.verdict.n:
            return "nothing was compared yet"
        return self.verdict.words()

    def note(self) -> str:
        """Say that pairs came behind the verdict and left it as it was; '' when none did."""
        decided, pairs = self.verdict.decided_at, self.pairs
        if decided is None or decided >= pairs:
            return ""
        return (
            f"The verdict fell with pair {decided} and stands; the figures are those of all {pairs}"
        )


@dataclass(frozen=True, slots=True)
class Share:
    """``k`` of ``n`` with one-sided exact bounds, and what they mean beside a limit."""

    k: int
    n: int
    lower: float
    upper: float
    words: str


@dataclass(frozen=True, slots=True)
class ToolLine:
    """A tool: of the pairs in which either side called it, those in which its calls drifted.

    ``fields``: its critical fields, those that differ of those that were compared.
    """

    name: str
    drift: Share
    omitted: int
    extra: int
    reordered: int
    fields: Share


@dataclass(frozen=True, slots=True)
class ScenarioLine:
    """A scenario: its pairs, and in how many each gate found a difference."""

    name: str
    drift: Share
    argument_pairs: int
    outcome_pairs: int


@dataclass(frozen=True, slots=True)
class WorstPair:
    """A pair with differences; ``index`` counts the pairs that were given, from 0.

    ``fields`` are ``tool: path``. Whoever may see the values compares the two calls again.
    """

    index: int
    scenario: str
    old_key: str
    new_key: str
    differences: int
    omitted: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    reordered: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measures:
    """All that pairs say. ``cut``: compared only so far; ``empty``: cut before the first tool, and
    so no evidence, nor counted in any gate.
    """

    verdict: State
    gates: tuple[Gate, ...]
    pairs: int
    audio_pairs: int
    cut: int
    empty: int
    omitted: int
    extra: int
    reordered: int
    retries: tuple[int, int]
    tools: tuple[ToolLine, ...]
    scenarios: tuple[ScenarioLine, ...]
    worst: tuple[WorstPair, ...]
    noise: NoiseFloor | None = None

    def gate(self, name: GateName) -> Gate:
        """Return one of the three gates."""
        return next(gate for gate in self.gates if gate.name == name)

    @property
    def more(self) -> int | None:
        """Return how many further pairs without a difference would pass all gates; None: unknown.

        From fields to pairs by what a pair has given so far; before the first, by one field each.
        """
        wanted = 0
        for gate in self.gates:
            if not gate.applies or gate.verdict.state == "pass":
                continue
            if gate.verdict.more is None:
                return None
            per_pair = gate.verdict.n / self.pairs if self.pairs else 1.0
            if not per_pair:
                return None
            wanted = max(wanted, math.ceil(gate.verdict.more / per_pair))
        return wanted


def measure(
    pairs: Iterable[Pair],
    marks: Marks,
    old_repeats: Iterable[Pair] = (),
    *,
    renames: Renames | None = None,
    region: str = DEFAULT_REGION,
    limits: Mapping[GateName, float] = LIMITS,
) -> Measures:
    """Measure pairs in the order in which they were planned, not that in which they ended.

    Args:
        old_repeats: pairs of calls that the old stack both made, for the noise floor.

    Raises:
        ValueError: a limit is not between 0 and 0.2.
    """
    given = list(pairs)
    found = [
        difference(pair.old, pair.new, marks, renames=renames, region=region) for pair in given
    ]
    told = [each for each in found if not each.says_nothing]
    gates = _gates(told, marks, limits)
    repeats = [
        difference(pair.old, pair.new, marks, renames=renames, region=region)
        for pair in old_repeats
    ]
    return Measures(
        verdict=worst_of(gates),
        gates=gates,
        pairs=len(told),
        audio_pairs=sum(
            pair.has_audio for pair, each in zip(given, found, strict=True) if not each.says_nothing
        ),
        cut=sum(each.cut for each in found),
        empty=len(found) - len(told),
        omitted=sum(len(each.omitted) for each in told),
        extra=sum(len(each.extra) for each in told),
        reordered=sum(len(each.reordered) for each in told),
        retries=(sum(each.retries[0] for each in told), sum(each.retries[1] for each in told)),
        tools=_tools(told, limits),
        scenarios=_scenarios(given, found, limits),
        worst=_worst(given, found),
        noise=floor_of(repeats) if repeats else None,
    )


def worst_of(gates: Iterable[Gate]) -> State:
    """Return the verdict of a number: the worst of the gates that apply."""
    states = {gate.verdict.state for gate in gates if gate.applies}
    return next((state for state in _WORST_FIRST if state in states), "undecided")


def share(k: int, n: int, limit: float) -> Share:
    """Return a share with its bounds, and in words how it stands to the limit by itself."""
    low, high = bounds.lower(k, n), bounds.upper(k, n)
    words = "under the limit" if high < limit else "over the limit" if low > limit else TOO_FEW
    return Share(k, n, low, high, words)


def _gates(
    told: list[Difference], marks: Marks, limits: Mapping[GateName, float]
) -> tuple[Gate, ...]:
    drifts = [each.drifts for each in told]
    fields = [(len(each.arguments), len(each.compared)) for each in told]
    outcomes = [bool(each.outcome) for each in told if each.facts]
    return (
        Gate("order", follow(drifts, limits["order"]), sum(drifts), len(drifts)),
        Gate(
            "arguments",
            follow_pairs(fields, limits["arguments"]),
            failed_pairs=sum(bool(faults) for faults, _ in fields),
            pairs=sum(bool(things) for _, things in fields),
            applies=any(marks.values()),
        ),
        Gate("outcome", follow(outcomes, limits["outcome"]), sum(outcomes), len(outcomes)),
    )


def _tools(told: list[Difference], limits: Mapping[GateName, float]) -> tuple[ToolLine, ...]:
    in_pairs: dict[str, int] = defaultdict(int)
    drifted: dict[str, int] = defaultdict(int)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    fields: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for each in told:
        called = {
            tool.name for row in each.aligned for tool in (row.old, row.new) if tool is not None
        }
        for name in called:
            in_pairs[name] += 1
        for name in {*each.omitted, *each.extra, *each.reordered}:
            drifted[name] += 1
        for place, names in enumerate((each.omitted, each.extra, each.reordered)):
            for name in names:
                counts[name][place] += 1
        for one in each.compared:
            fields[one.tool][0] += one.differs
            fields[one.tool][1] += 1
    return tuple(
        ToolLine(
            name=name,
            drift=share(drifted[name], pairs, limits["order"]),
            omitted=counts[name][0],
            extra=counts[name][1],
            reordered=counts[name][2],
            fields=share(fields[name][0], fields[name][1], limits["arguments"]),
        )
        for name, pairs in sorted(in_pairs.items())
    )


def _scenarios(
    given: list[Pair], found: list[Difference], limits: Mapping[GateName, float]
) -> tuple[ScenarioLine, ...]:
    by_name: dict[str, list[Difference]] = defaultdict(list)
    for pair, each in zip(given, found, strict=True):
        if not each.says_nothing:
            by_name[pair.scenario].append(each)
    return tuple(
        ScenarioLine(
            name,
            share(sum(each.drifts for each in told), len(told), limits["order"]),
            argument_pairs=sum(bool(each.arguments) for each in told),
            outcome_pairs=sum(bool(each.outcome) for each in told),
        )
        for name, told in sorted(by_name.items())
    )


def _worst(given: list[Pair], found: list[Difference]) -> tuple[WorstPair, ...]:
    lines = [
        WorstPair(
            index=at,
            scenario=pair.scenario,
            old_key=pair.old.key,
            new_key=pair.new.key,
            differences=each.count,
            omitted=each.omitted,
            extra=each.extra,
            reordered=each.reordered,
            fields=tuple(f"{one.tool}: {one.path}" for one in each.arguments),
            outcome=tuple(one.fact for one in each.outcome),
        )
        for at, (pair, each) in enumerate(zip(given, found, strict=True))
        if each.count
    ]
    lines.sort(key=lambda line: (-line.differences, line.index))
    return tuple(lines[:MOST_WORST])
