"""The caller's latest words as audio, in case the session that heard them is lost.

A session dies with every turn whose text it has not told us yet. So what was forwarded is kept
until the text is here; between turns a second is enough, because the model says only afterwards
that speech has begun. Places are bytes of this session's audio, as the model's own times are (4);
the ring is bounded, oldest first.
"""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import dataclass

from calls.wire.twilio_media import MULAW_BYTES_PER_MS

IDLE_BYTES = 1_000 * MULAW_BYTES_PER_MS
TURN_BYTES = 8_000 * MULAW_BYTES_PER_MS


@dataclass(slots=True)
class _Turn:
    begin: int
    end: int | None = None
    asked: bool = False
    answered: bool = False


@dataclass(frozen=True, slots=True)
class _Again:
    """A turn of a lost session in what the next one is given: where its speech ends there."""

    item_id: str
    end: int


class RecentAudio:
    """A ring of forwarded payloads and the turns in it whose words are unknown."""

    __slots__ = ("_again", "_end", "_floor", "_quick_end", "_ring", "_size", "_turns")

    def __init__(self) -> None:
        self._ring: deque[tuple[str, int]] = deque()
        self._turns: dict[str, _Turn] = {}
        self._again: list[_Again] = []
        self._size = self._end = self._floor = self._quick_end = 0

    @property
    def unknown(self) -> list[str]:
        """Return the items whose words are only here, in order of speech."""
        return list(self._turns)

    @property
    def unread(self) -> bool:
        """Tell whether words that have been answered are still without their text."""
        return any(turn.answered for turn in self._turns.values())

    @property
    def comes_again(self) -> bool:
        """Tell whether words that a lost session had heard are still to be heard by this one."""
        return bool(self._again)

    def burst(self, size: int) -> None:
        """Expect audio faster than it is spoken: what the model says of it comes later."""
        self._quick_end = self._end + size + IDLE_BYTES

    def note(self, payload: str, size: int) -> None:
        """Keep what has just been forwarded."""
        self._ring.append((payload, size))
        self._size += size
        self._end += size
        whole = bool(self._turns) or self._end <= self._quick_end
        bound = TURN_BYTES if whole else IDLE_BYTES
        while self._size > bound:
            self._size -= self._ring.popleft()[1]

    def begins(self, item_id: str, at_ms: int | None) -> None:
        """Note that a turn has begun at a time of this session's audio, None: about now."""
        self._turns.setdefault(item_id, _Turn(max(self._floor, min(self._place(at_ms), self._end))))

    def heard_before(self, at_ms: int | None) -> str:
        """Return under which id a lost session had begun to hear the turn that begins here.

        '' where nobody has heard it yet. A turn that ends before this place comes no more: this
        session took it for a noise, or for a part of another one.
        """
        place = self._place(at_ms)
        self._again = [turn for turn in self._again if turn.end > place]
        return self._again.pop(0).item_id if self._again else ""

    def _place(self, at_ms: int | None) -> int:
        return self._end - IDLE_BYTES if at_ms is None else at_ms * MULAW_BYTES_PER_MS

    def stops(self, item_id: str, at_ms: int | None) -> None:
        """Note where the speech of a turn ends, in this session's audio, None: about now."""
        turn = self._turns.get(item_id)
        if turn is not None:
            end = self._end if at_ms is None else at_ms * MULAW_BYTES_PER_MS
            turn.end = max(turn.begin, min(end, self._end))

    def known(self, item_id: str) -> None:
        """Forget a turn whose text has come, or whose words nobody needs."""
        turn = self._turns.pop(item_id, None)
        if turn is not None and turn.end is not None:
            self._floor = max(self._floor, turn.end)

    def asked(self) -> None:
        """Note that a response to every complete turn has begun."""
        for turn in self._turns.values():
            turn.asked = turn.asked or turn.end is not None

    def answered(self) -> None:
        """Note that what had begun is complete; it says nothing of words spoken meanwhile."""
        for turn in self._turns.values():
            turn.answered = turn.answered or turn.asked

    def take(self) -> tuple[dict[str, str], list[tuple[str, int]]]:
        """Return and forget everything; the next session counts its audio from the beginning.

        Returns the audio of each turn that was answered (whole, base64), and what is to be heard
        again: the turns that were not, else the last second behind all that is known.
        """
        told = {
            item_id: base64.b64encode(self._bytes(turn.begin, turn.end or turn.begin)).decode()
            for item_id, turn in self._turns.items()
            if turn.answered
        }
        waiting = [turn.begin for turn in self._turns.values() if not turn.answered]
        ends = [turn.end or 0 for turn in self._turns.values() if turn.answered]
        # Of what was given in one go the model may not have spoken yet: all of it comes again.
        idle = 0 if self._end <= self._quick_end else self._end - IDLE_BYTES
        begin = waiting[0] if waiting else max(self._floor, idle, *ends, 0)
        again = []
        at = self._end - self._size
        first = self._end
        for payload, size in self._ring:
            if at + size > begin:
                first = min(first, at)
                again.append((payload, size))
            at += size
        ends_again = {turn.item_id: turn.end for turn in self._again}
        for item_id, turn in self._turns.items():
            if not turn.answered:
                ends_again[item_id] = self._end if turn.end is None else turn.end
        self._again = [
            _Again(item_id, end - first) for item_id, end in ends_again.items() if end > first
        ]
        self._ring.clear()
        self._turns.clear()
        self._size = self._end = self._floor = self._quick_end = 0
        return {item_id: audio for item_id, audio in told.items() if audio}, again

    def _bytes(self, begin: int, end: int) -> bytes:
        at = self._end - self._size
        parts = []
        for payload, size in self._ring:
            if at + size > begin and at < end:
                parts.append(base64.b64decode(payload))
            at += size
        return b"".join(parts)
