"""How a stream ends: once, with one reason, and after what was said has been heard."""

from __future__ import annotations

import pytest

from calls.bridge.effects import CloseStream, HangUp, PolicyLinePlayed, RecordTool, StreamEnded
from calls.bridge.plan import CallPlan, Greeting, Limits, Watchdog
from calls.bridge.reasons import EndCause
from tests.unit.bridge.line import Line, assert_sent, quiet_plan, start_message
from tests.virtual_call import clip, plan_of

pytestmark = pytest.mark.unit

ENDED = HangUp(EndCause.ASSISTANT_ENDED.ended_reason)
STOP = {"event": "stop", "stop": {}}


def bye_plan(**fields: object) -> CallPlan:
    """Return a quiet plan with endCall."""
    return quiet_plan("look", "endCall", **fields)


def ended(line: Line) -> list[tuple[str, bool]]:
    """Return what StreamEnded said."""
    found = line.effects(StreamEnded)
    return [(e.ended_reason, e.call_over) for e in found if isinstance(e, StreamEnded)]


def test_t14_the_goodbye_is_heard_before_the_hang_up() -> None:
    line = Line(bye_plan()).ready().created().audio(800).audio_done().calls("endCall").done()
    assert line.effects(HangUp) == []
    line.after(800).mark("g1:1")
    assert line.effects(HangUp) == [ENDED]


def test_end_call_without_words_and_message_hangs_up_at_once() -> None:
    line = Line(bye_plan()).ready().created().calls("endCall").done()
    assert line.effects(HangUp) == [ENDED]


def test_end_call_without_words_says_the_message_first() -> None:
    line = Line(bye_plan(end_call_message="So long.")).ready().created().calls("endCall").done()
    assert_sent(line, realtime=["create goodbye"])
    line.created("r2").audio(300, "a2", "r2").audio_done("a2", "r2").done("r2")
    line.after(300).mark("g1:1")
    reason = EndCause.ASSISTANT_SAID_GOODBYE.ended_reason
    assert line.effects(HangUp) == [HangUp(reason)]


def test_a_spoken_goodbye_needs_no_message() -> None:
    line = Line(bye_plan(end_call_message="So long.")).ready().created().audio(300).audio_done()
    line.calls("endCall").done()
    assert_sent(line, realtime=[])


def test_barge_in_takes_the_goodbye_back_and_tells_the_model() -> None:
    line = Line(bye_plan()).ready().created().audio(800).audio_done().calls("endCall").done()
    line.look()
    line.after(300).speech("started")
    assert_sent(line, twilio=["clear"], realtime=["output c1", "truncate a1 300"])
    line.tick(20_000)
    assert line.effects(HangUp) == []


def test_barge_in_before_the_message_was_asked_for_forgets_it() -> None:
    line = Line(bye_plan(end_call_message="So long.")).ready().created().calls("endCall")
    line.speech("started").done(status="cancelled").speech("stopped").speech("committed")
    line.confirmed().created("r2").done("r2")
    _, realtime, effects = line.look()
    assert realtime == ["output c1"]
    assert not any(isinstance(effect, HangUp) for effect in effects)


def test_the_tools_record_says_that_the_call_ended() -> None:
    line = Line(bye_plan()).ready().created().calls("endCall").done().twilio(STOP)
    states = [e.state for e in line.effects(RecordTool) if isinstance(e, RecordTool)]
    assert states == ["running", "ok"]


def test_a_goodbye_whose_mark_never_comes_ends_by_its_deadline() -> None:
    line = Line(bye_plan()).ready().created().audio(800).audio_done().calls("endCall").done()
    line.frame().tick(800 + 2_000)
    assert line.effects(HangUp) == [ENDED]


def test_hang_up_then_stop() -> None:
    line = Line(bye_plan()).ready().created().calls("endCall").done().twilio(STOP).twilio(STOP)
    assert ended(line) == [("assistant-ended-call", True)]
    line.bridge.twilio_closed(5)
    line.bridge.realtime_closed(1000, 5)
    assert ended(line) == []


def test_no_stop_after_the_hang_up_closes_the_stream_and_then_ends() -> None:
    line = Line(bye_plan()).ready().created().calls("endCall").done()
    line.look()
    line.tick(4_999)
    assert line.effects(CloseStream) == []
    line.tick(1)
    assert line.effects(CloseStream) == [CloseStream("hangup")]
    line.tick(5_000)
    assert ended(line) == [("assistant-ended-call", True)]


def test_the_caller_hanging_up_ends_at_once() -> None:
    line = Line(bye_plan()).ready().created().calls("look").audio(500).twilio(STOP)
    assert ended(line) == [("customer-ended-call", True)]
    line.tool().frame().audio(100).tick(50)
    assert assert_sent(line, twilio=[], realtime=[]) == []


def test_t22_a_lost_socket_leaves_the_call_to_the_next_step() -> None:
    line = Line().ready()
    line.bridge.twilio_closed(5)
    assert ended(line) == [("phone-call-provider-closed-websocket", False)]


def test_stop_and_close_in_either_order_are_one_end() -> None:
    line = Line().ready().twilio(STOP)
    line.bridge.twilio_closed(5)
    assert ended(line) == [("customer-ended-call", True)]


def test_model_lost_during_a_goodbye_lets_it_be_heard() -> None:
    line = Line(bye_plan(apology=clip("Sorry."))).ready()
    line.created().audio(800).audio_done().calls("endCall")
    line.bridge.realtime_closed(1006, 10)
    assert line.effects(HangUp, CloseStream) == []
    line.after(800).mark("g1:1")
    assert line.effects(HangUp) == [ENDED]


