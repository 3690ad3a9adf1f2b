"""Twilio's media messages: strict where we splice, lenient where they may grow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.wire import twilio_media
from calls.wire.twilio_media import StreamWriter, TwilioWireError
from tests.contract import ContractError, check_twilio_outbound
from tests.unit.bridge.line import start_message
from tests.virtual_call import STREAM_SID

pytestmark = pytest.mark.unit


def test_golden_texts() -> None:
    writer = StreamWriter("MZ1")
    assert writer.media("AAAA") == '{"event":"media","streamSid":"MZ1","media":{"payload":"AAAA"}}'
    assert writer.mark("g1:2") == '{"event":"mark","streamSid":"MZ1","mark":{"name":"g1:2"}}'
    assert writer.clear() == '{"event":"clear","streamSid":"MZ1"}'


def test_every_message_has_the_allowed_keys_only() -> None:
    writer = StreamWriter(STREAM_SID)
    for text in (writer.media("AAAA"), writer.mark('a"b'), writer.clear()):
        message = json.loads(text)
        check_twilio_outbound(message)
        with pytest.raises(ContractError):
            check_twilio_outbound({**message, "sequenceNumber": "1"})


def test_a_stream_sid_cannot_break_out() -> None:
    writer = StreamWriter('x","event":"stop')
    assert json.loads(writer.media("AAAA"))["event"] == "media"
    assert json.loads(writer.clear())["streamSid"] == 'x","event":"stop'


@pytest.mark.parametrize(("payload", "size"), [("AAAA", 3), ("AAA=", 2), ("AA==", 1), ("/+8=", 2)])
def test_size_is_arithmetic(payload: str, size: int) -> None:
    assert twilio_media.payload_bytes(payload) == size


@pytest.mark.parametrize(
    "payload",
    ["", "A", "AAA", "AA=A", "====", "A===", 'AA"}', "AAA\n", "AAAA\n", "AA A", "AA-_", "ÄÄÄÄ",
     None, 1, [], b"AAAA"],
)  # fmt: skip
def test_t20_anything_else_is_refused(payload: Any) -> None:
    with pytest.raises(TwilioWireError):
        twilio_media.payload_bytes(payload)


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "null", "{}", '{"event":1}', "[" * 50_000, "1" * 5000, '{"event":"a"']
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(TwilioWireError):
        twilio_media.decode(text)


def test_unknown_events_and_keys_are_allowed_inbound() -> None:
    assert twilio_media.decode('{"event":"new","x":1}') == ("new", {"event": "new", "x": 1})
    message = start_message(customParameters={"tok": "t", "n": 1, "deep": [[]]})
    start = twilio_media.start_of(message)
    assert start.custom_parameters == {"tok": "t"}
    assert (start.encoding, start.sample_rate_hz, start.channels) == ("audio/x-mulaw", 8000, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"streamSid": ""},
        {"callSid": None},
        {"accountSid": 5},
        {"mediaFormat": None},
        {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": "8000"}},
        {"mediaFormat": {"encoding": "audio/x-mulaw"}},
    ],
)
def test_a_start_with_holes_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TwilioWireError):
        twilio_media.start_of(start_message(**changes))
    with pytest.raises(TwilioWireError):
        twilio_media.start_of({"event": "start"})


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"media": 1},
        {"media": {"payload": "x"}},
        {"media": {"track": "outbound", "payload": "AAAA"}},
    ],
)
def test_media_of_another_shape_or_track_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(TwilioWireError):
        twilio_media.media_payload(message)


@pytest.mark.parametrize("message", [{}, {"mark": None}, {"mark": {}}, {"mark": {"name": 1}}])
def test_a_mark_without_a_name_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(TwilioWireError):
        twilio_media.mark_name(message)


def test_a_fork_says_of_each_frame_whose_it_is() -> None:
    frame = {"media": {"track": "outbound", "payload": "/////w==", "timestamp": "20"}}
    assert twilio_media.forked_payload(frame) == ("outbound", "/////w==", 4)
    assert twilio_media.forked_payload({"media": {**frame["media"], "track": "inbound"}})[0]


@pytest.mark.parametrize(
    "media",
    [
        None,
        {},
        {"payload": "/////w=="},
        {"track": "both", "payload": "/////w=="},
        {"track": ["inbound"], "payload": "/////w=="},
        {"track": "inbound"},
        {"track": "inbound", "payload": '//"}'},
    ],
)
def test_t20_a_frame_of_a_fork_that_names_no_side_or_no_sound_is_refused(media: Any) -> None:
    with pytest.raises(TwilioWireError):
        twilio_media.forked_payload({"media": media})
