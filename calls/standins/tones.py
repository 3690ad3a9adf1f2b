"""Words carried in audio: one UTF-8 byte is one 20 ms dual tone in G.711 mu-law. It owns the block
table, the framing of an utterance and the decoder that recovers words from what really arrived. It
must not know who speaks, open anything, or look at a clock: what the audio path did not carry
bit-exact must not be readable here.

Framing: PREAMBLE (2 blocks), one block per byte, CHECK (1), CRC-16 (2 blocks), END (1).
"""

from __future__ import annotations

import binascii
import math
from bisect import bisect_left
from dataclasses import dataclass

BYTES_PER_MS = 8  # G.711 at 8 kHz (openai_realtime.md 2.3)
BLOCK_BYTES = 160  # 20 ms, the frame size Twilio is seen to use (twilio.md 3.1)
SILENCE = 0xFF  # mu-law zero (twilio.md trap T20)
SAMPLE_RATE_HZ = 8000
AMPLITUDE = 7000  # two tones of this stay under full scale
LOW_HZ = tuple(range(300, 1100, 50))
HIGH_HZ = tuple(range(1300, 2900, 100))
MARK_HZ = ((300, 3100), (450, 3300), (600, 3500), (750, 3700))
_QUIET_TAIL = bytes([SILENCE]) * 12  # a dual tone never rests at zero for 12 samples
_MAX_DAMAGED_RUN = 4
_REPLACEMENT = "\ufffd".encode()


def linear(code: int) -> int:
    """Return the 16-bit sample of one mu-law byte (G.711)."""
    inverted = ~code & 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 0x84 << ((inverted & 0x70) >> 4)) - 0x84
    return -magnitude if inverted & 0x80 else magnitude


# 0x7F is minus zero: re-encoding it yields 0xFF, so it is never produced.
_LEVELS = sorted((linear(code), code) for code in range(256) if code != 0x7F)
_LEVEL_VALUES = [level for level, _ in _LEVELS]
_LINEAR_LE = tuple(linear(code).to_bytes(2, "little", signed=True) for code in range(256))


def _mulaw(sample: float) -> int:
    index = bisect_left(_LEVEL_VALUES, sample)
    near = _LEVELS[max(0, index - 1) : index + 1]
    return min(near, key=lambda level: abs(level[0] - sample))[1]


def _block(low_hz: int, high_hz: int) -> bytes:
    # Multiples of 50 Hz have whole cycles in 160 samples: a block does not depend on its place.
    step = 2 * math.pi / SAMPLE_RATE_HZ
    return bytes(
        _mulaw(AMPLITUDE * math.sin(step * low_hz * n) + AMPLITUDE * math.cos(step * high_hz * n))
        for n in range(BLOCK_BYTES)
    )


BLOCKS: tuple[bytes, ...] = tuple(_block(low, high) for low in LOW_HZ for high in HIGH_HZ)
_PRE_A, _PRE_B, _CHECK, _END = (_block(low, high) for low, high in MARK_HZ)
PREAMBLE = _PRE_A + _PRE_B
_CHECK_SYMBOL, _END_SYMBOL, _PRE_SYMBOL = 256, 257, 258
_SYMBOLS: dict[bytes, int] = {block: value for value, block in enumerate(BLOCKS)} | {
    _CHECK: _CHECK_SYMBOL,
    _END: _END_SYMBOL,
    _PRE_A: _PRE_SYMBOL,
}
_FRAMING_BLOCKS = 6


def checksum(payload: bytes) -> int:
    """Return the CRC-16 that closes an utterance of these bytes."""
    return binascii.crc_hqx(payload, 0xFFFF)


def encode(text: str) -> bytes:
    """Return the mu-law audio that says `text`: 8 bytes per ms, no header, no silence around it."""
    payload = text.encode("utf-8")
    crc = checksum(payload)
    body = b"".join(BLOCKS[value] for value in payload)
    return b"".join((PREAMBLE, body, _CHECK, BLOCKS[crc >> 8], BLOCKS[crc & 0xFF], _END))


def utterance_ms(text: str) -> int:
    """Return how long `encode(text)` plays, in ms."""
    return (len(text.encode("utf-8")) + _FRAMING_BLOCKS) * BLOCK_BYTES // BYTES_PER_MS


def silence(duration_ms: int) -> bytes:
    """Return `duration_ms` of mu-law silence."""
    return bytes([SILENCE]) * (duration_ms * BYTES_PER_MS)


def pcm24k(mulaw: bytes) -> bytes:
    """Return 24 kHz PCM16 LE in which each 8 kHz sample stands three times.

    Every third sample, encoded to mu-law again, restores the input.
    """
    return b"".join(_LINEAR_LE[code] * 3 for code in mulaw)


