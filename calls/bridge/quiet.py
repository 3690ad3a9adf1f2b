"""The clock of a line on which nobody speaks: when to ask whether the caller is there, when to end.

Pure; the bridge says when it is quiet and acts on what is due. Both waits begin when the last sound
of either side is over (vapi.md 2.2: ``messagePlan``, ``silenceTimeoutSeconds``), so an idle message
begins them again.
"""

from __future__ import annotations

from typing import Literal

from calls.bridge.plan import Idle

Due = Literal["", "idle", "silence"]


class QuietClock:
    """Since when it is quiet, and how often that has been said aloud."""

    __slots__ = ("_idle", "since_ms", "spoken")

    def __init__(self, idle: Idle) -> None:
        self._idle = idle
        self.since_ms: int | None = None
        self.spoken = 0

    def note(self, quiet: bool, now_ms: int) -> None:
        """Take what is true now; the clock starts when it becomes quiet and stops at any sound."""
        if not quiet:
            self.since_ms = None
        elif self.since_ms is None:
            self.since_ms = now_ms

    def caller_spoke(self) -> None:
        """Begin to count the messages anew, if the assistant says so."""
        if self._idle.counts_anew:
            self.spoken = 0

    def due(self, now_ms: int) -> Due:
        """Return what the quiet calls for now; the end comes before another question."""
        ends_ms, asks_ms = self._times()
        if ends_ms is not None and now_ms >= ends_ms:
            return "silence"
        return "idle" if asks_ms is not None and now_ms >= asks_ms else ""

    def deadline_ms(self) -> int | None:
        """Return when ``due`` has something to say, None when never."""
        return min((each for each in self._times() if each is not None), default=None)

    def next_message(self) -> str:
        """Return the next idle message and count it; in turn, so that a replay says the same."""
        messages = self._idle.messages
        message = messages[self.spoken % len(messages)]
        self.spoken += 1
        return message

    def _times(self) -> tuple[int | None, int | None]:
        idle, since_ms = self._idle, self.since_ms
        if since_ms is None:
            return None, None
        asks = bool(idle.messages) and self.spoken < idle.most
        return (
            since_ms + idle.silence_ms if idle.silence_ms else None,
            since_ms + idle.wait_ms if asks else None,
        )
