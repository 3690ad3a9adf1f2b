"""Readers of single values of a log: times, numbers, ids and texts of any type, bounded.

Pure and total: what cannot be read is absent, never an error. Owns the bounds that keep a value
within a column; knows no field of a log.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

MOST_MS: Final = 2_000_000_000  # within a column of 31 bits; 23 days
MOST_TEXT: Final = 100_000
_EPOCH_SECONDS: Final = (946_684_800, 4_102_444_800)  # 2000 to 2100
_FRACTION: Final = re.compile(r"(\.\d{6})\d+")


def text_of(value: Any, longest: int = MOST_TEXT) -> str:
    """Return text as every database takes it: no NUL, no half of a surrogate pair, bounded."""
    if not isinstance(value, str):
        return ""
    return value.replace("\x00", "").encode("utf-8", "replace").decode()[:longest]


def words_of(value: Any, longest: int = MOST_TEXT) -> str:
    """Return text as it is and any other JSON value as compact JSON, '' for none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return text_of(value, longest)
    return text_of(json.dumps(value, ensure_ascii=False, default=str), longest)


def content_of(value: Any) -> str:
    """Return what a message says: text, or the texts of a list of parts."""
    if isinstance(value, list):
        parts = (part.get("text") if isinstance(part, Mapping) else part for part in value)
        return text_of(" ".join(part for part in parts if isinstance(part, str)))
    return text_of(value)


def number_of(value: Any) -> float | None:
    """Return a finite number, also from text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int | float) and abs(value) < 1e18 and math.isfinite(value):
        return float(value)
    return None


def ms_of(value: float | None) -> int | None:
    """Return milliseconds of a call, within what a column holds."""
    return None if value is None else int(min(max(round(value), 0), MOST_MS))


def time_of(value: Any) -> dt.datetime | None:
    """Return a moment from ISO text or from an epoch in seconds or milliseconds (vapi.md 1.6)."""
    number = number_of(value)
    if number is not None:
        seconds = number / 1000 if number > _EPOCH_SECONDS[1] else number
        if not _EPOCH_SECONDS[0] <= seconds <= _EPOCH_SECONDS[1]:
            return None
        return dt.datetime.fromtimestamp(round(seconds * 1000) / 1000, tz=dt.UTC)
    if not isinstance(value, str):
        return None
    text = _FRACTION.sub(r"\1", value.strip())
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
    try:
        found = found.astimezone(dt.UTC)
    except OverflowError:
        return None
    # A millisecond is what both sides write (vapi.md 1.6).
    found = found.replace(microsecond=found.microsecond // 1000 * 1000)
    return found if 2000 <= found.year <= 2100 else None


def first(*values: Any) -> Any:
    """Return the first value that is there, None when none is."""
    return next((value for value in values if value not in (None, "", [], {})), None)


def arguments_text(value: Any) -> str:
    """Return the arguments of a tool call as JSON text, whichever form they had (vapi.md 4.3)."""
    if isinstance(value, str):
        return text_of(value)
    return words_of(value if value is not None else {})
