"""A soft tone of ours, for a caller who would otherwise meet silence while the model is away.

Made by arithmetic, so it needs no rendered speech and no language. Pure.
"""

from __future__ import annotations

import base64
import math
from functools import cache

_RATE_HZ = 8000
_TONES_HZ = (440, 554)
_TONE_MS = 160
_AMPLITUDE = 2200  # about a fourteenth of full scale: a sign of life, no alarm
_FADE_MS = 30
_BIAS, _CLIP = 0x84, 32_635


def mulaw(sample: int) -> int:
    """Return the G.711 byte of one 16-bit sample."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _CLIP) + _BIAS
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~(sign | (exponent << 4) | mantissa) & 0xFF


@cache
def hold_tone() -> tuple[str, int]:
    """Return the tone as (base64 mu-law, bytes): two short notes, faded in and out."""
    count = _RATE_HZ * _TONE_MS // 1000
    fade = _RATE_HZ * _FADE_MS // 1000
    audio = bytes(
        mulaw(
            round(
                _AMPLITUDE
                * min(1.0, at / fade, (count - at) / fade)
                * math.sin(2 * math.pi * hertz * at / _RATE_HZ)
            )
        )
        for hertz in _TONES_HZ
        for at in range(count)
    )
    return base64.b64encode(audio).decode(), len(audio)
