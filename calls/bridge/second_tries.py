"""How often, and after which pause, the model is asked again for a response that did not come.

Pure. Silence and a failing server get one more try (openai_realtime.md 7.1, 7.3); a rate limit is
waited out, as long as the server says or longer each time, until the caller would not wait any
more (7.4: about eight seconds). Something heard gives all patience back, unless what was heard
broke off: a response that ended does.
"""

from __future__ import annotations

import re
from typing import Any, Final

MOST_WAIT_MS: Final = 8_000
MOST_RATE_TRIES: Final = 3
# Our own code: audio came, and then nothing more, not even the response's end.
BROKE_OFF: Final = "broke_off"
_RATE_CODES: Final = frozenset({"rate_limit_exceeded", "inference_rate_limit_exceeded"})
_HINT: Final = re.compile(r"try again in (\d{1,6}(?:\.\d{1,6})?) ?(ms|s)\b", re.IGNORECASE)


def hinted_ms(message: str) -> int:
    """Return how long an error's message asks us to wait ("try again in 1.2s"), 0 for nothing."""
    found = _HINT.search(message)
    if found is None:
        return 0
    return round(float(found[1]) * (1 if found[2].lower() == "ms" else 1_000))


class SecondTries:
    """Counts what failed in a row."""

    __slots__ = ("_broke_off", "_failures", "_free_at_ms", "_waited_ms")

    def __init__(self) -> None:
        self._failures = self._waited_ms = 0
        self._free_at_ms = 0
        self._broke_off = False

    def heard(self) -> None:
        """Forget the failures: the caller has heard something since."""
        self._failures = self._waited_ms = 0

    def answered(self) -> None:
        """Note that a response has come to its end, whichever, and not by failing."""
        self._broke_off = False

    def limits(self, entries: Any, now_ms: int) -> None:
        """Take ``rate_limits.updated``: with nothing remaining, wait for the reset (4)."""
        self._free_at_ms = 0
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, dict):
                continue
            remaining, reset = entry.get("remaining"), entry.get("reset_seconds")
            if not isinstance(remaining, int | float) or not isinstance(reset, int | float):
                continue
            if remaining <= 0 and 0 < reset < 10**6:
                self._free_at_ms = max(self._free_at_ms, now_ms + round(reset * 1_000))

    def pause_ms(self, code: str, usual_ms: int, now_ms: int, *, hint_ms: int = 0) -> int | None:
        """Return how long to wait before asking again; None: patience is at its end."""
        if code == BROKE_OFF:
            pause_ms = None if self._broke_off else usual_ms
            self._broke_off = True
        elif code not in _RATE_CODES:
            pause_ms = usual_ms if self._failures == 0 else None
        elif self._failures >= MOST_RATE_TRIES:
            pause_ms = None
        else:
            told_ms = max(hint_ms, self._free_at_ms - now_ms)
            pause_ms = told_ms if told_ms > 0 else usual_ms << self._failures
        if pause_ms is None or self._waited_ms + pause_ms > MOST_WAIT_MS:
            return None
        self._failures += 1
        self._waited_ms += pause_ms
        return pause_ms
