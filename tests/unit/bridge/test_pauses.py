"""A line on which nobody speaks: idle messages, the end of a silent call, words that end it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from calls.bridge.effects import HangUp
from calls.bridge.phrases import says, says_only
from calls.bridge.plan import CallPlan, Greeting, Idle, Interruption
from calls.bridge.quiet import QuietClock
from calls.standins.caller import hang_up, say
from calls.standins.realtime_brain import Rule, Step
from tests.sound_call import assert_sound
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import PatientBrain, VirtualCall, clip, evenly, plan_of

pytestmark = pytest.mark.unit

ASK = Idle(messages=("Are you there?", "Hello?"), wait_ms=8_000, most=3)


def idle(**fields: object) -> Line:
    """Return a quiet call that is up and watches over silence."""
    return Line(quiet_plan("look", idle=Idle(**fields))).ready()  # type: ignore[arg-type]


def ended(line: Line) -> list[str]:
    """Return the reasons of the hang-ups since the last look."""
    return [each.ended_reason for each in line.effects(HangUp) if isinstance(each, HangUp)]


def test_a_caller_who_says_nothing_is_asked_and_asked_again() -> None:
    line = Line(quiet_plan(idle=ASK)).ready()
    for number in (1, 2, 3):
        line.tick(7_999)
        assert_sent(line, realtime=[])
        line.tick(1)
        assert "Hello?" in line.bridge.to_realtime[0] if number == 2 else True
        assert_sent(line, realtime=["create idle"])
        line.says(800, f"a{number}", f"r{number}").after(800).mark(f"g1:{number}")
        line.look()
    line.frame().tick(20_000)
    assert line.look()[1] == ["append 20"]


def test_an_idle_message_is_said_word_for_word_and_calls_no_tool() -> None:
    line = Line(quiet_plan("look", idle=ASK)).ready().tick(8_000)
    response = json.loads(line.bridge.to_realtime[0])["response"]
    assert response["tool_choice"] == "none"
    assert "Are you there?" in response["instructions"]


def test_the_quiet_begins_when_the_assistant_has_been_heard_not_when_it_was_generated() -> None:
    line = Line(quiet_plan(idle=ASK)).ready().says(3_000)
    line.after(3_000).mark("g1:1").tick(7_999)
    assert line.look()[1] == []
    assert line.tick(1).look()[1] == ["create idle"]


@pytest.mark.parametrize("anew", [True, False])
def test_messages_are_counted_anew_after_speech_only_if_the_assistant_says_so(anew: bool) -> None:
    line = idle(messages=("Hello?",), wait_ms=5_000, most=1, counts_anew=anew).tick(5_000)
    line.says(100).mark("g1:1").turn().says(100, "a2", "r2").mark("g1:2")
    line.look()
    line.tick(5_000)
    assert line.look()[1] == (["create idle"] if anew else [])


def test_nobody_is_asked_while_a_tool_runs_or_the_caller_speaks() -> None:
    line = Line(quiet_plan("look", idle=ASK)).ready().created().calls("look").done()
    line.look()
    line.tick(8_000)
    assert line.look()[1] == []
    other = Line(quiet_plan(idle=ASK)).ready().speech("started")
    other.tick(8_000)
    assert "create idle" not in other.look()[1]


def test_nobody_is_asked_while_the_opening_is_heard() -> None:
    line = Line(plan_of(policy_line=clip("x", 16_000), idle=ASK, greeting=Greeting())).ready()
    line.tick(100)
    assert line.bridge._quiet.since_ms is None


def test_a_message_that_fails_is_the_same_message_again() -> None:
    line = Line(quiet_plan(idle=ASK)).ready().tick(8_000).created().done(status="failed")
    line.look()
    line.tick(1_000)
    assert "Are you there?" in line.bridge.to_realtime[0]


def test_a_silent_call_ends_with_vapis_word() -> None:
    line = idle(silence_ms=20_000).tick(19_999)
    assert ended(line) == []
    assert ended(line.tick(1)) == ["silence-timed-out"]


def test_any_word_begins_the_silence_again() -> None:
    line = idle(silence_ms=20_000).after(15_000).frame().turn().says(100).mark("g1:1").frame()
    line.tick(19_999)
    assert ended(line) == []
    assert ended(line.tick(1)) == ["silence-timed-out"]


def test_the_last_message_of_a_silent_call_is_heard_and_can_be_answered() -> None:
    line = idle(silence_ms=20_000, silence_message="I hang up now.").tick(20_000)
    assert "I hang up now." in line.bridge.to_realtime[0]
    assert assert_sent(line, realtime=["create goodbye"]) == []
    line.says(1_000).after(500).speech("started")
    assert line.bridge._ending is None
    assert line.bridge.counters.get("late_tool_results", 0) == 0
    line = idle(silence_ms=20_000, silence_message="I hang up now.").tick(20_000)
    line.says(1_000).after(1_000)
    assert ended(line) == []
    assert ended(line.mark("g1:1")) == ["silence-timed-out"]


def test_the_clock_prefers_the_end_and_never_asks_without_words() -> None:
    clock = QuietClock(Idle(messages=("Hello?",), wait_ms=10_000, silence_ms=10_000))
    assert clock.deadline_ms() is None
    assert clock.due(10**9) == ""
    clock.note(True, 5)
    clock.note(True, 7)
    assert (clock.deadline_ms(), clock.due(10_004), clock.due(10_005)) == (10_005, "", "silence")
    empty = QuietClock(Idle())
    empty.note(True, 0)
    assert empty.deadline_ms() is None


# -- words that end the call ----------------------------------------------------------------------


def said(line: Line, text: str, item_id: str = "a1", response_id: str = "r1") -> Line:
    """The assistant says a text of 500 ms; nothing of it has been heard yet."""
    line.created(response_id).text(text, item_id, response_id).audio(500, item_id, response_id)
    return line.audio_done(item_id, response_id).done(response_id)


def polite() -> Line:
    """Return a quiet call that some words end."""
    return Line(quiet_plan(end_call_phrases=("bis bald", "take care"))).ready()


def test_v31_an_end_call_phrase_ends_the_call_when_it_has_been_heard() -> None:
    line = said(polite(), "Danke, bis BALD!")
    assert ended(line.tick(499)) == []
    assert ended(line.after(1).mark("g1:1")) == ["assistant-said-end-call-phrase"]


def test_a_phrase_that_was_generated_and_not_heard_ends_nothing() -> None:
    line = said(polite(), "Now take care").after(200).speech("started").speech("stopped")
    line.speech("committed").mark("g1:1")
    assert ended(line) == []


def test_v31_the_callers_own_words_end_nothing() -> None:
    line = polite().turn()
    line.realtime(
        "conversation.item.input_audio_transcription.completed",
        item_id="u1", content_index=0, transcript="take care",
    )  # fmt: skip
    assert ended(line) == []


def test_words_that_come_after_the_sound_are_judged_too() -> None:
    line = polite().created().audio(500).audio_done().after(500).mark("g1:1")
    line.realtime(
        "response.output_audio_transcript.done",
        response_id="r1", item_id="a1", transcript="Take care.",
    )  # fmt: skip
    assert ended(line) == []  # the response may say more
    assert ended(line.done()) == ["assistant-said-end-call-phrase"]


def test_a_caller_who_speaks_right_after_the_phrase_keeps_the_call() -> None:
    line = said(polite(), "Take care.").after(500).speech("started").mark("g1:1")
    assert ended(line) == []


def test_a_phrase_that_was_heard_before_the_caller_cut_the_rest_ends_nothing() -> None:
    line = polite().created().text("Take care of it and then of all the rest").audio(500)
    line.after(400).speech("started").speech("stopped").speech("committed")
    assert line.bridge.transcript.get("a1").text.startswith("Take care")  # type: ignore[union-attr]
    line.realtime(
        "response.output_audio_transcript.done",
        response_id="r1", item_id="a1", transcript="Take care of it and then of all the rest",
    )  # fmt: skip
    assert ended(line.done(status="cancelled")) == []


def test_a_caller_who_speaks_without_interrupting_keeps_the_call_too() -> None:
    plan = replace(polite().plan, interruption=Interruption(words=3))
    line = said(Line(plan).ready(), "Take care.").after(450).speech("started").after(50)
    assert ended(line.mark("g1:1")) == []


@pytest.mark.parametrize(
    ("text", "phrases", "found"),
    [
        ("Good BYE now!", ("bye now",), True),
        ("Goodbye", ("bye",), False),
        ("I don't know", ("dont",), True),
        ("それでは失礼します。", ("失礼します",), True),
        ("Auf  Wiederhören, Herr Ö.", ("auf wiederhören",), True),
        ("anything", ("", "!?"), False),
        ("", ("bye",), False),
    ],
)
def test_a_phrase_is_found_as_whole_words(text: str, phrases: tuple[str, ...], found: bool) -> None:
    assert says(text, phrases) is found


@pytest.mark.parametrize(
    ("text", "only"),
    [("Uh-huh.", True), ("Okay, okay, yes", True), ("okay but", False), ("", False), ("?", False)],
)
def test_a_text_of_nothing_but_phrases(text: str, only: bool) -> None:
    assert says_only(text, ("okay", "uh-huh", "yes")) is only


def test_a_quiet_caller_is_asked_and_a_phrase_ends_the_call_through_the_stand_in() -> None:
    brain = PatientBrain([Rule(Step(say="Take care."), re.compile("bye"))])
    plan: CallPlan = plan_of(
        idle=Idle(("Still there?",), 3_000, 3), end_call_phrases=("take care",)
    )
    script = [say("bye", wait="heard", pattern=re.compile("Still"))]
    call = VirtualCall(plan, script, brain, latency=evenly(20)).run()
    assert_sound(call)
    assert call.caller.heard_texts == ["Good morning.", "Still there?", "Take care."]
    assert call.end.ended_reason == "assistant-said-end-call-phrase"
    assert call.caller.ended_by == "rest"


def test_a_silent_caller_loses_the_call_through_the_stand_in() -> None:
    plan = plan_of(idle=Idle(("Still there?",), 3_000, 1, silence_ms=5_000))
    call = VirtualCall(plan, [hang_up(wait="ms", wait_ms=29_000)], latency=evenly(20)).run()
    assert_sound(call)
    assert call.caller.heard_texts == ["Good morning.", "Still there?"]
    assert call.end.ended_reason == "silence-timed-out"


def test_an_older_plan_is_read_without_the_new_fields() -> None:
    value = plan_of(idle=ASK, end_call_phrases=("a",)).to_json()
    assert CallPlan.from_json(json.loads(json.dumps(value))).idle == ASK
    del value["idle"], value["end_call_phrases"]
    assert CallPlan.from_json(value).idle == Idle()
