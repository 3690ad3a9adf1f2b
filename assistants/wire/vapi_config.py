"""The reader of Vapi's assistant object (vapi.md 2, checked 2026-11-22).

Owns which fields of a document the platform works with and how an edit in the admin is written back
into the document. Pure and total: whatever JSON arrives, nothing raises; a value of the wrong type
is read as if it were absent. Everything not read here stays in the raw document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

# Voices that a Realtime session accepts (vapi.md 2.4): Vapi's page and its schema note together.
REALTIME_VOICES: Final = (
    *("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"),
)
DEFAULT_VOICE: Final = "marin"
SPEAKS_FIRST: Final = "assistant-speaks-first"
FIRST_MESSAGE_MODES: Final = (
    SPEAKS_FIRST,
    "assistant-speaks-first-with-model-generated-message",
    "assistant-waits-for-user",
)
DEFAULT_DURATION_SECONDS: Final = 600
_DURATION_SECONDS: Final = (10, 43_200)


@dataclass(frozen=True, slots=True)
class AssistantReading:
    """What the platform takes from an assistant document; defaults are Vapi's."""

    name: str = ""
    instructions: str = ""
    first_message: str = ""
    first_message_mode: str = SPEAKS_FIRST
    first_message_interruptible: bool = False
    end_call_message: str = ""
    voice: str = DEFAULT_VOICE
    language: str = "en"
    model: str = ""
    max_duration_seconds: int = DEFAULT_DURATION_SECONDS
    server_url: str = ""
    server_secret: str = ""
    inline_tools: tuple[Mapping[str, Any], ...] = ()
    tool_ids: tuple[str, ...] = ()


def read_assistant(document: Any) -> AssistantReading:
    """Read an assistant document."""
    whole = _object(document)
    model = _object(whole.get("model"))
    server = _object(whole.get("server"))
    mode = _text(whole.get("firstMessageMode"))
    return AssistantReading(
        name=_text(whole.get("name")),
        instructions=_instructions(model),
        first_message=_text(whole.get("firstMessage")),
        first_message_mode=mode if mode in FIRST_MESSAGE_MODES else SPEAKS_FIRST,
        first_message_interruptible=whole.get("firstMessageInterruptionsEnabled") is True,
        end_call_message=_text(whole.get("endCallMessage")),
        voice=_voice(_object(whole.get("voice"))),
        language=_language(_object(whole.get("transcriber"))),
        model=_realtime_model(model),
        max_duration_seconds=_whole_number(
            whole.get("maxDurationSeconds"), _DURATION_SECONDS, DEFAULT_DURATION_SECONDS
        ),
        server_url=_text(server.get("url")) or _text(whole.get("serverUrl")),
        server_secret=_text(server.get("secret")) or _text(whole.get("serverUrlSecret")),
        inline_tools=tuple(tool for tool in _list(model.get("tools")) if isinstance(tool, dict)),
        tool_ids=tuple(
            dict.fromkeys(item for item in _list(model.get("toolIds")) if isinstance(item, str))
        ),
    )


def write_assistant(document: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``document`` with ``changes`` written into it, the rest untouched.

    Keys of ``changes`` are fields of ``AssistantReading``; ``tool_ids`` replaces the saved tools
    and leaves inline ones alone; an empty ``model`` keeps what the document says.
    """
    new = dict(_object(document))
    model = dict(_object(new.get("model")))
    for key, value in changes.items():
        if key in _PLAIN:
            new[_PLAIN[key]] = value
        elif key == "instructions":
            model = _with_instructions(model, value)
        elif key == "voice":
            new["voice"] = _with_voice(_object(new.get("voice")), value)
        elif key == "language":
            new["transcriber"] = {**_object(new.get("transcriber")), "language": value}
        elif key == "model" and value:
            model |= {"provider": "openai", "model": value}
        elif key == "tool_ids":
            model["toolIds"] = list(value)
        elif key == "server_url":
            new = _with_server(new, "url", "serverUrl", value)
        elif key == "server_secret":
            new = _with_server(new, "secret", "serverUrlSecret", value)
    if model:
        new["model"] = {"provider": "openai", **model}
    return new


_PLAIN: Final[Mapping[str, str]] = {
    "name": "name",
    "first_message": "firstMessage",
    "first_message_mode": "firstMessageMode",
    "first_message_interruptible": "firstMessageInterruptionsEnabled",
    "end_call_message": "endCallMessage",
    "max_duration_seconds": "maxDurationSeconds",
}


def _set_or_drop(target: dict[str, Any], key: str, value: Any) -> None:
    if value in ("", None):
        target.pop(key, None)
    else:
        target[key] = value


def _with_server(document: dict[str, Any], key: str, legacy_key: str, value: str) -> dict[str, Any]:
    new = {name: item for name, item in document.items() if name != legacy_key}
    server = dict(_object(new.get("server")))
    _set_or_drop(server, key, value)
    if server or "server" in new:
        new["server"] = server
    return new


def _with_voice(voice: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Keep another provider's voice whose stand-in was not changed."""
    if _voice(voice) == name and voice:
        return voice
    return {"provider": "openai", "voiceId": name}


def _with_instructions(model: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Put ``text`` where the first system message was; later system messages are part of it."""
    if _instructions(model) == text:
        return dict(model)
    others = [m for m in _list(model.get("messages")) if _object(m).get("role") != "system"]
    system = [{"role": "system", "content": text}] if text else []
    return {k: v for k, v in model.items() if k != "systemPrompt"} | {"messages": system + others}


def _instructions(model: Mapping[str, Any]) -> str:
    """Join the system messages; the legacy ``systemPrompt`` counts as the first (vapi.md 2.3)."""
    parts = [_text(model.get("systemPrompt"))]
    for message in _list(model.get("messages")):
        entry = _object(message)
        if entry.get("role") == "system":
            parts.append(_text(entry.get("content")))
    return "\n\n".join(part for part in parts if part)


def _voice(voice: Mapping[str, Any]) -> str:
    name = _text(voice.get("voiceId"))
    is_realtime = voice.get("provider") == "openai" and name in REALTIME_VOICES
    return name if is_realtime else DEFAULT_VOICE


def _language(transcriber: Mapping[str, Any]) -> str:
    """Take ISO 639-1 from ``en``, ``en-US`` or ``en_US``; ``multi`` and the like mean English."""
    language = _text(transcriber.get("language")).replace("_", "-").split("-")[0].lower()
    is_code = len(language) == 2 and language.isascii() and language.isalpha()
    return language if is_code else "en"


def _realtime_model(model: Mapping[str, Any]) -> str:
    name = _text(model.get("model"))
    return name if name.startswith("gpt-realtime") and len(name) <= 80 else ""


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole_number(value: Any, bounds: tuple[int, int], default: int) -> int:
    """Return a number within ``bounds`` (inclusive), the nearest bound when it is outside."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    if isinstance(value, float) and not math.isfinite(value):
        return default
    return int(min(max(value, bounds[0]), bounds[1]))
