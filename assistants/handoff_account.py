"""What becomes of a tool that hands the call to another assistant: findings on its destinations.

Owns what this version does with each field of vapi.md 3.6 and 8.2 where an assistant is the target;
the bridge does it (``calls.bridge.handover``). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from assistants.findings import INVALID, LOSSY, MAPPED, UNSUPPORTED, Notes, short
from assistants.wire.files import step
from tools.handoffs import CONTEXT_KINDS, DYNAMIC, destinations_of
from tools.loose_json import as_list, as_object

_TOLD: Final[Mapping[str, str]] = {
    "all": "It is told all of the conversation.",
    "none": "It is told nothing of the conversation.",
    "lastNMessages": "It is told the last messages, tool calls counted as one each.",
    "userAndAssistantMessages": "It is told what was said, without tool calls.",
    "previousAssistantMessages": "It is told what this assistant itself was told at its beginning, "
    "and nothing that was said since.",
}
_NOT_ASSISTANTS: Final[Mapping[str, str]] = {
    "dynamic": "It names no server that could be asked where the call goes, so this way is not "
    "offered. Fix: give the destination a server.",
    "squad": "Only a squad that is stored here can take over, so this way is not offered. Fix: "
    "store the squad and name it by squadId.",
}


def account_handoff(tool: Mapping[str, Any], notes: Notes, path: str) -> None:
    """Add the findings on a ``handoff``, or a ``transferCall`` that names assistants only."""
    at = step(path, "destinations")
    if not destinations_of(tool):
        notes.add(
            step(path, "type"),
            UNSUPPORTED,
            "No destination is an assistant or a squad that is stored, so the model is not offered "
            "this tool and the call stays. Fix: name assistants in destinations.",
        )
    else:
        notes.add(
            step(path, "type"),
            MAPPED,
            "The call goes over to the other assistant without a pause: its prompt, tools, voice "
            "and first message. It is silent before that, unless a request-start says something.",
        )
    for index, entry in enumerate(as_list(tool.get("destinations"))):
        _account_destination(entry, notes, step(at, index))
    if tool.get("defaultResult"):
        notes.add(step(path, "defaultResult"), MAPPED, "What the tool call answers.")


def _account_destination(entry: Any, notes: Notes, path: str) -> None:
    whole = as_object(entry)
    kind = whole.get("type")
    if not whole:
        notes.add(path, INVALID, "No destination object; it is left out.")
        return
    if kind == "squad" and isinstance(whole.get("squadId"), str):
        notes.mark(*(step(path, key) for key in ("type", "description", "squadId")))
        notes.mark(step(path, "entryAssistantName"))
        if whole.get("squadOverrides"):
            words = "Laid over the member that takes over, not over those that follow it."
            notes.add(step(path, "squadOverrides"), LOSSY, words)
        _account_told(whole, notes, path)
        return
    if kind == DYNAMIC and as_object(whole.get("server")).get("url"):
        notes.mark(*(step(path, key) for key in whole))
        words = "Its server is asked who takes over (handoff-destination-request)."
        notes.add(path, MAPPED, words)
        return
    if kind != "assistant":
        shown = kind if isinstance(kind, str) else "unknown"
        words = _NOT_ASSISTANTS.get(shown, f"A destination of type {short(shown)} is left out.")
        notes.mark(*(step(path, key) for key in whole), state=UNSUPPORTED)
        notes.add(path, UNSUPPORTED, words)
        return
    notes.mark(
        *(step(path, key) for key in ("type", "description", "assistantId", "transferMode")),
        *(step(path, key) for key in ("assistantOverrides", "assistant")),
    )
    name = whole.get("assistantName")
    if isinstance(name, str) and name and not whole.get("assistantId"):
        notes.add(
            step(path, "assistantName"),
            MAPPED,
            "Means the member of the squad that has the call; without a squad, the one assistant "
            "here that is called so.",
        )
    elif isinstance(name, str):
        notes.mark(step(path, "assistantName"))
    elif not destinations_of({"destinations": [entry]}):
        notes.add(path, INVALID, "Names no assistant. Fix: set assistantId or assistantName.")
    _account_told(whole, notes, path)
    message = whole.get("message")
    if isinstance(message, str) and message:
        notes.add(step(path, "message"), MAPPED, "Said by the first assistant before it.")
    elif message:
        notes.add(step(path, "message"), UNSUPPORTED, "Only a plain sentence is spoken; this not.")


def _account_told(whole: Mapping[str, Any], notes: Notes, path: str) -> None:
    """Speak of what the next assistant is told and given."""
    plan = whole.get("contextEngineeringPlan")
    if plan:
        at = step(path, "contextEngineeringPlan")
        wanted = as_object(plan).get("type")
        if wanted in CONTEXT_KINDS:
            notes.add(at, MAPPED, _TOLD[str(wanted)])
        else:
            notes.add(at, LOSSY, f"Unknown; {_TOLD['all'][0].lower()}{_TOLD['all'][1:]}")
    if whole.get("variableExtractionPlan"):
        notes.add(
            step(path, "variableExtractionPlan"),
            UNSUPPORTED,
            "Nothing is taken from the conversation into variables. Instead: the arguments of the "
            "tool become variables of the next assistant; put them into function.parameters.",
        )
