"""The vendors' message rules as checks for tests: the official SDK's types (openai_realtime.md
13.2), the ranges those types lack, and the exact key sets of Twilio's media messages (twilio.md 3).
It judges messages only; it must not know our bridge or our stand-ins.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import pydantic
from openai.types import realtime as ga
from openai.types.beta import realtime as beta

Dialect = Literal["ga", "azure_ga", "beta"]

_GA_CLIENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
    Annotated[ga.RealtimeClientEvent, pydantic.Field(discriminator="type")]
)
_GA_SERVER: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
    Annotated[ga.RealtimeServerEvent, pydantic.Field(discriminator="type")]
)
_BETA_CLIENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
    Annotated[beta.RealtimeClientEvent, pydantic.Field(discriminator="type")]
)
_BETA_SERVER: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
    Annotated[beta.RealtimeServerEvent, pydantic.Field(discriminator="type")]
)

# Sent by servers, not declared by the SDK (openai_realtime.md 13.2).
_SERVER_EXTRAS = frozenset({"object", "id", "expires_at", "obfuscation"})
_TOOL_KEYS = frozenset({"type", "name", "description", "parameters"})
_TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_CALL_ID = re.compile(r"^[a-zA-Z0-9_-]{1,32}$")
_UNIONS = frozenset({"oneOf", "anyOf", "allOf", "enum", "not"})


class ContractError(AssertionError):
    """A message breaks a vendor's rule; the text names the event and the path."""


def _undeclared(node: Any, extras: frozenset[str], where: str = "$") -> Iterator[str]:
    if isinstance(node, pydantic.BaseModel):
        for key in node.model_extra or {}:
            if key not in extras:
                yield f"{where}.{key}"
        for key in node.model_fields_set & set(type(node).model_fields):
            yield from _undeclared(getattr(node, key), extras, f"{where}.{key}")
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _undeclared(child, extras, f"{where}[{index}]")


def _check_types(
    adapter: pydantic.TypeAdapter[Any], event: Mapping[str, Any], extras: frozenset[str]
) -> None:
    try:
        parsed = adapter.validate_python(dict(event))
    except pydantic.ValidationError as error:
        raise ContractError(f"{event.get('type')}: {error}") from error
    stray = list(_undeclared(parsed, extras))
    if stray:
        raise ContractError(f"{event['type']}: undeclared keys {stray}")


def _require(condition: bool, event: Mapping[str, Any], rule: str) -> None:
    if not condition:
        raise ContractError(f"{event.get('type', event.get('event'))}: {rule}")


def _in_range(value: Any, low: float, high: float) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    )


def _check_session_ranges(event: Mapping[str, Any], session: Mapping[str, Any]) -> None:
    audio = session.get("audio") or {}
    turn = (audio.get("input") or {}).get("turn_detection", session.get("turn_detection")) or {}
    output = audio.get("output") or {}
    _require(_in_range(turn.get("threshold"), 0, 1), event, "threshold is 0..1")
    for key in ("prefix_padding_ms", "silence_duration_ms"):
        _require(_in_range(turn.get(key), 0, 60_000), event, f"{key} is 0 or more")
    _require(_in_range(turn.get("idle_timeout_ms"), 5000, 30_000), event, "idle 5000..30000")
    for holder in (turn, session, audio.get("input") or {}):
        for key in ("create_response", "interrupt_response", "tools", "instructions"):
            _require(holder.get(key, 0) is not None, event, f"{key} may not be null (trap 4)")
    speed = output.get("speed", session.get("speed"))
    _require(_in_range(speed, 0.25, 1.5), event, "speed is 0.25..1.5")
    for side in ("input", "output"):
        fmt = (audio.get(side) or {}).get("format") or {}
        _require(fmt.get("type") == "audio/pcm" or "rate" not in fmt, event, "rate is for pcm only")
    limit = session.get("max_output_tokens", session.get("max_response_output_tokens"))
    _require(limit == "inf" or _in_range(limit, 1, 4096), event, "max_output_tokens is 1..4096|inf")
    _require(len(session.get("output_modalities") or []) < 2, event, "one output modality (2.1)")
    _check_tools(event, session.get("tools") or [])


def _check_tools(event: Mapping[str, Any], tools: list[dict[str, Any]]) -> None:
    names: list[str] = []
    for index, tool in enumerate(tools):
        if tool.get("type") != "function":
            _require(tool.get("type") == "mcp", event, f"tools[{index}].type")
            continue
        _require(set(tool) <= _TOOL_KEYS, event, f"tools[{index}] keys {set(tool) - _TOOL_KEYS}")
        _require(bool(_TOOL_NAME.match(tool.get("name", ""))), event, f"tools[{index}].name")
        names.append(tool["name"])
        schema = tool.get("parameters") or {"type": "object"}
        _require(schema.get("type") == "object", event, f"tools[{index}].parameters.type")
        _require(not _UNIONS & set(schema), event, f"tools[{index}].parameters: top-level union")
    _require(len(names) == len(set(names)), event, "tool names are unique")