@dataclass(frozen=True, slots=True)
class Heard:
    """One utterance found in a stream.

    Bytes are counted from the first byte ever fed, end exclusive.
    `complete` is true only if every block arrived in order and the checksum holds.
    """

    text: str
    complete: bool
    damaged_blocks: int
    start_byte: int
    end_byte: int


class ToneDecoder:
    """Find utterances in a mu-law stream, whatever its chunking and byte alignment; O(bytes)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._base = 0  # stream offset of _buffer[0]
        self._start: int | None = None  # stream offset of the utterance being read
        self._payload = bytearray()
        self._check: list[int] | None = None
        self._damaged = 0
        self._damaged_run = 0

    @property
    def in_utterance(self) -> bool:
        """Tell whether a preamble was seen and its end was not."""
        return self._start is not None

    def feed(self, data: bytes) -> list[Heard]:
        """Add audio and return the utterances that ended in it, whole or cut."""
        if self._start is None and data.count(SILENCE) == len(data) and not self._may_continue():
            self._base += len(self._buffer) + len(data)
            self._buffer.clear()
            return []
        self._buffer += data
        heard: list[Heard] = []
        while self._step(heard):
            pass
        return heard

    def flush(self) -> list[Heard]:
        """Return the unfinished utterance, if any, and forget buffered audio."""
        heard: list[Heard] = []
        if self._start is not None:
            heard.append(self._finish(self._base, complete=False))
        self._base += len(self._buffer)
        self._buffer.clear()
        return heard

    def _may_continue(self) -> bool:
        return any(byte != SILENCE for byte in self._buffer)

    def _step(self, heard: list[Heard]) -> bool:
        return self._seek() if self._start is None else self._read(heard)

    def _seek(self) -> bool:
        found = self._buffer.find(PREAMBLE)
        if found < 0:
            self._drop(max(0, len(self._buffer) - len(PREAMBLE) + 1))
            return False
        self._drop(found)
        self._start = self._base
        self._drop(len(PREAMBLE))
        return True

    def _read(self, heard: list[Heard]) -> bool:
        if len(self._buffer) < BLOCK_BYTES:
            return False
        block = bytes(self._buffer[:BLOCK_BYTES])
        symbol = _SYMBOLS.get(block)
        if symbol is None:
            return self._unknown_block(block, heard)
        if symbol == _PRE_SYMBOL:  # a new utterance begins although this one never ended
            heard.append(self._finish(self._base, complete=False))
            return True
        self._drop(BLOCK_BYTES)
        self._damaged_run = 0
        if symbol == _END_SYMBOL:
            heard.append(self._finish(self._base, complete=self._checksum_holds()))
        elif symbol == _CHECK_SYMBOL:
            self._check = []
        elif self._check is not None:
            self._check.append(symbol)
        else:
            self._payload.append(symbol)
        return True

    def _unknown_block(self, block: bytes, heard: list[Heard]) -> bool:
        if block.endswith(_QUIET_TAIL):
            heard.append(self._finish(self._base + len(block.rstrip(b"\xff")), complete=False))
            return True
        if len(self._buffer) < 2 * BLOCK_BYTES:
            return False  # the next block tells a cut from damage
        window = self._buffer[: 2 * BLOCK_BYTES]
        restart = window.find(_PRE_A)
        quiet = window.find(_QUIET_TAIL)
        if restart >= 0 or quiet >= 0:
            offset = min(value for value in (restart, quiet) if value >= 0)
            heard.append(self._finish(self._base + offset, complete=False))
            self._drop(offset)
            return True
        self._damaged += 1
        self._damaged_run += 1
        if self._damaged_run > _MAX_DAMAGED_RUN:
            heard.append(self._finish(self._base, complete=False))
            return True
        if self._check is None:
            self._payload += _REPLACEMENT
        self._drop(self._resynchronise())
        return True

    def _resynchronise(self) -> int:
        """Return the bytes to skip: up to a readable block after a shift, else one block."""
        for shift in range(1, BLOCK_BYTES + 1):
            if bytes(self._buffer[shift : shift + BLOCK_BYTES]) in _SYMBOLS:
                return shift
        return BLOCK_BYTES

    def _checksum_holds(self) -> bool:
        crc = checksum(bytes(self._payload))
        return self._damaged == 0 and self._check == [crc >> 8, crc & 0xFF]

    def _finish(self, end_byte: int, *, complete: bool) -> Heard:
        start = self._start
        assert start is not None
        damaged = self._damaged
        if not complete and self._check is not None and len(self._check) == 2:
            damaged = max(
                1, damaged
            )  # everything arrived and yet the checksum fails: a block is lost or swapped
        heard = Heard(self._payload.decode("utf-8", "replace"), complete, damaged, start, end_byte)
        self._start, self._check = None, None
        self._payload = bytearray()
        self._damaged = self._damaged_run = 0
        return heard

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._base += count
