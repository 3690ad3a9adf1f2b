"""Chance: the old stack against itself, and sets of calls without pairs."""

from __future__ import annotations

import random

import pytest

from calls.parity.noise import compare_sets, distance, repeats
from calls.parity.sequence import Sequence
from tests.unit.parity.calls import call

pytestmark = pytest.mark.unit


def _calls(*names: str, scenario: str = "") -> list[Sequence]:
    return [call(each, scenario=scenario, key=str(at)) for at, each in enumerate(names)]


@pytest.mark.parametrize(
    ("old", "new", "far"),
    [
        ("abc", "abc", 0.0),
        ("", "", 0.0),
        ("abc", "ab", 1 / 5),
        ("abc", "acb", 2 / 6),  # one call moved, seen from both sides
        ("ab", "cd", 1.0),
        ("", "a", 1.0),
    ],
)
def test_distance_by_hand(old: str, new: str, far: float) -> None:
    assert distance(call(old), call(new)) == pytest.approx(far)
    assert distance(call(new), call(old)) == pytest.approx(far)


def test_four_and_four_that_have_nothing_alike_are_the_two_extreme_ways_of_seventy() -> None:
    found = compare_sets(_calls(*["abc"] * 4), _calls(*["acb"] * 4))
    assert (found.is_exact, found.arrangements) == (True, 70)
    assert found.p_value == pytest.approx(2 / 70)
    assert "differently" in found.words()


def test_three_and_one_by_hand() -> None:
    # Which of four calls is the new one: four ways, and the odd call is in it in one.
    found = compare_sets(_calls("a", "a", "a"), _calls("b"))
    assert (found.arrangements, found.p_value) == (4, pytest.approx(1 / 4))


def test_the_energy_distance_by_hand() -> None:
    # a, a, b against b: between 2/3, within the first 4/9 (its four odd ones of nine), 0 within b.
    found = compare_sets(_calls("a", "a", "b"), _calls("b"))
    assert found.distance == pytest.approx(2 * 2 / 3 - 4 / 9)


def test_sets_that_are_alike_differ_by_nothing() -> None:
    found = compare_sets(_calls("ab", "ab", "ba"), _calls("ba", "ab", "ab"))
    assert found.distance == pytest.approx(0)
    assert found.p_value == 1.0
    assert "no proof" in found.words()


def test_labels_are_dealt_within_a_scenario_only() -> None:
    old = _calls("a", "a", scenario="one") + _calls("b", "b", scenario="two")
    new = _calls("a", "a", scenario="one") + _calls("b", "b", scenario="two")
    assert compare_sets(old, new).p_value == 1.0
    # The mixture differs between the stacks, what is done in each scenario does not.
    old = _calls(*["a"] * 9, scenario="one") + _calls("b", scenario="two")
    new = _calls("a", scenario="one") + _calls(*["b"] * 9, scenario="two")
    assert compare_sets(old, new).p_value == 1.0


def test_calls_of_a_scenario_that_one_side_lacks_are_left_out_and_counted() -> None:
    found = compare_sets(_calls("a", scenario="one"), _calls("a", "b", scenario="two"))
    assert (found.old, found.new, found.skipped) == (0, 0, 3)
    assert found.p_value == 1.0
    assert "nothing to compare" in found.words()


def test_many_calls_are_drawn_and_the_same_seed_draws_the_same() -> None:
    old, new = _calls(*["abc"] * 28, *["ab"] * 2), _calls(*["abc"] * 18, *["acb"] * 12)
    found = compare_sets(old, new, seed=4)
    assert not found.is_exact
    assert found.p_value < 0.01
    assert compare_sets(old, new, seed=4) == found
    assert 1 / 2_000 <= compare_sets(old, new, seed=5).p_value < 0.01


def test_drawing_gives_about_what_trying_all_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = _calls(*["ab"] * 6, "ba", "ba"), _calls(*["ab"] * 3, *["ba"] * 5)
    exact = compare_sets(old, new)
    monkeypatch.setattr("calls.parity.noise._MOST_ARRANGEMENTS", 0)
    drawn = compare_sets(old, new)
    assert (exact.is_exact, drawn.is_exact) == (True, False)
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.05)


def test_one_stack_is_found_to_be_two_in_at_most_one_of_twenty_cases() -> None:
    dice, found = random.Random(3), 0
    for _ in range(200):
        names = [dice.choice(["ab", "ba", "a"]) for _ in range(8)]
        found += compare_sets(_calls(*names[:4]), _calls(*names[4:])).p_value < 0.05
    assert found <= 18  # 10 are expected; more than 18 happen in less than 1% of cases


def test_a_call_is_in_one_repeat_only() -> None:
    calls = [
        *_calls("a", "b", "c", scenario="one"),
        *_calls("d", "e", "f", "g", scenario="two"),
        *_calls("h", scenario="three"),
    ]
    made = ["".join(each.tools[0].name for each in pair) for pair in repeats(calls)]
    assert sorted(made) == ["ab", "de", "fg"]
