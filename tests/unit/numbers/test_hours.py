"""Opening hours: what is read, and whom a caller reaches at a given moment."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.numbers.hours import (
    DAYS,
    Desk,
    HoursError,
    Span,
    day_of,
    day_text,
    decide,
    holidays_of,
    hours_stored,
    is_open,
)

pytestmark = pytest.mark.unit

DESK, NIGHT = "+15550100042", "+15550100043"
WORK = dict.fromkeys(DAYS[:5], "09:00-12:00, 13:00-17:00")


def desk(hours: dict[str, str] | None = None, zone: str = "UTC", **fields: Any) -> Desk:
    return Desk(DESK, zone=zone, hours=hours_stored(WORK if hours is None else hours), **fields)


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("moment", "is_there"),
    [
        ("2026-11-23T08:59", False),  # a Monday
        ("2026-11-23T09:00", True),
        ("2026-11-23T11:59:59", True),
        ("2026-11-23T12:00", False),
        ("2026-11-23T13:00", True),
        ("2026-11-23T17:00", False),
        ("2026-11-22T10:00", False),  # Sunday
    ],
)
def test_a_span_begins_with_its_first_minute_and_ends_before_its_last(
    moment: str, is_there: bool
) -> None:
    assert is_open(desk(), utc(moment))[0] is is_there


@pytest.mark.parametrize(
    ("moment", "is_there"),
    [
        ("2026-11-27T21:59", False),  # Friday
        ("2026-11-27T22:00", True),
        ("2026-11-27T23:59", True),
        ("2026-11-28T00:00", True),  # Saturday, which has no hours of its own
        ("2026-11-28T05:59", True),
        ("2026-11-28T06:00", False),
        ("2026-11-28T22:30", False),
    ],
)
def test_a_night_goes_on_after_midnight(moment: str, is_there: bool) -> None:
    assert is_open(desk({"fri": "22:00-06:00"}), utc(moment))[0] is is_there


def test_sunday_night_reaches_into_monday() -> None:
    assert is_open(desk({"sun": "20:00-02:00"}), utc("2026-11-23T01:00"))[0]


def test_a_whole_day_is_open_from_midnight_to_midnight() -> None:
    whole = desk({"mon": "00:00-24:00"})
    assert is_open(whole, utc("2026-11-23T00:00"))[0]
    assert is_open(whole, utc("2026-11-23T23:59"))[0]
    assert not is_open(whole, utc("2026-11-24T00:00"))[0]


@pytest.mark.parametrize(
    ("moment", "is_there"),
    [
        # New York falls back on 2026-11-01 at 06:00 UTC: 09:00 is 13:00 UTC before, 14:00 after.
        ("2026-10-30T13:00", True),
        ("2026-11-02T13:30", False),
        ("2026-11-02T14:00", True),
        # It springs forward on 2027-03-14.
        ("2027-03-12T13:30", False),
        ("2027-03-15T13:00", True),
    ],
)
def test_hours_follow_the_wall_clock_through_summer_time(moment: str, is_there: bool) -> None:
    assert is_open(desk(zone="America/New_York"), utc(moment))[0] is is_there


def test_the_hour_that_comes_twice_is_open_twice_and_the_one_left_out_harms_nobody() -> None:
    early = desk({"sun": "01:30-02:00"}, zone="America/New_York")
    assert is_open(early, utc("2026-11-01T05:45"))[0]  # 01:45 summer time
    assert is_open(early, utc("2026-11-01T06:45"))[0]  # 01:45 again
    gap = desk({"sun": "02:15-03:15"}, zone="America/New_York")
    assert not is_open(gap, utc("2027-03-14T06:59"))[0]  # 01:59
    assert is_open(gap, utc("2027-03-14T07:05"))[0]  # 03:05, a minute later


def test_a_holiday_closes_what_begins_on_it() -> None:
    nights = desk(dict.fromkeys(DAYS, "22:00-06:00"), holidays=frozenset({dt.date(2026, 12, 25)}))
    assert is_open(nights, utc("2026-12-25T03:00"))[0], "the shift of the 24th"
    assert is_open(nights, utc("2026-12-25T23:00")) == (False, "2026-12-25 is a holiday")
    assert not is_open(nights, utc("2026-12-26T03:00"))[0], "the shift of the 25th"
    assert is_open(nights, utc("2026-12-26T22:00"))[0]


def test_the_holiday_is_that_of_the_desks_zone() -> None:
    always = Desk(
        DESK, zone="Asia/Tokyo", always_open=True, holidays=frozenset({dt.date(2027, 1, 1)})
    )
    assert not is_open(always, utc("2026-12-31T15:00"))[0]
    assert is_open(always, utc("2027-01-01T15:00"))[0]


@pytest.mark.parametrize(
    ("fields", "reach", "to"),
    [
        ({}, "message", ""),
        ({"outside": "number", "outside_destination": NIGHT}, "dial", NIGHT),
        ({"outside": "number"}, "message", ""),
        ({"outside": "nothing"}, "nothing", ""),
    ],
)
def test_outside_the_hours_the_desk_says_what_happens(
    fields: dict[str, Any], reach: str, to: str
) -> None:
    decision = decide(desk(**fields), utc("2026-11-22T10:00"))
    assert (decision.reach, decision.to) == (reach, to)
    assert "Sunday 10:00" in decision.reason
    inside = decide(desk(**fields), utc("2026-11-23T10:00"))
    assert (inside.reach, inside.to) == ("dial", DESK)


def test_without_a_desk_nobody_is_reached() -> None:
    assert decide(None, utc("2026-11-23T10:00")).reach == "nothing"


def test_an_unknown_zone_is_closed_and_says_so() -> None:
    assert is_open(desk(zone="Mars/Olympus"), utc("2026-11-23T10:00")) == (
        False,
        "the time zone Mars/Olympus is not known",
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("nine to five", "not a time span"),
        ("09:00", "not a time span"),
        ("25:00-26:00", "does not exist"),
        ("09:75-10:00", "does not exist"),
        ("09:00-09:00", "no time at all"),
        ("09:00-12:00, 11:00-13:00", "overlap"),
        ("22:00-06:00, 23:00-23:30", "overlap"),
    ],
)
def test_what_cannot_be_read_says_why_and_how_to_write_it(text: str, cause: str) -> None:
    with pytest.raises(HoursError, match=cause) as refused:
        day_of(text)
    assert "Fix:" in str(refused.value)


def test_hours_are_read_as_people_write_them() -> None:
    assert day_of("9:00 - 12.30; 13:30 to 17:00") == (Span(540, 750), Span(810, 1020))
    assert day_of("  ") == ()


def test_holidays_are_dates_with_names() -> None:
    assert holidays_of("2026-12-25 Christmas\n\n2026-01-01") == (
        dt.date(2026, 1, 1),
        dt.date(2026, 12, 25),
    )
    with pytest.raises(HoursError, match="does not begin with a date"):
        holidays_of("25.12.2026")


def test_hours_stored_by_somebody_else_are_closed_rather_than_an_error() -> None:
    assert hours_stored(["x"]) == ((),) * 7
    assert hours_stored({"mon": "soon", "tue": 5, "wed": "10:00-11:00"})[2] == (Span(600, 660),)


SPAN = st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda pair: pair[0] != pair[1])


@given(SPAN, st.integers(0, 2 * 365 * 1440))
def test_one_span_every_day_is_open_exactly_between_its_times(
    pair: tuple[int, int], minutes: int
) -> None:
    span = Span(*pair)
    text = day_text([span])
    assert day_of(text) == (span,)
    moment = utc("2026-01-01T00:00") + dt.timedelta(minutes=minutes)
    there, _ = is_open(desk(dict.fromkeys(DAYS, text)), moment)
    minute = moment.hour * 60 + moment.minute
    inside = (
        minute >= span.start or minute < span.end
        if span.crosses_midnight
        else span.start <= minute < span.end
    )
    assert there is inside
