"""The caller's audio on its way to the model: a bounded ring until the model may hear it.

Every byte that came in is forwarded, kept, or counted as dropped; nothing vanishes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from calls.wire.twilio_media import MULAW_BYTES_PER_MS

RING_BYTES = 10_000 * MULAW_BYTES_PER_MS


class CallerAudio:
    """Counts and keeps payloads; the bridge decides when they may pass."""

    __slots__ = (
        "_ring",
        "dropped_bytes",
        "forwarded_bytes",
        "frames",
        "kept_bytes",
        "received_bytes",
        "taken_back_bytes",
    )

    def __init__(self) -> None:
        self.frames = 0
        self.received_bytes = 0
        self.forwarded_bytes = 0
        self.dropped_bytes = 0
        self.kept_bytes = 0
        self.taken_back_bytes = 0
        self._ring: deque[tuple[str, int]] = deque()

    def keep(self, payload: str, size: int) -> None:
        """Keep a payload for later; the oldest ones make room beyond ``RING_BYTES``."""
        self._ring.append((payload, size))
        self.kept_bytes += size
        self._make_room()

    def take_back(self, payloads: list[tuple[str, int]]) -> None:
        """Keep, in front of all else, what was forwarded to a session that is gone."""
        self._ring.extendleft(reversed(payloads))
        size = sum(each for _, each in payloads)
        self.forwarded_bytes -= size
        self.taken_back_bytes += size
        self.kept_bytes += size
        self._make_room()

    def _make_room(self) -> None:
        while self.kept_bytes > RING_BYTES:
            _, lost = self._ring.popleft()
            self.kept_bytes -= lost
            self.dropped_bytes += lost

    def release(self) -> Iterator[str]:
        """Yield what was kept, oldest first, and count it as forwarded."""
        while self._ring:
            payload, size = self._ring.popleft()
            self.kept_bytes -= size
            self.forwarded_bytes += size
            yield payload

    def abandon(self) -> None:
        """Count what is still kept as dropped: nobody will hear it."""
        self.dropped_bytes += self.kept_bytes
        self.kept_bytes = 0
        self._ring.clear()
