"""The keys that a caller presses, until an entry is complete (vapi.md 2.2 ``keypadInputPlan``).

Pure. Twilio sends one message per key (twilio.md 3.1); an entry ends at a delimiter, which is no
part of it, or when no key has followed for a while. It must not know what an entry means.
"""

from __future__ import annotations

from calls.bridge.plan import Keypad

MOST_KEYS = 64


class Keys:
    """Collects one entry at a time."""

    __slots__ = ("_due_ms", "_keys", "_plan")

    def __init__(self, plan: Keypad | None) -> None:
        self._plan = plan or Keypad()
        self._keys = ""
        self._due_ms: int | None = None

    def press(self, key: str, now_ms: int) -> str:
        """Take a key; return the entry that it completes, '' for none."""
        if key in self._plan.delimiters:
            return self._taken()
        self._keys += key
        self._due_ms = now_ms + self._plan.timeout_ms
        return self._taken() if len(self._keys) >= MOST_KEYS else ""

    def due(self, now_ms: int) -> str:
        """Return the entry that time has completed, '' for none."""
        return self._taken() if self._due_ms is not None and now_ms >= self._due_ms else ""

    def deadline_ms(self) -> int | None:
        """Return when ``due`` has an entry, None while none is begun."""
        return self._due_ms

    def _taken(self) -> str:
        keys, self._keys, self._due_ms = self._keys, "", None
        return keys
