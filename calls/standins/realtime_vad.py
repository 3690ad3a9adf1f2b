"""Voice activity detection on the mu-law audio a Realtime stand-in really received, in appended-
audio time (openai_realtime.md 2.2, 4). It must not look at a clock or know what was said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from calls.standins.tones import BLOCK_BYTES, BYTES_PER_MS, SILENCE

WINDOW_MS = BLOCK_BYTES // BYTES_PER_MS
# Longest waits of semantic_vad are 8, 4 and 2 s; tone speech ends cleanly, so it waits far less.
_EAGERNESS_MS = {"low": 1200, "medium": 600, "auto": 600, "high": 300}
_VOICED_BYTES = BLOCK_BYTES // 4


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """`audio_start_ms` lies before the first voiced audio by the prefix padding."""

    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """`audio_end_ms` includes the silence that ended the speech."""

    audio_end_ms: int


class VoiceActivity:
    """Feed 20 ms windows; learn when speech starts and stops."""

    def __init__(self, onset_ms: int) -> None:
        self._onset_ms = onset_ms
        self._silence_ms = 200
        self._prefix_ms = 300
        self._voiced_ms = 0
        self._quiet_ms = 0
        self.position_ms = 0
        self.speaking = False

    def configure(self, turn: dict[str, Any]) -> None:
        """Take the effective `turn_detection` object."""
        if turn["type"] == "semantic_vad":
            self._silence_ms = _EAGERNESS_MS[turn["eagerness"]]
            self._prefix_ms = 300
        else:
            self._silence_ms = turn["silence_duration_ms"]
            self._prefix_ms = turn["prefix_padding_ms"]

    def reset(self) -> None:
        """Forget speech in progress (buffer cleared or committed by hand); time goes on."""
        self.speaking = False
        self._voiced_ms = self._quiet_ms = 0

    def window(self, data: bytes) -> SpeechStarted | SpeechStopped | None:
        """Judge the next 20 ms of audio (160 bytes)."""
        self.position_ms += WINDOW_MS
        voiced = len(data) - data.count(SILENCE) > _VOICED_BYTES
        if voiced:
            self._voiced_ms += WINDOW_MS
            self._quiet_ms = 0
        else:
            self._quiet_ms += WINDOW_MS
            if not self.speaking:
                self._voiced_ms = 0
        if not self.speaking and voiced and self._voiced_ms >= self._onset_ms:
            self.speaking = True
            onset = self.position_ms - self._voiced_ms
            return SpeechStarted(max(0, onset - self._prefix_ms))
        if self.speaking and self._quiet_ms >= max(WINDOW_MS, self._silence_ms):
            self.reset()
            return SpeechStopped(self.position_ms)
        return None
