"""The strict rules of `session.update` and `response.create` as OpenAI enforces them
(openai_realtime.md 2, 6, 7.1): one wrong key rejects the whole update. GA shapes only; it must not
know sockets, time or other dialects.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

STOCK_INSTRUCTIONS = (
    "Your knowledge cutoff is 2023-10. You are a helpful, witty, and friendly AI. Act like a human."
)
VOICES = frozenset("alloy ash ballad coral echo sage shimmer verse marin cedar".split())
TRANSCRIBERS = frozenset(
    "gpt-transcribe gpt-live-transcribe gpt-realtime-whisper gpt-4o-transcribe "
    "gpt-4o-mini-transcribe gpt-4o-mini-transcribe-2025-12-15 gpt-4o-transcribe-diarize "
    "whisper-1".split()
)
_TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_TOP_LEVEL_UNIONS = ("oneOf", "anyOf", "allOf", "enum", "not")
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")

Rule = Callable[[str, Any], None]


class ClientError(Exception):
    """The client broke a rule; becomes an `error` event that echoes the client's event_id."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


def default_session(session_id: str, model: str, expires_at: int) -> dict[str, Any]:
    """Return the session a new connection has: PCM 24 kHz and a stock persona, 200 ms VAD."""
    pcm = {"type": "audio/pcm", "rate": 24000}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "expires_at": expires_at,
        "output_modalities": ["audio"],
        "instructions": STOCK_INSTRUCTIONS,
        "audio": {
            "input": {
                "format": dict(pcm),
                "noise_reduction": None,
                "transcription": None,
                "turn_detection": _with_turn_defaults({"type": "server_vad"}),
            },
            "output": {"format": dict(pcm), "voice": "marin", "speed": 1.0},
        },
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "include": None,
        "prompt": None,
    }


def _with_turn_defaults(turn: dict[str, Any] | None) -> dict[str, Any] | None:
    if turn is None:
        return None
    common = {"create_response": True, "interrupt_response": True}
    if turn["type"] == "semantic_vad":
        return {"eagerness": "auto", **common, **turn}
    defaults = {
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 200,  # live sessions, not the reference (trap 28)
        "idle_timeout_ms": None,
    }
    return {**defaults, **common, **turn}


def apply_session_update(
    current: dict[str, Any], update: Any, *, voice_frozen: bool
) -> dict[str, Any]:
    """Return the session after `update`, or raise ClientError and change nothing."""
    _object("session", update)
    if "type" not in update:
        raise _missing("session.type")
    if update["type"] != "realtime":
        raise _invalid("session.type", "'realtime'", update["type"])
    _object("session", update, _SESSION_RULES)
    _check_reasoning(current["model"], update, "session")
    if "model" in update and update["model"] != current["model"]:
        raise ClientError("invalid_value", "Cannot change the model.", "session.model")
    if current["tracing"] is not None and update.get("tracing", ...) not in (
        ...,
        current["tracing"],
    ):
        raise ClientError("invalid_value", "Tracing cannot be changed.", "session.tracing")
    audio = update.get("audio", {})
    voice = audio.get("output", {}).get("voice")
    if voice_frozen and voice not in (None, current["audio"]["output"]["voice"]):
        raise ClientError(
            "cannot_update_voice",
            "Cannot update a conversation's voice if assistant audio is present.",
            "session.audio.output.voice",
        )
    result = copy.deepcopy(current)
    result.update({key: value for key, value in update.items() if key != "audio"})
    for side in ("input", "output"):
        result["audio"][side].update(copy.deepcopy(audio.get(side, {})))
    turn = result["audio"]["input"]["turn_detection"]
    result["audio"]["input"]["turn_detection"] = _with_turn_defaults(turn)
    return result


def check_response(model: str, response: Any) -> None:
    """Raise ClientError if the `response` object of `response.create` breaks a rule."""
    _object("response", response, _RESPONSE_RULES)
    _check_reasoning(model, response, "response")


def _check_reasoning(model: str, holder: dict[str, Any], path: str) -> None:
    if model.startswith("gpt-realtime-2"):
        return
    for key in ("reasoning", "parallel_tool_calls"):
        if key in holder:
            raise ClientError(
                "unsupported_parameter",
                f"'{path}.{key}' is not supported with the model '{model}'.",
                f"{path}.{key}",
            )


def _missing(path: str) -> ClientError:
    return ClientError("missing_required_parameter", f"Missing required parameter: '{path}'.", path)


def _invalid(path: str, wanted: str, value: Any) -> ClientError:
    return ClientError("invalid_value", f"Invalid value: {value!r}. Expected {wanted}.", path)


