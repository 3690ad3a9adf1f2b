"""Twilio's playback buffer: a FIFO of audio and marks played at 8,000 bytes a second (twilio.md
3.3). It owns what was really played and when; it must not parse messages or know who listens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from calls.standins.tones import BYTES_PER_MS, SILENCE

_SILENCE_RUN = bytes([SILENCE]) * 8000


@dataclass(frozen=True, slots=True)
class MarkEcho:
    """A mark that left the buffer at `at_ms`, because it was reached or because of `clear`."""

    name: str
    at_ms: int
    cleared: bool


class Playout:
    """Plays from `start_ms` on. `listener` gets every byte of the line, silence included."""

    def __init__(self, start_ms: int, listener: Callable[[bytes], None]) -> None:
        self._start_ms = start_ms
        self._listener = listener
        self._clock_bytes = 0  # position of the line since start_ms
        self._fifo: deque[bytes | str] = deque()
        self._queued_bytes = 0
        self.played_bytes = 0
        self.cleared_bytes = 0
        self._idle_since_bytes = 0

    @property
    def pending_marks(self) -> list[str]:
        """Return the names of marks not yet echoed, in order."""
        return [entry for entry in self._fifo if isinstance(entry, str)]

    @property
    def queued_ms(self) -> int:
        """Return how much audio waits, in ms."""
        return self._queued_bytes // BYTES_PER_MS

    def silent_ms(self, now_ms: int) -> int:
        """Return for how long nothing has been playing; 0 while audio is queued."""
        if self._queued_bytes:
            return 0
        return now_ms - self._start_ms - self._idle_since_bytes // BYTES_PER_MS

    def add_audio(self, audio: bytes) -> None:
        """Append audio; call `advance` to the present first."""
        if audio:
            self._fifo.append(audio)
            self._queued_bytes += len(audio)

    def add_mark(self, name: str) -> list[MarkEcho]:
        """Append a mark; it comes back at once if nothing is queued."""
        self._fifo.append(name)
        return self._reached()

    def clear(self) -> list[MarkEcho]:
        """Drop everything queued; all pending marks come back now (trap T10)."""
        echoes = [MarkEcho(name, self._position_ms(), True) for name in self.pending_marks]
        self.cleared_bytes += self._queued_bytes
        if self._queued_bytes:
            self._idle_since_bytes = self._clock_bytes
        self._fifo.clear()
        self._queued_bytes = 0
        return echoes

    def advance(self, now_ms: int) -> list[MarkEcho]:
        """Play up to `now_ms` and return the marks reached on the way."""
        target = (now_ms - self._start_ms) * BYTES_PER_MS
        echoes: list[MarkEcho] = []
        while self._clock_bytes < target:
            budget = target - self._clock_bytes
            if not self._fifo:
                chunk = _SILENCE_RUN[:budget]  # underrun is silence, not an error
                self._listener(chunk)
                self._clock_bytes += len(chunk)
                continue
            head = self._fifo[0]
            assert isinstance(head, bytes)  # marks at the head are taken as soon as they get there
            chunk = head[:budget]
            self._listener(chunk)
            self._clock_bytes += len(chunk)
            self.played_bytes += len(chunk)
            self._queued_bytes -= len(chunk)
            if len(chunk) < len(head):
                self._fifo[0] = head[budget:]
            else:
                self._fifo.popleft()
            if not self._queued_bytes:
                self._idle_since_bytes = self._clock_bytes
            echoes += self._reached()
        return echoes

    def next_mark_ms(self) -> int | None:
        """Return when the first pending mark will be reached; None without one."""
        ahead = 0
        for entry in self._fifo:
            if isinstance(entry, str):
                position = self._clock_bytes + ahead
                return self._start_ms - (-position // BYTES_PER_MS)
            ahead += len(entry)
        return None

    def _reached(self) -> list[MarkEcho]:
        echoes: list[MarkEcho] = []
        while self._fifo and isinstance(self._fifo[0], str):
            name = self._fifo.popleft()
            echoes.append(MarkEcho(str(name), self._position_ms(), False))
        return echoes

    def _position_ms(self) -> int:
        return self._start_ms + self._clock_bytes // BYTES_PER_MS
