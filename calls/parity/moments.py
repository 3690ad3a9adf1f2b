"""Dates and times as people and models write them, in one form. Pure.

Owns the words and orders that are understood: ISO 8601, a day and a month by name in English,
German, Spanish or French, and figures whose order is beyond doubt. What is not understood stays as
it was written. It must not know what day it is: "tomorrow" has no date here.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from typing import Final

_MONTHS: Final = (
    "january jan januar janner enero ene janvier janv",
    "february feb februar febrero fevrier fevr",
    "march mar marz marzo mars",
    "april apr abril abr avril avr",
    "may mai mayo",
    "june jun juni junio juin",
    "july jul juli julio juillet juil",
    "august aug agosto ago aout",
    "september sept sep septiembre septembre",
    "october oct oktober okt octubre octobre",
    "november nov noviembre novembre",
    "december dec dezember dez diciembre dic decembre",
)
_MONTH: Final = {name: at for at, names in enumerate(_MONTHS, 1) for name in names.split()}
_WEEKDAYS: Final = frozenset(
    "monday mon tuesday tue tues wednesday wed thursday thu thur thurs friday fri saturday sat "
    "sunday sun montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag lunes martes "
    "miercoles jueves viernes sabado domingo lundi mardi mercredi jeudi vendredi samedi "
    "dimanche".split()
)
_FILLERS: Final = frozenset("the of on am den der de del le el at um uhr a las".split())
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
_WORD: Final = re.compile(r"[^\W\d_]+|[0-9]+")
# What may follow a day that is written with figures: "3rd", and "3." as German does.
_ORDINALS: Final = frozenset({"st", "nd", "rd", "th", "er"})
_YEAR_FIRST: Final = re.compile(r"([0-9]{4})([/.-])([0-9]{1,2})\2([0-9]{1,2})")
_YEAR_LAST: Final = re.compile(r"([0-9]{1,2})([/.-])([0-9]{1,2})\2([0-9]{4})")
_TIME_24: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.0+)?)?")
_TIME_12: Final = re.compile(r"(0?[1-9]|1[0-2])(?::([0-5][0-9]))?(?::00)? ?([ap])\.? ?m\.?")
_TIME_AT_END: Final = re.compile(
    r"(?:(?:,| at|,? um|t) ?|[ ,])"
    r"([0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:\.0+)?)?(?: ?[ap]\.? ?m\.?)?|"
    r"(?:0?[1-9]|1[0-2]) ?[ap]\.? ?m\.?)(?: uhr)?$"
)
_ISO: Final = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[ Tt].+)?")


def moment(text: str) -> str:
    """Return a date (``2026-03-05``), a time (``15:30``) or both (``2026-03-05T15:30``).

    A date without a year is ``--03-05``. A time with a zone becomes UTC and ends in ``Z``; one
    without is never compared with it. Seconds are kept where they are not 0. Text that cannot be
    read in one way only is returned in lower case with single spaces.
    """
    plain = " ".join(text.casefold().split())
    return _iso(plain) or _time(plain) or _date_and_time(plain) or plain


def _iso(plain: str) -> str:
    if not _ISO.fullmatch(plain):
        return ""
    written = plain.upper()
    try:
        if len(written) in (8, 10):
            return dt.date.fromisoformat(written).isoformat()
        found = dt.datetime.fromisoformat(written)
        if found.tzinfo is not None:
            found = found.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return ""
    clock = _clock(found.hour, found.minute, found.second, found.microsecond)
    return f"{found.date().isoformat()}T{clock}{'Z' if found.tzinfo else ''}"


def _clock(hour: int, minute: int, second: int = 0, microsecond: int = 0) -> str:
    tail = f":{second:02}" if second or microsecond else ""
    return f"{hour:02}:{minute:02}{tail}" + (f".{microsecond:06}" if microsecond else "")


def _time(plain: str) -> str:
    plain = plain.removeprefix("at ").removeprefix("um ").removesuffix(" uhr")
    if plain == "noon":
        return "12:00"
    if found := _TIME_24.fullmatch(plain):
        hour, minute, second = found.groups()
        return _clock(int(hour), int(minute), int(second or 0))
    if found := _TIME_12.fullmatch(plain):
        hour, minute, half = found.groups()
        return _clock(int(hour) % 12 + (12 if half == "p" else 0), int(minute or 0))
    return ""


def _date_and_time(plain: str) -> str:
    if whole := _date(plain):
        return whole
    if found := _TIME_AT_END.search(plain):
        day, clock = _date(plain[: found.start()]), _time(found[1])
        if day and clock:
            return f"{day}T{clock}"
    return ""


def _date(plain: str) -> str:
    plain = plain.strip(" ,.")
    if found := _YEAR_FIRST.fullmatch(plain):
        return _day(int(found[1]), int(found[3]), int(found[4]))
    if found := _YEAR_LAST.fullmatch(plain):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        if found[2] == "." or first > 12 or first == second:
            return _day(year, second, first)  # dots are written where the day comes first
        return _day(year, first, second) if second > 12 else ""
    return _by_name(plain)


def _by_name(plain: str) -> str:
    """Return a date with its month by name: one month, one day, at most one year, nothing else."""
    letters = _ACCENTS.sub("", unicodedata.normalize("NFKD", plain))
    month = day = 0
    year: int | None = None
    for at, word in enumerate(words := _WORD.findall(letters)):
        if word in _MONTH and not month:
            month = _MONTH[word]
        elif word.isdigit() and len(word) <= 2 and not day:
            day = int(word)
        elif word.isdigit() and len(word) == 4 and year is None:
            year = int(word)
        elif word in _ORDINALS and at and words[at - 1].isdigit():
            continue
        elif word not in _WEEKDAYS and word not in _FILLERS:
            return ""
    if not month or not day:
        return ""
    # A leap year allows the 29th of February; which year is meant is not known.
    found = _day(2024 if year is None else year, month, day)
    return f"-{found[4:]}" if found and year is None else found


def _day(year: int, month: int, day: int) -> str:
    try:
        return dt.date(year, month, day).isoformat()
    except ValueError:
        return ""
