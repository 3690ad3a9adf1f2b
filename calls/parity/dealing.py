"""In which order the pairs of a run are played, and what chance decides in them.

Pure. Everything follows from the run's seed and from names, never from when something happened: a
run that was cancelled and resumed elsewhere is the same run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from calls.parity.scenario import CallerTurn, Expected, Noise, Scenario


@dataclass(frozen=True, slots=True)
class Dealt:
    """One pair: which scenario, and which of its repetitions, from 0."""

    scenario: str
    index: int


def deal(scenarios: Sequence[str], pairs: int, seed: int) -> list[Dealt]:
    """Return ``pairs`` pairs in the order of play; every scenario occurs as often, or once more.

    A look after each pair is fair only if the order has nothing to do with the scenarios.
    """
    if not scenarios:
        return []
    dealt = [
        Dealt(scenarios[at % len(scenarios)], at // len(scenarios)) for at in range(max(pairs, 0))
    ]
    random.Random(f"deal:{seed}").shuffle(dealt)  # noqa: S311 - an order, no secret
    return dealt


def chance(seed: int, scenario: str, index: int, stack: str) -> random.Random:
    """Return what chance decides in one call: the same for the same call of the same run."""
    return random.Random(f"{seed}:{scenario}:{index}:{stack}")  # noqa: S311 - no secret


def drifted(scenario: Scenario, noise: Noise, rng: random.Random) -> Scenario:
    """Return the scenario as a stack with ``noise`` follows it in one call.

    At most one of its expected tool calls is left out, made once more, exchanged with its
    neighbour, or made with another argument. Where there is nothing of the kind nothing happens.
    """
    drawn = rng.random() * 100
    for change, percent in (
        (_omitted, noise.omit_percent),
        (_extra, noise.extra_percent),
        (_swapped, noise.swap_percent),
        (_altered, noise.argument_percent),
    ):
        if drawn < percent:
            return change(scenario, rng)
        drawn -= percent
    return scenario


_Place = tuple[int, int]  # which turn, which of its calls


def _places(scenario: Scenario) -> list[_Place]:
    return [(at, nth) for at, turn in enumerate(scenario.caller) for nth in range(len(turn.expect))]


def _with(scenario: Scenario, turn_at: int, calls: Sequence[Expected]) -> Scenario:
    turns: list[CallerTurn] = list(scenario.caller)
    turns[turn_at] = replace(turns[turn_at], expect=tuple(calls))
    return replace(scenario, caller=tuple(turns))


def _call(scenario: Scenario, place: _Place) -> Expected:
    return scenario.caller[place[0]].expect[place[1]]


def _omitted(scenario: Scenario, rng: random.Random) -> Scenario:
    places = _places(scenario)
    if not places:
        return scenario
    turn_at, nth = rng.choice(places)
    calls = list(scenario.caller[turn_at].expect)
    del calls[nth]
    return _with(scenario, turn_at, calls)


def _extra(scenario: Scenario, rng: random.Random) -> Scenario:
    places = _places(scenario)
    if not places:
        return scenario
    turn_at, nth = rng.choice(places)
    calls = list(scenario.caller[turn_at].expect)
    others = [each for each in scenario.expected if each.tool != calls[nth].tool]
    # Not the same arguments: to ask the same again is a retry, which is no drift.
    more = (
        replace(rng.choice(others), together=False)
        if others
        else Expected(calls[nth].tool, {**calls[nth].arguments, "again": True})
    )
    calls.insert(nth + 1, more)
    return _with(scenario, turn_at, calls)


def _swapped(scenario: Scenario, rng: random.Random) -> Scenario:
    places = _places(scenario)
    pairs = [
        (first, second)
        for first, second in zip(places, places[1:], strict=False)
        if _call(scenario, first).tool != _call(scenario, second).tool
    ]
    if not pairs:
        return scenario
    first, second = rng.choice(pairs)
    calls = {first: _call(scenario, second), second: _call(scenario, first)}
    for place, call in calls.items():
        of_turn = list(scenario.caller[place[0]].expect)
        of_turn[place[1]] = replace(call, together=False)
        scenario = _with(scenario, place[0], of_turn)
    return scenario


def _altered(scenario: Scenario, rng: random.Random) -> Scenario:
    places = [
        (place, name)
        for place in _places(scenario)
        for name, value in sorted(_call(scenario, place).arguments.items())
        if isinstance(value, str) and value
    ]
    if not places:
        return scenario
    (turn_at, nth), name = rng.choice(places)
    calls = list(scenario.caller[turn_at].expect)
    value = str(calls[nth].arguments[name])
    calls[nth] = replace(calls[nth], arguments={**calls[nth].arguments, name: _misheard(value)})
    return _with(scenario, turn_at, calls)


def _misheard(value: str) -> str:
    """Return a text with its last digit another one, or its last letter another one."""
    for at in range(len(value) - 1, -1, -1):
        if value[at].isdigit():
            return f"{value[:at]}{(int(value[at]) + 1) % 10}{value[at + 1 :]}"
    return f"{value[:-1]}{'x' if value[-1] != 'x' else 'y'}"