def test_a_fatal_error_during_a_goodbye_changes_neither_words_nor_reason() -> None:
    line = Line(bye_plan(apology=clip("Sorry."))).ready()
    line.created().audio(800).audio_done().calls("endCall").done()
    line.look()
    line.error("insufficient_quota")
    assert_sent(line, twilio=[])
    line.after(800).mark("g1:1")
    assert line.effects(HangUp) == [ENDED]


def test_an_operators_end_waits_for_nothing() -> None:
    line = Line().ready().created().audio(5_000)
    line.bridge.end(EndCause.OPERATOR_ENDED, 10)
    line.bridge.end(EndCause.OPERATOR_ENDED, 11)
    assert line.effects(HangUp) == [HangUp("manually-canceled")]


def test_before_the_stream_starts_an_end_closes_it() -> None:
    line = Line()
    line.bridge.end(EndCause.OPERATOR_ENDED, 10)
    assert line.effects(CloseStream, HangUp) == [CloseStream("hangup")]


def test_shut_down_is_a_resume_and_happens_once() -> None:
    line = Line().ready()
    line.bridge.shut_down(10)
    line.bridge.shut_down(11)
    assert line.effects(CloseStream) == [CloseStream("resume")]
    line.bridge.twilio_closed(12)
    assert ended(line) == [("worker-shutdown", False)]


def test_the_duration_ceiling_counts_from_the_calls_first_stream() -> None:
    limits = Limits(max_duration_ms=60_000)
    line = Line(quiet_plan(limits=limits, resumed=True, elapsed_ms=50_000))
    line.ready().after(5_000).frame().tick(4_999)
    assert line.effects(HangUp) == []
    line.tick(1)
    assert line.effects(HangUp) == [HangUp("exceeded-max-duration")]


def test_silence_of_the_carrier_is_noticed() -> None:
    line = Line().ready().frame().tick(30_000)
    assert line.effects(CloseStream) == [CloseStream("resume")]


def test_a_stream_that_never_starts_is_closed() -> None:
    line = Line().tick(10_000)
    assert line.effects(CloseStream) == [CloseStream("hangup")]
    line.bridge.twilio_closed(line.now_ms)
    assert ended(line) == [(EndCause.STREAM_NEVER_STARTED.ended_reason, True)]


@pytest.mark.parametrize(
    "changes",
    [
        {"callSid": "CA1"},
        {"accountSid": "AC1"},
        {"mediaFormat": {"encoding": "audio/l16", "sampleRate": 8000, "channels": 1}},
        {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1}},
        {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2}},
    ],
)
def test_t21_a_start_of_another_call_or_format_is_closed(changes: dict[str, object]) -> None:
    line = Line().twilio({"event": "connected"}).twilio(start_message(**changes)).frame()
    effects = assert_sent(line, twilio=[], realtime=[])
    assert effects == [CloseStream("hangup", 1008)]


def test_twenty_malformed_frames_close_the_stream() -> None:
    line = Line().ready()
    for _ in range(19):
        line.twilio("{")
    assert line.effects(CloseStream) == []
    line.bridge.twilio_malformed(5)
    assert line.effects(CloseStream) == [CloseStream("resume", 1008)]


def test_the_policy_line_is_evidence_only_if_its_marks_came_back() -> None:
    line = Line(quiet_plan(policy_line=clip("Recorded.", 16_000))).ready()
    line.after(400).mark("g1:1")
    assert line.effects(PolicyLinePlayed) == [PolicyLinePlayed(400)]
    lost = Line(quiet_plan(policy_line=clip("Recorded.", 16_000))).ready()
    lost.frame().tick(10_000)
    assert lost.effects(PolicyLinePlayed) == []
    assert lost.bridge._opening.over


def test_a_turn_committed_between_cfg_2_and_its_confirmation_is_asked_for() -> None:
    line = Line(plan_of(greeting=Greeting("exact", "Hi"))).ready()
    line.created().audio(100).audio_done().done().mark("g1:1").turn()
    assert_sent(line, realtime=["update cfg-2", "create turn"])
    line.created("r2").done("r2").updated().turn("u2")
    assert_sent(line, realtime=[])


def test_a_turn_before_the_greeting_has_begun_is_answered_after_it() -> None:
    line = Line(plan_of(greeting=Greeting("exact", "Hi"))).ready().turn()
    line.created().audio(100).audio_done().done().mark("g1:1")
    assert_sent(line, realtime=["update cfg-2", "create turn"])


def test_every_deadline_is_met_by_one_tick() -> None:
    """A deadline that a tick leaves in the past would make the driver spin."""
    short = Watchdog(ready_ms=1_000)
    line = Line(quiet_plan(apology=clip("Sorry."), watchdog=short)).streaming().dialled()
    line.error("unknown_parameter", "cfg-1").tick(1_500)
    due_ms = line.bridge.next_deadline_ms()
    assert due_ms is not None
    assert due_ms > line.now_ms


def test_the_last_words_of_an_ending_that_is_final_are_still_said() -> None:
    line = Line(bye_plan(end_call_message="So long.")).ready().created().calls("endCall").done()
    line.bridge._ending_is_final()
    line.look()
    line.created("r2").audio(300, "a2", "r2")
    assert_sent(line, twilio=["media 300", "mark g1:1"], realtime=[])
