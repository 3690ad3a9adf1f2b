"""How large a share may be that was seen as ``k`` of ``n``: one-sided exact bounds. Pure.

Owns the reading of Clopper and Pearson's bounds (Biometrika 26, 1934) as parity uses them: each
alone holds in 95 of 100 cases, so 0 of 50 still allows 5.8%. They are for a number of pairs that
was fixed before; who looks after every pair needs ``procedure``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from calls.numbers.shares import chance_of_at_most, share_interval

CONFIDENCE: Final = 0.95
_MOST_NEEDED: Final = 100_000


def lower(k: int, n: int) -> float:
    """Return the share that is exceeded with 95% confidence after ``k`` of ``n``; 0 for none.

    Raises:
        ValueError: ``k`` is not between 0 and ``n``.
    """
    return _bounds(k, n)[0]


def upper(k: int, n: int) -> float:
    """Return the share that is not reached with 95% confidence after ``k`` of ``n``; 1 for none.

    Raises:
        ValueError: ``k`` is not between 0 and ``n``.
    """
    return _bounds(k, n)[1]


def needed(k: int, n: int, limit: float) -> int | None:
    """Return how many more without a fault bring the upper bound under ``limit``; 0: it is.

    None: more than 100,000 would be needed. This is the count for a sample of fixed size: 59 from
    nothing for a limit of 5%, 299 for 1%.

    Raises:
        ValueError: ``k`` is not between 0 and ``n``, or ``limit`` not between 0 and 1, exclusive.
    """
    if not 0 < limit < 1:
        raise ValueError(f"limit {limit} is no share. Fix: 0 < limit < 1.")
    upper(k, n)  # refuses what is no share
    if _is_under(k, n, limit):
        return 0
    enough = max(n, 1)
    while not _is_under(k, enough, limit):
        enough *= 2
        if enough - n > 2 * _MOST_NEEDED:
            return None
    short = enough // 2
    while enough - short > 1:
        middle = (short + enough) // 2
        if _is_under(k, middle, limit):
            enough = middle
        else:
            short = middle
    return enough - n if enough - n <= _MOST_NEEDED else None


def _is_under(k: int, n: int, limit: float) -> bool:
    """Tell whether the upper bound is under ``limit``, without looking for the bound itself."""
    return n > k and chance_of_at_most(k, n, limit) < 1 - CONFIDENCE


@lru_cache(maxsize=4096)
def _bounds(k: int, n: int) -> tuple[float, float]:
    # What a two-sided interval leaves out on each side is 5% when it holds in 90 of 100 cases.
    return share_interval(k, n, confidence=2 * CONFIDENCE - 1)
