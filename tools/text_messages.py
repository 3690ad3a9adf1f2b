"""The arguments of an ``sms`` tool: which one is the text, and what a model is offered without one.

Pure. Whom a message may go to is not decided here (vapi.md 3.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tools.loose_json import as_list, as_object

# Twilio takes no longer ones (error 21617).
MAX_CHARACTERS: Final = 1600
DESCRIPTION: Final = "Send a text message to the caller's phone."
_TEXT: Final = "message"
_PROPERTY: Final[Mapping[str, Any]] = {
    "type": "string",
    "description": f"The text of the message, at most {MAX_CHARACTERS} characters",
}
_NAMES: Final = (_TEXT, "body", "content", "text")


def text_argument(parameters: Mapping[str, Any]) -> str:
    """Return the name of the argument that is the text, '' where a schema has none."""
    properties = as_object(parameters.get("properties"))
    return next((name for name in _NAMES if name in properties), "")


def text_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with an argument for the text; exports have none of it (corpus.md, tools)."""
    if text_argument(parameters):
        return dict(parameters)
    return {
        **parameters,
        "type": "object",
        "properties": {**as_object(parameters.get("properties")), _TEXT: dict(_PROPERTY)},
        "required": [*as_list(parameters.get("required")), _TEXT],
    }
