"""The model's socket: opening, configuration, errors, closing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.bridge.effects import CloseStream, DialModel, HangUp, StreamEnded
from calls.bridge.model import configuration
from calls.bridge.plan import Greeting
from calls.bridge.reasons import EndCause
from calls.bridge.states import LocalBridgeError
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import clip, plan_of

pytestmark = pytest.mark.unit


def turn_detection(text: str) -> dict[str, Any]:
    """Return what a ``session.update`` says about turns."""
    detection: dict[str, Any] = json.loads(text)["session"]["audio"]["input"]["turn_detection"]
    return detection


def test_configuration_is_sent_on_session_created_and_only_then() -> None:
    line = Line().streaming()
    line.bridge.realtime_opened(0)
    assert_sent(line, realtime=[])
    line.realtime("session.created")
    assert_sent(line, realtime=["update cfg-1"])


def test_configuration_sent_by_the_pool_is_not_sent_twice() -> None:
    line = Line().streaming().dialled(config_sent=True)
    assert_sent(line, realtime=[])
    line.frame().updated()
    assert_sent(line, realtime=["append 20"])


@pytest.mark.parametrize(
    ("plan", "ours"),
    [
        (quiet_plan(), True),
        (plan_of(), True),
        (plan_of(greeting=Greeting("exact", "Hi")), False),
        (quiet_plan(policy_line=clip("x")), False),
    ],
)
def test_turn_taking_is_off_while_the_opening_is_held(plan: Any, ours: bool) -> None:
    detection = turn_detection(configuration(plan))
    assert (detection["create_response"], detection["interrupt_response"]) == (ours, ours)


def test_o28_silence_duration_is_always_explicit() -> None:
    assert turn_detection(configuration(plan_of()))["silence_duration_ms"] == 320


def test_o21_t18a_audio_waits_for_the_confirmed_configuration_and_nothing_is_clipped() -> None:
    line = Line().streaming()
    for ms in (20, 10, 40):
        line.frame(ms)
    line.dialled().frame(30)
    assert_sent(line, realtime=["update cfg-1"])
    line.updated()
    assert_sent(line, realtime=["append 20", "append 10", "append 40", "append 30"])
    line.frame(20)
    assert_sent(line, realtime=["append 20"])


def test_o21_other_formats_confirmed_mean_the_model_is_of_no_use() -> None:
    line = Line().streaming().dialled().frame()
    line.updated("audio/pcm")
    assert assert_sent(line, realtime=["update cfg-1"]) is not None
    assert line.bridge._ending is not None
    assert line.bridge._ending.cause is EndCause.CONFIG_REJECTED


def test_events_before_the_configuration_is_confirmed_do_nothing() -> None:
    line = Line().streaming().dialled()
    line.look()
    line.created().audio(100).turn().calls("look")
    assert_sent(line, twilio=[], realtime=[])
    assert line.bridge.counters["protocol_errors"] > 3


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"type":1}', "[" * 100_000, '"x"'])
def test_malformed_events_are_counted(text: str) -> None:
    line = Line().ready()
    line.bridge.receive_realtime(text, 5)
    assert line.bridge.counters["realtime_malformed"] == 1
    assert_sent(line, twilio=[], realtime=[])


def test_unknown_events_are_skipped() -> None:
    line = Line().ready().realtime("response.thought.delta", delta=[]).realtime("mcp.list")
    assert_sent(line, twilio=[], realtime=[])
    assert line.bridge.counters == {}


@pytest.mark.parametrize("value", [None, 3, [], {}, True, 10**200, "\ud800"])
@pytest.mark.parametrize(
    "kind",
    [
        "session.updated", "input_audio_buffer.speech_started", "response.created",
        "response.done", "response.output_item.added", "response.output_item.done",
        "response.output_audio.delta", "response.output_audio_transcript.done", "error",
        "conversation.item.added", "input_audio_buffer.committed",
    ],
)  # fmt: skip
def test_wrong_shapes_never_raise(kind: str, value: Any) -> None:
    line = Line().ready().created()
    keys = ("item_id", "response_id", "response", "item", "delta", "transcript", "error", "session")
    line.realtime(kind, **dict.fromkeys(keys, value)).tick(20)
    assert all(text.encode("utf-8") for text in line.bridge.to_realtime)


def test_text_that_utf8_cannot_carry_is_mended_at_the_door() -> None:
    line = Line(quiet_plan("look")).ready().created()
    line.calls("look", "c\ud800").tool("c?", "a\ud800b\x00c")
    assert line.bridge.to_realtime[0].encode("utf-8")
    assert '"output":"a?bc"' in line.bridge.to_realtime[0]


def test_opened_twice_is_the_drivers_fault() -> None:
    line = Line().dialled()
    with pytest.raises(LocalBridgeError):
        line.bridge.realtime_opened(5)


def test_frames_before_opened_are_the_drivers_fault() -> None:
    with pytest.raises(LocalBridgeError, match="comes first"):
        Line().realtime("session.created")


def test_a_socket_that_opens_after_it_was_given_up_is_ignored() -> None:
    line = Line().streaming()
    for at_ms in range(1000, 9000, 1000):
        line.after(1000).frame()
        assert line.now_ms == at_ms
    line.tick()
    line.look()
    line.bridge.realtime_opened(line.now_ms)
    line.realtime("session.created")
    assert_sent(line, realtime=[])


@pytest.mark.parametrize(
    "code", [1000, 1001, 1005, 1006, 1011, 1012, 1013, 1015, 500, 503, 429, 408]
)
def test_o18_closes_that_may_heal_dial_another_session(code: int) -> None:
    line = Line().streaming()
    if code >= 1000:
        line.ready()
    line.bridge.realtime_closed(code, 50)
    dial = DialModel(2, configuration(line.plan))
    assert line.effects(CloseStream, HangUp, DialModel) == [dial]


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (3000, EndCause.MODEL_FAILED),
        (4000, EndCause.MODEL_FAILED),
        (1008, EndCause.MODEL_FAILED),
        (401, EndCause.MODEL_KEY),
        (403, EndCause.MODEL_KEY),
        (404, EndCause.MODEL_FAILED),
    ],
)
def test_o19_closes_that_never_heal_apologise_and_hang_up(code: int, cause: EndCause) -> None:
    line = Line(quiet_plan(apology=clip("Sorry.", 16_000))).streaming()
    line.bridge.realtime_closed(code, 50)
    twilio, _, _ = line.look()
    assert len(twilio) == 2
    line.after(500).mark(twilio[-1].split()[1])
    assert line.effects(HangUp) == [HangUp(cause.ended_reason)]


def test_o1_o19_the_error_before_the_close_names_the_cause() -> None:
    line = Line(quiet_plan(apology=None)).streaming()
    line.bridge.realtime_opened(0)
    line.error("invalid_api_key")
    # Without a clip of ours the action URL lets Twilio apologise: no caller is hung up on silently.
    assert line.effects(HangUp, CloseStream) == [CloseStream("apologise")]
    line.bridge.realtime_closed(3000, 5)
    assert line.effects(HangUp, CloseStream) == []
    line.bridge.twilio_closed(10)
    (ended,) = line.effects(StreamEnded)
    assert (ended.ended_reason, ended.call_over) == (EndCause.MODEL_KEY.ended_reason, False)


def test_o4_o5_a_refused_configuration_is_fatal() -> None:
    for event_id in ("cfg-1", None):
        line = Line(quiet_plan(apology=None)).streaming().dialled()
        line.error("unknown_parameter", event_id)
        assert line.effects(HangUp, CloseStream) == [CloseStream("apologise")]


def test_the_servers_own_trouble_while_configuring_is_not_a_refusal() -> None:
    line = Line().streaming().dialled().error("server_error")
    assert line.effects(HangUp, CloseStream) == []
    line.bridge.realtime_closed(1011, 5)
    assert len(line.effects(DialModel)) == 1


def test_a_refused_second_configuration_leaves_turns_to_us() -> None:
    line = Line(plan_of(greeting=Greeting("exact", "Hi"))).ready().created().audio(100).audio_done()
    line.done().mark("g1:1")
    assert_sent(line, realtime=["update cfg-2"])
    line.error("invalid_value", "cfg-2").turn()
    assert_sent(line, realtime=["create turn"])
    line.created("r2").audio(500, "a2", "r2").speech("started", "u2")
    assert_sent(line, realtime=["cancel r2", "delete a2"])


def test_model_lost_before_start_is_dialled_again_at_once() -> None:
    line = Line(quiet_plan(apology=clip("Sorry.")))
    line.bridge.realtime_opened(0)
    line.bridge.realtime_closed(1006, 10)
    assert assert_sent(line, twilio=[]) == [DialModel(2, configuration(line.plan))]
    line.streaming().dialled(config_sent=True).updated().frame()
    assert_sent(line, twilio=[], realtime=["append 20"])


def test_model_refused_before_start_apologises_at_start() -> None:
    line = Line(quiet_plan(apology=clip("Sorry.", 16_000), policy_line=clip("Recorded.")))
    line.bridge.realtime_opened(0)
    line.error("insufficient_quota").after(9_000).streaming()
    twilio, _, _ = line.look()
    assert len(twilio) == 2  # the apology and its mark, no policy line
    line.tick(2_000)
    assert line.effects(HangUp) == []
    line.mark(twilio[-1].split()[1])
    assert line.effects(HangUp) == [HangUp(EndCause.MODEL_QUOTA.ended_reason)]


@pytest.mark.parametrize(
    "code",
    ["response_cancel_not_active", "item_truncate_invalid_item_id", "item_delete_invalid_item_id",
     "unsupported_content_type", "input_audio_buffer_commit_empty", "invalid_tool_call_id"],
)  # fmt: skip
def test_o16_races_of_both_sides_are_swallowed(code: str) -> None:
    line = Line().ready().error(code)
    assert_sent(line, twilio=[], realtime=[])
    assert line.bridge.counters == {"benign_errors": 1}


def test_unknown_error_codes_are_counted_and_survived() -> None:
    line = Line().ready().error("brand_new").error(None)
    assert assert_sent(line, realtime=[]) == []
    assert line.bridge.counters == {"realtime_errors": 2}


def test_after_a_failure_the_model_is_not_listened_to() -> None:
    line = Line(quiet_plan("look", apology=clip("Sorry."))).ready()
    line.error("insufficient_quota")
    line.look()
    line.created("r9").audio(500, "a9", "r9").calls("look", "c9", "r9").frame()
    assert assert_sent(line, twilio=[], realtime=[]) == []
