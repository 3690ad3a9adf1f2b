"""Whom a caller reaches who needs a person: one pure decision over opening hours and holidays.

Owns how hours are written, read and judged. Times are those of the wall clock in the desk's zone,
so a change to summer time moves nothing. A span belongs to the day on which it begins: a night
shift of the 24th goes on into a holiday on the 25th, and none begins on the 25th. Reads no clock
and no database.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_NAMES: Final = dict(
    zip(
        DAYS,
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        strict=True,
    )
)
DAY_MINUTES: Final = 24 * 60
MAX_SPANS: Final = 6

Reach = Literal["dial", "message", "nothing"]
Outside = Literal["number", "message", "nothing"]

_SPAN = re.compile(r"(\d{1,2})[:.](\d{2})\s*(?:-|–|to)\s*(\d{1,2})[:.](\d{2})")


class HoursError(ValueError):
    """Hours or holidays cannot be read; the text says what is wrong and how to write it."""


@dataclass(frozen=True, slots=True)
class Span:
    """Open from ``start`` until before ``end``, minutes since midnight.

    An ``end`` at or before ``start`` is on the next day; 1440 is midnight at the day's end.
    """

    start: int
    end: int

    @property
    def crosses_midnight(self) -> bool:
        """Tell whether it ends on the next day."""
        return self.end <= self.start

    def text(self) -> str:
        """Return it as it is written, e.g. ``09:00-17:30``."""
        return f"{_clock(self.start)}-{_clock(self.end)}"


@dataclass(frozen=True, slots=True)
class Desk:
    """A destination with its hours; ``hours`` has a tuple of spans for each of ``DAYS``."""

    destination: str
    zone: str = "UTC"
    hours: tuple[tuple[Span, ...], ...] = ((),) * 7
    always_open: bool = False
    holidays: frozenset[dt.date] = frozenset()
    outside: Outside = "message"
    outside_destination: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whom the caller reaches, and why in words for an operator.

    ``to`` is set for ``dial`` only: E.164 or a SIP address.
    """

    reach: Reach
    to: str
    reason: str


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def day_of(text: str) -> tuple[Span, ...]:
    """Read one day's hours, e.g. ``09:00-12:30, 13:30-17:00`` or ``22:00-06:00``; empty: closed.

    Raises:
        HoursError: it is something else, a time does not exist, or two spans overlap.
    """
    spans: list[Span] = []
    for part in filter(None, (piece.strip() for piece in re.split(r"[,;]", text))):
        found = _SPAN.fullmatch(part)
        if found is None:
            raise HoursError(
                f"“{part}” is not a time span. Fix: write from and to with a hyphen, e.g. "
                "09:00-17:30, and a comma between two spans."
            )
        hours = [int(group) for group in found.groups()]
        start, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        if start >= DAY_MINUTES or end > DAY_MINUTES or hours[1] > 59 or hours[3] > 59:
            raise HoursError(
                f"“{part}” has a time that does not exist. Fix: use 00:00 to 23:59; 24:00 may end "
                "a span."
            )
        if start == end:
            raise HoursError(
                f"“{part}” is no time at all. Fix: write 00:00-24:00 for the whole day, or leave "
                "the day empty if it is closed."
            )
        spans.append(Span(start, end))
    spans.sort(key=lambda span: span.start)
    for earlier, later in zip(spans, spans[1:], strict=False):
        if earlier.crosses_midnight or later.start < earlier.end:
            raise HoursError(
                f"{earlier.text()} and {later.text()} overlap. Fix: join them into one span."
            )
    if len(spans) > MAX_SPANS:
        raise HoursError(f"there are {len(spans)} spans. Fix: at most {MAX_SPANS} a day.")
    return tuple(spans)


def day_text(spans: Sequence[Span]) -> str:
    """Return one day's hours as ``day_of`` reads them."""
    return ", ".join(span.text() for span in spans)


def holidays_of(text: str) -> tuple[dt.date, ...]:
    """Read holidays, a date at the beginning of each line and a name behind it if you like.

    Raises:
        HoursError: a line does not begin with a date such as 2026-12-25.
    """
    days: set[dt.date] = set()
    for line in filter(None, (line.strip() for line in text.splitlines())):
        word = line.split()[0]
        try:
            days.add(dt.date.fromisoformat(word))
        except ValueError:
            raise HoursError(
                f"“{line[:60]}” does not begin with a date. Fix: write year-month-day, e.g. "
                "2026-12-25 Christmas, one holiday a line."
            ) from None
    return tuple(sorted(days))


def hours_stored(value: Any) -> tuple[tuple[Span, ...], ...]:
    """Return the hours of ``{"mon": "09:00-17:00", …}``; what cannot be read is closed."""
    days = value if isinstance(value, Mapping) else {}
    found: list[tuple[Span, ...]] = []
    for day in DAYS:
        try:
            found.append(day_of(str(days.get(day, ""))))
        except HoursError:
            found.append(())
    return tuple(found)


def zone_of(name: str) -> ZoneInfo | None:
    """Return the time zone of an IANA name, None if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def is_open(desk: Desk, now: dt.datetime) -> tuple[bool, str]:
    """Tell whether somebody is there, and the reason. ``now`` is aware.

    A holiday closes the spans that begin on it, of an always open desk the whole date.
    """
    zone = zone_of(desk.zone)
    if zone is None:
        return False, f"the time zone {desk.zone} is not known"
    local = now.astimezone(zone)
    today, minute = local.date(), local.hour * 60 + local.minute
    when = f"{DAY_NAMES[DAYS[today.weekday()]]} {_clock(minute)} in {desk.zone}"
    if desk.always_open:
        if today in desk.holidays:
            return False, f"{today} is a holiday"
        return True, "open at all hours"
    yesterday = today - dt.timedelta(days=1)
    for span in desk.hours[yesterday.weekday()]:
        if span.crosses_midnight and minute < span.end and yesterday not in desk.holidays:
            return True, f"open since yesterday, {span.text()}; it is {when}"
    if today in desk.holidays:
        return False, f"{today} is a holiday"
    for span in desk.hours[today.weekday()]:
        if minute >= span.start and (span.crosses_midnight or minute < span.end):
            return True, f"open {span.text()}; it is {when}"
    return False, f"closed; it is {when}"


def decide(desk: Desk | None, now: dt.datetime) -> Decision:
    """Decide whom a caller reaches at ``now`` (aware). None: the number has no destination."""
    if desk is None:
        return Decision("nothing", "", "no operator destination")
    open_now, reason = is_open(desk, now)
    if open_now:
        return Decision("dial", desk.destination, reason)
    if desk.outside == "number" and desk.outside_destination:
        return Decision("dial", desk.outside_destination, reason)
    if desk.outside == "nothing":
        return Decision("nothing", "", reason)
    return Decision("message", "", reason)
