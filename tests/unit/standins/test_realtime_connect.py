"""Connecting to the Realtime stand-in and configuring it (openai_realtime.md 1.5, 2, 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.standins.peer import Close, Refuse
from calls.standins.realtime_profile import RealtimeProfile

from .helpers import (
    WEATHER,
    Session,
    config,
    error_of,
    event,
    kinds,
    say_exactly,
)

pytestmark = pytest.mark.unit

# -- connecting --------------------------------------------------------------------------------


def test_session_created_is_first_and_shows_the_defaults() -> None:
    session = Session(configure=False)
    [created] = session.events
    assert created["type"] == "session.created"
    audio = created["session"]["audio"]
    assert audio["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert audio["input"]["turn_detection"]["silence_duration_ms"] == 200  # O28
    assert created["session"]["expires_at"] == 1_800_003_600


KEY = {"authorization": "Bearer k"}
MODEL = {"model": "gpt-realtime-2.1"}


@pytest.mark.parametrize(
    ("keys", "query", "headers", "code", "close"),
    [
        ((), MODEL, {"authorization": "Bearer sk-invalid"}, "invalid_api_key", 3000),
        (("other",), MODEL, KEY, "invalid_api_key", 3000),
        ((), {}, KEY, "missing_model", 4000),
        ((), {"model": "gpt-4o-realtime-preview"}, KEY, "invalid_model", 4000),
        ((), MODEL, {**KEY, "openai-beta": "realtime=v1"}, "beta_api_shape_disabled", 4000),
    ],
)
def test_o1_o19_fatal_faults_come_after_a_successful_upgrade(
    keys: tuple[str, ...], query: dict[str, str], headers: dict[str, str], code: str, close: int
) -> None:
    session = Session(RealtimeProfile(api_keys=keys), configure=False, query=query, headers=headers)
    assert error_of(session.events)["code"] == code
    assert session.other == [Close(close, f"invalid_request_error.{code}")]
    assert session.send("response.create") == []


@pytest.mark.parametrize("status", [403, 500])
def test_an_upgrade_can_be_refused(status: int) -> None:
    session = Session(RealtimeProfile(upgrade_status=status), configure=False)
    assert (session.events, session.other) == ([], [Refuse(status)])


def test_o25_attaching_to_an_unknown_call_is_404() -> None:
    assert Session(configure=False, query={"call_id": "rtc_1"}).other == [Refuse(404)]


def test_no_key_is_refused_at_the_upgrade() -> None:
    assert Session(configure=False, headers={}).other == [Refuse(401)]


def test_azure_takes_the_api_key_header_and_no_api_version() -> None:
    azure = RealtimeProfile(dialect="azure_ga")
    query, headers = {"model": "my-deployment"}, {"api-key": "k"}
    assert kinds(Session(azure, query=query, headers=headers).events) == [
        "session.created",
        "session.updated",
    ]
    refused = Session(azure, configure=False, query={**query, "api-version": "x"}, headers=headers)
    assert refused.other == [Refuse(401)]


def test_slow_and_missing_session_events() -> None:
    slow = Session(RealtimeProfile(created_delay_ms=700), configure=False)
    assert slow.events == []
    assert slow.peer.next_deadline_ms() == 700
    assert kinds(slow.run(700)) == ["session.created"]
    assert Session(RealtimeProfile(never_created=True), configure=False).run(5000) == []
    assert Session(RealtimeProfile(never_updated=True)).run(5000) == []
    late = Session(RealtimeProfile(updated_delay_ms=300))
    assert kinds(late.run(300)) == ["session.updated"]


def test_o18_session_expires_after_its_maximum_with_1001() -> None:
    session = Session(RealtimeProfile(max_session_ms=600_000))
    assert session.run(599_999) == []
    assert error_of(session.run(1))["code"] == "session_expired"
    [close] = session.other
    assert isinstance(close, Close)
    assert (close.code, "10 minutes" in close.reason) == (1001, True)


# -- session.update ----------------------------------------------------------------------------


def changed(path: str, value: Any) -> dict[str, Any]:
    session = json.loads(json.dumps(config()))
    node = session
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    return session


@pytest.mark.parametrize(
    ("path", "value", "code", "param"),
    [
        ("turn_detection", None, "unknown_parameter", "session.turn_detection"),
        ("temperature", 0.8, "unknown_parameter", "session.temperature"),
        ("output_modalities", ["audio", "text"], "invalid_value", "session.output_modalities"),
        ("audio.input.turn_detection.create_response", None, "invalid_type",
         "session.audio.input.turn_detection.create_response"),
        ("audio.input.turn_detection.threshold", 7.5, "decimal_above_max_value",
         "session.audio.input.turn_detection.threshold"),
        ("audio.input.turn_detection.silence_ms", 1, "unknown_parameter",
         "session.audio.input.turn_detection.silence_ms"),
        ("audio.input.format", {"type": "audio/pcm", "rate": 16000}, "integer_below_min_value",
         "session.audio.input.format.rate"),
        ("audio.input.format", {"type": "audio/pcmu", "rate": 8000}, "unknown_parameter",
         "session.audio.input.format.rate"),
        ("audio.output.format", "g711_ulaw", "invalid_type", "session.audio.output.format"),
        ("audio.output.voice", "rachel", "invalid_value", "session.audio.output.voice"),
        ("audio.output.speed", 2.0, "decimal_above_max_value", "session.audio.output.speed"),
        ("tools", [{**WEATHER, "meta": 1}], "unknown_parameter", "session.tools[0].meta"),
        ("tools", [{**WEATHER, "strict": True}], "unknown_parameter", "session.tools[0].strict"),
        ("tools", [{**WEATHER, "name": "a.b"}], "invalid_value", "session.tools[0].name"),
        ("tools", [WEATHER, WEATHER], "invalid_value", "session.tools[1].name"),
        ("tools", [{**WEATHER, "parameters": {"anyOf": []}}], "invalid_function_parameters",
         "session.tools[0].parameters"),
        ("tools", [{"name": "x"}], "missing_required_parameter", "session.tools[0].type"),
        ("tool_choice", {"type": "function", "function": {"name": "weather"}},
         "missing_required_parameter", "session.tool_choice.name"),
        ("max_output_tokens", 5000, "integer_above_max_value", "session.max_output_tokens"),
        ("model", "gpt-realtime", "invalid_value", "session.model"),
    ],
)  # fmt: skip
def test_o4_to_o9_one_wrong_key_rejects_the_whole_update(
    path: str, value: Any, code: str, param: str
) -> None:
    session = Session(configure=False)
    before = json.dumps(session.peer.session)
    update = changed(path, value)
    error = error_of(session.raw(event("session.update", session=update)))
    assert (error["code"], error["param"]) == (code, param)
    assert error["event_id"] == "test-session.update"
    assert json.dumps(session.peer.session) == before


def test_o3_session_type_is_required() -> None:
    session = Session(configure=False)
    update = config()
    del update["type"]
    error = error_of(session.send("session.update", session=update))
    assert (error["code"], error["param"]) == ("missing_required_parameter", "session.type")


def test_partial_updates_keep_the_rest_and_empty_values_clear() -> None:
    session = Session()
    session.send("session.update", session={"type": "realtime", "tools": [], "instructions": ""})
    effective = session.events[-1]["session"]
    assert (effective["tools"], effective["instructions"]) == ([], "")
    assert effective["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert effective["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 320


def test_reasoning_is_refused_outside_the_2x_models() -> None:
    session = Session(configure=False, query={"model": "gpt-realtime-1.5"})
    error = error_of(session.send("session.update", session=config(reasoning={"effort": "low"})))
    assert error["param"] == "session.reasoning"
    session = Session()
    updated = session.send("session.update", session=config(reasoning={"effort": "low"}))
    assert kinds(updated) == ["session.updated"]


def test_voice_is_frozen_after_the_first_audio() -> None:
    session = Session()
    session.send("response.create", response=say_exactly("Hi."))
    session.run(3000)
    update = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
    error = error_of(session.send("session.update", session=update))
    assert error["code"] == "cannot_update_voice"


def test_an_update_can_be_rejected_by_profile() -> None:
    session = Session(RealtimeProfile(reject_update=True))
    assert error_of(session.events[1:])["event_id"] == "test-session.update"
