"""The hours of a policy: when a run may call."""

from __future__ import annotations

import datetime as dt

import pytest

from calls.parity.calling_hours import why_quiet

pytestmark = pytest.mark.unit

DAY = {"from": "08:00", "to": "21:00", "zone": "callee"}
NEW_YORK, HONOLULU = "America/New_York", "Pacific/Honolulu"


def at(hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, 11, 23, hour, minute, tzinfo=dt.UTC)


def test_no_hours_are_all_hours() -> None:
    assert why_quiet({}, "", at(3)) == ""


def test_the_callee_has_to_be_inside_the_hours_where_it_is() -> None:
    assert why_quiet(DAY, NEW_YORK, at(13)) == ""  # 08:00
    assert "07:59 in America/New_York" in why_quiet(DAY, NEW_YORK, at(12, 59))
    assert "02:00 in America/New_York" in why_quiet(DAY, NEW_YORK, at(7))
    assert "nobody knows in which time zone" in why_quiet(DAY, "", at(15))


def test_a_named_zone_holds_whoever_is_called_and_hours_may_cross_midnight() -> None:
    night = {"from": "22:00", "to": "06:00", "zone": "Europe/Berlin"}
    assert why_quiet(night, HONOLULU, at(22)) == ""  # 23:00
    assert why_quiet(night, "", at(4)) == ""  # 05:00
    assert why_quiet(night, "", at(12)) != ""


@pytest.mark.parametrize(
    "hours",
    [{"from": "eight"}, {"from": "08:00", "to": "x"}, {**DAY, "zone": "Mars/Olympus"}],
)
def test_hours_that_cannot_be_read_let_no_call_through(hours: dict[str, str]) -> None:
    assert why_quiet(hours, NEW_YORK, at(15)) != ""
