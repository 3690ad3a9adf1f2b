"""When a failed delivery is tried again; pure. The wait is a column, never a broker's timer."""

from __future__ import annotations

# 51 hours in all, up to 62 with the jitter; what is given up then waits for a person.
DELAYS_SECONDS = (5, 15, 60, 300, 900, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400)
JITTER_SHARE = 0.2


def delay_seconds(attempts: int, jitter: float) -> float | None:
    """Return how long to wait after that many attempts, None to give up.

    Args:
        attempts: attempts made so far, at least 1.
        jitter: 0..1; spreads the wait by up to a fifth, so that a receiver that comes back is
            not met by everything at once.
    """
    if attempts > len(DELAYS_SECONDS):
        return None
    wait = DELAYS_SECONDS[attempts - 1]
    return wait * (1 + JITTER_SHARE * jitter)


def is_permanent(status_code: int | None) -> bool:
    """Tell whether a receiver has said that it never wants this again."""
    return status_code == 410
