"""OpenAI Realtime events: the only reader and writer of that wire format, in every dialect.

GA is the vocabulary inside. Azure GA speaks the same events; the beta dialect (old gateways) is
renamed at this door by one table and rendered flat (openai_realtime.md 2.6, 3). Checked
2026-11-22 against the types of openai 3.54.0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Literal

Dialect = Literal["openai_ga", "azure_ga", "beta"]

_BETA_TO_GA = {
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "conversation.item.created": "conversation.item.added",
}

# Azure and old gateways are not known to ask MCP servers; one unknown tool voids an update (O4).
MCP_DIALECTS: frozenset[Dialect] = frozenset({"openai_ga"})
_UPDATE_HEAD = '{"type":"session.update"'

# Every client event carries an event_id, so that an error can name it (1.5); one for all audio.
APPEND_HEAD = '{"type":"input_audio_buffer.append","event_id":"audio","audio":"'
APPEND_TAIL = '"}'


# Which models of transcription take which help (2.4); an unknown one is given the least.
_TAKES_KEYWORDS = frozenset({"gpt-transcribe", "gpt-live-transcribe"})
_TAKES_NO_PROMPT = frozenset({"gpt-realtime-whisper", "gpt-4o-transcribe-diarize"})
# gpt-realtime-2, -2.1, -2.1-mini; not gpt-realtime-2025-08-28 (9.1).
_REASONS = re.compile(r"gpt-realtime-2(?!\d)").match
_BETA_TEMPERATURES = (0.6, 1.2)
# The beta dialect lacks these two (2.6) and would refuse the whole update; the nearest it has.
_BETA_VOICES = {"marin": "coral", "cedar": "ash"}

# Ids that a client may create (1.4, trap O17).
_LEGAL_ID = re.compile(r"[a-zA-Z0-9_-]{1,32}").fullmatch
_ILLEGAL_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]+").sub

# Only these can bring a lone surrogate or a NUL into a decoded text.
_UNSAFE = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)|[\ud800-\udfff]").search


class RealtimeWireError(ValueError):
    """An event does not have the documented shape; the peer's fault, count it and go on."""


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """Voice activity detection; always sent complete (openai_realtime.md 2.1, 2.2).

    ``semantic_vad`` judges by what was said: of the numbers it has none, only ``eagerness``.
    ``none``: whoever sends the audio says where a turn ends, with ``input_commit``.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 320
    create_response: bool = True
    interrupt_response: bool = True
    kind: Literal["server_vad", "semantic_vad", "none"] = "server_vad"
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"

    @property
    def known_silence_ms(self) -> int:
        """Return how long the caller has been silent when a turn is called over, if it is known."""
        return self.silence_duration_ms if self.kind == "server_vad" else 0


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function as the session announces it: these four keys and no other."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class McpServer:
    """A tool server that the model's own server asks (4.5); it holds no secret.

    ``label`` names it in events; ``handle`` names our row. What proves who asks, and an address
    that is secret itself, are put in by ``with_access`` when the configuration leaves.
    """

    label: str
    url: str
    description: str = ""
    allowed_tools: tuple[str, ...] = ()
    handle: str = ""


@dataclass(frozen=True, slots=True)
class McpAccess:
    """What of an MCP server only the model may be told; ``headers`` are sent with each request.

    ``secrets`` are the texts in it that may come back to us in nothing that is kept.
    """

    label: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    authorization: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session is configured with, independent of the dialect.

    0, 1.0, None and '' leave the model's own setting and are not sent. ``keywords`` and
    ``languages`` help the transcriber; ``temperature`` exists in the beta dialect only (2.1).
    ``mcp_servers`` are known to OpenAI's own dialect only.
    """

    instructions: str = ""
    voice: str = "marin"
    transcription_model: str = "gpt-transcribe"
    language: str = ""
    noise_reduction: Literal["", "near_field", "far_field"] = ""
    turn_detection: TurnDetection = TurnDetection()
    tools: tuple[FunctionTool, ...] = ()
    speed: float = 1.0
    transcription_prompt: str = ""
    keywords: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    max_output_tokens: int = 0
    reasoning_effort: str = ""
    temperature: float | None = None
    mcp_servers: tuple[McpServer, ...] = ()


