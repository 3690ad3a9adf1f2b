"""How a single tool departs from the usual envelope: our own marks in its document.

Owns the object under ``voiceplatform`` in a tool document, which is stored and exported with it and
never posted. Pure and total: what has the wrong type is read as if it were absent. What the marks
do is ``calls.services.tool_posts``'s and ``tools.wire.vapi_server``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tools.loose_json import as_object

NAMESPACE: Final = "voiceplatform"
# What only we know of; tool servers are not shown it (issue: no difference to Vapi's envelope).
OURS: Final = frozenset({NAMESPACE, "idempotent"})
LEGACY: Final[Mapping[str, Any]] = {NAMESPACE: {"message": "function-call"}}

_TEXT_ARGUMENTS: Final = "argumentsAsText"
_ALIASES: Final = "aliases"
_MESSAGE: Final = "message"
_FUNCTION_CALL: Final = "function-call"
_OBJECT_ANSWERS: Final = "objectAnswers"


@dataclass(frozen=True, slots=True)
class Switches:
    """The switches of a tool.

    ``text_arguments``: arguments are JSON text instead of an object (vapi.md 4.3). ``aliases``:
    name, arguments and parameters stand beside ``function`` too. ``legacy_message``: its server is
    sent the old ``function-call`` and no ``tool-calls`` (vapi.md 4.4). ``object_answers``: a JSON
    object without ``results`` is the answer to a single call, which Vapi does not take (4.6).
    """

    text_arguments: bool = False
    aliases: bool = True
    legacy_message: bool = False
    object_answers: bool = False


def read_switches(document: Any) -> Switches:
    """Read the switches of a tool document."""
    marks = as_object(as_object(document).get(NAMESPACE))
    return Switches(
        text_arguments=marks.get(_TEXT_ARGUMENTS) is True,
        aliases=marks.get(_ALIASES) is not False,
        legacy_message=marks.get(_MESSAGE) == _FUNCTION_CALL,
        object_answers=marks.get(_OBJECT_ANSWERS) is True,
    )


def write_switches(document: Mapping[str, Any], switches: Switches) -> dict[str, Any]:
    """Return ``document`` with these switches; those as usual leave no mark."""
    marks = dict(as_object(document.get(NAMESPACE)))
    for key, value, usual in (
        (_TEXT_ARGUMENTS, switches.text_arguments, False),
        (_ALIASES, switches.aliases, True),
        (_MESSAGE, _FUNCTION_CALL if switches.legacy_message else "", ""),
        (_OBJECT_ANSWERS, switches.object_answers, False),
    ):
        if value == usual:
            marks.pop(key, None)
        else:
            marks[key] = value
    new = {name: value for name, value in document.items() if name != NAMESPACE}
    return new | {NAMESPACE: marks} if marks else new
