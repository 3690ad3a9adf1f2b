"""What ``rate_limits.updated`` says of the minute that runs (openai_realtime.md 4). Pure.

Owns the reading of the list alone: when to wait is ``second_tries``, what is kept of it the
services'. Anything may stand in the list, and nothing in it may end a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NAMES: Final = ("tokens", "requests")
_MOST: Final = 2**62


def readings(entries: Any) -> dict[str, dict[str, int]]:
    """Return ``limit``, and ``remaining`` where it is told, by name; what is no reading is not."""
    found: dict[str, dict[str, int]] = {}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping) or entry.get("name") not in NAMES:
            continue
        limit, remaining = _count(entry.get("limit")), _count(entry.get("remaining"))
        if limit:
            found[str(entry["name"])] = {"limit": limit}
            if remaining is not None:
                found[str(entry["name"])]["remaining"] = remaining
    return found


def _count(value: Any) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value <= _MOST else None
