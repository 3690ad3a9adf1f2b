"""Whole conversations in virtual time: words cross in the audio, every message is held to the
vendors' contracts, every run replays bit for bit.
"""

from __future__ import annotations

import re

import pytest

from calls.bridge.plan import Greeting, Limits
from calls.standins.caller import CallerStep, hang_up, say, say_over
from calls.standins.realtime_brain import CallTool, Rule, Step
from calls.standins.twilio_media import MediaProfile
from tests.sound_call import assert_sound
from tests.virtual_call import Latency, PatientBrain, Result, VirtualCall, clip, evenly, plan_of

pytestmark = pytest.mark.unit

GREETING = "Good morning."
STORY = "Let me read a long story to you, it has many words and takes its time to be told."
LATENCIES = [evenly(0), evenly(20), evenly(150), Latency(twilio_ms=150, realtime_ms=20, rest_ms=80)]
slow_and_fast = pytest.mark.parametrize("latency", LATENCIES, ids=["0", "20", "150", "mixed"])

LINE = "This call is recorded."
GOODBYE = "Thank you, goodbye."


def rules(*pairs: tuple[str, Step]) -> PatientBrain:
    """Return a brain that answers by patterns."""
    return PatientBrain([Rule(step, re.compile(pattern)) for pattern, step in pairs])


def clinic() -> PatientBrain:
    """Return a brain that books with two tool calls and ends the call on thanks."""
    book = Step(
        say="One moment.",
        tools=(CallTool("find_slot", '{"day":"Monday"}'), CallTool("find_doctor", "{}")),
        then=Step(say="You are booked."),
    )
    bye = Step(say=GOODBYE, tools=(CallTool("endCall", "{}"),))
    return rules(("appointment", book), ("[Tt]hank", bye), ("story", Step(say=STORY)))


@slow_and_fast
def test_hello(latency: Latency) -> None:
    call = VirtualCall(plan_of(), [say("Hello there."), hang_up()], latency=latency).run()
    assert_sound(call)
    assert call.caller.heard_texts == [GREETING, "You said: Hello there."]
    assert call.spoken == [
        ("assistant", GREETING),
        ("user", "Hello there."),
        ("assistant", "You said: Hello there."),
    ]
    assert (call.end.ended_reason, call.end.call_over) == ("customer-ended-call", True)


@slow_and_fast
def test_two_tool_calls_then_a_goodbye_that_is_heard(latency: Latency) -> None:
    tools = {"find_slot": Result("10:00", 700), "find_doctor": Result("Who", 300)}
    plan = plan_of("find_slot", "find_doctor", "endCall")
    script = [
        say("An appointment please."),
        say("Thanks!", wait="heard", pattern=re.compile("booked")),
    ]
    call = VirtualCall(plan, script, clinic(), tools, latency).run()
    assert_sound(call)
    assert call.caller.heard_texts == [GREETING, "One moment.", "You are booked.", GOODBYE]
    assert [name for name, _ in call.part.dispatched] == ["find_slot", "find_doctor"]
    assert call.tool_records == [("find_slot", "ok"), ("find_doctor", "ok"), ("endCall", "ok")]
    assert len(call.sent("response.create")) == 2  # the greeting, one follow-up for both outputs
    assert call.end.ended_reason == "assistant-ended-call"
    assert call.caller.ended_by == "rest"


@slow_and_fast
def test_barge_in_keeps_what_was_heard_and_truncates_the_models_memory(latency: Latency) -> None:
    script = [
        say("A story please."),
        say_over("Stop it.", 1000),
        say("Fine.", wait="heard", pattern=re.compile("said: Stop")),
        hang_up(),
    ]
    call = VirtualCall(plan_of(), script, clinic(), latency=latency).run()
    assert_sound(call)
    story = next(turn for turn in call.turns if turn.text_unheard)
    assert story.interrupted
    assert story.text
    assert STORY.startswith(story.text)
    assert len(call.sent("conversation.item.truncate")) == 1
    assert call.model.truncations[0].audio_end_ms < call.model.truncations[0].had_ms
    assert call.caller.cleared_bytes > 0
    assert [text for role, text in call.spoken if role == "user"] == [
        "A story please.", "Stop it.", "Fine.",
    ]  # fmt: skip


@slow_and_fast
def test_caller_speaks_during_the_policy_line_and_is_answered_afterwards(latency: Latency) -> None:
    plan = plan_of(policy_line=clip(LINE), greeting=Greeting("exact", GREETING))
    script = [CallerStep("say", "Hi you.", wait="agent_audio_ms", wait_ms=100), hang_up()]
    script[1] = hang_up(wait="heard", pattern=re.compile("You said"))
    call = VirtualCall(plan, script, latency=latency).run()
    assert_sound(call)
    assert call.caller.heard_texts == [LINE, GREETING, "You said: Hi you."]
    assert all(heard.complete for heard in call.caller.heard)
    assert call.caller.cleared_bytes == 0
    assert call.policy_line_heard


@slow_and_fast
@pytest.mark.parametrize("at_ms", range(0, 2400, 400))
def test_caller_speaks_at_any_time_of_the_opening(latency: Latency, at_ms: int) -> None:
    """Whenever the caller speaks, the opening is heard whole and the caller is answered."""
    plan = plan_of(policy_line=clip(LINE), greeting=Greeting("exact", GREETING))
    script = [
        say("Hi you.", wait="ms", wait_ms=at_ms),
        hang_up(wait="silence_ms", wait_ms=3000),
    ]
    call = VirtualCall(plan, script, latency=latency, media=MediaProfile()).run()
    assert_sound(call)
    assert call.caller.heard_texts == [LINE, GREETING, "You said: Hi you."]


@slow_and_fast
@pytest.mark.parametrize("at_ms", range(0, 3600, 450))
def test_caller_speaks_while_a_tool_runs(latency: Latency, at_ms: int) -> None:
    """A tool's result that meets a caller's turn is told exactly once."""
    brain = rules(
        ("slot", Step(tools=(CallTool("find_slot", "{}"),), then=Step(say="Slot: {output}.")))
    )
    script = [
        say("A slot."),
        say("And quickly.", wait="ms", wait_ms=at_ms),
        hang_up(wait="silence_ms", wait_ms=6000),
    ]
    call = VirtualCall(
        plan_of("find_slot"), script, brain, {"find_slot": Result("ten", 1500)}, latency
    ).run()
    assert_sound(call)
    told = [turn for turn in call.turns if "ten" in turn.text + turn.text_unheard]
    if "cancelled" in call.statuses or call.sent("conversation.item.delete"):  # talked over
        assert len(told) <= 1
    else:
        assert len(told) == 1, call.caller.timeline


def test_ceiling_on_duration_ends_the_call() -> None:
    plan = plan_of(limits=Limits(max_duration_ms=4000))
    call = VirtualCall(plan, [say("A story please."), hang_up(wait="ms", wait_ms=60_000)], clinic())
    call.run()
    assert_sound(call, words_out=False)
    assert call.end.ended_reason == "exceeded-max-duration"
    assert call.ended_at_ms == 4000
