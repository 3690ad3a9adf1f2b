"""When a failed delivery is tried again; pure. The wait is a column, never a broker's timer.

The schedule is the one that Standard Webhooks proposes (standardwebhooks.com, "Retry schedule").
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Ten attempts in 75 h 35 min, up to 91 h with the jitter; then it waits for a person.
DELAYS_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER_SHARE = 0.2
# A receiver that asks for a week of patience gets a day.
MOST_RETRY_AFTER_SECONDS = 86_400.0


def delay_seconds(
    attempts: int, jitter: float, retry_after_seconds: float | None = None
) -> float | None:
    """Return how long to wait after that many attempts, None to give up.

    Args:
        attempts: attempts made so far, at least 1.
        jitter: 0..1; spreads the wait by up to a fifth, so that a receiver that comes back is
            not met by everything at once.
        retry_after_seconds: what the receiver asked for; it makes the wait longer, never shorter,
            and no wait that was given up possible.
    """
    if attempts > len(DELAYS_SECONDS):
        return None
    wait = float(DELAYS_SECONDS[attempts - 1])
    if retry_after_seconds is not None:
        wait = max(wait, min(retry_after_seconds, MOST_RETRY_AFTER_SECONDS))
    return wait * (1 + JITTER_SHARE * jitter)


def retry_after(header: str, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, None where it says nothing.

    Both forms of RFC 9110 10.2.3: whole seconds, and a date.

    Args:
        now: an aware time, which a date is compared to.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MOST_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MOST_RETRY_AFTER_SECONDS)


def is_permanent(status_code: int | None) -> bool:
    """Tell whether a receiver has said that it never wants this again."""
    return status_code == 410
