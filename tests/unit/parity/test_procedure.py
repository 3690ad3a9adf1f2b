"""The sequential procedure: what it promises, by adding up every path, and what it may never do."""

from __future__ import annotations

import math

import pytest

from calls.parity import bounds
from calls.parity.procedure import (
    FAIL_ODDS,
    LESS,
    MORE,
    PASS_ODDS,
    after,
    clean_until_pass,
    follow,
    follow_pairs,
    most_pairs,
    state_at,
)
from tests.unit.parity.chances import NEVER, chances, stops

pytestmark = pytest.mark.unit

GOOD, BAD = False, True
LIMITS = (0.05, 0.01)


def test_the_bets_are_those_worked_out_by_hand() -> None:
    # 76 clean pairs: half of the stake on "never", 0.95^-76 = 49.32; three tenths on 1% drift,
    # (0.99 / 0.95)^76 = 22.98; two tenths on 2%, (0.98 / 0.95)^76 = 10.62. Together 33.7.
    won = 0.5 * 0.95**-76 + 0.3 * (0.99 / 0.95) ** 76 + 0.2 * (0.98 / 0.95) ** 76
    assert round(won, 1) == 33.7
    assert state_at(0, 75, 0.05) == "undecided"
    assert state_at(0, 76, 0.05) == "pass"
    # Two drifts in six pairs: 0.15 on 10%, 4 * (0.9 / 0.95)^4; 0.85 on 20%, 16 * (0.8 / 0.95)^4.
    lost = 0.15 * 4 * (0.9 / 0.95) ** 4 + 0.85 * 16 * (0.8 / 0.95) ** 4
    assert round(lost, 2) == 7.32
    assert state_at(2, 6, 0.05) == "fail"
    assert state_at(2, 7, 0.05) == "undecided"  # 6.19


@pytest.mark.parametrize("stakes", [LESS, MORE])
def test_each_stake_is_whole(stakes: tuple[tuple[float, float], ...]) -> None:
    assert math.isclose(sum(part for _, part in stakes), 1)
    assert PASS_ODDS > 20 > FAIL_ODDS  # Ville: a pass at the limit or more in under 5% of cases


# Wrong: a pass at exactly the limit or more, a fail at 60% of it or less (5%: 5, 10, 20; 0, 3).
@pytest.mark.parametrize("limit", LIMITS)
def test_wrong_verdicts_are_rarer_than_one_in_twenty_whatever_the_share(limit: float) -> None:
    for multiple in (1, 1.2, 1.5, 2, 3, 4, 10):
        assert chances(multiple * limit, limit).passed <= 0.03
    for multiple in (0, 0.1, 0.2, 0.4, 0.6):
        assert chances(multiple * limit, limit).failed <= 0.025


# The figures of docs/parity.md.
@pytest.mark.parametrize(
    ("percent", "passed", "failed", "pairs"),
    [
        (0, 100.0, 0.0, 76.0),
        (1, 98.5, 0.2, 148.7),
        (2, 69.9, 0.8, 257.5),
        (3, 27.9, 2.3, 334.8),
        (5, 2.8, 9.5, 357.5),
        (7, 0.4, 36.3, 293.2),
        (10, 0.0, 92.6, 129.8),
        (15, 0.0, 100.0, 35.6),
        (20, 0.0, 100.0, 17.8),
        (30, 0.0, 100.0, 8.6),
    ],
)
def test_the_chances_at_five_percent_are_those_in_the_documents(
    percent: int, passed: float, failed: float, pairs: float
) -> None:
    found = chances(percent / 100, 0.05)
    assert 100 * found.passed == pytest.approx(passed, abs=0.06)
    assert 100 * found.failed == pytest.approx(failed, abs=0.06)
    assert found.pairs == pytest.approx(pairs, abs=0.06)


def test_the_number_of_pairs_keeps_its_promise() -> None:
    assert chances(0.0, 0.05).pairs <= 1.3 * 59
    assert chances(0.2, 0.05).pairs <= 20
    assert chances(0.0, 0.01).pairs <= 1.3 * 299


def test_no_procedure_with_such_a_mean_could_fail_the_limit_itself_more_rarely() -> None:
    # Wald: the mean times the information of one pair is at least -ln of the chance of a false
    # fail, for whatever stops with "fail" at 20%.
    information = 0.2 * math.log(0.2 / 0.05) + 0.8 * math.log(0.8 / 0.95)
    assert round(math.exp(-20 * information), 3) == 0.061
    ours = chances(0.2, 0.05)
    least = math.exp(-ours.pairs * information)
    assert least < chances(0.05, 0.05).failed < 1.15 * least  # within 15% of what is possible


