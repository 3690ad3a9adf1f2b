"""How large a share may be that was seen as so many of so many: the exact interval. Pure.

Owns Clopper and Pearson's bounds (Biometrika 26, 1934), by bisection on the binomial sum. They
cover the true share at least as often as they say, whatever it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

_STEPS: Final = 50


def share_interval(bad: int, calls: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided bounds of the share of which ``bad`` of ``calls`` were seen.

    Raises:
        ValueError: ``bad`` is not among ``calls``, or the confidence is none.
    """
    if not 0 <= bad <= calls or not 0 < confidence < 1:
        raise ValueError(f"{bad} of {calls} at {confidence} is no share")
    if calls == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = (
        0.0
        if bad == 0
        else _where(lambda share: 1 - chance_of_at_most(bad - 1, calls, share) >= tail)
    )
    high = (
        1.0 if bad == calls else _where(lambda share: chance_of_at_most(bad, calls, share) <= tail)
    )
    return low, high


def _where(holds: Callable[[float], bool]) -> float:
    """Return the least share from which ``holds`` is true on."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def chance_of_at_most(most: int, calls: int, share: float) -> float:
    """Return the chance of ``most`` or fewer of ``calls``, from logarithms: no term overflows."""
    if share <= 0.0:
        return 1.0
    if share >= 1.0:
        return 1.0 if most >= calls else 0.0
    log_in, log_out = math.log(share), math.log1p(-share)
    total, whole = 0.0, math.lgamma(calls + 1)
    for k in range(most + 1):
        ways = whole - math.lgamma(k + 1) - math.lgamma(calls - k + 1)
        total += math.exp(ways + k * log_in + (calls - k) * log_out)
    return min(total, 1.0)
