"""When a number's route applies: windows, holidays, midnight, and the two nights of the clock."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from calls.numbers.hours import DAYS, HoursError, hours_stored, zone_of
from calls.numbers.schedule import Schedule, is_inside, schedule_of, schedule_stored

pytestmark = pytest.mark.unit

WORK = dict.fromkeys(DAYS[:5], "09:00-12:00, 13:00-17:00")
# In Berlin, 2026: at 02:00 on 29 March it is 03:00; at 03:00 on 25 October it is 02:00. Sundays.
FORWARD, BACK = "2026-03-29", "2026-10-25"


def schedule(hours: dict[str, str], zone: str = "UTC", holidays: tuple[str, ...] = ()) -> Schedule:
    days = frozenset(dt.date.fromisoformat(day) for day in holidays)
    return Schedule(zone, hours_stored(hours), holidays=days)


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def open_minutes(windows: str, date: str, zone: str = "Europe/Berlin") -> list[str]:
    """Return, in UTC, when Sunday's windows open and close around ``date``."""
    plan = schedule({"sun": windows}, zone)
    at = utc(f"{date}T00:00") - dt.timedelta(hours=6)
    changes, before = [], False
    for _ in range(48 * 12):
        inside = is_inside(plan, at)[0]
        if inside != before:
            changes.append(f"{at:%dT%H:%M}")
        before, at = inside, at + dt.timedelta(minutes=5)
    return changes


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-11-23T08:59:59", False),  # a Monday
        ("2026-11-23T09:00", True),
        ("2026-11-23T11:59:59", True),
        ("2026-11-23T12:00", False),
        ("2026-11-23T13:00", True),
        ("2026-11-23T17:00", False),
        ("2026-11-22T10:00", False),  # Sunday
    ],
)
def test_a_window_begins_with_its_first_minute_and_ends_before_its_last(
    moment: str, inside: bool
) -> None:
    assert is_inside(schedule(WORK), utc(moment))[0] is inside


def test_the_clock_is_that_of_the_zone() -> None:
    plan = schedule({"mon": "09:00-17:00"}, "America/New_York")
    assert not is_inside(plan, utc("2026-11-23T13:59"))[0]
    inside, why = is_inside(plan, utc("2026-11-23T14:00"))
    assert inside
    assert why == "inside 09:00-17:00; it is Monday 09:00 in America/New_York"
    # After midnight in UTC it is still Monday there.
    evening = schedule({"mon": "18:00-22:00"}, "America/New_York")
    assert is_inside(evening, utc("2026-11-24T01:00"))[0]


def test_a_window_over_midnight_is_of_the_day_on_which_it_begins() -> None:
    night = schedule({"fri": "22:00-06:00"})
    assert is_inside(night, utc("2026-11-28T05:59"))[0]  # Saturday
    assert not is_inside(night, utc("2026-11-28T06:00"))[0]
    assert not is_inside(night, utc("2026-11-27T05:00"))[0]  # Friday, before it begins
    assert is_inside(schedule({"sun": "20:00-02:00"}), utc("2026-11-23T01:59"))[0]
    whole = schedule({"mon": "00:00-24:00"})
    assert is_inside(whole, utc("2026-11-23T23:59:59"))[0]
    assert not is_inside(whole, utc("2026-11-24T00:00"))[0]


def test_on_a_holiday_no_window_begins_and_one_of_the_evening_before_goes_on() -> None:
    night = schedule(dict.fromkeys(DAYS, "22:00-06:00"), holidays=("2026-12-25",))
    assert is_inside(night, utc("2026-12-25T05:00"))[0]
    inside, why = is_inside(night, utc("2026-12-25T23:00"))
    assert not inside
    assert why.startswith("2026-12-25 is a holiday")
    assert not is_inside(night, utc("2026-12-26T05:00"))[0]
    assert is_inside(night, utc("2026-12-26T22:00"))[0]


def test_a_holiday_is_the_date_of_the_zone() -> None:
    plan = schedule(dict.fromkeys(DAYS, "00:00-24:00"), "Asia/Tokyo", ("2026-12-25",))
    assert not is_inside(plan, utc("2026-12-24T15:00"))[0]
    assert is_inside(plan, utc("2026-12-25T15:00"))[0]


