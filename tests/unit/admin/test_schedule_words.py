"""A schedule as the route page shows it: what will really be decided, clock changes included."""

from __future__ import annotations

import datetime as dt

import pytest

from calls.admin.number_console import schedule_words
from calls.numbers.schedule import schedule_of

pytestmark = pytest.mark.unit


def test_each_opening_is_shown_with_the_zones_own_clock_on_both_sides_of_a_change() -> None:
    # Clocks go back on 2026-10-25 in Berlin.
    plan = schedule_of(
        {
            "zone": "Europe/Berlin",
            "outside": "vapi",
            "windows": {"sat": "09:00-17:00", "mon": "09:00-17:00"},
        }
    )
    lines = schedule_words(plan, dt.datetime(2026, 10, 24, 6, 50, tzinfo=dt.UTC))
    assert lines[0].startswith("Now outside: outside its windows; it is Saturday 08:50")
    assert lines[1:] == [
        "From Sat 2026-10-24 09:00 CEST: the route holds.",
        "From Sat 2026-10-24 17:00 CEST: vapi holds.",
        "From Mon 2026-10-26 09:00 CET: the route holds.",
        "From Mon 2026-10-26 17:00 CET: vapi holds.",
    ]


def test_a_night_that_is_open_now_says_until_when() -> None:
    plan = schedule_of({"zone": "UTC", "outside": "paused", "windows": {"sun": "22:00-02:00"}})
    lines = schedule_words(plan, dt.datetime(2026, 11, 22, 23, 7, tzinfo=dt.UTC))
    assert lines[0].startswith("Now inside") and "22:00-02:00" in lines[0]
    assert lines[1] == "From Mon 2026-11-23 02:00 UTC: paused holds."


def test_a_zone_that_nobody_knows_is_said_to_be_always_outside() -> None:
    plan = schedule_of({"zone": "Mars/Olympus", "windows": {"mon": "09:00-17:00"}})
    assert schedule_words(plan) == [
        "The time zone Mars/Olympus is not known: it is always outside."
    ]
    assert schedule_words(None) == []
