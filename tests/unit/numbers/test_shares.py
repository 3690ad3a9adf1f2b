"""Exact bounds of a share, against figures that are known."""

from __future__ import annotations

import pytest

from calls.numbers.shares import share_interval

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("bad", "calls", "low", "high"),
    [
        # Clopper and Pearson's table, and R's binom.test.
        (0, 10, 0.0, 0.30850),
        (1, 10, 0.00253, 0.44502),
        (5, 10, 0.18709, 0.81291),
        (10, 10, 0.69150, 1.0),
        (2, 100, 0.00243, 0.07038),
    ],
)
def test_bounds_are_those_of_clopper_and_pearson(
    bad: int, calls: int, low: float, high: float
) -> None:
    assert share_interval(bad, calls) == pytest.approx((low, high), abs=6e-6)


def test_nothing_seen_says_nothing() -> None:
    assert share_interval(0, 0) == (0.0, 1.0)


def test_many_calls_narrow_the_bounds_and_hold_the_share() -> None:
    low, high = share_interval(400, 20_000)
    assert 0.018 < low < 0.02 < high < 0.0222


@pytest.mark.parametrize(("bad", "calls"), [(-1, 5), (6, 5)])
def test_more_than_all_is_refused(bad: int, calls: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        share_interval(bad, calls)
