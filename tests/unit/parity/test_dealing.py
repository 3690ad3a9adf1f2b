"""The order of a run and what chance does in it follow from its seed and from nothing else."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from calls.parity.dealing import chance, deal, drifted
from calls.parity.old_stack_model import play_old_stack
from calls.parity.scenario import CallerTurn, Expected, Noise, Reply, Scenario

pytestmark = pytest.mark.unit

A, B = Expected("a", {"phone": "+15550100002"}), Expected("b", {"date": "2026-11-27"})
SCENARIO = Scenario("s", (CallerTurn("say", "Hello.", expect=(A, B), agent="Yes."),))


def names(scenario: Scenario) -> list[str]:
    return [each.tool for each in scenario.expected]


def test_every_scenario_is_dealt_as_often_or_once_more() -> None:
    dealt = deal(["x", "y", "z"], 50, 1)
    assert len(set(dealt)) == 50
    assert sorted(Counter(each.scenario for each in dealt).values()) == [16, 17, 17]
    assert deal([], 5, 1) == []


def test_the_seed_alone_decides_the_order() -> None:
    assert deal(["x", "y"], 40, 7) == deal(["x", "y"], 40, 7)
    assert deal(["x", "y"], 40, 7) != deal(["x", "y"], 40, 8)
    assert chance(7, "x", 0, "vapi").random() == chance(7, "x", 0, "vapi").random()
    assert chance(7, "x", 0, "vapi").random() != chance(7, "x", 0, "direct").random()


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (Noise(omit_percent=100), [["a"], ["b"]]),
        (Noise(extra_percent=100), [["a", "b", "b"], ["a", "b", "a"]]),
        (Noise(swap_percent=100), [["b", "a"]]),
        (Noise(argument_percent=100), [["a", "b"]]),
        (Noise(), [["a", "b"]]),
    ],
)
def test_noise_does_one_thing_to_a_call(noise: Noise, expected: list[list[str]]) -> None:
    for seed in range(20):
        found = drifted(SCENARIO, noise, random.Random(seed))
        assert names(found) in expected
        changed = sum(
            new.arguments != old.arguments
            for new, old in zip(found.expected, SCENARIO.expected, strict=False)
            if new.tool == old.tool
        )
        assert changed == (noise.argument_percent == 100)


def test_a_stated_share_is_a_share_of_calls() -> None:
    noise = Noise(omit_percent=5, swap_percent=5)
    hit = sum(names(drifted(SCENARIO, noise, random.Random(i))) != ["a", "b"] for i in range(2000))
    assert 150 <= hit <= 250


def test_a_scenario_without_tool_calls_cannot_drift() -> None:
    quiet = Scenario("q", (CallerTurn("say", "Hello."),))
    for noise in (Noise(100), Noise(0, 100), Noise(0, 0, 100), Noise(0, 0, 0, 100)):
        assert drifted(quiet, noise, random.Random(1)) == quiet


def test_the_modelled_old_stack_does_what_is_expected_and_takes_its_time() -> None:
    scenario = Scenario(
        "s",
        (CallerTurn("say", "Hello.", expect=(A, B), agent="Yes."), CallerTurn("hang_up")),
        tools={"b": (Reply("no", is_error=True, delay_ms=5_000),)},
    )
    played = play_old_stack(scenario, key="k", rng=random.Random(3))
    assert [each.name for each in played.sequence.tools] == ["a", "b"]
    assert [each.outcome for each in played.sequence.tools] == ["ok", "failed"]
    assert played.latency.turns_ms[0] >= 5_200 and played.cost_usd > 0
    assert [each.role for each in played.transcript] == ["assistant", "user", "assistant"]
    again = play_old_stack(scenario, key="k", rng=random.Random(3))
    assert again == played
