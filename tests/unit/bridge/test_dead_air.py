"""Silence that lasts too long (7.3): one retry, an apology, the end."""

from __future__ import annotations

import pytest

from calls.bridge.effects import HangUp
from calls.bridge.plan import Greeting
from calls.bridge.reasons import EndCause
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import clip, plan_of

pytestmark = pytest.mark.unit


@pytest.fixture
def line() -> Line:
    """A quiet call that is up."""
    return Line(quiet_plan("look", apology=clip("Sorry.", 16_000))).ready()


def test_a_committed_turn_without_a_response_is_asked_for_once(line: Line) -> None:
    line.turn()
    assert line.bridge.next_deadline_ms() == 3_000
    line.tick(2_999)
    assert_sent(line, realtime=[])
    line.tick(1)
    assert_sent(line, realtime=["create retry"])
    line.tick(3_000)
    assert assert_sent(line, twilio=["media 440", "mark g1:1"])


def test_a_response_without_a_first_sound_is_cancelled_and_asked_for_again(line: Line) -> None:
    line.turn().created().tick(3_999)
    assert_sent(line, realtime=[])
    line.tick(1)
    assert_sent(line, realtime=["cancel r1", "create retry"])


def test_a_tool_call_is_no_silence_of_the_model(line: Line) -> None:
    line.created().realtime("response.output_item.added", item={"type": "function_call"})
    line.tick(4_500)
    assert_sent(line, realtime=[])


def test_a_response_that_stops_in_the_middle_is_given_up(line: Line) -> None:
    line.created().audio(100).tick(4_999)
    line.look()
    line.tick(1)
    assert_sent(line, realtime=["cancel r1", "create retry"])


def test_any_event_is_a_sign_of_life(line: Line) -> None:
    line.created().audio(100).after(4_000).realtime("rate_limits.updated").tick(4_000)
    line.look()
    assert line.bridge.responses.running


def test_a_failed_response_is_asked_for_again_after_a_pause(line: Line) -> None:
    line.turn().created().done(status="failed", status_details="broken")
    line.tick(999)
    assert_sent(line, realtime=[])
    line.tick(1)
    assert_sent(line, realtime=["create retry"])


def test_two_failures_in_a_row_end_in_an_apology(line: Line) -> None:
    details = {"type": "failed", "error": {"type": "server_error", "code": None}}
    line.turn().created().done(status="failed", status_details=details).tick(1_000)
    line.look()
    line.created("r2").done("r2", "failed", status_details=details)
    assert_sent(line, twilio=["media 440", "mark g1:1"])
    line.after(440).mark("g1:1")
    assert line.effects(HangUp) == [HangUp(EndCause.MODEL_SERVER.ended_reason)]


def test_quota_is_not_asked_twice(line: Line) -> None:
    details = {"type": "failed", "error": {"type": "insufficient_quota"}}
    line.turn().created().done(status="failed", status_details=details)
    assert_sent(line, twilio=["media 440", "mark g1:1"])


def test_something_heard_gives_patience_back(line: Line) -> None:
    line.turn().tick(3_000).says(100).mark("g1:1").turn("u2")
    line.look()
    line.tick(3_000)
    assert_sent(line, twilio=[], realtime=["create retry"])


def test_the_retry_is_needless_once_the_server_answers(line: Line) -> None:
    line.turn().created().done(status="failed").turn("u2").created("r2").tick(1_000).done("r2")
    assert_sent(line, realtime=[])


def test_a_greeting_that_fails_is_the_same_greeting_again() -> None:
    line = Line(plan_of(greeting=Greeting("exact", "Hi"))).ready()
    line.created().done(status="failed").tick(1_000)
    assert_sent(line, realtime=["create greeting"])


def test_a_resume_that_fails_is_the_same_resume_again() -> None:
    line = Line(plan_of(resumed=True)).ready().created().done(status="failed").tick(1_000)
    assert_sent(line, realtime=["create resume"])


def test_a_request_the_server_refused_is_repeated_once(line: Line) -> None:
    line.created().calls("look").done().tool()
    line.look()
    line.error("server_error", "ask-1").tick(1_000)
    assert_sent(line, realtime=["create retry"])


def test_a_tool_that_never_answers_times_out(line: Line) -> None:
    line.created().calls("look").done()
    for _ in range(12):
        line.after(27_500).frame()
    line.look()
    line.tick()
    assert_sent(line, realtime=["output c1", "create tool"])


def test_an_unseen_winner_is_believed_gone_after_a_while(line: Line) -> None:
    line.created().calls("look").done().tool()
    line.error("conversation_already_has_active_response", "ask-1")
    line.look()
    line.tick(5_000)
    assert_sent(line, realtime=["create tool"])
