"""A WAV file of a recorded call: what its header says, and where its sound begins.

Pure. Owns the reading of RIFF chunks; sound in 16 bits and in mu-law is known (formats 1 and 7).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from calls.parity.rehear import Span, mulaw_of

_PCM: Final = 1
_MULAW: Final = 7
_EXTENSIBLE: Final = 0xFFFE
_LONGEST_HEADER: Final = 64 * 1024


class SoundUnreadable(ValueError):
    """The file holds no sound that is read here; the text says why."""


@dataclass(frozen=True, slots=True)
class SoundFile:
    """Sound and what it is: ``channels``, ``rate`` in Hz, ``is_mulaw`` or 16-bit."""

    sound: bytes
    channels: int
    rate: int
    is_mulaw: bool

    @property
    def _frame(self) -> int:
        return self.channels * (1 if self.is_mulaw else 2)

    @property
    def length_ms(self) -> int:
        """Return how long it is."""
        return len(self.sound) // self._frame * 1000 // self.rate

    def mulaw(self, channel: int, span: Span) -> bytes:
        """Return a part of one channel as mu-law at 8 kHz.

        Raises:
            SoundUnreadable: there is no such channel, or its rate is not read.
        """
        first = span.start_ms * self.rate // 1000 * self._frame
        last = span.end_ms * self.rate // 1000 * self._frame
        frames = self.sound[first:last]
        try:
            if not self.is_mulaw:
                return mulaw_of(frames, channels=self.channels, channel=channel, rate=self.rate)
        except ValueError as error:
            raise SoundUnreadable(str(error)) from error
        if self.rate != 8_000 or not 0 <= channel < self.channels:
            raise SoundUnreadable(f"mu-law at {self.rate} Hz in {self.channels} channels")
        return frames[channel :: self.channels]


def sound_file(content: bytes) -> SoundFile:
    """Read a whole WAV file.

    Raises:
        SoundUnreadable: it is none, or in another format.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise SoundUnreadable("it is no WAV file")
    at, known = 12, None
    while at + 8 <= len(content) and at < _LONGEST_HEADER:
        name, size = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        if name == b"fmt " and size >= 16 and at + 24 <= len(content):
            known = struct.unpack_from("<HHIIHH", content, at + 8)
            if known[0] == _EXTENSIBLE and size >= 26 and at + 34 <= len(content):
                # The true format stands first in the sub-format.
                known = (struct.unpack_from("<H", content, at + 32)[0], *known[1:])
        elif name == b"data":
            if known is None:
                break
            kind, channels, rate, _, _, bits = known
            if (kind, bits) not in {(_PCM, 16), (_MULAW, 8)} or not 1 <= channels <= 2 or not rate:
                raise SoundUnreadable(
                    f"format {kind} with {bits} bits and {channels} channels is not read"
                )
            # A file that was streamed says nothing of its length.
            return SoundFile(content[at + 8 : at + 8 + size], channels, rate, kind == _MULAW)
        at += 8 + size + size % 2
    raise SoundUnreadable("it has no sound in it")
