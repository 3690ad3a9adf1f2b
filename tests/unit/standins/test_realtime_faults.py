"""Items, bad frames, failures by profile and the beta dialect of the Realtime stand-in."""

from __future__ import annotations

from typing import Any

import pytest

from calls.standins.peer import Close
from calls.standins.realtime_brain import CallTool, Rule, RuleBrain, Step
from calls.standins.realtime_peer import RealtimePeer
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.tones import utterance_ms

from .helpers import (
    WEATHER,
    Session,
    config,
    error_of,
    event,
    kinds,
    of_kind,
    say_exactly,
    words_in,
)

pytestmark = pytest.mark.unit

# -- items -------------------------------------------------------------------------------------


def spoken_session(text: str = "Some words to truncate.") -> tuple[Session, str, int]:
    session = Session()
    session.send("response.create", response=say_exactly(text))
    session.run(3000)
    item = of_kind(session.events, "response.output_item.done")[0]["item"]
    return session, item["id"], utterance_ms(text)


def test_o10_truncate_up_to_the_length_and_not_beyond() -> None:
    session, item_id, length_ms = spoken_session()
    where = {"item_id": item_id, "content_index": 0}
    error = error_of(
        session.send("conversation.item.truncate", **where, audio_end_ms=length_ms + 1)
    )
    assert error["code"] == "invalid_value"
    assert error["message"] == (
        f"Audio content of {length_ms}ms is already shorter than {length_ms + 1}ms"
    )
    [truncated] = session.send("conversation.item.truncate", **where, audio_end_ms=300)
    assert (truncated["type"], truncated["audio_end_ms"]) == ("conversation.item.truncated", 300)
    [shown] = session.send("conversation.item.retrieve", item_id=item_id)
    assert shown["item"]["content"][0]["transcript"] == ""
    assert session.peer.truncations[0].had_ms == length_ms


def test_o11_truncate_without_audio_and_unknown_items_are_refused() -> None:
    session = Session()
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
    item_id = session.send("conversation.item.create", item=user)[0]["item"]["id"]
    where = {"content_index": 0, "audio_end_ms": 1}
    sent = session.send("conversation.item.truncate", item_id=item_id, **where)
    assert error_of(sent)["code"] == "unsupported_content_type"
    sent = session.send("conversation.item.truncate", item_id="item_no", **where)
    assert error_of(sent)["code"] == "item_truncate_invalid_item_id"
    sent = session.send("conversation.item.retrieve", item_id="item_no")
    assert error_of(sent)["code"] == "item_retrieve_invalid_item_id"
    [deleted] = session.send("conversation.item.delete", item_id=item_id)
    assert deleted == {**deleted, "type": "conversation.item.deleted", "item_id": item_id}
    assert error_of(session.send("conversation.item.delete", item_id=item_id))


def test_typed_words_are_answered_and_placed() -> None:
    session = Session()
    content = [{"type": "input_text", "text": "key 5"}]
    user = {"type": "message", "role": "user", "content": content}
    added = session.send("conversation.item.create", item=user)[0]
    system = {"type": "message", "role": "system", "content": content}
    front = session.send("conversation.item.create", item=system, previous_item_id="root")[0]
    assert (added["previous_item_id"], front["previous_item_id"]) == (None, None)
    assert session.peer.conversation.items[0].role == "system"
    session.send("response.create")
    assert words_in(session.run(3000)) == ["You said: key 5"]


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"type": "message", "role": "assistant",
          "content": [{"type": "output_audio", "audio": "x"}]}, "invalid_value"),
        ({"type": "message", "role": "user", "content": []}, "invalid_type"),
        ({"type": "message", "role": "user", "text": "x"}, "unknown_parameter"),
        ({"type": "function_call_output", "call_id": "c" * 33, "output": ""},
         "string_above_max_length"),
        ({"type": "function_call_output", "call_id": "call_1"}, "missing_required_parameter"),
        ({"type": "picture"}, "invalid_value"),
    ],
)  # fmt: skip
def test_o17_o30_items_a_client_may_not_create(item: dict[str, Any], code: str) -> None:
    assert error_of(Session().send("conversation.item.create", item=item))["code"] == code


def test_unknown_previous_item_is_an_error() -> None:
    content = [{"type": "input_text", "text": "x"}]
    item = {"type": "message", "role": "user", "content": content}
    sent = Session().send("conversation.item.create", item=item, previous_item_id="item_no")
    assert error_of(sent)["code"] == "item_create_invalid_previous_item_id"


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("[]", "invalid_json", None),
        (b"\x00", "invalid_event", None),
        ('{"type":"response.make"}', "invalid_value", "type"),
        ('{"type":"response.cancel","reason":"x"}', "unknown_parameter", "reason"),
        ('{"type":"input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        ('{"type":"input_audio_buffer.append","audio":"!"}', "invalid_value", "audio"),
    ],
)
def test_bad_frames_are_errors_and_the_session_survives(
    frame: str | bytes, code: str, param: str | None
) -> None:
    session = Session()
    error = error_of(session.raw(frame))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, None)
    assert words_in(session.speak("Still here?") + session.run(3000)) == ["You said: Still here?"]


# -- failures by profile -----------------------------------------------------------------------


