"""Dates as people say and write them: "the 24th of November", "tomorrow", "2026-11-24".

Pure. Owns the readings and their form: ``YYYY-MM-DD`` where the day is certain, ``--MM-DD`` without
a year, else the words themselves in one spelling. A numeric date that could be read in two ways is
kept as it stands. English.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Final

_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_MONTH: Final = "|".join((*_MONTHS, *(name[:3] for name in _MONTHS if len(name) > 3), "sept"))
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FIRST_TEN: Final = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
_TO_NINETEEN: Final = (
    "eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
).split()
_ORDINALS: Final = {
    word: day
    for day, word in enumerate(
        (
            *(*_FIRST_TEN, *_TO_NINETEEN, "twentieth"),
            *(f"twenty-{unit}" for unit in _FIRST_TEN[:9]),
            *("thirtieth", "thirty-first"),
        ),
        1,
    )
}
_ORDINAL: Final = "|".join(
    word.replace("-", "[- ]") for word in sorted(_ORDINALS, key=len, reverse=True)
)
_DAY: Final = rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?|(?P<word>{_ORDINAL})"
_YEAR: Final = r"(?:,? (?P<year>20\d\d))?"
_PATTERNS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?P<iso>20\d\d-\d\d-\d\d)\b",
        r"\b(?P<left>\d{1,2})[/.](?P<right>\d{1,2})[/.](?P<full>20\d\d)\b",
        rf"\b(?P<month>{_MONTH})\.? (?:the )?(?:{_DAY})\b{_YEAR}",
        rf"\b(?:the )?(?:{_DAY})(?: of)? (?P<month>{_MONTH})\b{_YEAR}",
        r"\b(?P<relative>the day after tomorrow|day after tomorrow|tomorrow|today|tonight)\b",
        rf"\b(?P<which>next |this |coming )?(?P<weekday>{'|'.join(_DAYS)})\b",
    )
)
_AHEAD: Final = {"today": 0, "tonight": 0, "tomorrow": 1, "day after tomorrow": 2}


def dates_of(text: str, moment: dt.date | None = None) -> Iterator[tuple[str, int, int]]:
    """Yield (form, start, end) of every date in a text.

    Args:
        moment: the day on which it was said.
    """
    taken: list[tuple[int, int]] = []
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if any(start < until and begin < end for begin, until in taken):
                continue
            value = _value({k: v for k, v in match.groupdict().items() if v}, moment)
            if value:
                taken.append((start, end))
                yield value, start, end


def _value(found: dict[str, str], moment: dt.date | None) -> str:
    if "iso" in found:
        return found["iso"] if _is_date(found["iso"]) else ""
    if "full" in found:
        return _numeric(int(found["left"]), int(found["right"]), int(found["full"]), found)
    if "month" in found:
        return _day_of_month(found, moment)
    if "relative" in found:
        words = found["relative"].lower().removeprefix("the ")
        if moment is None:
            return words
        return (moment + dt.timedelta(days=_AHEAD[words])).isoformat()
    weekday = found["weekday"].lower()
    which = found.get("which", "").lower()
    # Whether "next" skips a week is a habit of the speaker.
    if moment is None or which.startswith("next"):
        return which.replace("this ", "").replace("coming ", "") + weekday
    ahead = (_DAYS.index(weekday) - moment.weekday() - 1) % 7 + 1
    return (moment + dt.timedelta(days=ahead)).isoformat()


def _numeric(left: int, right: int, year: int, found: dict[str, str]) -> str:
    readings = {(left, right), (right, left)} if left != right else {(left, right)}
    days = {
        f"{year:04}-{month:02}-{day:02}"
        for month, day in readings
        if _is_date(f"{year:04}-{month:02}-{day:02}")
    }
    if len(days) == 1:
        return days.pop()
    return f"{left}/{right}/{year}" if days else ""


def _day_of_month(found: dict[str, str], moment: dt.date | None) -> str:
    month = next(i for i, name in enumerate(_MONTHS, 1) if name[:3] == found["month"].lower()[:3])
    word = found.get("word", "").lower().replace(" ", "-")
    day = int(found["day"]) if "day" in found else _ORDINALS[word]
    if not _is_date(f"2028-{month:02}-{day:02}"):
        return ""
    if "year" in found:
        return f"{found['year']}-{month:02}-{day:02}"
    if moment is None or not _is_date(f"{moment.year}-{month:02}-{day:02}"):
        return f"--{month:02}-{day:02}"
    year = moment.year + ((month, day) < (moment.month, moment.day))
    return f"{year:04}-{month:02}-{day:02}"


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True