@pytest.mark.parametrize(
    ("windows", "changes"),
    [
        ("02:30-05:00", ["29T01:00", "29T03:00"]),  # begins with the change
        ("01:00-02:30", ["29T00:00", "29T01:00"]),  # ends with the change
        ("02:15-02:45", []),  # lies all within the gap
        ("02:00-03:00", []),
        ("00:00-24:00", ["28T23:00", "29T22:00"]),  # 23 hours
        ("01:00-04:00", ["29T00:00", "29T02:00"]),
    ],
)
def test_a_time_that_does_not_exist_stands_for_the_change(windows: str, changes: list[str]) -> None:
    assert open_minutes(windows, FORWARD) == changes


@pytest.mark.parametrize(
    ("windows", "changes"),
    [
        ("02:30-05:00", ["25T00:30", "25T04:00"]),  # begins the first time
        ("01:00-02:30", ["24T23:00", "25T01:30"]),  # ends the second time
        ("02:15-02:45", ["25T00:15", "25T01:45"]),  # once, and no gap between
        ("02:00-03:00", ["25T00:00", "25T02:00"]),
        ("00:00-24:00", ["24T22:00", "25T23:00"]),  # 25 hours
        ("03:00-04:00", ["25T02:00", "25T03:00"]),
    ],
)
def test_a_time_that_exists_twice_begins_a_window_once_and_ends_it_once(
    windows: str, changes: list[str]
) -> None:
    assert open_minutes(windows, BACK) == changes


def test_a_night_window_over_the_change_is_one_stretch() -> None:
    plan = schedule({"sat": "22:00-02:30"}, "Europe/Berlin")
    flags = [
        is_inside(plan, utc("2026-10-24T19:00") + dt.timedelta(minutes=minute))[0]
        for minute in range(9 * 60)
    ]
    # From 20:00 UTC for four hours and a half by the clock, and one more.
    assert flags.index(True) == 60
    assert sum(flags) == 330
    assert all(flags[60:390])


def test_a_day_that_a_zone_has_skipped_has_no_windows() -> None:
    # Samoa went over the date line: there was no 30 December 2011, a Friday.
    plan = schedule({"fri": "09:00-17:00"}, "Pacific/Apia")
    start = utc("2011-12-29T00:00")
    assert not any(
        is_inside(plan, start + dt.timedelta(minutes=10 * step))[0] for step in range(6 * 72)
    )


def test_a_zone_that_is_not_known_is_outside_and_says_so() -> None:
    plan = schedule(dict.fromkeys(DAYS, "00:00-24:00"), "Mars/Olympus" + "x" * 300)
    inside, why = is_inside(plan, utc("2026-11-23T12:00"))
    assert not inside
    assert "Mars/Olympus" in why
    assert "not known" in why
    assert len(why) < 100


def test_the_zone_of_now_does_not_matter() -> None:
    plan = schedule(WORK, "Europe/Berlin")
    moment = utc("2026-11-23T08:00")
    for name in ("UTC", "Asia/Tokyo", "Europe/Berlin"):
        assert is_inside(plan, moment.astimezone(zone_of(name)))[0]


def test_a_schedule_is_stored_as_it_is_written_and_read_again() -> None:
    written = {
        "zone": "Europe/Berlin",
        "windows": {"mon": "09:00-12:30, 13:30-17:00", "fri": "22:00-06:00"},
        "outside": "canary",
        "holidays": "2026-12-25 Christmas\n2026-01-01",
    }
    plan = schedule_of(written)
    assert schedule_stored(plan.as_json()) == plan == schedule_of(plan.as_json())
    assert plan.as_json()["holidays"] == "2026-01-01\n2026-12-25"
    assert schedule_stored(None) is None


@pytest.mark.parametrize(
    "wrong", [{"windows": {"mon": "9-17"}}, {"windows": {"xyz": ""}}, {"holidays": "Christmas"}]
)
def test_what_cannot_be_read_is_refused_when_written_and_closed_when_stored(
    wrong: dict[str, Any],
) -> None:
    with pytest.raises(HoursError, match="Fix:"):
        schedule_of({"zone": "UTC", **wrong})
    stored = schedule_stored({"zone": "UTC", "outside": "odd", **wrong})
    assert stored is not None
    assert (stored.outside, any(stored.windows), stored.holidays) == ("vapi", False, frozenset())


def test_a_window_that_cannot_be_read_is_named_by_its_day() -> None:
    with pytest.raises(HoursError, match="Tuesday: “9-25” is not a time span"):
        schedule_of({"windows": {"mon": "09:00-17:00", "tue": "9-25"}})
