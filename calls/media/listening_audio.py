"""The sound of a call for those who listen: both sides on one clock, 16 kHz, 16 bits.

Pure. The caller's frames are the clock: they come as time passes, while the assistant's audio comes
in bursts and is played behind what came before it. What a ``clear`` throws away at Twilio is thrown
away here. Samples are signed little-endian; 8 bytes of mu-law are 1 ms.
"""

from __future__ import annotations

import sys
from array import array
from typing import Final

OUT_HZ: Final = 16_000
_SILENT: Final = 0xFF
_BIAS: Final = 0x84
_LOUDEST: Final = 32_767
# Of what the caller is still to hear; the playback ledger keeps no more at Twilio and here.
MOST_AHEAD_BYTES: Final = 8 * 630_000


def _linear(byte: int) -> int:
    """Return the 16-bit sample of one G.711 mu-law byte."""
    value = ~byte & 0xFF
    magnitude = (((value & 0x0F) << 3) + _BIAS) << ((value & 0x70) >> 4)
    return _BIAS - magnitude if value & 0x80 else magnitude - _BIAS


_SAMPLES: Final = tuple(_linear(byte) for byte in range(256))


class BothSides:
    """What was heard and said since the last ``take``, in equal lengths."""

    def __init__(self) -> None:
        self._caller = bytearray()
        self._assistant = bytearray()
        self._ahead = bytearray()

    def heard(self, mulaw: bytes) -> None:
        """Take a frame of the caller; so much time has passed."""
        self._caller += mulaw
        played = self._ahead[: len(mulaw)]
        del self._ahead[: len(mulaw)]
        self._assistant += played + bytes([_SILENT]) * (len(mulaw) - len(played))

    def said(self, mulaw: bytes) -> None:
        """Take audio of the assistant, which is heard behind what is still to be heard."""
        if len(self._ahead) < MOST_AHEAD_BYTES:
            self._ahead += mulaw

    def cleared(self) -> None:
        """Forget what the caller will not hear any more."""
        self._ahead.clear()

    def take(self) -> tuple[bytes, bytes]:
        """Return (caller, assistant) as mu-law and begin anew."""
        taken = bytes(self._caller), bytes(self._assistant)
        self._caller.clear()
        self._assistant.clear()
        return taken


class Renderer:
    """Makes samples of mu-law, one after the other; keeps the last sample between pieces."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._last = [0, 0]

    def render(self, caller: bytes, assistant: bytes) -> bytes:
        """Return a piece of both sides: mixed, or the caller left and the assistant right."""
        if not caller:
            return b""
        left = [_SAMPLES[byte] for byte in caller]
        right = [_SAMPLES[byte] for byte in assistant]
        if self._channels == 1:
            mixed = left
            if any(right):
                mixed = [
                    max(-_LOUDEST, min(_LOUDEST, one + other))
                    for one, other in zip(left, right, strict=True)
                ]
            return self._written(mixed)
        return self._written(left, right)

    def _written(self, *sides: list[int]) -> bytes:
        count = len(sides)
        out = array("h", bytes(4 * count * len(sides[0])))
        for side, samples in enumerate(sides):
            before = [self._last[side], *samples[:-1]]
            between = [(one + other) >> 1 for one, other in zip(before, samples, strict=True)]
            out[side :: 2 * count] = array("h", between)
            out[side + count :: 2 * count] = array("h", samples)
            self._last[side] = samples[-1]
        if sys.byteorder == "big":
            out.byteswap()
        return out.tobytes()
