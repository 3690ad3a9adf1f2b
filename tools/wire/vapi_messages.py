"""The members of Vapi's informing server messages, by type (vapi.md 5.2, checked 2026-11-22).

Owns what stands in each of them beside the common envelope, which is ``vapi_server``'s. Pure; texts
come in as they are to be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Own = dict[str, Any]


def speech_update(*, status: Literal["started", "stopped"], role: str, turn: int) -> Own:
    """Return the members of ``speech-update``; ``turn`` counts from 0."""
    return {"status": status, "role": role, "turn": turn}


def speech_started(*, text: str, turn: int) -> Own:
    """Return the members of ``assistant.speechStarted``; ``text`` is what is known of it by now."""
    return {"text": text, "turn": turn, "source": "model"}


def transcript(*, role: str, text: str, is_final: bool) -> Own:
    """Return the members of ``transcript``, and of its final-only variant."""
    return {
        "role": role,
        "transcriptType": "final" if is_final else "partial",
        "transcript": text,
    }


def conversation_update(artifact: Mapping[str, Any]) -> Own:
    """Return the members of ``conversation-update``, which are also in its artifact."""
    return {
        "messages": list(artifact.get("messages") or ()),
        "messagesOpenAIFormatted": list(artifact.get("messagesOpenAIFormatted") or ()),
    }


def user_interrupted(*, turn: int) -> Own:
    """Return the members of ``user-interrupted``: which turn of the assistant was cut off."""
    return {"turnId": str(turn)}


def model_text(*, text: str, turn: int) -> Own:
    """Return the members of ``model-output`` for a piece of text.

    An object, as the SDK types it; a bare text does not pass its check.
    """
    return {"output": {"role": "assistant", "content": text}, "turnId": str(turn)}


def model_call(made: Mapping[str, Any], *, turn: int) -> Own:
    """Return the members of ``model-output`` for a function call, as the model wrote it."""
    function = {"name": made.get("name", ""), "arguments": made.get("arguments", "")}
    call = {"id": made.get("id", ""), "type": "function", "function": function}
    return {"output": {"role": "assistant", "toolCalls": [call]}, "turnId": str(turn)}


def voice_input(*, text: str) -> Own:
    """Return the members of ``voice-input``: what was made into speech."""
    return {"input": text}


def language_change(*, language: str) -> Own:
    """Return the members of ``language-change-detected``."""
    return {"language": language}


def phone_call_control(*, forward_to: Mapping[str, Any] | None = None) -> Own:
    """Return the members of ``phone-call-control``: hang up, or forward to a destination."""
    if forward_to is None:
        return {"request": "hang-up"}
    return {"request": "forward", "destination": dict(forward_to)}


def transfer_destination(to: str, *, is_sip: bool) -> Own:
    """Return a number or SIP address as Vapi names a destination (vapi.md 3.6)."""
    return {"type": "sip", "sipUri": to} if is_sip else {"type": "number", "number": to}
