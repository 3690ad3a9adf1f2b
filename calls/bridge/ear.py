"""How far the caller's ear is: a clock of the line's playback, set by sends, corrected by echoes.

Twilio plays what it has without a pause, so audio sent to an empty line begins one journey later
and goes on by the millisecond. A mark's echo comes a round trip after its place was played: the
shortest one seen is the line's own, and what an echo takes longer is time the playback is behind.
A ``clear`` needs the journey too; what is heard meanwhile was heard. So the position that our sends
alone give, less that delay and a margin for journeys that differ, is never ahead of the ear, while
counting from the last echo would lag by the whole round trip (twilio.md 3.4). Pure; positions are
mu-law bytes, times ms.
"""

from __future__ import annotations

from calls.wire.twilio_media import MULAW_BYTES_PER_MS

# Round trips on one connection differ by about this much, and never by more than they take.
MARGIN_MS = 15


class Ear:
    """Playback of one stream as the caller hears it."""

    def __init__(self) -> None:
        self.round_trip_ms: int | None = None
        self._ends_bytes = 0
        self._behind_ms = 0

    def send(self, size: int, now_ms: int, *, silent: bool) -> int:
        """Note ``size`` bytes sent behind the rest, or to a ``silent`` line; return their end."""
        if silent:
            self._behind_ms = 0
            self._ends_bytes = 0
        self._ends_bytes = max(self._ends_bytes, now_ms * MULAW_BYTES_PER_MS) + size
        return self._ends_bytes

    def echoed(self, ends_bytes: int, now_ms: int) -> None:
        """Note that the mark behind ``ends_bytes`` has come back."""
        journey_ms = now_ms - ends_bytes // MULAW_BYTES_PER_MS
        known_ms = journey_ms if self.round_trip_ms is None else self.round_trip_ms
        self.round_trip_ms = max(0, min(known_ms, journey_ms))
        self._behind_ms = journey_ms - self.round_trip_ms

    def heard(self, ends_bytes: int, size: int, now_ms: int) -> int:
        """Return how much of the ``size`` bytes before ``ends_bytes`` has been heard."""
        place = (now_ms - self._behind_ms - self._margin_ms) * MULAW_BYTES_PER_MS
        return min(size, max(0, place - (ends_bytes - size)))

    def stopped_ms(self, now_ms: int) -> int | None:
        """Return until when our sends count if the stream stopped and we hear of it at ``now_ms``.

        A round trip earlier: the news came from there, and the last audio was still on its way.
        None: no echo ever came, so nothing shows that any of it has arrived.
        """
        return None if self.round_trip_ms is None else now_ms - self.round_trip_ms

    def overdue(self, ends_bytes: int, now_ms: int) -> bool:
        """Tell whether the echo of a mark at ``ends_bytes`` should be here: it was not reached."""
        if self.round_trip_ms is None:
            return True
        expected_ms = ends_bytes // MULAW_BYTES_PER_MS + self.round_trip_ms + self._behind_ms
        return now_ms > expected_ms + self._margin_ms

    @property
    def _margin_ms(self) -> int:
        return min(MARGIN_MS, self.round_trip_ms or 0)