@pytest.mark.parametrize("limit", LIMITS)
def test_a_verdict_never_contradicts_the_exact_bounds(limit: float) -> None:
    passes, fails = stops(limit)
    # The earliest pass with so many faults, and the latest fail with so few, are the tightest.
    for n in range(1, len(passes)):
        if passes[n] > passes[n - 1]:
            assert bounds.upper(passes[n], n) < limit
        if n + 1 == len(fails) or fails[n + 1] > fails[n]:
            assert fails[n] == NEVER or bounds.lower(fails[n], n) > limit


def test_stops_move_one_way_only() -> None:
    for limit in LIMITS:
        for stop in stops(limit):
            seen = [k for k in stop if 0 <= k < NEVER]
            assert seen == sorted(seen)


def test_one_drift_alone_fails_nothing() -> None:
    for n in range(1, 401):
        assert state_at(1, n, 0.05) != "fail"


@pytest.mark.parametrize(("k", "n"), [(0, 0), (0, 50), (1, 60), (2, 100), (5, 200)])
def test_more_is_exactly_what_is_still_missing(k: int, n: int) -> None:
    found = after(k, n, 0.05)
    assert found.state == "undecided"
    assert found.more is not None
    assert state_at(k, n + found.more, 0.05) == "pass"
    assert state_at(k, n + found.more - 1, 0.05) != "pass"


def test_what_cannot_pass_any_more_promises_nothing() -> None:
    assert clean_until_pass(9, 150, 0.05) is None
    found = after(9, 150, 0.05)
    assert (found.state, found.more, found.is_final) == ("undecided", None, False)


def test_fifty_clean_pairs_are_undecided_and_say_how_many_more() -> None:
    found = after(0, 50, 0.05)
    assert (found.state, found.more) == ("undecided", 26)
    assert found.words() == (
        "not decided, about 26 more without a difference: 0 of 50, between 0.0% and 5.8%"
    )


def test_the_first_verdict_stands_whatever_comes_behind_it() -> None:
    failed = follow([BAD, GOOD, BAD, *[GOOD] * 197], 0.05)
    assert (failed.state, failed.decided_at, failed.k, failed.n) == ("fail", 3, 2, 200)
    passed = follow([*[GOOD] * 76, *[BAD] * 24], 0.05)
    assert (passed.state, passed.decided_at, passed.n) == ("pass", 76, 100)


def test_it_gives_up_after_its_patience_and_says_so() -> None:
    # Every 25th pair drifts: 4% is too near to 5%.
    calls = [at % 25 == 24 for at in range(most_pairs(0.05))]
    assert follow(calls[:-1], 0.05).is_final is False
    found = follow(calls, 0.05)
    assert (found.state, found.more, found.is_final) == ("undecided", None, True)
    assert found.words().startswith("too close to the limit of 5% to say: 16 of 400")
    assert follow([*calls, *[BAD] * 30], 0.05).state == "undecided"


def test_no_single_call_fails_the_fields_however_many_of_them_differ() -> None:
    found = follow_pairs([(0, 4), (4, 4), (0, 4)], 0.01)
    assert (found.state, found.k, found.n) == ("undecided", 4, 12)
    assert follow_pairs([(0, 4), (1, 4), (1, 4)], 0.01).state == "fail"


def test_faults_of_one_call_all_count_against_a_pass() -> None:
    clean = [(0, 4)] * 97
    assert follow_pairs(clean, 0.01).state == "pass"  # 388 fields
    many = follow_pairs([(3, 4), *[(0, 4)] * 200], 0.01)
    assert many.state == "undecided"
    assert follow_pairs([(1, 4), *[(0, 4)] * 200], 0.01).state == "pass"


def test_pairs_without_a_field_are_no_evidence() -> None:
    assert follow_pairs([(0, 0)] * 500, 0.01).n == 0
    assert follow_pairs([(0, 0)] * 500, 0.01).state == "undecided"


@pytest.mark.parametrize("limit", [0, 0.2, 1, -1])
def test_a_limit_that_cannot_be_judged_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="Fix:"):
        follow([GOOD], limit)
    with pytest.raises(ValueError, match="Fix:"):
        after(0, 1, limit)


def test_more_faults_than_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="is no share"):
        after(2, 1, 0.05)
    with pytest.raises(ValueError, match="is no share"):
        follow_pairs([(2, 1)], 0.05)
