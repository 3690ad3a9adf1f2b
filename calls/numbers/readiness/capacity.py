"""How many calls there are at once, and what that needs of an account and of a model.

Pure arithmetic over spans of time. Which calls count is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from calls.numbers.readiness.facts import MARGIN


def most_at_once(spans: Iterable[tuple[float, float]]) -> tuple[int, float | None]:
    """Return the most spans that overlap, and when they first did; 0 and None of none.

    Args:
        spans: begin and end in seconds. A call that ends when another begins makes room for it; one
            without length counts at its moment.
    """
    steps: list[tuple[float, int]] = []
    for begin, end in spans:
        steps += [(begin, 1), (max(end, math.nextafter(begin, math.inf)), -1)]
    steps.sort()
    most, at, now = 0, None, 0
    for moment, step in steps:
        now += step
        if now > most:
            most, at = now, moment
    return most, at


def with_margin(calls: int) -> int:
    """Return how many calls at once have to fit when there were ``calls`` last month."""
    return math.ceil(calls * MARGIN)


def needed(calls: int, each: float) -> int:
    """Return what so many calls, and the margin, use in a minute when one uses ``each``."""
    return math.ceil(with_margin(calls) * each)
