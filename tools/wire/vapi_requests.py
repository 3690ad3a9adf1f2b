"""The reader of what a server answers to Vapi's requests (vapi.md 5.2, 5.3, checked 2026-11-22).

Owns the forms of an answer to ``assistant-request`` and to ``transfer-destination-request``, and
which part of one wins. Pure and total: whatever text came back, nothing raises.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tools.loose_json import as_object, as_text

# What is said of a destination without a message of its own (vapi.md 3.6).
TRANSFERRING: Final = "Transferring the call now"


@dataclass(frozen=True, slots=True)
class NamedDestination:
    """Where a call is to go: a number or a SIP address, and what is said before; '' is silence.

    ``caller_id`` is whose number the other end is shown, '' for the usual one.
    """

    to: str
    message: str = TRANSFERRING
    caller_id: str = ""


AnswerKind = Literal["error", "destination", "assistant", "squad", "nothing"]


@dataclass(frozen=True, slots=True)
class AssistantAnswer:
    """Who is to answer a call, in the order that counts: error, destination, assistant or squad.

    An ``error`` that is no text cannot be spoken: then ``error`` is ''.
    """

    kind: AnswerKind = "nothing"
    error: str = ""
    destination: NamedDestination | None = None
    assistant_id: str = ""
    assistant: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    squad_id: str = ""
    squad: Mapping[str, Any] = field(default_factory=dict)
    squad_overrides: Mapping[str, Any] = field(default_factory=dict)


def read_assistant_answer(text: str) -> AssistantAnswer | None:
    """Read the answer to an ``assistant-request``; None where it is no JSON object.

    Old servers wrap it in ``messageResponse``. A workflow is nothing we can run.
    """
    whole = _unwrapped(text)
    if whole is None:
        return None
    if whole.get("error") is not None:
        return AssistantAnswer("error", error=as_text(whole["error"]).strip())
    destination = read_destination(whole.get("destination"))
    if destination is not None:
        return AssistantAnswer("destination", destination=destination)
    assistant_id, assistant = as_text(whole.get("assistantId")), as_object(whole.get("assistant"))
    if assistant_id or assistant:
        return AssistantAnswer(
            "assistant",
            assistant_id=assistant_id,
            assistant=assistant,
            overrides=as_object(whole.get("assistantOverrides")),
        )
    squad_id, squad = as_text(whole.get("squadId")), as_object(whole.get("squad"))
    if squad_id or squad:
        return AssistantAnswer(
            "squad",
            squad_id=squad_id,
            squad=squad,
            squad_overrides=as_object(whole.get("squadOverrides")),
            overrides=as_object(whole.get("assistantOverrides")),
        )
    return AssistantAnswer()


@dataclass(frozen=True, slots=True)
class DestinationAnswer:
    """Where a server sends a call that its assistant transfers; without one ``error`` says why.

    ``message`` is what is said instead of the destination's own.
    """

    destination: NamedDestination | None = None
    error: str = ""


def read_destination_answer(text: str) -> DestinationAnswer:
    """Read the answer to a ``transfer-destination-request``."""
    whole = _unwrapped(text) or {}
    if whole.get("error") is not None:
        return DestinationAnswer(error=as_text(whole["error"]).strip() or "no reason was given")
    destination = read_destination(whole.get("destination"), message=whole.get("message"))
    return DestinationAnswer(destination)


@dataclass(frozen=True, slots=True)
class HandoffAnswer:
    """Whom a server names to take a call over, as written; without one ``error`` may say why.

    ``result`` is what the function call answers.
    """

    destination: Mapping[str, Any] = field(default_factory=dict)
    result: str = ""
    error: str = ""


def read_handoff_answer(text: str) -> HandoffAnswer:
    """Read the answer to a ``handoff-destination-request``."""
    whole = _unwrapped(text) or {}
    if whole.get("error") is not None:
        return HandoffAnswer(error=as_text(whole["error"]).strip() or "no reason was given")
    return HandoffAnswer(as_object(whole.get("destination")), as_text(whole.get("result")))


def read_destination(value: Any, *, message: Any = None) -> NamedDestination | None:
    """Read a destination, of an answer or a number's fallback; None where it is of another kind.

    Args:
        message: words that stand beside it and win.
    """
    place = as_object(value)
    kind = as_text(place.get("type"))
    to = as_text(place.get("sipUri" if kind == "sip" else "number")).strip()
    if kind not in ("number", "sip", "") or not to:
        return None
    said = _words(message)
    if said is None:
        said = _words(place.get("message"))
    return NamedDestination(
        to, TRANSFERRING if said is None else said, as_text(place.get("callerId"))
    )


def _words(value: Any) -> str | None:
    """Return a message's words: text, or an object with ``content``; None where there is none."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _unwrapped(text: str) -> dict[str, Any] | None:
    try:
        whole = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(whole, dict):
        return None
    inner = whole.get("messageResponse")
    return inner if isinstance(inner, dict) else whole
