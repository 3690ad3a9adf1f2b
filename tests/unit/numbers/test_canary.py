"""Which calls of a canary are ours: the share, who stays, and what a withheld number does."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from calls.numbers.canary import DRAWS, Sticky, draw, is_in, is_withheld, place

pytestmark = pytest.mark.unit

NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
CALLERS = [f"+1555{index:07d}" for index in range(2000)]


def drawn(
    caller: str,
    *,
    call_sid: str = "CA1",
    now: dt.datetime = NOON,
    sticky: Sticky = "caller",
    salt: str = "number-1",
) -> int:
    return draw(salt=salt, caller=caller, call_sid=call_sid, now=now, sticky=sticky)


def interval_99(count: int, share: float) -> tuple[int, int]:
    """Return the smallest and largest count with at least 0.5% on either side, exactly."""
    logs = [
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(share)
        + (count - k) * math.log(1 - share)
        for k in range(count + 1)
    ]
    low = high = 0
    below = 0.0
    for k, value in enumerate(logs):
        if below < 0.005:
            low = k
        below += math.exp(value)
        if below < 0.995:
            high = k + 1
    return low, high


@pytest.mark.parametrize("percent", [1, 5, 10, 25, 50, 75, 99])
@pytest.mark.parametrize("sticky", ["caller", "hour", "call"])
def test_the_share_of_2000_callers_is_inside_its_99_percent_interval(
    percent: int, sticky: Sticky
) -> None:
    low, high = interval_99(len(CALLERS), percent / 100)
    ours = sum(
        is_in(percent, drawn(caller, call_sid=f"CA{index}", sticky=sticky, salt="a salt"))
        for index, caller in enumerate(CALLERS)
    )
    assert low <= ours <= high


def test_hardly_any_salt_leaves_the_interval() -> None:
    low, high = interval_99(len(CALLERS), 0.1)
    outside = 0
    for salt in range(40):
        ours = sum(is_in(10, drawn(caller, salt=str(salt))) for caller in CALLERS)
        outside += not low <= ours <= high
    assert outside <= 2  # of 40, where 0.4 are expected


def test_a_caller_stays_while_the_share_grows_and_only_joins() -> None:
    before: set[str] = set()
    for percent in (5, 25, 50, 100):
        ours = {caller for caller in CALLERS if is_in(percent, drawn(caller))}
        assert before < ours
        before = ours
    assert before == set(CALLERS)


def test_no_one_is_in_at_0_and_everyone_at_100() -> None:
    for place_drawn in (0, DRAWS // 2, DRAWS - 1):
        assert not is_in(0, place_drawn)
        assert not is_in(-5, place_drawn)
        assert is_in(100, place_drawn)
        assert is_in(250, place_drawn)


def test_the_edge_of_a_share_is_exact() -> None:
    edge = DRAWS * 25 // 100
    assert is_in(25, edge - 1)
    assert not is_in(25, edge)


def test_by_caller_neither_the_hour_nor_the_call_matters() -> None:
    later = NOON + dt.timedelta(days=40)
    assert drawn("+15550100001") == drawn("+15550100001", call_sid="CA2", now=later)
    assert drawn("+15550100001") == drawn("  +15550100001 ")
    assert drawn("sip:Ann@example.com") == drawn("sip:ann@example.com")


def test_by_hour_a_caller_stays_until_the_utc_hour_ends() -> None:
    def at(minutes: float, zone: dt.tzinfo = dt.UTC) -> int:
        now = (NOON + dt.timedelta(minutes=minutes)).astimezone(zone)
        return drawn("+15550100001", call_sid=str(minutes), now=now, sticky="hour")

    assert at(0) == at(59.99)
    assert at(0) != at(60)
    assert at(0) != at(24 * 60)
    # A zone whose hours begin at the half changes nothing.
    assert at(31, dt.timezone(dt.timedelta(hours=5, minutes=30))) == at(0)


def test_by_call_each_is_drawn_anew_and_a_repeated_webhook_is_not() -> None:
    first = drawn("+15550100001", call_sid="CA1", sticky="call")
    assert first == drawn("+15550100001", call_sid="CA1", sticky="call")
    assert first != drawn("+15550100001", call_sid="CA2", sticky="call")


@pytest.mark.parametrize(
    "caller",
    [
        *("", "  ", "anonymous", "Anonymous", "Restricted", "+266696687", "266696687"),
        *("sip:anonymous@anonymous.invalid", "sips:Restricted@example.com", "+7378742833"),
    ],
)
def test_callers_who_withhold_their_number_are_drawn_one_by_one(caller: str) -> None:
    assert is_withheld(caller)
    places = {drawn(caller, call_sid=f"CA{index}") for index in range(50)}
    # Else all of them were on one stack, whatever the share.
    assert len(places) == 50
    assert drawn(caller, call_sid="CA1", sticky="hour") == drawn(caller, call_sid="CA1")


@pytest.mark.parametrize("caller", ["+15550100001", "client:desk", "sip:ann@example.com"])
def test_a_caller_with_a_name_is_somebody(caller: str) -> None:
    assert not is_withheld(caller)


def test_numbers_do_not_share_their_canaries() -> None:
    ours = [{caller for caller in CALLERS if is_in(10, drawn(caller, salt=salt))} for salt in "ab"]
    # Independent draws meet in 1% of 2,000; the same ones would in 10%.
    assert len(ours[0] & ours[1]) < 60


def test_a_place_is_the_same_in_every_process_and_joins_its_words_apart() -> None:
    assert place("canary", "salt", "caller", "+15550100001") == 719237708498012667
    assert place("a", "bc") != place("ab", "c")
    assert 0 <= place("\ud800") < DRAWS
