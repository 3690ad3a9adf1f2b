"""Patterns that people enter for what else is to be masked, in a form whose work has a bound.

A pattern is a row of characters and classes with counts. Groups, choices, anchors and references
are refused, and so are counts that leave too many ways open, so no text can make one slow.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

LONGEST_PATTERN: Final = 200
MOST_PATTERNS: Final = 20
_MOST_REPEATS: Final = 32
_MOST_WAYS: Final = 100
_PART: Final = re.compile(
    r"(?P<one>\\[dws]|\\[^A-Za-z0-9]|\[\^?(?:\\[^A-Za-ce-rt-vx-z0-9]|[^\]\\\[])+\]"
    r"|[^\\\[\](){}|*+?^$])"
    r"(?P<count>\?|\*|\+|\{(?P<low>\d{1,2})(?:,(?P<high>\d{1,2}))?\})?"
)


class CustomPatternError(ValueError):
    """The pattern cannot be used; the message names the part and says what to write instead."""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return ``pattern`` ready to search with; letters match in either case.

    ``*`` and ``+`` take as many of what they follow as there are, at most 32.

    Raises:
        CustomPatternError: it is empty, too long, not of this form, or leaves too many ways open.
    """
    if not pattern.strip():
        raise CustomPatternError("the pattern is empty. Fix: enter one, or remove the line.")
    if len(pattern) > LONGEST_PATTERN:
        raise CustomPatternError(
            f"the pattern is longer than {LONGEST_PATTERN} characters. Fix: shorten it."
        )
    parts, at, least, ways = [], 0, 0, 1
    while at < len(pattern):
        match = _PART.match(pattern, at)
        if match is None:
            raise CustomPatternError(
                f"“{pattern[at : at + 10]}” cannot stand in a pattern. Fix: use characters, "
                "classes such as [A-Z] or \\d, and counts such as {2,6}; write a choice as several "
                "patterns."
            )
        low, high = _counts(match)
        if high < low or high > _MOST_REPEATS or not high:
            raise CustomPatternError(
                f"the count “{match['count']}” is out of range. Fix: use 1 to {_MOST_REPEATS}, "
                "the smaller one first."
            )
        least += low
        takes_all = match["count"] in ("*", "+")
        ways *= 1 if takes_all else high - low + 1
        parts.append(f"{match['one']}{{{low},{high}}}{'+' if takes_all else ''}")
        at = match.end()
    if least < 2:
        raise CustomPatternError(
            "the pattern matches a single character, so it would mask everything. Fix: make it "
            "match two or more."
        )
    if ways > _MOST_WAYS:
        raise CustomPatternError(
            "the pattern has too many open counts. Fix: use fewer of ? and {…,…}, or narrower ones."
        )
    try:
        return re.compile("".join(parts), re.IGNORECASE)
    except re.error as error:
        raise CustomPatternError(
            f"the pattern cannot be read ({error.msg}). Fix: correct it."
        ) from error


def _counts(match: re.Match[str]) -> tuple[int, int]:
    count = match["count"]
    if count is None:
        return 1, 1
    if count in ("?", "*", "+"):
        return (1 if count == "+" else 0), (1 if count == "?" else _MOST_REPEATS)
    low = int(match["low"])
    return low, int(match["high"]) if match["high"] else low
