"""Silence in place of caller audio that did not come, so that the model hears a turn end (T21).

Pure; counts milliseconds, writes mu-law silence. Frames are lost on the way, and some carriers send
none while nobody speaks (twilio.md 3.1); a detector that is given no audio never finds the end of
speech. Timestamps tell how much is missing; a clock tells when nothing comes at all.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Final

from calls.wire.twilio_media import MULAW_BYTES_PER_MS

LEAST_MS: Final = 20  # less is no frame
MOST_MS: Final = 10_000
# So long after the last frame it is believed that none follows; then silence goes on in steps.
SILENT_LINE_MS: Final = 750
STEP_MS: Final = 500
# A clock that is so late has slept, and with it whoever reads the line: what came lies unread.
LATE_MS: Final = 100
_PIECE_MS: Final = 1_000


class Gaps:
    """What is missing of one caller's audio."""

    __slots__ = ("_expected_ms", "_filled_ms", "_last_ms", "_not_before_ms")

    def __init__(self) -> None:
        self._expected_ms: int | None = None
        self._last_ms: int | None = None
        self._filled_ms = 0
        self._not_before_ms = 0

    def before_frame(self, timestamp_ms: int | None, size: int, now_ms: int) -> int:
        """Take a frame of ``size`` bytes; return the ms of silence that belong before it."""
        expected_ms, filled_ms = self._expected_ms, self._filled_ms
        self._last_ms, self._filled_ms, self._not_before_ms = now_ms, 0, 0
        self._expected_ms = None
        if timestamp_ms is None:
            return 0
        self._expected_ms = timestamp_ms + size // MULAW_BYTES_PER_MS
        if expected_ms is None:
            return 0
        missing_ms = timestamp_ms - expected_ms - filled_ms
        return min(missing_ms, MOST_MS - filled_ms) if missing_ms >= LEAST_MS else 0

    def deadline_ms(self) -> int | None:
        """Return when silence is due on a line that sends nothing, None when no more."""
        if self._last_ms is None or self._filled_ms >= MOST_MS:
            return None
        due_ms = self._last_ms + max(self._filled_ms + STEP_MS, SILENT_LINE_MS)
        return max(due_ms, self._not_before_ms)

    def on_silent_line(self, now_ms: int) -> int:
        """Return the ms of silence to send now, 0 before they are due."""
        due_ms = self.deadline_ms()
        if due_ms is None or self._last_ms is None or now_ms < due_ms:
            return 0
        if now_ms - due_ms > LATE_MS:
            self._not_before_ms = now_ms + LATE_MS
            return 0
        missing_ms = min(now_ms - self._last_ms, MOST_MS) - self._filled_ms
        self._filled_ms += missing_ms
        return missing_ms


def silence(ms: int) -> list[tuple[str, int]]:
    """Return so much mu-law silence as (base64, bytes); it is 0xFF, not 0 (T20)."""
    sizes = [_PIECE_MS] * (ms // _PIECE_MS) + [ms % _PIECE_MS]
    audio = [b"\xff" * (size * MULAW_BYTES_PER_MS) for size in sizes if size]
    return [(base64.b64encode(piece).decode("ascii"), len(piece)) for piece in audio]


@lru_cache(maxsize=64)
def hush(size: int) -> str:
    """Return so many bytes of mu-law silence, in base64."""
    return base64.b64encode(b"\xff" * size).decode("ascii")