def greeted(profile: RealtimeProfile, for_ms: int = 6000) -> Session:
    session = Session(profile)
    session.send("response.create", response=say_exactly("Good morning to you all out there."))
    session.run(for_ms)
    return session


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        ("server_error", None),
        ("rate_limit", "rate_limit_exceeded"),
        ("quota", "insufficient_quota"),
    ],
)
def test_failed_responses_report_zero_usage(failure: Any, code: str | None) -> None:
    session = greeted(RealtimeProfile(fail_response=failure, faulty_responses=1))
    response = of_kind(session.events, "response.done")[0]["response"]
    assert (response["status"], response["status_details"]["error"]["code"]) == ("failed", code)
    assert response["usage"]["total_tokens"] == 0
    session.send("response.create")
    session.run(3000)
    assert of_kind(session.events, "response.done")[1]["response"]["status"] == "completed"


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_incomplete_responses_stop_mid_sentence(reason: Any) -> None:
    session = greeted(RealtimeProfile(incomplete=reason))
    response = of_kind(session.events, "response.done")[0]["response"]
    assert response["status_details"] == {"type": "incomplete", "reason": reason}
    assert response["output"][0]["status"] == "incomplete"
    assert words_in(session.events) != ["Good morning to you all out there."]


def test_max_output_tokens_is_obeyed() -> None:
    session = Session()
    limited = {**say_exactly("A long sentence. " * 5), "max_output_tokens": 20}
    session.send("response.create", response=limited)
    session.run(3000)
    response = of_kind(session.events, "response.done")[0]["response"]
    assert response["status_details"]["reason"] == "max_output_tokens"


def test_stalls() -> None:
    session = Session(RealtimeProfile(stall_after_commit=True))
    session.speak("Anyone?")
    session.run(9000)
    assert of_kind(session.events, "response.created") == []
    session = greeted(RealtimeProfile(stall_after_created=True))
    assert kinds(session.events)[-1] == "response.created"
    assert of_kind(session.send("response.cancel"), "response.done")


@pytest.mark.parametrize("code", [1006, 1011])
def test_the_socket_can_close_mid_response(code: int) -> None:
    session = greeted(RealtimeProfile(close_mid_response=code))
    assert [o.code for o in session.other if isinstance(o, Close)] == [code]
    assert of_kind(session.events, "response.done") == []


def test_done_without_created_and_late_deltas() -> None:
    session = greeted(RealtimeProfile(done_without_created=True))
    assert of_kind(session.events, "response.created") == []
    assert of_kind(session.events, "response.done")
    session = greeted(RealtimeProfile(late_deltas_after_cancel=3), for_ms=200)
    seen = session.send("response.cancel")
    assert kinds(seen)[-2:] == ["response.done", "response.output_audio.delta"]


def test_transcription_can_fail() -> None:
    session = Session(RealtimeProfile(transcription_fails=True))
    session.speak("Hm")
    session.run(3000)
    assert of_kind(session.events, "conversation.item.input_audio_transcription.failed")


def test_undeclared_key_mutant_breaks_the_contract() -> None:
    with pytest.raises(AssertionError, match="undeclared"):
        greeted(RealtimeProfile(mutant="undeclared_key"))


def test_obfuscation_appears_sometimes() -> None:
    session = greeted(RealtimeProfile(), 9000)
    deltas = [each for each in session.events if each["type"].endswith("delta")]
    padded = ["obfuscation" in each for each in deltas]
    assert any(padded)
    assert not all(padded)


# -- beta --------------------------------------------------------------------------------------


def test_beta_dialect_speaks_beta_names_and_flat_sessions() -> None:
    call = CallTool("weather", "{}")
    brain = RuleBrain([Rule(Step(say="Wait.", tools=(call,)))])
    profile = RealtimeProfile(dialect="beta")
    headers = {"authorization": "Bearer k", "openai-beta": "realtime=v1"}
    query = {"model": "gpt-4o-realtime-preview"}
    session = Session(profile, brain, configure=False, query=query, headers=headers)
    flat = {
        "modalities": ["audio", "text"],
        "instructions": "x",
        "input_audio_format": "g711_ulaw",
        "output_audio_format": "g711_ulaw",
        "voice": "alloy",
        "input_audio_transcription": {"model": "whisper-1"},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 320},
        "tools": [WEATHER],
        "temperature": 0.8,
        "max_response_output_tokens": "inf",
    }
    updated = session.send("session.update", session=flat)
    assert updated[0]["session"]["input_audio_format"] == "g711_ulaw"
    session.speak("Hello")
    session.run(3000)
    order = kinds(session.events)
    assert "response.audio.delta" in order
    assert "response.audio_transcript.done" in order
    assert "conversation.item.created" in order
    assert "conversation.item.added" not in order
    done = of_kind(session.events, "response.function_call_arguments.done")[0]
    assert "name" not in done
    ga = session.send("session.update", session={"type": "realtime"})
    assert error_of(ga)["code"] == "unknown_parameter"


@pytest.mark.parametrize("junk", ["json", "unknown_event", "binary"])
def test_junk_is_sent_once_after_the_first_update(junk: Any) -> None:
    peer = RealtimePeer(RealtimeProfile(junk=junk))
    peer.opened(0)
    peer.tick(0)
    peer.drain()
    for extra in (1, 0):
        peer.receive(event("session.update", session=config()), 0)
        assert len(peer.drain()) == 1 + extra