def held(config: SessionConfig) -> SessionConfig:
    """Return ``config`` with turn taking off: the model hears and transcribes, and stays silent."""
    return replace(
        config,
        turn_detection=replace(
            config.turn_detection, create_response=False, interrupt_response=False
        ),
    )


def decode(text: str, dialect: Dialect) -> tuple[str, dict[str, Any]]:
    """Return (GA event type, whole event).

    Raises:
        RealtimeWireError: not JSON, not an object, or without a ``type``.
    """
    try:
        event = json.loads(text)
        # Audio has no backslash: the search is for the few other events.
        if ("\\" in text or not text.isascii()) and _UNSAFE(text) is not None:
            event = _cleaned(event)
    except (ValueError, RecursionError) as error:
        raise RealtimeWireError("not JSON") from error
    if not isinstance(event, dict):
        raise RealtimeWireError("not an object")
    kind = event.get("type")
    if not isinstance(kind, str):
        raise RealtimeWireError("no type")
    if dialect == "beta":
        kind = _BETA_TO_GA.get(kind, kind)
    return kind, event


def plain(text: str) -> str:
    """Return text that UTF-8 can carry and every database can store.

    JSON may hold half of a surrogate pair or a NUL; the first cannot be encoded, PostgreSQL
    refuses the second.
    """
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(key): _cleaned(child) for key, child in value.items()}
    return [_cleaned(child) for child in value] if isinstance(value, list) else value


def _dump(event: dict[str, Any]) -> str:
    return plain(json.dumps(event, ensure_ascii=False, separators=(",", ":")))


def takes_reasoning(model: str) -> bool:
    """Tell whether a model reasons; any other rejects the whole update for it (2.1)."""
    return _REASONS(model) is not None


def takes_hints(transcription_model: str) -> bool:
    """Tell whether a transcriber takes keywords or a prompt (2.4)."""
    return transcription_model not in _TAKES_NO_PROMPT


def _turn_detection(value: TurnDetection) -> dict[str, Any] | None:
    if value.kind == "none":
        return None
    if value.kind == "semantic_vad":
        return {
            "type": "semantic_vad",
            "eagerness": value.eagerness,
            "create_response": value.create_response,
            "interrupt_response": value.interrupt_response,
        }
    return {
        "type": "server_vad",
        "threshold": value.threshold,
        "prefix_padding_ms": value.prefix_padding_ms,
        "silence_duration_ms": value.silence_duration_ms,
        "create_response": value.create_response,
        "interrupt_response": value.interrupt_response,
    }


def _transcription(config: SessionConfig, dialect: Dialect) -> dict[str, Any]:
    """Return what helps the transcriber, in the keys that its model takes (2.4)."""
    model = config.transcription_model
    transcription: dict[str, Any] = {"model": model}
    if config.language:
        transcription["language"] = config.language
    prompt = config.transcription_prompt
    if dialect != "beta" and model in _TAKES_KEYWORDS:
        if config.keywords:
            transcription["keywords"] = list(config.keywords)
        if config.languages and not config.language:
            transcription["languages"] = list(config.languages)
    elif config.keywords:
        prompt = "\n".join(filter(None, (prompt, ", ".join(config.keywords))))
    if prompt and takes_hints(model):
        transcription["prompt"] = prompt
    return transcription


