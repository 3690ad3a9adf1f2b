"""The contract checks refuse what the vendors refuse (openai_realtime.md 13.2, twilio.md 3)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.contract import (
    ContractError,
    check_realtime_client,
    check_realtime_server,
    check_twilio_inbound,
    check_twilio_outbound,
)

pytestmark = pytest.mark.unit

GA_UPDATE: dict[str, Any] = {
    "type": "session.update",
    "event_id": "cfg-1",
    "session": {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "You answer the phone for the clinic.",
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "noise_reduction": None,
                "transcription": {"model": "gpt-transcribe", "language": "en"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 320,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0},
        },
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
    },
}
BETA_UPDATE: dict[str, Any] = {
    "type": "session.update",
    "event_id": "cfg-1",
    "session": {
        "modalities": ["audio", "text"],
        "instructions": "x",
        "input_audio_format": "g711_ulaw",
        "output_audio_format": "g711_ulaw",
        "voice": "alloy",
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 320},
        "tools": [],
        "tool_choice": "auto",
        "temperature": 0.8,
        "max_response_output_tokens": "inf",
    },
}


def changed(event: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of `event` with the dotted `path` set to `value`."""
    result = copy.deepcopy(event)
    node = result
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    return result


TURN = "session.audio.input.turn_detection"


def test_documented_updates_pass_in_their_own_dialect_only() -> None:
    check_realtime_client(GA_UPDATE)
    check_realtime_client(BETA_UPDATE, "beta")
    with pytest.raises(ContractError):
        check_realtime_client(GA_UPDATE, "beta")
    with pytest.raises(ContractError):
        check_realtime_client(BETA_UPDATE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{TURN}.silence_ms", 300),
        (f"{TURN}.threshold", 7.5),
        (f"{TURN}.create_response", None),
        (f"{TURN}.idle_timeout_ms", 100),
        ("session.audio.output.speed", 2.0),
        ("session.audio.input.format", {"type": "audio/pcmu", "rate": 8000}),
        ("session.temperature", 0.8),
        ("session.output_modalities", ["audio", "text"]),
        ("session.max_output_tokens", 5000),
        ("session.tools", [{"type": "function", "name": "a b", "parameters": {"type": "object"}}]),
        ("session.tools", [{"type": "function", "name": "a", "strict": True}]),
        ("session.tools", [{"type": "function", "name": "a", "parameters": {"oneOf": []}}]),
        ("session.tools", [{"type": "function", "name": "a"}, {"type": "function", "name": "a"}]),
        ("event_id", None),
    ],
)
def test_one_wrong_leaf_fails(path: str, value: Any) -> None:
    with pytest.raises(ContractError):
        check_realtime_client(changed(GA_UPDATE, path, value))


def test_ga_session_without_type_fails() -> None:
    event = copy.deepcopy(GA_UPDATE)
    del event["session"]["type"]
    with pytest.raises(ContractError):
        check_realtime_client(event)


def test_other_client_events_are_ranged() -> None:
    truncate = {
        "type": "conversation.item.truncate",
        "event_id": "e",
        "item_id": "i",
        "content_index": 0,
        "audio_end_ms": 10,
    }
    check_realtime_client(truncate)
    with pytest.raises(ContractError):
        check_realtime_client(truncate | {"audio_end_ms": 0})
    append = {"type": "input_audio_buffer.append", "event_id": "e", "audio": "/////w=="}
    check_realtime_client(append)
    with pytest.raises(ContractError):
        check_realtime_client(append | {"audio": "not base64"})


def test_server_events_of_the_other_dialect_fail() -> None:
    delta = {
        "type": "response.output_audio.delta",
        "event_id": "e",
        "response_id": "r",
        "item_id": "i",
        "output_index": 0,
        "content_index": 0,
        "delta": "/w==",
        "obfuscation": "x",
    }
    check_realtime_server(delta)
    check_realtime_server(delta | {"type": "response.audio.delta"}, "beta")
    for event, dialect in ((delta, "beta"), (delta | {"type": "response.audio.delta"}, "ga")):
        with pytest.raises(ContractError):
            check_realtime_server(event, dialect)  # type: ignore[arg-type]
    with pytest.raises(ContractError):
        check_realtime_server(delta | {"surprise": 1})


STREAM = "MZ" + "0" * 32


def test_twilio_outbound_messages_have_exactly_the_documented_keys() -> None:
    media = {"event": "media", "streamSid": STREAM, "media": {"payload": "/w=="}}
    mark = {"event": "mark", "streamSid": STREAM, "mark": {"name": "g1"}}
    for message in (media, mark, {"event": "clear", "streamSid": STREAM}):
        check_twilio_outbound(message)
        with pytest.raises(ContractError):
            check_twilio_outbound(message | {"sequenceNumber": "1"})
    with pytest.raises(ContractError):
        check_twilio_outbound(media | {"media": {"payload": "/w==", "track": "outbound"}})
    with pytest.raises(ContractError):
        check_twilio_outbound({"event": "mark", "streamSid": STREAM})
    with pytest.raises(ContractError):
        check_twilio_outbound({"event": "stop", "streamSid": STREAM})
    with pytest.raises(ContractError):
        check_twilio_outbound(changed(media, "media.payload", "a"))


def test_twilio_inbound_counters_are_strings() -> None:
    media = {
        "event": "media",
        "sequenceNumber": "4",
        "streamSid": STREAM,
        "media": {"track": "inbound", "chunk": "2", "timestamp": "20", "payload": "/w=="},
    }
    check_twilio_inbound(media)
    with pytest.raises(ContractError):
        check_twilio_inbound(media | {"sequenceNumber": 4})
    with pytest.raises(ContractError):
        check_twilio_inbound(changed(media, "media.track", "inbound_track"))
