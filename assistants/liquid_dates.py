"""Dates as LiquidJS writes them: its ``strftime``, its second argument (a zone), Vapi's clock.

Owns the vendor's spellings of format codes (liquidjs ``strftime``, read 2026-11-22), what counts as
a date, and the variables ``now`` … ``year`` (vapi.md 2.10). Pure: the moment is an argument; the
words are English, as at Vapi.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

DEFAULT_FORMAT: Final = "%A, %B %-e, %Y at %-l:%M %P %z"
_WIDEST: Final = 40
_CODE: Final = re.compile(r"%([-_0^#:]*)(\d*)[EO]?(.)")
_WIDTHS: Final[Mapping[str, int]] = dict.fromkeys("deHIklmMSUW", 2) | {"j": 3, "L": 3}
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_ENDINGS: Final = {1: "st", 2: "nd", 3: "rd"}
# What people write besides ISO 8601; `now` of Vapi is none of them (vapi.md trap 21).
_FORMS: Final = (
    *("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%m/%d/%Y", "%Y/%m/%d"),
    *("%B %d, %Y %H:%M", "%b %d, %Y %H:%M", "%m/%d/%Y %H:%M", "%Y/%m/%d %H:%M"),
    *("%B %d, %Y %I:%M %p", "%b %d, %Y %I:%M %p", "%m/%d/%Y %I:%M %p"),
)


def _ending(day: int) -> str:
    return "th" if day in (11, 12, 13) else _ENDINGS.get(day % 10, "th")


def _short(text: str) -> str:
    return text[:3]


_CODES: Final[Mapping[str, Callable[[dt.datetime], object]]] = {
    "a": lambda d: _short(_DAYS[d.weekday()]),
    "A": lambda d: _DAYS[d.weekday()],
    "b": lambda d: _short(_MONTHS[d.month - 1]),
    "h": lambda d: _short(_MONTHS[d.month - 1]),
    "B": lambda d: _MONTHS[d.month - 1],
    "c": lambda d: strftime(d, "%-m/%-d/%Y, %-I:%M:%S %p"),
    "C": lambda d: d.year // 100,
    "d": lambda d: d.day,
    "e": lambda d: d.day,
    "H": lambda d: d.hour,
    "I": lambda d: d.hour % 12 or 12,
    "j": lambda d: d.timetuple().tm_yday,
    "k": lambda d: d.hour,
    "l": lambda d: d.hour % 12 or 12,
    "L": lambda d: d.microsecond // 1000,
    "m": lambda d: d.month,
    "M": lambda d: d.minute,
    "N": lambda d: str(d.microsecond // 1000).ljust(9, "0"),
    "p": lambda d: "AM" if d.hour < 12 else "PM",
    "P": lambda d: "am" if d.hour < 12 else "pm",
    "q": lambda d: _ending(d.day),
    "s": lambda d: round(d.timestamp()),
    "S": lambda d: d.second,
    "u": lambda d: d.isoweekday(),
    "U": lambda d: (d.timetuple().tm_yday + 6 - d.isoweekday() % 7) // 7,
    "w": lambda d: d.isoweekday() % 7,
    "W": lambda d: (d.timetuple().tm_yday + 6 - d.weekday()) // 7,
    "x": lambda d: strftime(d, "%-m/%-d/%Y"),
    "X": lambda d: strftime(d, "%-I:%M:%S %p"),
    "y": lambda d: f"{d.year % 100:02}",
    "Y": lambda d: d.year,
    "z": lambda d: f"{d:%z}" or "+0000",
    "Z": lambda d: d.tzname() or "UTC",
    "t": lambda _: "\t",
    "n": lambda _: "\n",
    "%": lambda _: "%",
    # Ruby's short forms: LiquidJS leaves them as they stand, which nobody wants to hear.
    "D": lambda d: strftime(d, "%m/%d/%y"),
    "F": lambda d: strftime(d, "%Y-%m-%d"),
    "R": lambda d: strftime(d, "%H:%M"),
    "r": lambda d: strftime(d, "%I:%M:%S %p"),
    "T": lambda d: strftime(d, "%H:%M:%S"),
}


def strftime(moment: dt.datetime, form: str) -> str:
    """Return ``moment`` in LiquidJS' notation; codes that nobody knows stay as they are."""

    def written(found: re.Match[str]) -> str:
        flags, width, code = found.groups()
        convert = _CODES.get(code)
        if convert is None:
            return found.group()
        text = str(convert(moment))
        if code == "z" and ":" in flags:
            text = f"{text[:3]}:{text[3:]}"
        if "^" in flags:
            text = text.upper()
        elif "#" in flags:
            text = text.lower() if text.isupper() else text.upper()
        blank = "_" in flags or (code in "aAbBcekplP" and "0" not in flags)
        wide = min(int(width[:4]), _WIDEST) if width else _WIDTHS.get(code, 0)
        return text.rjust(0 if "-" in flags else wide, " " if blank else "0")

    return _CODE.sub(written, form)


def clock_variables(now: dt.datetime) -> dict[str, str]:
    """Return ``now``, ``date``, ``time``, ``month``, ``day`` and ``year`` of Vapi, all in UTC."""
    utc = now.astimezone(dt.UTC)
    return {
        "now": strftime(utc, "%b %-d, %Y, %-I:%M %p UTC"),
        "date": strftime(utc, "%b %-d, %Y"),
        "time": strftime(utc, "%-I:%M %p"),
        "month": strftime(utc, "%B"),
        "day": str(utc.day),
        "year": str(utc.year),
    }


def dated(value: object, form: object, zone: object, now: dt.datetime) -> object:
    """Return ``value`` as the ``date`` filter writes it; what is no date comes back unchanged.

    Args:
        value: the words ``now`` and ``today``, seconds since 1970, or a written date.
        form: a format, or None for LiquidJS' own.
        zone: an IANA name, or minutes west of UTC as JavaScript counts them; unknown means UTC.
    """
    try:
        moment = _moment(value, now)
        if moment is None:
            return value
        local = moment.astimezone(zone_of(zone))
        return strftime(local, form if isinstance(form, str) and form else DEFAULT_FORMAT)
    except (ValueError, OverflowError, OSError):
        return value  # a year that no calendar has


def _moment(value: object, now: dt.datetime) -> dt.datetime | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return dt.datetime.fromtimestamp(value, dt.UTC)
    text = str(value).strip()
    if text in ("now", "today"):
        return now
    if text.isascii() and text.isdigit():
        return dt.datetime.fromtimestamp(int(text[:15]), dt.UTC)
    found = _written(text) if len(text) <= 64 else None
    return found and (found if found.tzinfo else found.replace(tzinfo=dt.UTC))


def _written(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _FORMS:
        try:
            return dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
    return None


def zone_of(value: object) -> dt.tzinfo:
    """Return the zone of the filter's second argument, UTC where it names none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 24 * 60:
        return dt.timezone(dt.timedelta(minutes=-value))
    name = value if isinstance(value, str) else ""
    return (_zone(name) if name else None) or dt.UTC


def is_zone(name: str) -> bool:
    """Tell whether ``name`` is a zone; case does not matter, as in JavaScript."""
    return _zone(name) is not None


@lru_cache(maxsize=256)
def _zone(name: str) -> dt.tzinfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of the zone database
        known = _zone_names().get(name.strip().lower())
        return ZoneInfo(known) if known else None


@lru_cache(maxsize=1)
def _zone_names() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}