def check_realtime_client(event: Mapping[str, Any], dialect: Dialect = "ga") -> None:
    """Check what we send to Realtime: SDK types, no undeclared key, ranges and rules of section 2.

    Raises ContractError naming the first rule broken.
    """
    _check_types(_BETA_CLIENT if dialect == "beta" else _GA_CLIENT, event, frozenset({"id"}))
    kind = event["type"]
    _require(isinstance(event.get("event_id"), str), event, "event_id is always set (1.5)")
    if kind == "session.update":
        _check_session_ranges(event, event["session"])
    elif kind == "response.create":
        response = event.get("response") or {}
        _check_session_ranges(event, response)
        metadata = response.get("metadata") or {}
        fits = all(len(k) <= 64 and len(v) <= 512 for k, v in metadata.items())
        _require(len(metadata) <= 16 and fits, event, "metadata 16 pairs of 64/512 (1.4)")
    elif kind == "input_audio_buffer.append":
        _require(_is_b64(event["audio"]), event, "audio is base64")
    elif kind == "conversation.item.truncate":
        _require(event["audio_end_ms"] > 0 and event["content_index"] == 0, event, "5.2")
    elif kind == "conversation.item.create":
        item = event["item"]
        for key in ("call_id", "id"):
            if item.get(key) is not None:
                _require(bool(_CALL_ID.match(item[key])), event, f"item.{key} pattern (1.4)")


def check_realtime_server(event: Mapping[str, Any], dialect: Dialect = "ga") -> None:
    """Check what a Realtime server (ours is a stand-in) sends; raises ContractError."""
    _check_types(_BETA_SERVER if dialect == "beta" else _GA_SERVER, event, _SERVER_EXTRAS)
    if event["type"] != "input_audio_buffer.dtmf_event_received":
        _require(bool(event.get("event_id")), event, "event_id is set")


def _is_b64(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def _check_keys(message: Mapping[str, Any], shape: Mapping[str, Any], where: str = "$") -> None:
    missing, extra = set(shape) - set(message), set(message) - set(shape)
    if missing or extra:
        raise ContractError(f"{where}: missing {sorted(missing)}, extra {sorted(extra)}")
    for key, expected in shape.items():
        value = message[key]
        if isinstance(expected, dict):
            if not isinstance(value, dict):
                raise ContractError(f"{where}.{key}: object expected")
            _check_keys(value, expected, f"{where}.{key}")
        elif isinstance(expected, re.Pattern):
            if not isinstance(value, str) or not expected.fullmatch(value):
                raise ContractError(f"{where}.{key}: {value!r} does not fit {expected.pattern}")
        elif isinstance(expected, type):
            if not isinstance(value, expected):
                raise ContractError(f"{where}.{key}: {value!r} is not {expected.__name__}")
        elif value != expected:
            raise ContractError(f"{where}.{key}: {value!r} is not {expected!r}")


_TEXT = re.compile(r"(?s).+")
_COUNTER = re.compile(r"\d+")
_SID = {name: re.compile(name + "[0-9a-f]{32}") for name in ("AC", "CA", "MZ")}
_B64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_OUTBOUND: dict[str, dict[str, Any]] = {
    "media": {"event": "media", "streamSid": _SID["MZ"], "media": {"payload": _B64}},
    "mark": {"event": "mark", "streamSid": _SID["MZ"], "mark": {"name": _TEXT}},
    "clear": {"event": "clear", "streamSid": _SID["MZ"]},
}
_INBOUND_HEAD = {"sequenceNumber": _COUNTER, "streamSid": _SID["MZ"]}
_INBOUND: dict[str, dict[str, Any]] = {
    "connected": {"event": "connected", "protocol": "Call", "version": _TEXT},
    "start": {
        "event": "start",
        **_INBOUND_HEAD,
        "start": {
            "streamSid": _SID["MZ"],
            "accountSid": _SID["AC"],
            "callSid": _SID["CA"],
            "tracks": ["inbound"],
            "customParameters": dict,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    },
    "media": {
        "event": "media",
        **_INBOUND_HEAD,
        "media": {"track": "inbound", "chunk": _COUNTER, "timestamp": _COUNTER, "payload": _B64},
    },
    "dtmf": {
        "event": "dtmf",
        **_INBOUND_HEAD,
        "dtmf": {"track": "inbound_track", "digit": re.compile(r"[0-9*#A-D]")},
    },
    "mark": {"event": "mark", **_INBOUND_HEAD, "mark": {"name": _TEXT}},
    "stop": {
        "event": "stop",
        **_INBOUND_HEAD,
        "stop": {"accountSid": _SID["AC"], "callSid": _SID["CA"]},
    },
}


def _check_shape(message: Mapping[str, Any], shapes: Mapping[str, dict[str, Any]]) -> None:
    shape = shapes.get(str(message.get("event")))
    if shape is None:
        raise ContractError(f"event {message.get('event')!r} does not exist in this direction")
    _check_keys(message, shape)


def check_twilio_outbound(message: Mapping[str, Any]) -> None:
    """Check a message to Twilio: exactly the keys of twilio.md 3.2; raises ContractError."""
    _check_shape(message, _OUTBOUND)
    if message["event"] == "media":
        _require(_is_b64(message["media"]["payload"]), message, "payload is base64")


def check_twilio_inbound(message: Mapping[str, Any]) -> None:
    """Check a message from Twilio: exactly the keys of twilio.md 3.1, counters as strings."""
    _check_shape(message, _INBOUND)
    if message["event"] == "start":
        _require(message["streamSid"] == message["start"]["streamSid"], message, "one streamSid")