def _wrong_type(path: str, wanted: str, value: Any) -> ClientError:
    got = {type(None): "null", bool: "a boolean", str: "a string", dict: "an object"}
    seen = got.get(type(value), "another type")
    return ClientError(
        "invalid_type", f"Invalid type for '{path}': expected {wanted}, but got {seen}.", path
    )


def _object(path: str, value: Any, rules: dict[str, Rule] | None = None) -> None:
    if not isinstance(value, dict):
        raise _wrong_type(path, "an object", value)
    if rules is None:
        return
    for key in value:
        if key not in rules:
            raise ClientError(
                "unknown_parameter", f"Unknown parameter: '{path}.{key}'.", f"{path}.{key}"
            )
        rules[key](f"{path}.{key}", value[key])


def _shape(rules: dict[str, Rule], *required: str) -> Rule:
    def check(path: str, value: Any) -> None:
        _object(path, value)
        for key in required:
            if key not in value:
                raise _missing(f"{path}.{key}")
        _object(path, value, rules)

    return check


def _nullable(rule: Rule) -> Rule:
    def check(path: str, value: Any) -> None:
        if value is not None:
            rule(path, value)

    return check


def _anything(path: str, value: Any) -> None:
    return


def _text(path: str, value: Any) -> None:
    if not isinstance(value, str):
        raise _wrong_type(path, "a string", value)


