"""The input audio buffer of a Realtime session: windows, voice activity and the words found in the
audio (openai_realtime.md 2.2, 4). It must not send events or know responses.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from calls.standins.realtime_session import ClientError
from calls.standins.realtime_vad import SpeechStarted, SpeechStopped, VoiceActivity
from calls.standins.tones import BLOCK_BYTES, BYTES_PER_MS, Heard, ToneDecoder
from calls.standins.tones_by_ear import EarDecoder, quieted

MAX_APPEND_BYTES = 15 * 1024 * 1024
MIN_COMMIT_MS = 100


def decode_append(audio: object) -> bytes:
    """Return the bytes of an append, or raise ClientError."""
    try:
        data = base64.b64decode(audio, validate=True) if isinstance(audio, str) else None
    except binascii.Error:
        data = None
    if data is None or len(data) > MAX_APPEND_BYTES:
        raise ClientError("invalid_value", "Invalid 'audio': expected base64 bytes.", "audio")
    return data


class InputBuffer:
    """Caller audio since the last commit; only mu-law comes in here."""

    def __init__(self, onset_ms: int) -> None:
        self.vad = VoiceActivity(onset_ms)
        self.heard: list[Heard] = []  # every utterance of the session
        self.buffered_ms = 0
        self._decoder: ToneDecoder | EarDecoder = ToneDecoder()
        self._by_ear = False
        self._window = bytearray()
        self._words: list[str] = []

    def listen_by_ear(self) -> None:
        """Expect sound of a microphone: noise for silence, and tones that are not bit-exact."""
        self._decoder, self._by_ear = EarDecoder(), True

    def feed(self, data: bytes) -> Iterator[SpeechStarted | SpeechStopped]:
        """Take audio; yield what the detector finds, each before the audio behind it is read."""
        self._window += data
        while len(self._window) >= BLOCK_BYTES:
            window = bytes(self._window[:BLOCK_BYTES])
            del self._window[:BLOCK_BYTES]
            self.buffered_ms += BLOCK_BYTES // BYTES_PER_MS
            self._note(self._decoder.feed(window))
            found = self.vad.window(quieted(window) if self._by_ear else window)
            if found is not None:
                yield found

    def take_words(self) -> str:
        """Return what was said since the last commit, cut or whole, and empty the buffer."""
        self._note(self._decoder.flush())
        text = " ".join(self._words)
        self._words.clear()
        self.buffered_ms = 0
        return text

    def clear(self) -> None:
        """Throw the buffer away; appended-audio time goes on."""
        self.vad.reset()
        self._decoder.flush()
        self._window.clear()
        self._words.clear()
        self.buffered_ms = 0

    def _note(self, found: list[Heard]) -> None:
        for heard in found:
            self.heard.append(heard)
            self._words.append(heard.text)
