"""The words of ``tones`` heard through air: by their frequencies, whatever resampling, another
phase or some noise did to the bytes.

A microphone is not bit-exact, so a session that asks for it (``?ear=air``) listens with this. All
others stay with the exact decoder, which notices every byte that was altered on the way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

from calls.standins.tones import (
    AMPLITUDE,
    BLOCK_BYTES,
    HIGH_HZ,
    LOW_HZ,
    MARK_HZ,
    SAMPLE_RATE_HZ,
    SILENCE,
    Heard,
    checksum,
    linear,
)

_N = BLOCK_BYTES
_LINEAR = [float(linear(code)) for code in range(256)]
_QUIET = 150.0  # mean absolute sample below which nobody speaks
_SURE = 0.5  # share of a block's energy that lies in its two tones
_SEEK_STEP = 40
_ALIGN_STEP = 4
_PAYLOAD_LIMIT = 2_000
_REPLACEMENT = "\ufffd".encode()
_PRE_A, _PRE_B, _CHECK, _END = MARK_HZ
_MARKS = {high: low for low, high in MARK_HZ}


def _wave(hz: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    step = 2 * math.pi * hz / SAMPLE_RATE_HZ
    return (
        tuple(math.cos(step * n) for n in range(_N)),
        tuple(math.sin(step * n) for n in range(_N)),
    )


_WAVES = {hz: _wave(hz) for hz in (*LOW_HZ, *HIGH_HZ, *_MARKS)}


def quieted(window: bytes) -> bytes:
    """Return a window for a detector of voice that takes every byte but silence for speech."""
    loud = sum(map(abs, map(_LINEAR.__getitem__, window))) > _QUIET * len(window)
    return window if loud else bytes([SILENCE]) * len(window)


def sound(mulaw: bytes, rate_hz: int) -> list[int]:
    """Return utterances of ``tones`` as 16-bit samples at a multiple of 8 kHz, as air has them.

    Each tone goes on between the samples. The audio is whole blocks of 20 ms, silence or speech.
    """
    factor = rate_hz // SAMPLE_RATE_HZ
    samples: list[int] = []
    for at in range(0, len(mulaw), _N):
        block = [_LINEAR[code] for code in mulaw[at : at + _N]]
        low, high = _loudest(block, LOW_HZ), _loudest(block, (*HIGH_HZ, *_MARKS))
        if len(block) < _N or _energy(block) == 0.0:
            samples += [0] * (len(block) * factor)
            continue
        one, two = (2 * math.pi * hz / rate_hz for hz in (low, high))
        samples += [
            round(AMPLITUDE * (math.sin(one * n) + math.cos(two * n))) for n in range(_N * factor)
        ]
    return samples


def _power(block: Sequence[float], hz: int) -> float:
    cosine, sine = _WAVES[hz]
    real, imaginary = sum(map(mul, block, cosine)), sum(map(mul, block, sine))
    return float(real * real + imaginary * imaginary)


def _energy(block: Sequence[float]) -> float:
    return float(sum(map(mul, block, block)))


def _loudest(block: Sequence[float], among: Sequence[int]) -> int:
    return max(among, key=lambda hz: _power(block, hz))


def _share(block: Sequence[float], low: int, high: int) -> float:
    """Return how much of a block's energy lies in two tones, of which both have to be there."""
    energy = _energy(block)
    if energy <= _N * _QUIET * _QUIET:
        return 0.0
    return 4 * min(_power(block, low), _power(block, high)) / (_N * energy)


class EarDecoder:
    """``tones.ToneDecoder`` for sound that has been through air."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._base = 0
        self._start: int | None = None
        self._payload = bytearray()
        self._check: list[int] | None = None
        self._damaged = 0

    def feed(self, data: bytes) -> list[Heard]:
        """Add audio and return the utterances that ended in it, whole or cut."""
        self._samples += map(_LINEAR.__getitem__, data)
        heard: list[Heard] = []
        while self._seek() if self._start is None else self._read(heard):
            pass
        return heard

    def flush(self) -> list[Heard]:
        """Return the unfinished utterance, if any, and forget buffered audio."""
        heard = [self._finish(complete=False)] if self._start is not None else []
        self._drop(len(self._samples))
        return heard

    def _seek(self) -> bool:
        """Look for the two blocks an utterance begins with, and find where they begin."""
        if len(self._samples) < 4 * _N:
            return False
        if self._likeness(0, _PRE_A) < _SURE / 2:
            self._drop(_SEEK_STEP)
            return True
        # Both blocks in one figure: it is highest where each lies wholly in its own window.
        best = max(
            range(0, _N + _SEEK_STEP, _ALIGN_STEP),
            key=lambda at: self._likeness(at, _PRE_A) + self._likeness(at + _N, _PRE_B),
        )
        if min(self._likeness(best, _PRE_A), self._likeness(best + _N, _PRE_B)) < _SURE:
            self._drop(_SEEK_STEP)
            return True
        self._start = self._base + best
        self._drop(best + 2 * _N)
        return True

    def _likeness(self, at: int, tones: tuple[int, int]) -> float:
        return _share(self._samples[at : at + _N], *tones)

    def _read(self, heard: list[Heard]) -> bool:
        if len(self._samples) < _N:
            return False
        block = self._samples[:_N]
        low, high = _loudest(block, LOW_HZ), _loudest(block, (*HIGH_HZ, *_MARKS))
        sure = _share(block, low, high)
        if sure == 0.0 or len(self._payload) > _PAYLOAD_LIMIT:
            heard.append(self._finish(complete=False))
            return True
        self._drop(_N)
        if sure < _SURE:
            self._damaged += 1
            if self._check is None:
                self._payload += _REPLACEMENT
        elif high == _END[1]:
            heard.append(self._finish(complete=self._checksum_holds()))
        elif high == _CHECK[1]:
            self._check = []
        elif high in _MARKS:
            self._damaged += 1  # a beginning where none belongs
        else:
            value = LOW_HZ.index(low) * len(HIGH_HZ) + HIGH_HZ.index(high)
            if self._check is None:
                self._payload.append(value)
            else:
                self._check.append(value)
        return True

    def _checksum_holds(self) -> bool:
        crc = checksum(bytes(self._payload))
        return self._damaged == 0 and self._check == [crc >> 8, crc & 0xFF]

    def _finish(self, *, complete: bool) -> Heard:
        assert self._start is not None
        text = self._payload.decode("utf-8", "replace")
        heard = Heard(text, complete, self._damaged, self._start, self._base)
        self._start, self._check = None, None
        self._payload = bytearray()
        self._damaged = 0
        return heard

    def _drop(self, count: int) -> None:
        del self._samples[:count]
        self._base += count
