"""Live calls against measured ones: which are unfamiliar, and when that is a change."""

from __future__ import annotations

import random

import pytest

from calls.numbers.sequential import read
from calls.parity.drift_watch import LEAST_CALLS, Baseline, baseline_of, order_of
from calls.parity.sequence import Sequence, ToolCall

pytestmark = pytest.mark.unit


def past(*orders: str, cut: bool = False) -> list[Sequence]:
    """Return calls whose tools are words."""
    return [
        Sequence(str(n), "vapi", tuple(ToolCall(name) for name in order.split()), cut=cut)
        for n, order in enumerate(orders)
    ]


def usual(count: int = 100) -> Baseline:
    """Return a baseline of three orders."""
    found = baseline_of(past(*(["check book", "check", ""] * count)[:count]))
    assert found is not None
    return found


def test_an_order_that_was_measured_is_familiar_and_another_is_not() -> None:
    baseline = usual()
    assert baseline.orders == {("check", "book"), ("check",), ()}
    assert not baseline.is_unfamiliar(["check", "book"])
    assert not baseline.is_unfamiliar([])
    assert baseline.is_unfamiliar(["book", "check"])


def test_a_call_that_is_made_again_at_once_and_another_spelling_change_nothing() -> None:
    assert order_of(["check", "check", "book"]) == ("check", "book")
    assert order_of(["book table", "end_call_tool"]) == order_of(["book_table", "endCall"])


def test_few_calls_or_calls_that_are_all_unlike_are_no_baseline() -> None:
    assert baseline_of(past(*["check"] * (LEAST_CALLS - 1))) is None
    assert baseline_of(past(*(f"tool{n}" for n in range(200)))) is None
    assert baseline_of(past(*["check"] * LEAST_CALLS, cut=True)) is None


def test_the_share_of_unseen_orders_is_bounded_from_above() -> None:
    found = baseline_of(past(*["check"] * 95, "a", "b", "c", "d", "e"))
    assert found is not None and found.singles == 5
    assert found.clean_share == pytest.approx(0.1022, abs=0.0005)  # Clopper-Pearson of 5 of 100


def test_a_change_raises_the_alarm_and_the_usual_traffic_does_not() -> None:
    test = usual().test
    chance = random.Random(5)
    clean = test.clean_share
    calm = [chance.random() < clean / 2 for _ in range(5_000)]
    assert read(test, calm).alarm is None
    changed = [chance.random() < 0.6 for _ in range(300)]
    alarm = read(test, calm[:200] + changed).alarm
    assert alarm is not None and 200 <= alarm < 260
