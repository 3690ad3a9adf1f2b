"""What the address of an ``apiRequest`` tool answered, in words for the model (vapi.md 3.5).

Pure and total. Owns that a result is JSON with a 2xx, and what is said of anything else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from tools.wire.vapi_server import NO_RESULT, ToolAnswer

_MOST_ERROR_CHARACTERS: Final = 1000


def api_answers(status: int, body_text: str, ids: Sequence[str]) -> dict[str, ToolAnswer]:
    """Return what an address answered: JSON with a 2xx is the result, anything else a failure."""
    return dict.fromkeys(ids, _answer(status, body_text))


def _answer(status: int, text: str) -> ToolAnswer:
    value = _compact(text)
    if 200 <= status < 300:
        if value:
            return ToolAnswer(value)
        what = "nothing" if not text.strip() else "something other than JSON"
        return ToolAnswer(
            f"{NO_RESULT} The request was accepted ({status}), but {what} came back. It may have "
            "taken effect: do not send it again.",
            failed=True,
        )
    words = f"{NO_RESULT} The request failed with status {status}."
    # What a server says of a mistake helps the model to mend it; a page for people does not.
    return ToolAnswer(f"{words} {value[:_MOST_ERROR_CHARACTERS]}".strip(), failed=True)


def _compact(text: str) -> str:
    """Return JSON text as one short line, '' for what is none."""
    try:
        value = json.loads(text.removeprefix("\ufeff"))
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return ""
    return line.encode("utf-8", "replace").decode()
