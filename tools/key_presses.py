"""The argument of a ``dtmf`` tool, and what a model is offered where its document has none. Pure.

Vapi's exports carry no schema for it (corpus.md, tools); its model gives a string of keys in
``keys`` or ``dtmf`` (vapi.md 3.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tools.loose_json import as_object
from tools.spec import KEY_ARGUMENTS

DESCRIPTION: Final = "Press keys on the phone, for example to choose from a menu that is read out."
_PARAMETERS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "keys": {
            "type": "string",
            "description": "Digits, * and #; w waits half a second. For example 1 or w123#",
        }
    },
    "required": ["keys"],
}


def key_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that has an argument for keys."""
    properties = as_object(parameters.get("properties"))
    return dict(parameters if any(name in properties for name in KEY_ARGUMENTS) else _PARAMETERS)
