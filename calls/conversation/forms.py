"""The three forms of a conversation: Vapi's messages, the OpenAI format, plain text.

Pure. Owns Vapi's names and times (vapi.md 2.9, 4.6, 6.5): epoch ms, seconds from the start, and
arguments as JSON text (vapi.md 0, rule 7). What nobody has heard stands in none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from calls.conversation.entries import Entry, Speech, ToolUse

_VAPI_ROLES = {"user": "user", "assistant": "bot", "system": "system"}


@dataclass(frozen=True, slots=True)
class Labels:
    """Who is who in a plain transcript (``artifactPlan.transcriptPlan``, vapi.md 2.9)."""

    assistant: str = "AI"
    user: str = "User"


def vapi_messages(
    entries: Iterable[Entry], *, began_ms: int, prompt: str = ""
) -> list[dict[str, Any]]:
    """Return ``messages`` as Vapi's artifact has them.

    Args:
        began_ms: epoch time of the call's first stream.
        prompt: the system message that comes first, if there is one.
    """
    messages: list[dict[str, Any]] = []
    if prompt:
        messages.append({"role": "system", "message": prompt, **_at(began_ms, 0)})
    for entry in entries:
        if entry.speech is not None and entry.speech.text:
            messages.append(_speech_message(entry.speech, began_ms))
        elif entry.kind == "tool-calls":
            calls = [called(tool) for tool in entry.tools]
            messages.append(calls_message(calls, began_ms, entry.at_ms))
        elif entry.kind == "tool-result":
            (tool,) = entry.tools
            messages.append(
                {
                    "role": "tool_call_result",
                    "toolCallId": tool.tool_call_id,
                    "name": tool.name,
                    "result": tool.output,
                    "metadata": {},
                    **_at(began_ms, entry.at_ms),
                }
            )
    return messages


def openai_messages(entries: Sequence[Entry], *, prompt: str = "") -> list[dict[str, Any]]:
    """Return ``messagesOpenAIFormatted``: an answer follows the calls it belongs to, as that format
    wants it, wherever it came.
    """
    results = {
        tool.tool_call_id: tool
        for entry in entries
        if entry.kind == "tool-result"
        for tool in entry.tools
    }
    found: list[dict[str, Any]] = [{"role": "system", "content": prompt}] if prompt else []
    for entry in entries:
        if entry.speech is not None and entry.speech.text:
            found.append({"role": entry.speech.role, "content": entry.speech.text})
        elif entry.kind == "tool-calls":
            calls = [called(tool) for tool in entry.tools]
            found.append({"role": "assistant", "content": "", "tool_calls": calls})
            found += [
                {"role": "tool", "content": results[each].output, "tool_call_id": each}
                for each in (tool.tool_call_id for tool in entry.tools)
                if each in results
            ]
    return found


def plain_transcript(entries: Iterable[Entry], labels: Labels | None = None) -> str:
    """Return one line for each turn that was heard, e.g. ``AI: Hello``."""
    names = labels or Labels()
    speakers = {"user": names.user, "assistant": names.assistant}
    return "\n".join(
        f"{speakers[entry.speech.role]}: {entry.speech.text}"
        for entry in entries
        if entry.speech is not None and entry.speech.text and entry.speech.role in speakers
    )


def called(tool: ToolUse) -> dict[str, Any]:
    """Return a call as messages hold it: arguments as JSON text (vapi.md 0, rule 7)."""
    return {
        "id": tool.tool_call_id,
        "type": "function",
        "function": {"name": tool.name, "arguments": tool.arguments_json or "{}"},
    }


def calls_message(calls: list[dict[str, Any]], began_ms: int, at_ms: int) -> dict[str, Any]:
    """Return the message of calls that were made together."""
    return {"role": "tool_calls", "message": "", **_at(began_ms, at_ms), "toolCalls": calls}


def _speech_message(speech: Speech, began_ms: int) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": _VAPI_ROLES[speech.role],
        "message": speech.text,
        **_at(began_ms, speech.started_ms),
    }
    if speech.role != "system":
        ended_ms = speech.started_ms if speech.ended_ms is None else speech.ended_ms
        message["endTime"] = began_ms + ended_ms
        message["duration"] = max(ended_ms - speech.started_ms, 0)
    if speech.role == "assistant":
        message["source"] = ""
        if speech.speaker:
            message["assistantName"] = speech.speaker
    return message


def _at(began_ms: int, at_ms: int) -> dict[str, Any]:
    return {"time": began_ms + at_ms, "secondsFromStart": at_ms / 1000}
