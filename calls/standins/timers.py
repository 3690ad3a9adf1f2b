"""Planned actions of a sans-I/O part, in the order of their time, then of their planning. It must
not look at a clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timers:
    """A queue of actions with due times."""

    def __init__(self) -> None:
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0

    def at(self, due_ms: int, action: Callable[[], None]) -> None:
        """Plan `action` for `due_ms`."""
        self._number += 1
        heapq.heappush(self._queue, (due_ms, self._number, action))

    def pop_due(self, now_ms: int) -> tuple[int, Callable[[], None]] | None:
        """Return and forget the first action due at or before `now_ms`, with its time."""
        if not self._queue or self._queue[0][0] > now_ms:
            return None
        due_ms, _, action = heapq.heappop(self._queue)
        return due_ms, action

    def next_ms(self) -> int | None:
        """Return the time of the first action."""
        return self._queue[0][0] if self._queue else None

    def clear(self) -> None:
        """Forget everything planned."""
        self._queue.clear()
