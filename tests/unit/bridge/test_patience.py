"""Responses that fail or stop short, rate limits, and what is heard while an answer is late."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.effects import HangUp
from calls.bridge.plan import Filler, Greeting
from calls.bridge.reasons import EndCause
from calls.bridge.second_tries import MOST_RATE_TRIES, SecondTries, hinted_ms
from calls.standins.caller import hang_up, say
from calls.standins.realtime_brain import CallTool, Rule, Step
from calls.standins.realtime_profile import RealtimeProfile
from tests.sound_call import assert_sound
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import PatientBrain, Result, VirtualCall, clip, evenly, plan_of

pytestmark = pytest.mark.unit

RATE = "rate_limit_exceeded"
CLIP = clip("One moment please.", 80_000)
FILLER = Filler(clip=CLIP)


def failure(code: str, message: str = "") -> dict[str, Any]:
    """Return the details of a failed response."""
    error = {"type": "x", "code": code, "message": message}
    return {"status_details": {"type": "failed", "error": error}}


def cut_short(reason: str) -> dict[str, Any]:
    """Return the details of an incomplete response."""
    return {"status_details": {"type": "incomplete", "reason": reason}}


@pytest.fixture
def line() -> Line:
    """A quiet call that is up."""
    return Line(quiet_plan("look", apology=clip("Sorry.", 16_000))).ready()


# -- rate limits ----------------------------------------------------------------------------------


def test_a_rate_limit_is_waited_out_as_long_as_the_error_says(line: Line) -> None:
    line.turn().created().done(status="failed", **failure(RATE, "Please try again in 2.5s."))
    line.look()
    assert line.tick(2_499).look()[1] == []
    assert line.tick(1).look()[1] == ["create retry"]


def test_a_rate_limit_is_waited_out_until_the_reset_that_was_told(line: Line) -> None:
    limits = [{"name": "tokens", "limit": 9, "remaining": 0, "reset_seconds": 3.5}]
    line.turn().created().realtime("rate_limits.updated", rate_limits=limits).after(500)
    line.done(status="failed", **failure(RATE))
    line.look()
    assert line.tick(2_999).look()[1] == []
    assert line.tick(1).look()[1] == ["create retry"]


def test_without_a_hint_each_wait_is_twice_the_one_before() -> None:
    line = Line(quiet_plan(apology=clip("Sorry.", 16_000))).ready().turn()
    for number, wait_ms in enumerate((1_000, 2_000, 4_000), 1):
        line.created(f"r{number}").done(f"r{number}", "failed", **failure(RATE))
        line.look()
        assert line.tick(wait_ms - 1).look()[1] == []
        assert line.tick(1).look()[1] == ["create retry"]
    line.created("r4").done("r4", "failed", **failure(RATE))
    assert_sent(line, twilio=["media 440", "mark g1:1"])
    assert line.after(440).mark("g1:1").effects(HangUp) == [HangUp(EndCause.MODEL_RATE.value)]


def test_a_wait_that_no_caller_would_stay_for_is_an_apology_at_once(line: Line) -> None:
    line.turn().created().done(status="failed", **failure(RATE, "try again in 20s"))
    assert_sent(line, twilio=["media 440", "mark g1:1"])


def test_a_refused_request_is_asked_again_as_the_refusal_says(line: Line) -> None:
    line.created().calls("look").done().tool()
    line.look()
    error = {"code": RATE, "message": "Try again in 600ms", "event_id": "ask-1"}
    line.realtime("error", error=error)
    assert line.tick(599).look()[1] == []
    assert line.tick(1).look()[1] == ["create retry"]


@pytest.mark.parametrize(
    ("message", "ms"),
    [
        ("Please try again in 1.234s. Visit", 1_234),
        ("try again in 20 ms", 20),
        ("Try again in 6m0s", 0),
        ("try again in soon", 0),
        ("", 0),
    ],
)
def test_the_hint_of_a_message(message: str, ms: int) -> None:
    assert hinted_ms(message) == ms


def test_patience_is_counted_in_a_row_and_odd_limits_are_none() -> None:
    tries = SecondTries()
    odd: list[Any] = [None, 3, {"remaining": "0", "reset_seconds": 1}, {"remaining": 0}]
    for entries in (None, "x", odd, [{"remaining": 0, "reset_seconds": 1e300}]):
        tries.limits(entries, 0)
    assert tries.pause_ms(RATE, 1_000, 0) == 1_000
    assert tries.pause_ms("", 0, 0) is None  # a silence after a failure is the second in a row
    tries.heard()
    assert tries.pause_ms("", 0, 0) == 0
    tries.heard()
    pauses = [tries.pause_ms(RATE, 10, 0) for _ in range(MOST_RATE_TRIES + 1)]
    assert pauses == [10, 20, 40, None]


# -- responses that stop short --------------------------------------------------------------------


def test_a_sentence_that_a_limit_has_cut_is_gone_on_with(line: Line) -> None:
    line.turn().created().audio(300).done(status="incomplete", **cut_short("max_output_tokens"))
    (asked,) = [json.loads(t) for t in line.bridge.to_realtime if "response.create" in t]
    assert "Go on exactly" in asked["response"]["instructions"]
    assert_sent(line, realtime=["create continue"])


def test_an_answer_is_not_gone_on_with_for_ever_but_for_the_next_turn(line: Line) -> None:
    line.turn()
    asked = []
    for number in range(1, 5):
        line.created(f"r{number}").audio(100, f"a{number}", f"r{number}")
        line.done(f"r{number}", "incomplete", **cut_short("max_output_tokens"))
        asked += line.look()[1]
    assert asked == ["create continue"] * 2
    line.mark("g1:1").mark("g1:2").mark("g1:3").mark("g1:4").turn("u2")
    line.created("r9").audio(100, "a9", "r9")
    line.done("r9", "incomplete", **cut_short("max_output_tokens"))
    assert "create continue" in line.look()[1]


def test_a_filtered_answer_is_cut_where_it_was_heard_and_asked_for_once_more(line: Line) -> None:
    line.turn().created().audio(900)
    line.look()
    line.after(200).done(status="incomplete", **cut_short("content_filter"))
    assert_sent(line, twilio=["clear"], realtime=["truncate a1 200"])
    assert line.tick().look()[1] == ["create retry"]
    line.created("r2").done("r2", "incomplete", **cut_short("content_filter"))
    assert_sent(line, twilio=["media 440", "mark g2:1"])


def test_a_caller_who_speaks_is_answered_instead(line: Line) -> None:
    line.turn().created().audio(300).speech("started", "u2")
    line.look()
    line.done(status="incomplete", **cut_short("max_output_tokens"))
    assert_sent(line, realtime=[])


def test_a_greeting_that_a_limit_has_cut_opens_the_call_all_the_same() -> None:
    line = Line(plan_of(greeting=Greeting("exact", "Hello."))).ready().created().audio(300)
    line.look()
    line.done(status="incomplete", **cut_short("max_output_tokens"))
    assert line.look()[1] == ["create continue"]
    assert line.created("r2").done("r2").mark("g1:1").bridge._opening.over


def test_a_cut_answer_is_finished_through_the_stand_in() -> None:
    profile = RealtimeProfile(
        incomplete="max_output_tokens", first_faulty_response=1, faulty_responses=1
    )
    script = [say("Hello there."), hang_up(wait="silence_ms", wait_ms=3_000)]
    call = VirtualCall(plan_of(), script, latency=evenly(20), realtime=profile).run()
    assert_sound(call, words_out=False)
    assert call.statuses == ["completed", "incomplete", "completed"]
    assert call.end.metrics["counters"]["responses_incomplete"] == 1


# -- fillers --------------------------------------------------------------------------------------


def test_a_filler_covers_two_seconds_of_silence_and_no_more_than_once() -> None:
    line = Line(quiet_plan(filler=FILLER)).ready().turn()
    line.look()
    assert line.tick(1_999).look()[0] == []
    assert line.tick(1).look()[0] == ["media 680", "mark g1:1"]
    line.after(680).mark("g1:1").tick(320)
    assert line.look()[1] == ["create retry"]  # the watchdog goes on beside it


def test_a_filler_that_was_heard_gives_no_patience_back() -> None:
    line = Line(quiet_plan(filler=FILLER, apology=clip("Sorry.", 16_000))).ready().turn()
    line.created().done(status="failed", **failure("server_error")).tick(1_000).tick(1_000)
    assert "media 680" in line.look()[0]
    line.after(680).mark("g1:1").created("r2").done("r2", "failed", **failure("server_error"))
    assert_sent(line, twilio=["media 440", "mark g1:2"])


def test_a_filler_can_be_interrupted() -> None:
    line = Line(quiet_plan(filler=FILLER)).ready().turn().tick(2_000)
    line.look()
    line.after(100).speech("started", "u2")
    assert_sent(line, twilio=["clear"], realtime=[])


def test_nothing_fills_the_quiet_in_which_nobody_owes_a_word() -> None:
    line = Line(quiet_plan(filler=replace(FILLER, asked=True))).ready().tick(9_000)
    assert_sent(line, twilio=[], realtime=[])


def asked_line() -> Line:
    """Return a call whose tool runs, without a clip."""
    line = Line(quiet_plan("look", filler=Filler(asked=True))).ready().turn().created()
    line.calls("look").done()
    line.look()
    return line


def test_without_a_clip_the_model_covers_the_wait_for_a_tool() -> None:
    line = asked_line().tick(1_999)
    assert_sent(line, realtime=[])
    line.tick(1)
    assert_sent(line, realtime=["create filler"])
    line.says(500, "a2", "r2").tool()
    assert_sent(line, realtime=["output c1", "create tool"])


def test_each_filler_of_one_wait_comes_after_twice_the_silence_and_three_are_all() -> None:
    line = asked_line()
    for number, wait_ms in enumerate((2_000, 4_000, 8_000), 2):
        assert line.tick(wait_ms - 1).look()[1] == []
        assert line.tick(1).look()[1] == ["create filler"]
        line.says(500, f"a{number}", f"r{number}").after(500).mark(f"g1:{number - 1}").frame()
        line.look()
    assert line.tick(29_000).look()[1] == []


def test_the_model_is_not_asked_for_a_filler_when_it_is_the_one_who_is_late() -> None:
    line = Line(quiet_plan(filler=Filler(asked=True))).ready().turn()
    line.look()
    assert line.tick(2_999).look()[1] == []


def test_a_slow_tool_is_covered_through_the_stand_in() -> None:
    step = Step(tools=(CallTool("look", "{}"),), then=Step(say="Found: {output}."))
    brain = PatientBrain([Rule(step)], greeting="Still looking.")
    plan = plan_of("look", filler=Filler(asked=True))
    script = [say("Look it up."), hang_up(wait="heard", pattern=re.compile("Found"))]
    tools = {"look": Result("it", 4_500)}
    call = VirtualCall(plan, script, brain, tools, evenly(20)).run()
    assert_sound(call)
    assert call.caller.heard_texts == ["Good morning.", "Still looking.", "Found: it."]
    assert call.end.metrics["counters"]["fillers"] == 1
