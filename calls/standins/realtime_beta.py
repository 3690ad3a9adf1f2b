"""The beta dialect at the stand-in's door: beta input becomes GA, GA output becomes beta
(openai_realtime.md 2.6, 3). It must not know what any event means beyond its names and shape.
"""

from __future__ import annotations

from typing import Any

from calls.standins.realtime_session import ClientError

_FORMATS: dict[str, dict[str, Any]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_FORMAT_NAMES = {value["type"]: key for key, value in _FORMATS.items()}
_SAME = ("instructions", "tools", "tool_choice", "truncation", "tracing", "include", "prompt")
_SESSION_KEYS: dict[str, tuple[str, ...]] = {
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "input_audio_format": ("audio", "input", "format"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "max_response_output_tokens": ("max_output_tokens",),
    "modalities": ("output_modalities",),
}
_RESPONSE_KEYS: dict[str, tuple[str, ...]] = {
    "voice": ("audio", "output", "voice"),
    "output_audio_format": ("audio", "output", "format"),
    "max_output_tokens": ("max_output_tokens",),
    "max_response_output_tokens": ("max_output_tokens",),
    "modalities": ("output_modalities",),
}
_RENAMED = {
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}
_CONTENT_TO_BETA = {"output_text": "text", "output_audio": "audio"}


def client_event_to_ga(event: dict[str, Any]) -> dict[str, Any]:
    """Return a beta client event in GA shape; raises ClientError for keys beta does not know."""
    kind = event.get("type")
    if kind == "session.update" and isinstance(event.get("session"), dict):
        session = _to_ga(event["session"], "session", _SESSION_KEYS, _SAME)
        return {**event, "session": {"type": "realtime", **session}}
    if kind == "response.create" and isinstance(event.get("response"), dict):
        same = (*_SAME[:3], "conversation", "input", "metadata", "prompt")
        return {**event, "response": _to_ga(event["response"], "response", _RESPONSE_KEYS, same)}
    if kind == "conversation.item.create" and isinstance(event.get("item"), dict):
        item = dict(event["item"])
        if item.get("role") == "assistant":
            item["content"] = [
                {**part, "type": "output_text"} if part.get("type") == "text" else part
                for part in item.get("content", [])
            ]
        return {**event, "item": item}
    return event


def _to_ga(
    flat: dict[str, Any], name: str, moved: dict[str, tuple[str, ...]], same: tuple[str, ...]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in flat.items():
        if key in same:
            result[key] = value
        elif key in moved:
            node = result
            *parents, last = moved[key]
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = _value_to_ga(key, value)
        elif key != "temperature":  # accepted and without effect here
            raise ClientError(
                "unknown_parameter", f"Unknown parameter: '{name}.{key}'.", f"{name}.{key}"
            )
    return result


def _value_to_ga(key: str, value: Any) -> Any:
    if key.endswith("_audio_format"):
        if value not in _FORMATS:
            raise ClientError("invalid_value", f"Invalid value: {value!r}.", f"session.{key}")
        return dict(_FORMATS[value])
    if key == "modalities":
        if value == ["audio"]:  # refused by the preview (openai_realtime.md 1.3)
            raise ClientError("invalid_value", "Invalid modalities.", "session.modalities")
        return ["text"] if value == ["text"] else ["audio"]
    return value


def server_event_to_beta(event: dict[str, Any]) -> dict[str, Any] | None:
    """Return a GA server event in beta shape, or None if beta has no such event."""
    kind = event["type"]
    if kind in ("conversation.item.done", "input_audio_buffer.timeout_triggered"):
        return None
    result = {**event, "type": _RENAMED.get(kind, kind)}
    if kind.startswith("session."):
        result["session"] = _session(event["session"])
    elif "response" in event:
        result["response"] = _response(event["response"])
    elif kind == "response.function_call_arguments.done":
        result.pop("name")
    if "item" in event:
        result["item"] = _item(event["item"])
    return result


def _modalities(value: list[str]) -> list[str]:
    return ["text"] if value == ["text"] else ["audio", "text"]


def _session(session: dict[str, Any]) -> dict[str, Any]:
    audio = session["audio"]
    turn = audio["input"]["turn_detection"]
    choice = session["tool_choice"]
    return {
        "id": session["id"],
        "object": session["object"],
        "expires_at": session["expires_at"],
        "model": session["model"],
        "modalities": _modalities(session["output_modalities"]),
        "instructions": session["instructions"],
        "voice": audio["output"]["voice"],
        "speed": audio["output"]["speed"],
        "input_audio_format": _FORMAT_NAMES[audio["input"]["format"]["type"]],
        "output_audio_format": _FORMAT_NAMES[audio["output"]["format"]["type"]],
        "input_audio_transcription": audio["input"]["transcription"],
        "input_audio_noise_reduction": audio["input"]["noise_reduction"],
        "turn_detection": turn
        and {key: value for key, value in turn.items() if key != "idle_timeout_ms"},
        "tools": session["tools"],
        "tool_choice": choice if isinstance(choice, str) else choice["name"],
        "temperature": 0.8,
        "max_response_output_tokens": session["max_output_tokens"],
    }


def _item(item: dict[str, Any]) -> dict[str, Any]:
    if "content" not in item:
        return item
    content = [
        {**part, "type": _CONTENT_TO_BETA.get(part["type"], part["type"])}
        for part in item["content"]
    ]
    return {**item, "content": content}


def _response(response: dict[str, Any]) -> dict[str, Any]:
    result = {k: v for k, v in response.items() if k not in ("audio", "output_modalities")}
    output = response["audio"]["output"]
    result["modalities"] = _modalities(response["output_modalities"])
    result["voice"] = output["voice"]
    result["output_audio_format"] = _FORMAT_NAMES[output["format"]["type"]]
    result["temperature"] = 0.8
    result["output"] = [_item(item) for item in response["output"]]
    if response["usage"] is not None:
        into = response["usage"]["input_token_details"]
        known = {key: into[key] for key in ("text_tokens", "audio_tokens", "cached_tokens")}
        result["usage"] = {**response["usage"], "input_token_details": known}
    return result