def _boolean(path: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise _wrong_type(path, "a boolean", value)


def _one_of(*allowed: str) -> Rule:
    def check(path: str, value: Any) -> None:
        _text(path, value)
        if value not in allowed:
            raise _invalid(path, "one of " + ", ".join(allowed), value)

    return check


def _number(low: float, high: float, *, whole: bool = False) -> Rule:
    def check(path: str, value: Any) -> None:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise _wrong_type(path, "an integer" if whole else "a number", value)
        if value < low:
            kind = "integer" if whole else "decimal"
            raise ClientError(f"{kind}_below_min_value", f"{value} is below {low}.", path)
        if value > high:
            kind = "integer" if whole else "decimal"
            raise ClientError(f"{kind}_above_max_value", f"{value} is above {high}.", path)

    return check


def _list_of(rule: Rule) -> Rule:
    def check(path: str, value: Any) -> None:
        if not isinstance(value, list):
            raise _wrong_type(path, "an array", value)
        for index, child in enumerate(value):
            rule(f"{path}[{index}]", child)

    return check


def _format(path: str, value: Any) -> None:
    _object(path, value)
    kind = value.get("type")
    if kind is None:
        raise _missing(f"{path}.type")
    if kind == "audio/pcm":
        _object(path, value, {"type": _anything, "rate": _number(24000, 24000, whole=True)})
    elif kind in ("audio/pcmu", "audio/pcma"):
        _object(path, value, {"type": _anything})  # rate belongs to PCM only (2.3)
    else:
        raise _invalid(f"{path}.type", "'audio/pcm', 'audio/pcmu' or 'audio/pcma'", kind)


def _modalities(path: str, value: Any) -> None:
    if value not in (["audio"], ["text"]):
        raise _invalid(path, "['audio'] or ['text']", value)


def _voice(path: str, value: Any) -> None:
    if isinstance(value, dict):
        _shape({"id": _text}, "id")(path, value)
    else:
        _one_of(*sorted(VOICES))(path, value)


_TURN_COMMON: dict[str, Rule] = {
    "type": _one_of("server_vad", "semantic_vad"),
    "create_response": _boolean,
    "interrupt_response": _boolean,
}
_SERVER_VAD: dict[str, Rule] = _TURN_COMMON | {
    "threshold": _number(0, 1),
    "prefix_padding_ms": _number(0, 5000, whole=True),
    "silence_duration_ms": _number(0, 60_000, whole=True),
    "idle_timeout_ms": _nullable(_number(5000, 30_000, whole=True)),
}
_SEMANTIC_VAD: dict[str, Rule] = _TURN_COMMON | {
    "eagerness": _one_of("low", "medium", "high", "auto")
}


def _turn_detection(path: str, value: Any) -> None:
    _object(path, value)
    if "type" not in value:
        raise _missing(f"{path}.type")
    _object(path, value, _SEMANTIC_VAD if value["type"] == "semantic_vad" else _SERVER_VAD)


def _tools(path: str, value: Any) -> None:
    _list_of(_tool)(path, value)
    seen: set[str] = set()
    for index, tool in enumerate(value):
        key = "server_label" if tool["type"] == "mcp" else "name"
        name = tool.get(key)
        if name is not None and f"{key}:{name}" in seen:
            raise ClientError(
                "invalid_value", f"Duplicate tool {key}: '{name}'.", f"{path}[{index}].{key}"
            )
        seen.add(f"{key}:{name}")


def _tool(path: str, value: Any) -> None:
    _object(path, value)
    if "type" not in value:
        raise _missing(f"{path}.type")
    if value["type"] == "mcp":
        _shape(_MCP_RULES, "server_label")(path, value)
        if not value.keys() & {"server_url", "connector_id", "tunnel_id"}:
            raise _missing(f"{path}.server_url")
        return
    _shape(
        {
            "type": _one_of("function", "mcp"),
            "name": _tool_name,
            "description": _text,
            "parameters": _parameters,
        },
        "name",
    )(path, value)


def _tool_name(path: str, value: Any) -> None:
    _text(path, value)
    if not _TOOL_NAME.match(value):
        raise ClientError(
            "invalid_value",
            f"Invalid '{path}': string does not match pattern '^[a-zA-Z0-9_-]+$'.",
            path,
        )


def _headers(path: str, value: Any) -> None:
    _object(path, value)
    for name, text in value.items():
        _text(f"{path}.{name}", text)


def _parameters(path: str, value: Any) -> None:
    _object(path, value)
    union = next((key for key in _TOP_LEVEL_UNIONS if key in value), None)
    if value.get("type") != "object" or union is not None:
        raise ClientError(
            "invalid_function_parameters",
            "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at "
            "the top level.",
            path,
        )


def _tool_choice(path: str, value: Any) -> None:
    if isinstance(value, str):
        _one_of("auto", "none", "required")(path, value)
        return
    _shape({"type": _one_of("function", "mcp"), "name": _text, "server_label": _text}, "type")(
        path, {key: item for key, item in value.items() if key != "function"}
    )
    if value["type"] == "function" and "name" not in value:
        raise _missing(f"{path}.name")  # the nested Chat Completions form (trap 6)


def _max_tokens(path: str, value: Any) -> None:
    if value != "inf":
        _number(1, 4096, whole=True)(path, value)


def _metadata(path: str, value: Any) -> None:
    _object(path, value)
    if len(value) > 16:
        raise _invalid(path, "at most 16 pairs", len(value))
    for key, text in value.items():
        _text(f"{path}.{key}", text)
        if len(key) > 64 or len(text) > 512:
            raise ClientError("string_above_max_length", "Metadata is too long.", f"{path}.{key}")


_MCP_RULES: dict[str, Rule] = {
    "type": _one_of("mcp"),
    "server_label": _tool_name,
    "server_url": _text,
    "connector_id": _text,
    "tunnel_id": _text,
    "server_description": _text,
    "authorization": _text,
    "headers": _nullable(_headers),
    "allowed_tools": _nullable(_anything),
    "require_approval": _nullable(_anything),
    "defer_loading": _boolean,
}
_REASONING = _shape({"effort": _one_of(*_EFFORTS)})
_NOISE = _shape({"type": _one_of("near_field", "far_field"), "strength": _number(0, 1)}, "type")
_TRANSCRIPTION = _shape(
    {
        "model": _one_of(*sorted(TRANSCRIBERS)),
        "language": _text,
        "prompt": _text,
        "keywords": _list_of(_text),
        "languages": _list_of(_text),
        "delay": _one_of(*_EFFORTS),
    }
)
_INPUT = _shape(
    {
        "format": _format,
        "noise_reduction": _nullable(_NOISE),
        "transcription": _nullable(_TRANSCRIPTION),
        "turn_detection": _nullable(_turn_detection),
    }
)
_OUTPUT = _shape({"format": _format, "voice": _voice, "speed": _number(0.25, 1.5)})
_COMMON: dict[str, Rule] = {
    "output_modalities": _modalities,
    "instructions": _text,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _boolean,
    "reasoning": _REASONING,
    "max_output_tokens": _max_tokens,
    "prompt": _nullable(_anything),
}
_SESSION_RULES: dict[str, Rule] = _COMMON | {
    "type": _anything,
    "model": _text,
    "audio": _shape({"input": _INPUT, "output": _OUTPUT}),
    "truncation": _anything,
    "tracing": _nullable(_anything),
    "include": _nullable(_list_of(_text)),
}
_RESPONSE_RULES: dict[str, Rule] = _COMMON | {
    "audio": _shape({"output": _shape({"format": _format, "voice": _voice})}),
    "conversation": _one_of("auto", "none"),
    "input": _list_of(_anything),
    "metadata": _nullable(_metadata),
}
