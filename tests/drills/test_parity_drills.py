"""Two hundred runs at each level of planted drift: what verdict they end with, and after how many
pairs.

Calls are sequences of tool calls, made up from a seed: what is planted is a tool left out, called
once too often, or called elsewhere. Everything that is stated to mean the same is written
differently on the two sides, and tools fail and are called again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import mean

import pytest

from calls.parity.differ import difference
from calls.parity.fields import Marks
from calls.parity.measures import LIMITS
from calls.parity.procedure import State, Verdict, after, most_pairs, state_at
from calls.parity.sequence import Outcome, Outcomes, Sequence, ToolCall
from tests.drills.conftest import Tell

pytestmark = pytest.mark.acceptance
Count = Callable[[int, int], int]

LIMIT = LIMITS["order"]
# Planted drift in percent, and the verdicts that would be wrong there.
LEVELS: dict[int, tuple[State, ...]] = {
    0: ("fail",),
    3: ("fail",),
    5: ("pass",),
    10: ("pass",),
    20: ("pass",),
}
MARKS: Marks = {"book": {"phone": "phone", "when": "date"}}
NAMES = ("find_customer", "check_slots", "book", "send_sms", "note", "transferCall")


@pytest.fixture(scope="module", autouse=True)
def _database_in_a_file() -> None:
    """Make no database: what is drilled is pure."""


def _call(stack: str, names: list[str], dice: random.Random) -> Sequence:
    """The same call as another model writes it, with tools that fail now and then."""
    tools: list[ToolCall] = []
    for name in names:
        arguments = {
            "phone": dice.choice(["2025550143", "+1 202-555-0143"]),
            "when": dice.choice(["2026-03-05", "March 5, 2026"]),
            "n": dice.choice([2, 2.0]),
        }
        outcomes: list[Outcome] = ["failed", "ok"] if dice.random() < 0.1 else ["ok"]
        tools += [ToolCall(name, arguments, outcome) for outcome in outcomes]
    key, ended = f"{stack}{dice.random()}", Outcomes(tools_ok=True, transferred=False)
    return Sequence(key, "vapi" if stack == "vapi" else "direct", tuple(tools), ended)


def _planted(names: list[str], dice: random.Random) -> list[str]:
    changed = list(names)
    at = dice.randrange(len(changed))
    match dice.choice(["omitted", "extra", "reordered"]):
        case "omitted":
            del changed[at]
        case "extra":
            changed.insert(at, dice.choice([name for name in NAMES if name != changed[at]]))
        case _:
            other = (at + 1) % len(changed)
            changed[at], changed[other] = changed[other], changed[at]
    return changed


def _drifts(share: float, dice: random.Random) -> Iterator[bool]:
    for _ in range(most_pairs(LIMIT)):
        names = dice.sample(NAMES, dice.randint(2, len(NAMES)))
        is_planted = dice.random() < share
        old = _call("vapi", names, dice)
        new = _call("direct", _planted(names, dice) if is_planted else names, dice)
        found = difference(old, new, MARKS)
        assert found.drifts is is_planted
        assert not found.arguments
        yield found.drifts


def _run(share: float, dice: random.Random) -> Verdict:
    """Look after each pair and stop at the verdict, as a run does."""
    k = n = 0
    for drifts in _drifts(share, dice):
        k, n = k + drifts, n + 1
        if state_at(k, n, LIMIT) != "undecided":
            break
    return after(k, n, LIMIT)


@pytest.mark.parametrize("percent", LEVELS)
def test_runs_with_planted_drift(percent: int, count: Count, tell: Tell) -> None:
    runs = count(200, 2)
    verdicts = [_run(percent / 100, random.Random(f"{percent}:{run}")) for run in range(runs)]
    ends = Counter(verdict.state for verdict in verdicts)
    wrong = sum(ends[state] for state in LEVELS[percent])
    pairs = mean(verdict.n for verdict in verdicts)
    assert wrong <= runs / 20
    if percent == 0:
        assert pairs <= 1.3 * 59
    if percent == 20 and runs == 200:
        assert pairs <= 20
    tell(
        f"parity: runs with {percent}% planted drift",
        f"{runs} runs at a limit of 5%: {ends['pass']} pass, {ends['fail']} fail, "
        f"{ends['undecided']} undecided, {wrong} wrong, {pairs:.1f} pairs on average",
    )