def session_update(config: SessionConfig, dialect: Dialect, event_id: str) -> str:
    """Render the whole configuration; a rejected key would void all of it (trap O4)."""
    transcription = _transcription(config, dialect)
    tools: list[dict[str, Any]] = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        }
        for tool in config.tools
    ]
    if dialect in MCP_DIALECTS:
        tools += map(_mcp_tool, config.mcp_servers)
    detection = _turn_detection(config.turn_detection)
    noise = {"type": config.noise_reduction} if config.noise_reduction else None
    session: dict[str, Any]
    if dialect == "beta":
        session = {
            "modalities": ["audio", "text"],
            "instructions": config.instructions,
            "voice": _BETA_VOICES.get(config.voice, config.voice),
            "input_audio_format": "g711_ulaw",
            "output_audio_format": "g711_ulaw",
            "input_audio_transcription": transcription,
            "input_audio_noise_reduction": noise,
            "turn_detection": detection,
            "tools": tools,
            "tool_choice": "auto",
        }
        if config.speed != 1.0:
            session["speed"] = config.speed
        if config.temperature is not None:
            low, high = _BETA_TEMPERATURES
            session["temperature"] = min(max(config.temperature, low), high)
        if config.max_output_tokens:
            session["max_response_output_tokens"] = config.max_output_tokens
    else:
        output: dict[str, Any] = {"format": {"type": "audio/pcmu"}, "voice": config.voice}
        if config.speed != 1.0:
            output["speed"] = config.speed
        session = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": config.instructions,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "noise_reduction": noise,
                    "transcription": transcription,
                    "turn_detection": detection,
                },
                "output": output,
            },
            "tools": tools,
            "tool_choice": "auto",
        }
        if config.max_output_tokens:
            session["max_output_tokens"] = config.max_output_tokens
        if config.reasoning_effort:
            session["reasoning"] = {"effort": config.reasoning_effort}
    return _dump({"type": "session.update", "event_id": event_id, "session": session})


def _mcp_tool(server: McpServer) -> dict[str, Any]:
    """Return a server as a session announces it; nobody could be asked to approve in a call."""
    tool: dict[str, Any] = {
        "type": "mcp",
        "server_label": server.label,
        "server_url": server.url,
        "require_approval": "never",
    }
    if server.description:
        tool["server_description"] = server.description
    if server.allowed_tools:
        tool["allowed_tools"] = list(server.allowed_tools)
    return tool


def with_access(text: str, access: Sequence[McpAccess]) -> str:
    """Return a ``session.update`` of ours with what proves who asks; other texts as they are."""
    if not access or not text.startswith(_UPDATE_HEAD):
        return text
    known = {each.label: each for each in access}
    event = json.loads(text)
    for tool in event["session"].get("tools", ()):
        found = known.get(tool.get("server_label")) if tool["type"] == "mcp" else None
        if found is None:
            continue
        tool["server_url"] = found.url
        if found.headers:
            tool["headers"] = dict(found.headers)
        if found.authorization:
            tool["authorization"] = found.authorization
    return _dump(event)


