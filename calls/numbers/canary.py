"""Which calls of a canary are ours: a stable draw, so that a caller stays where they are.

Owns the draw alone; whether a call is drawn for at all, and what follows, is ``route``. The same
caller draws the same number every time, and a share takes all draws below it: who is in at 5% is in
at 25%, while the share grows. The salt is the number's own, so that one caller is not the canary of
every number at once. Reads no clock, keeps nothing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Final, Literal

# How long a caller stays on a stack while the share does: for good, until the UTC hour ends, or for
# this call only. UTC, so that a change to summer time neither repeats nor drops an hour.
Sticky = Literal["caller", "hour", "call"]

DRAWS: Final = 2**64
PERCENT: Final = 100

# What carriers and Twilio send instead of a withheld number (twilio.md 1.1: the literals are not
# promised): the word, or the word typed on a telephone's keys, as in +266696687.
_WITHHELD_WORDS: Final = (
    *("anonymous", "restricted", "blocked", "unknown", "unavailable", "private", "withheld"),
)
_KEYS: Final = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
_WITHHELD: Final = frozenset(
    {"", *_WITHHELD_WORDS, *(word.translate(_KEYS) for word in _WITHHELD_WORDS)}
)


def is_withheld(caller: str) -> bool:
    """Tell whether ``caller`` (Twilio's From) names nobody in particular."""
    plain = caller.strip().casefold()
    user = plain.partition(":")[2].partition("@")[0] if plain.startswith("sip") else plain
    return user.lstrip("+") in _WITHHELD


def draw(*, salt: str, caller: str, call_sid: str, now: dt.datetime, sticky: Sticky) -> int:
    """Return the call's place in ``range(DRAWS)``: the same whenever it is asked for again.

    Args:
        salt: the number's own; a new one deals all callers anew.
        caller: Twilio's From. All who withhold it share one, so they are drawn call by call.
        call_sid: of the call, so that a repeated webhook (twilio.md 1.3) draws the same.
        now: aware; read only for ``hour``.
    """
    if sticky == "call" or is_withheld(caller):
        key = ("call", call_sid)
    elif sticky == "hour":
        hour = now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H")
        key = ("hour", f"{hour} {_person(caller)}")
    else:
        key = ("caller", _person(caller))
    return place("canary", salt, *key)


def is_in(share_percent: int, drawn: int) -> bool:
    """Tell whether a draw is within a share of 0 to 100 percent; all of them are at 100."""
    return drawn < DRAWS * min(max(share_percent, 0), PERCENT) // PERCENT


def place(*words: str) -> int:
    """Return the place of some words in ``range(DRAWS)``, as good as random and always the same.

    Not ``hash()``: that differs from process to process.
    """
    text = "\0".join(words).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def _person(caller: str) -> str:
    return caller.strip().casefold()
