"""Whether this process could reach the model lately: what a webhook may know before it answers.

A hint, not a state of a call: it is lost with the process and costs two attempts to learn again.
Every dial reports here, by the endpoint's URL or, where only key or model was refused, by its line.
It is not shared: webhooks and dials are of the same process (design decision 11), and what one
machine cannot reach another may, so its callers must not be sent away. No Django, no waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

# One failure may be an accident; so many in a row, each within the memory of the last, are not.
FAILURES = 2
MEMORY_SECONDS = 60.0
# For so long after the last failure calls are spared the attempt; then one finds out.
SPARED_SECONDS = 15.0


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Reach:
    """Failures in a row by URL; ``clock`` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, _Failures] = {}

    def opened(self, url: str) -> None:
        """Note that a socket to ``url`` has opened."""
        self._failures.pop(url, None)

    def failed(self, url: str) -> None:
        """Note that a socket to ``url`` did not open."""
        now = self._clock()
        known = self._failures.get(url)
        if known is None or now - known.last > MEMORY_SECONDS:
            known = self._failures[url] = _Failures(0, now)
        known.count += 1
        known.last = now

    def is_lost(self, url: str) -> bool:
        """Tell whether ``url`` is not worth a caller's time right now."""
        known = self._failures.get(url)
        if known is None or known.count < FAILURES:
            return False
        return self._clock() - known.last < SPARED_SECONDS


reach = Reach()
