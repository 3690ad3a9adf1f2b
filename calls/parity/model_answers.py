"""What a model's finished answer holds: its function calls, its words, why it failed, its tokens.

Pure. Shared by whatever asks a model beside a conversation (ADR 0044): replays and shadows. It must
not know what is asked next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Tokens:
    """What was used, in tokens; ``cached`` is a part of ``into``, ``last`` the last ``into``.

    What could be cached is all that was sent before: ``into`` without ``last``.
    """

    into: int = 0
    last: int = 0
    cached: int = 0
    out: int = 0
    responses: int = 0


def object_of(text: object) -> dict[str, Any]:
    """Return the arguments of a call; text that is no object stands under ``_text``."""
    try:
        value = json.loads(text) if isinstance(text, str) and text.strip() else {}
    except (ValueError, RecursionError):
        return {"_text": text}
    return value if isinstance(value, dict) else {"_value": value}


def texts_of(item: Mapping[str, Any]) -> list[str]:
    """Return the texts of a message, whichever of its spellings (2.6) they come in."""
    content = item.get("content")
    found: list[str] = []
    for part in content if isinstance(content, list) else []:
        text = part.get("transcript") or part.get("text") if isinstance(part, Mapping) else None
        if isinstance(text, str) and text.strip():
            found.append(text.strip())
    return found


def why_failed(response: Mapping[str, Any]) -> str:
    """Return the code of a failed answer, else its status."""
    details = response.get("status_details")
    error = details.get("error") if isinstance(details, Mapping) else None
    code = error.get("code") or error.get("type") if isinstance(error, Mapping) else None
    return str(code or response.get("status"))
