"""The reader of what is Vapi's ``mcp`` tool's own (vapi.md 3.5), and of our mark beside it.

Pure and total. Vapi offers a model all tools of a server; which of them are offered here may be
restricted by ``voiceplatform.allowedTools``. What every tool has is ``tools.wire.vapi_tool``'s.
"""

from __future__ import annotations

from typing import Any, Final

from tools.loose_json import as_list, as_object, as_text
from tools.switches import NAMESPACE

ALLOWED: Final = "allowedTools"
_MOST_TOOLS: Final = 128
_LONGEST_NAME: Final = 128


def allowed_tools(document: Any) -> tuple[str, ...]:
    """Return the names of the server's tools that may be offered; none: all of them."""
    marks = as_object(as_object(document).get(NAMESPACE))
    names = (as_text(each)[:_LONGEST_NAME] for each in as_list(marks.get(ALLOWED)))
    return tuple(dict.fromkeys(filter(None, names)))[:_MOST_TOOLS]
