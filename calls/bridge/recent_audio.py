"""The caller's latest words as audio, in case the session that heard them is lost.

A session dies with every turn whose text it has not told us yet. So what was forwarded is kept
until the text is here, or the turn was answered; between turns a second is enough, because the
model says only afterwards that speech has begun. Bounded, oldest first; sizes are mu-law bytes.
"""

from __future__ import annotations

from collections import deque

from calls.wire.twilio_media import MULAW_BYTES_PER_MS

IDLE_BYTES = 1_000 * MULAW_BYTES_PER_MS
TURN_BYTES = 8_000 * MULAW_BYTES_PER_MS
# Behind a turn there is silence for at least this long before it is committed (2.2); what comes
# later may be the beginning of the next one.
TAIL_BYTES = 200 * MULAW_BYTES_PER_MS


class RecentAudio:
    """A ring of forwarded payloads and the turns in it whose words are unknown."""

    __slots__ = ("_end", "_ring", "_size", "_turns")

    def __init__(self) -> None:
        self._ring: deque[tuple[str, int]] = deque()
        self._size = 0
        self._end = 0
        # Item id -> where its audio ends, None while it is being spoken; in order of speech.
        self._turns: dict[str, int | None] = {}

    @property
    def unknown(self) -> list[str]:
        """Return the items whose words are only here, in order of speech."""
        return list(self._turns)

    def note(self, payload: str, size: int) -> None:
        """Keep what has just been forwarded."""
        self._ring.append((payload, size))
        self._size += size
        self._end += size
        bound = TURN_BYTES if self._turns else IDLE_BYTES
        while self._size > bound:
            self._size -= self._ring.popleft()[1]

    def begins(self, item_id: str) -> None:
        """Note that a turn has begun."""
        self._turns.setdefault(item_id, None)

    def committed(self, item_id: str) -> None:
        """Note that a turn is complete."""
        self._turns[item_id] = max(0, self._end - TAIL_BYTES)

    def known(self, item_id: str) -> None:
        """Forget a turn whose text has come, with its audio if no earlier one needs it."""
        if item_id not in self._turns:
            return
        first = next(iter(self._turns)) == item_id
        end = self._turns.pop(item_id)
        if not first or end is None:
            return
        begin = self._end - self._size
        while self._ring and begin + self._ring[0][1] <= end:
            size = self._ring.popleft()[1]
            self._size -= size
            begin += size

    def answered(self) -> None:
        """Forget every complete turn: the answer to it exists."""
        for item_id in [each for each, end in self._turns.items() if end is not None]:
            self.known(item_id)

    def take(self) -> list[tuple[str, int]]:
        """Return and forget all audio and turns."""
        audio = list(self._ring)
        self._ring.clear()
        self._turns.clear()
        self._size = 0
        return audio
