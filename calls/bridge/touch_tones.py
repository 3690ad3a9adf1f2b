"""The tones of a telephone's keys, as audio of ours: nothing else can press a key in a stream.

Twilio sends no key press for us there (twilio.md 4.4); most machines at the other end understand
the tones, none is bound to. Pure arithmetic.
"""

from __future__ import annotations

import base64
import math
import re
from functools import cache
from typing import Final

from calls.bridge.holding import mulaw

MOST_KEYS: Final = 64
_KEYS: Final = re.compile(r"[0-9*#A-DwW,]+")
_RATE_HZ: Final = 8000
_SILENCE: Final = b"\xff"
_TONE_MS: Final = 120  # ITU-T Q.24 asks for 40 to be heard; a codec on the way eats some
_GAP_MS: Final = 100
_PAUSES_MS: Final = {"w": 500, "W": 1000, ",": 500}
_ROWS_HZ: Final = (697, 770, 852, 941)
_COLUMNS_HZ: Final = (1209, 1336, 1477, 1633)
_PAD: Final = ("123A", "456B", "789C", "*0#D")
# The higher tone is the louder one: the way to the other end takes more of it.
_LOW, _HIGH = 5500, 7000


def keys_of(text: str) -> str:
    """Return the keys and pauses (``w`` half a second, ``W`` a whole one) of a text, '' for none.

    Blanks, dashes, dots and brackets, as people write numbers, are left out.
    """
    keys = re.sub(r"[\s().-]", "", text)
    return keys if len(keys) <= MOST_KEYS and _KEYS.fullmatch(keys) else ""


@cache
def _sound(key: str) -> bytes:
    if key in _PAUSES_MS:
        return _SILENCE * (_PAUSES_MS[key] * _RATE_HZ // 1000)
    row = next(index for index, keys in enumerate(_PAD) if key in keys)
    low, high = _ROWS_HZ[row], _COLUMNS_HZ[_PAD[row].index(key)]
    step = 2 * math.pi / _RATE_HZ
    tone = bytes(
        mulaw(round(_LOW * math.sin(step * low * at) + _HIGH * math.sin(step * high * at)))
        for at in range(_RATE_HZ * _TONE_MS // 1000)
    )
    return tone + _SILENCE * (_RATE_HZ * _GAP_MS // 1000)


def touch_tones(keys: str) -> list[tuple[str, int]]:
    """Return the audio of ``keys_of``'s keys, a piece for each: base64 mu-law and bytes."""
    return [(base64.b64encode(_sound(key)).decode(), len(_sound(key))) for key in keys]
