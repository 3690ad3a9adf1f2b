"""When a number's route applies: windows of local time, and what holds outside them.

Owns the clock rules of a schedule; how spans and holidays are written is ``hours``. Reads no clock
and no database. Every window is one unbroken stretch of real time:

- The clock is the wall clock of the schedule's zone. A window begins with its first minute and ends
  before its last.
- A window over midnight belongs to the day on which it begins: weekday and holiday are that day's.
- On a holiday no window begins; one that began the evening before goes on to its end.
- A time that does not exist (clocks go forward) stands for the moment of the change. A window that
  lies all within the gap does not take place that day.
- A time that exists twice (clocks go back): a window begins the first time and ends the second.
- In a zone that is not known it is always outside.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from calls.numbers.hours import (
    DAY_NAMES,
    DAYS,
    HoursError,
    Span,
    day_of,
    day_text,
    holidays_of,
    hours_stored,
    zone_of,
)

RouteName = Literal["vapi", "canary", "direct", "paused"]

_ZONE_CHARACTERS: Final = 40  # of a name that somebody has typed, in a reason


@dataclass(frozen=True, slots=True)
class Schedule:
    """Windows for each of ``hours.DAYS``; ``outside`` is the route when none is open."""

    zone: str
    windows: tuple[tuple[Span, ...], ...]
    outside: RouteName = "vapi"
    holidays: frozenset[dt.date] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """Return what ``schedule_stored`` reads: a text for each day, holidays one a line."""
        week = zip(DAYS, self.windows, strict=True)
        return {
            "zone": self.zone,
            "windows": {day: day_text(spans) for day, spans in week if spans},
            "outside": self.outside,
            "holidays": "\n".join(day.isoformat() for day in sorted(self.holidays)),
        }


def schedule_of(value: Mapping[str, Any]) -> Schedule:
    """Read a schedule that somebody has written, as ``Schedule.as_json`` writes it.

    Raises:
        HoursError: a window or a holiday cannot be read; whether zone and route are known is
            ``route_problems``'s to say.
    """
    days = value.get("windows")
    week = days if isinstance(days, Mapping) else {}
    unknown = sorted(set(week) - set(DAYS))
    if unknown:
        raise HoursError(f"“{unknown[0]}” is no day. Fix: use {', '.join(DAYS)}.")
    return Schedule(
        zone=str(value.get("zone") or "UTC"),
        windows=tuple(_window(day, str(week.get(day) or "")) for day in DAYS),
        outside=value.get("outside") or "vapi",
        holidays=frozenset(holidays_of(str(value.get("holidays") or ""))),
    )


def _window(day: str, text: str) -> tuple[Span, ...]:
    try:
        return day_of(text)
    except HoursError as error:
        raise HoursError(f"{DAY_NAMES[day]}: {error}") from None


def schedule_stored(value: Any) -> Schedule | None:
    """Return the schedule of a row, None where it has none. What cannot be read is closed.

    A row may have been written before a rule was; its calls are decided all the same.
    """
    if not isinstance(value, Mapping):
        return None
    try:
        holidays = frozenset(holidays_of(str(value.get("holidays") or "")))
    except HoursError:
        holidays = frozenset()
    outside = value.get("outside")
    return Schedule(
        zone=str(value.get("zone") or "UTC"),
        windows=hours_stored(value.get("windows")),
        outside=outside if outside in {"vapi", "canary", "direct", "paused"} else "vapi",
        holidays=holidays,
    )


def is_inside(schedule: Schedule, now: dt.datetime) -> tuple[bool, str]:
    """Tell whether a window is open at ``now`` (aware), and why in words."""
    zone = zone_of(schedule.zone)
    if zone is None:
        return False, f"the time zone {schedule.zone[:_ZONE_CHARACTERS]} is not known"
    local = now.astimezone(zone)
    today = local.date()
    when = f"{DAY_NAMES[DAYS[today.weekday()]]} {local:%H:%M} in {schedule.zone}"
    # The day before comes first: its windows are older.
    for day in (today - dt.timedelta(days=1), today):
        if day in schedule.holidays:
            continue
        for span in schedule.windows[day.weekday()]:
            start, end = _walls(day, span)
            if _reached(start, now, zone, last=False) and not _reached(end, now, zone, last=True):
                return True, f"inside {span.text()}; it is {when}"
    if today in schedule.holidays:
        return False, f"{today} is a holiday; it is {when}"
    return False, f"outside its windows; it is {when}"


def _walls(day: dt.date, span: Span) -> tuple[dt.datetime, dt.datetime]:
    midnight = dt.datetime.combine(day, dt.time())
    end = midnight + dt.timedelta(minutes=span.end, days=int(span.crosses_midnight))
    return midnight + dt.timedelta(minutes=span.start), end


def _reached(wall: dt.datetime, now: dt.datetime, zone: ZoneInfo, *, last: bool) -> bool:
    """Tell whether the clock has come to ``wall``, for the ``last`` time if it comes twice.

    Instants are compared in UTC: two times of one zone compare by their faces.
    """
    moment = wall.replace(tzinfo=zone, fold=int(last)).astimezone(dt.UTC)
    if moment.astimezone(zone).replace(tzinfo=None) != wall:
        # It does not exist: the face of the clock jumps past it, and has done so or not.
        return now.astimezone(zone).replace(tzinfo=None) >= wall
    return now >= moment
