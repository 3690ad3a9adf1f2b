"""The sequential test: hand-worked cases, its two promises, and what it may never do."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.numbers.guard import TESTS
from calls.numbers.sequential import Sequential, read

pytestmark = pytest.mark.unit

FAILED = Sequential(0.005, 0.2, 1e-6)
GOOD, BAD = False, True


def test_the_steps_are_those_worked_out_by_hand() -> None:
    assert round(FAILED.bad_adds, 2) == 3.69  # ln 40
    assert round(FAILED.good_takes, 2) == 0.22  # ln(0.995 / 0.8)
    assert round(FAILED.alarm_at, 2) == 13.82  # ln 1,000,000
    assert FAILED.bad_in_a_row() == 4
    assert [FAILED.good_among(bad) for bad in (3, 4, 5)] == [-1, 4, 21]


@pytest.mark.parametrize(
    ("calls", "alarm"),
    [
        ([BAD], None),
        ([BAD] * 3, None),
        ([BAD] * 4, 3),
        ([BAD] * 5, 3),
        ([BAD, GOOD, BAD, GOOD, BAD, GOOD, GOOD, BAD], 7),  # four bad, four good among them
        ([BAD, GOOD, BAD, GOOD, BAD, GOOD, GOOD, GOOD, BAD], None),  # one good call more
        ([BAD, *[GOOD] * 21, BAD, BAD, BAD], None),  # 3.69 - 4.58 falls to 0: three are left
        ([BAD, BAD, BAD, BAD], 3),
        ([BAD, BAD, *[GOOD] * 21, BAD, BAD, BAD], 25),  # five, and 21 good ones: just enough
        ([BAD, BAD, *[GOOD] * 22, BAD, BAD, BAD], None),
        ([*[GOOD] * 500, *[BAD] * 4], 503),  # a good past buys nothing
    ],
)
def test_cases_by_hand(calls: list[bool], alarm: int | None) -> None:
    assert read(FAILED, calls).alarm == alarm


def test_a_reading_names_the_call_with_which_it_began() -> None:
    found = read(FAILED, [BAD, *[GOOD] * 30, BAD, GOOD, BAD, BAD, BAD, BAD])
    assert (found.begun, found.alarm, found.seen) == (31, 35, 36)
    assert read(FAILED, [BAD, *[GOOD] * 30]).begun == 31  # nothing counts any more
    assert read(FAILED, []).alarm is None


@pytest.mark.parametrize("signal", TESTS)
def test_one_bad_call_never_raises_an_alarm_and_a_dozen_in_a_row_always_do(signal: str) -> None:
    test = TESTS[signal]  # type: ignore[index]
    assert 1 < test.bad_in_a_row() <= 12
    for lead in (0, 1, 1_000):
        assert read(test, [*[GOOD] * lead, BAD]).alarm is None


@pytest.mark.parametrize("signal", ["failed", "dead_air", "tool_failed"])
def test_five_bad_calls_in_a_row_raise_it_for_what_hurts_for_certain(signal: str) -> None:
    test = TESTS[signal]  # type: ignore[index]
    assert test.bad_in_a_row() <= 5
    assert test.good_among(5) >= 16
    assert test.chance_of_more(0.5, 5) < 0.002


def test_the_bound_on_a_sixth_is_the_binomial_worked_out_by_hand() -> None:
    # At most three bad ones among the 25 calls after the first: (1 + 25 + 300 + 2300) / 2^25.
    assert math.isclose(FAILED.chance_of_more(0.5, 5), 2626 / 2**25)
    assert FAILED.chance_of_more(0.5, 3) == 1.0


def test_of_20000_planted_faults_of_half_the_calls_the_bound_holds() -> None:
    dice = random.Random(8)
    more = 0
    for _ in range(20_000):
        calls = [dice.random() < 0.5 for _ in range(60)]
        alarm = read(FAILED, calls).alarm
        assert alarm is not None
        more += sum(calls[: alarm + 1]) > 5
    assert more / 20_000 <= 2 * FAILED.chance_of_more(0.5, 5)


@pytest.mark.parametrize("signal", TESTS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_10000_calls_at_the_clean_share_raise_no_alarm(signal: str, seed: int) -> None:
    test, dice = TESTS[signal], random.Random(f"{signal}{seed}")  # type: ignore[index]
    assert read(test, [dice.random() < test.clean_share for _ in range(10_000)]).alarm is None


def test_alarms_at_the_clean_share_are_further_apart_than_promised() -> None:
    # With an alpha that can be measured: one in 200 calls at most.
    test, dice, calls, alarms = Sequential(0.05, 0.3, 1 / 200), random.Random(5), 40_000, 0
    rest = [dice.random() < 0.05 for _ in range(calls)]
    while (found := read(test, rest).alarm) is not None:
        alarms += 1
        rest = rest[found + 1 :]
    assert 0 < alarms <= calls / 200


@given(st.lists(st.booleans(), max_size=300), st.integers(0, 300))
def test_a_window_that_begins_later_is_never_quicker(calls: list[bool], first: int) -> None:
    whole, part = read(FAILED, calls), read(FAILED, calls[first:])
    if part.alarm is not None:
        assert whole.alarm is not None
        assert whole.alarm <= part.alarm + first


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.data())
def test_a_bad_call_in_place_of_a_good_one_never_delays_an_alarm(
    calls: list[bool], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(calls) - 1))
    worse = [*calls[:at], BAD, *calls[at + 1 :]]
    before, after = read(FAILED, calls).alarm, read(FAILED, worse).alarm
    if before is not None:
        assert after is not None
        assert after <= before


@pytest.mark.parametrize(
    ("clean", "bad", "alpha"), [(0, 0.2, 0.1), (0.2, 0.2, 0.1), (0.1, 1, 0.1), (0.1, 0.2, 1)]
)
def test_what_makes_no_test_is_refused(clean: float, bad: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="Fix:"):
        Sequential(clean, bad, alpha)
