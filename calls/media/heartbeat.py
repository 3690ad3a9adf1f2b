"""The media process says which calls it carries, every few seconds, so that a death is noticed.

Owns one task per process, which runs while there are calls. One short UPDATE for all of them; it
must not keep anything on the audio path waiting, and a database that is away costs a beat.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog
from django.db import DatabaseError

from calls.media.database import in_database
from calls.services.silent_calls import calls_alive

BEAT_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Heartbeat:
    """The calls of this process; use it from the event loop's thread only."""

    def __init__(self) -> None:
        # A call may have its next stream before the last one is put away.
        self._calls: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    def join(self, call_id: str) -> None:
        """Begin to say that a call is on."""
        self._calls[call_id] += 1
        if self._task is None or self._task.done() or self._is_elsewhere(self._task):
            self._task = asyncio.create_task(self._beat(), name="heartbeat")

    def leave(self, call_id: str) -> None:
        """Say it no longer; the task ends with the last call."""
        self._calls[call_id] -= 1
        if self._calls[call_id] <= 0:
            del self._calls[call_id]
        if not self._calls and self._task is not None:
            if not self._is_elsewhere(self._task):
                self._task.cancel()
            self._task = None

    @staticmethod
    def _is_elsewhere(task: asyncio.Task[None]) -> bool:
        return task.get_loop() is not asyncio.get_running_loop()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await in_database(calls_alive, list(self._calls))
            except DatabaseError as error:
                log.warning("heartbeat_not_stored", error=type(error).__name__)


heartbeat = Heartbeat()
