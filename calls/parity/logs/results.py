"""Whether the answer of a tool says that it failed, by one rule for both stacks.

Pure. A log of Vapi's has the text that the model was given and no state, so the text decides; calls
of our own are judged by the same rule on top of their state, else equal answers would differ.
"""

from __future__ import annotations

import json
from typing import Any, Final

# What Vapi puts in place of an answer that it cannot use (vapi.md 4.6).
NO_RESULT: Final = "no result returned"
_FAILED_WORDS: Final = frozenset({"error", "failed", "failure", "fail"})
_BEGINNINGS: Final = ("error:", "error -", "error calling", "request failed", "tool call failed")


def has_failed(result: str) -> bool:
    """Tell whether ``result`` says that the tool did not do what it was asked.

    A JSON object with ``error``, ``success: false``, ``ok: false`` or a failed ``status``; text
    that begins with an error; Vapi's "No result returned.". Anything else counts as done.
    """
    text = result.strip()
    plain = text.lower()
    if plain.rstrip(".") == NO_RESULT or plain.startswith(_BEGINNINGS):
        return True
    if not text.startswith("{"):
        return False
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict):
        return False
    if value.get("error") or value.get("errors"):
        return True
    if value.get("success") is False or value.get("ok") is False:
        return True
    return str(value.get("status", "")).lower() in _FAILED_WORDS