def turn_detection_update(value: TurnDetection, dialect: Dialect, event_id: str) -> str:
    """Render an update of turn detection alone; keys not named stay as they are."""
    detection = _turn_detection(value)
    session: dict[str, Any] = (
        {"turn_detection": detection}
        if dialect == "beta"
        else {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
    )
    return _dump({"type": "session.update", "event_id": event_id, "session": session})


def formats_are_mulaw(event: Mapping[str, Any], dialect: Dialect) -> bool:
    """Tell whether a ``session.updated`` confirms mu-law both ways (trap O21)."""
    session = event.get("session")
    if not isinstance(session, dict):
        return False
    if dialect == "beta":
        return (
            session.get("input_audio_format") == "g711_ulaw"
            and session.get("output_audio_format") == "g711_ulaw"
        )
    audio = session.get("audio")
    if not isinstance(audio, dict):
        return False
    kinds = []
    for side in ("input", "output"):
        part = audio.get(side)
        shape = part.get("format") if isinstance(part, dict) else None
        kinds.append(shape.get("type") if isinstance(shape, dict) else None)
    return kinds == ["audio/pcmu", "audio/pcmu"]


def append(payload: str) -> str:
    """Return an append event around a payload that has been checked for base64."""
    return f"{APPEND_HEAD}{payload}{APPEND_TAIL}"


def input_commit(event_id: str) -> str:
    """Render the end of a turn of the caller whose audio was appended by hand (2.2)."""
    return _dump({"type": "input_audio_buffer.commit", "event_id": event_id})


def response_beside(
    event_id: str, dialect: Dialect, *, purpose: str, modality: Literal["audio", "text"]
) -> str:
    """Render a response that sees the conversation and stays outside of it (4, ``conversation``).

    What it says and which functions it calls becomes no item, so whoever asks decides how the
    conversation goes on, and what is cached of it stays so.
    """
    response: dict[str, Any] = {"conversation": "none", "metadata": {"purpose": purpose}}
    if dialect == "beta":
        response["modalities"] = ["audio", "text"] if modality == "audio" else ["text"]
    else:
        response["output_modalities"] = [modality]
    return _dump({"type": "response.create", "event_id": event_id, "response": response})


def response_create(
    event_id: str, dialect: Dialect, *, instructions: str, tools_allowed: bool, purpose: str
) -> str:
    """Render ``response.create``; empty instructions leave the session's in force.

    Audio is asked for again: after a history of texts a model may answer in text (trap O30).
    """
    response: dict[str, Any] = {"metadata": {"purpose": purpose}}
    if dialect == "beta":
        response["modalities"] = ["audio", "text"]
    else:
        response["output_modalities"] = ["audio"]
    if instructions:
        response["instructions"] = instructions
    if not tools_allowed:
        response["tool_choice"] = "none"
    return _dump({"type": "response.create", "event_id": event_id, "response": response})


def response_cancel(event_id: str, response_id: str) -> str:
    """Render ``response.cancel`` for one response."""
    event = {"type": "response.cancel", "event_id": event_id}
    if response_id:
        event["response_id"] = response_id
    return _dump(event)


def item_truncate(event_id: str, item_id: str, audio_end_ms: int) -> str:
    """Render ``conversation.item.truncate``; ``audio_end_ms`` is inclusive, the part always 0."""
    return _dump(
        {
            "type": "conversation.item.truncate",
            "event_id": event_id,
            "item_id": item_id,
            "content_index": 0,
            "audio_end_ms": audio_end_ms,
        }
    )


def item_delete(event_id: str, item_id: str) -> str:
    """Render ``conversation.item.delete``."""
    return _dump({"type": "conversation.item.delete", "event_id": event_id, "item_id": item_id})


def message_item(
    event_id: str,
    role: Literal["user", "assistant", "system"],
    text: str,
    dialect: Dialect,
    *,
    item_id: str = "",
    after: str | None = None,
) -> str:
    """Render a text item; assistant audio cannot be created by a client (trap O30).

    With an ``item_id`` of ours (at most 32 letters, digits, - or _) it can be deleted later.
    ``after``: the item that it stands behind, '' for the first place; None is the last one.
    """
    ours = "text" if dialect == "beta" else "output_text"
    part = ours if role == "assistant" else "input_text"
    item: dict[str, Any] = {
        "type": "message",
        "role": role,
        "content": [{"type": part, "text": text}],
    }
    if item_id:
        item["id"] = item_id
    event: dict[str, Any] = {
        "type": "conversation.item.create",
        "event_id": event_id,
        "item": item,
    }
    if after is not None:
        event["previous_item_id"] = after or "root"
    return _dump(event)


def audio_item(event_id: str, audio_b64: str) -> str:
    """Render a turn of the caller as audio in the session's input format (3.1)."""
    content = [{"type": "input_audio", "audio": audio_b64}]
    item = {"type": "message", "role": "user", "content": content}
    return _dump({"type": "conversation.item.create", "event_id": event_id, "item": item})


def function_call(event_id: str, tool_call_id: str, name: str, arguments_json: str) -> str:
    """Render a function call of an earlier session, so that its output has a place (7.4)."""
    return _dump(
        {
            "type": "conversation.item.create",
            "event_id": event_id,
            "item": {
                "type": "function_call",
                "call_id": tool_call_id,
                "name": name,
                "arguments": arguments_json,
            },
        }
    )


def legal_id(tool_call_id: str) -> str:
    """Return an id that a client may create: its own where it is legal, else a digest (O17)."""
    if _LEGAL_ID(tool_call_id):
        return tool_call_id
    return "call_" + blake2b(tool_call_id.encode("utf-8", "replace"), digest_size=12).hexdigest()


def legal_name(name: str) -> str:
    """Return a name that a function call of a client may have (trap O8)."""
    return _ILLEGAL_IN_NAME("_", name)[:64] or "tool"


def function_output(event_id: str, tool_call_id: str, output: str) -> str:
    """Render the output of one function call."""
    return _dump(
        {
            "type": "conversation.item.create",
            "event_id": event_id,
            "item": {"type": "function_call_output", "call_id": tool_call_id, "output": output},
        }
    )


def verbatim(text: str) -> str:
    """Return instructions that make a model say one text and nothing else (5.6, item 3)."""
    return f"Say this text exactly once and nothing else: {json.dumps(text, ensure_ascii=False)}"
