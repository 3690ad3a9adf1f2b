"""One-sided exact bounds, against published tables and against arithmetic with fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from calls.parity.bounds import lower, needed, upper

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        # Clopper and Pearson's two-sided 90% limits are the one-sided 95% ones, side by side.
        (1, 10, 0.0051, 0.3942),
        (2, 10, 0.0368, 0.5069),
        (5, 10, 0.2224, 0.7776),
        (9, 10, 0.6058, 0.9949),
        # By hand: without a fault 1 - 0.05^(1/n), with nothing but faults 0.05^(1/n).
        (0, 50, 0.0, 0.0582),
        (0, 58, 0.0, 0.0503),
        (0, 59, 0.0, 0.0495),
        (0, 298, 0.0, 0.0100),
        (0, 299, 0.0, 0.0100),
        (50, 50, 0.9418, 1.0),
        (1, 50, 0.0010, 0.0914),
        (5, 100, 0.0199, 0.1023),
    ],
)
def test_bounds_are_the_published_ones(k: int, n: int, low: float, high: float) -> None:
    assert (lower(k, n), upper(k, n)) == pytest.approx((low, high), abs=6e-5)


def _chance_of_at_most(k: int, n: int, share: Fraction) -> Fraction:
    ways = (math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k + 1))
    return sum(ways, start=Fraction(0))


@pytest.mark.parametrize(("k", "n"), [(0, 50), (1, 50), (3, 59), (5, 100), (17, 40), (12, 300)])
def test_bounds_leave_five_percent_in_exact_fractions(k: int, n: int) -> None:
    step = Fraction(1, 10**9)
    high, low = Fraction(upper(k, n)), Fraction(lower(k, n))
    tail = Fraction(1, 20)
    assert _chance_of_at_most(k, n, high - step) > tail > _chance_of_at_most(k, n, high + step)
    if k:
        above = [1 - _chance_of_at_most(k - 1, n, low + sign * step) for sign in (-1, 1)]
        assert above[0] < tail < above[1]


def test_what_must_be_said_plainly() -> None:
    assert round(upper(0, 50), 3) == 0.058  # fifty clean pairs still allow 5.8%
    assert upper(0, 58) > 0.05 > upper(0, 59)  # a clean pass under 5% needs 59
    assert upper(0, 298) > 0.01 > upper(0, 299)  # under 1% about 300


@pytest.mark.parametrize(
    ("k", "n", "limit", "more"),
    [(0, 0, 0.05, 59), (0, 50, 0.05, 9), (0, 59, 0.05, 0), (0, 0, 0.01, 299), (1, 50, 0.05, 43)],
)
def test_needed_is_the_least_number_that_passes(k: int, n: int, limit: float, more: int) -> None:
    assert needed(k, n, limit) == more
    assert upper(k, n + more) < limit
    assert more == 0 or upper(k, n + more - 1) >= limit


def test_nothing_seen_bounds_nothing() -> None:
    assert (lower(0, 0), upper(0, 0)) == (0.0, 1.0)


def test_what_nobody_would_wait_for_is_not_promised() -> None:
    assert needed(0, 0, 1e-6) is None
    assert needed(2_000, 2_000, 0.01) is None


@pytest.mark.parametrize("limit", [0, 1, -0.1])
def test_a_limit_that_is_no_share_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="Fix:"):
        needed(0, 10, limit)
