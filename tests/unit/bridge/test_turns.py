"""What it takes to interrupt (vapi.md 2.7), the pause after it, and noises (5.5)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.effects import HangUp
from calls.bridge.gate import TEXT_WAIT_MS, Gate
from calls.bridge.plan import CallPlan, Greeting, Interruption
from calls.standins.caller import hang_up, say, say_over
from calls.standins.realtime_brain import Rule, Step
from calls.wire.realtime import TurnDetection
from tests.sound_call import assert_sound
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import Latency, PatientBrain, VirtualCall, evenly, plan_of

pytestmark = pytest.mark.unit

TEXT = "conversation.item.input_audio_transcription"
TWO = Interruption(words=2, acknowledgements=("yes", "okay", "uh-huh"), phrases=("stop",))


def guarded(interruption: Interruption = TWO, plan: CallPlan | None = None) -> CallPlan:
    """Return a plan whose session leaves interrupting to us."""
    plan = plan or quiet_plan("look")
    detection = TurnDetection(interrupt_response=False)
    session = replace(plan.session, turn_detection=detection)
    return replace(plan, session=session, interruption=interruption)


def talking(interruption: Interruption = TWO) -> Line:
    """Return a call in which 3 s of speech are being heard and nothing is generated any more."""
    line = Line(guarded(interruption)).ready().says(3_000)
    line.look()
    return line


def words(line: Line, text: str, item_id: str = "u1", kind: str = "completed") -> Line:
    """The text of a turn, or with ``delta`` a piece of it."""
    name = "delta" if kind == "delta" else "transcript"
    return line.realtime(f"{TEXT}.{kind}", item_id=item_id, content_index=0, **{name: text})


def over(line: Line, item_id: str = "u1") -> Line:
    """The turn has ended."""
    return line.speech("stopped", item_id).speech("committed", item_id)


# -- the gate -------------------------------------------------------------------------------------


def test_one_sound_does_not_interrupt_where_two_words_are_asked_for() -> None:
    line = talking().after(500).speech("started")
    line.tick(599)
    assert_sent(line, twilio=[], realtime=[])


def test_the_gate_opens_when_they_have_spoken_as_long_as_two_words_take() -> None:
    line = talking().after(500).speech("started").tick(600)
    assert_sent(line, twilio=["clear"], realtime=["truncate a1 1100"])
    over(line).tick()
    assert line.bridge._server_will_answer()  # as after any interruption


def test_the_gate_opens_at_two_words_before_their_time() -> None:
    line = talking().after(500).speech("started")
    words(line.after(300), "No", kind="delta")
    assert_sent(line, twilio=[])
    words(line, " wait", kind="delta")
    assert_sent(line, twilio=["clear"], realtime=["truncate a1 800"])


def test_words_that_come_after_the_turn_open_the_gate_and_are_answered() -> None:
    line = over(talking().after(500).speech("started").after(400))
    line.created("r2")  # the server does not know of the gate
    assert_sent(line, twilio=[], realtime=["cancel r2"])
    words(line.after(100), "Oh no.")
    assert_sent(line, twilio=["clear"], realtime=["truncate a1 1000"])
    line.done("r2", "cancelled")
    assert_sent(line, realtime=["create turn"])


def test_a_generating_response_is_cancelled_by_us_when_the_gate_opens() -> None:
    line = Line(guarded()).ready().created().audio(1_000).after(200).speech("started")
    line.look()
    line.tick(600)
    assert_sent(line, twilio=["clear"], realtime=["cancel r1", "truncate a1 800"])


def test_an_acknowledgement_never_interrupts_and_is_not_answered() -> None:
    line = over(talking().after(500).speech("started").after(300)).created("r2")
    line.look()
    words(line.after(400), "Uh-huh, okay.").done("r2", "cancelled")
    line.tick(TEXT_WAIT_MS)
    assert_sent(line, twilio=[], realtime=[])
    assert line.bridge.counters["not_interrupted"] == 1


def test_an_interruption_phrase_interrupts_alone() -> None:
    line = over(talking().after(500).speech("started").after(200))
    words(line, "Stop!")
    assert_sent(line, twilio=["clear"], realtime=["truncate a1 700", "create turn"])


def test_one_word_is_heard_out_and_then_answered() -> None:
    line = over(talking().after(500).speech("started").after(200))
    words(line, "Why?")
    assert_sent(line, twilio=[], realtime=["create turn"])


@pytest.mark.parametrize("kind", ["never", "failed"])
def test_a_turn_without_text_is_answered_all_the_same(kind: str) -> None:
    line = over(talking().after(500).speech("started").after(200))
    line.look()
    if kind == "failed":
        line.realtime(f"{TEXT}.failed", item_id="u1", content_index=0, error={"type": "x"})
    else:
        assert line.tick(TEXT_WAIT_MS - 1).look()[1] == []
        line.tick(1)
    assert_sent(line, twilio=[], realtime=["create turn"])


def test_in_silence_nobody_has_to_knock() -> None:
    line = Line(guarded()).ready().says(500).mark("g1:1").turn()
    assert line.bridge._server_will_answer()
    line.created("r2")  # thinking, nothing is heard yet
    line.look()
    line.speech("started", "u2")
    assert_sent(line, realtime=["cancel r2"])


def test_words_of_an_earlier_turn_do_not_cut_the_answer_to_the_next() -> None:
    line = over(talking().after(2_900).speech("started"))
    line.after(100).mark("g1:1")
    line.turn("u2").created("r2")
    line.look()
    line.audio(1_000, "a2", "r2")
    assert_sent(line, twilio=["media 1000", "mark g1:2"], realtime=[])
    words(line, "What was that?", "u1")
    assert_sent(line, twilio=[], realtime=[])


def test_an_answer_asked_for_before_a_short_word_goes_on() -> None:
    line = Line(guarded()).ready().created().audio(1_000).calls("look").done().tool()
    line.look()
    line.speech("started").created("r2").audio(100, "a2", "r2")
    assert_sent(line, twilio=["media 100", "mark g1:2"], realtime=[])


def saying_goodbye() -> Line:
    """Return a call that the model ends; while its goodbye is heard the caller says a word."""
    line = Line(guarded(plan=quiet_plan("endCall"))).ready().created().audio(500).audio_done()
    line.calls("endCall").done().after(400).speech("started").after(100).mark("g1:1")
    return line


def test_the_call_does_not_end_before_the_gate_has_decided() -> None:
    line = saying_goodbye()
    assert line.effects(HangUp) == []
    line.tick(500)  # they have spoken as long as two words take
    assert "output c1" in line.look()[1]
    assert line.bridge._ending is None


@pytest.mark.parametrize("text", ["Okay.", "Bye."])
def test_too_few_words_over_a_goodbye_let_the_call_end(text: str) -> None:
    line = over(saying_goodbye())
    assert line.effects(HangUp) == []
    words(line.after(100), text)
    assert len(line.effects(HangUp)) == 1


def test_voice_seconds_ask_for_speech_of_that_length() -> None:
    line = talking(Interruption(voice_ms=400)).after(500).speech("started").tick(399)
    assert_sent(line, twilio=[])
    line.tick(1)
    assert_sent(line, twilio=["clear"], realtime=["truncate a1 900"])


def test_a_gate_without_conditions_guards_nothing() -> None:
    gate = Gate(Interruption(acknowledgements=("yes",)))
    assert not gate.guards
    assert gate.hears("u1", "stop it", final=True) is None
    assert gate.unread("u1") is None
    assert gate.deadline_ms() is None


# -- the pause after an interruption --------------------------------------------------------------


def test_after_an_interruption_the_assistant_keeps_still_for_the_backoff() -> None:
    line = Line(quiet_plan(interruption=Interruption(backoff_ms=1_000))).ready().says(3_000)
    line.after(500).turn().created("r2").audio(300, "a2", "r2")
    line.look()
    line.tick(999)
    assert_sent(line, twilio=[])
    line.tick(1)
    assert_sent(line, twilio=["media 300", "mark g2:1"])
    line.audio(100, "a2", "r2")
    assert_sent(line, twilio=["media 100", "mark g2:2"])


def test_what_waits_for_the_backoff_can_be_interrupted_unheard() -> None:
    line = Line(quiet_plan(interruption=Interruption(backoff_ms=1_000))).ready().says(3_000)
    line.after(500).turn().created("r2").audio(300, "a2", "r2").audio_done("a2", "r2").done("r2")
    line.look()
    line.speech("started", "u2")
    assert_sent(line, twilio=[], realtime=["delete a2"])


# -- noises ---------------------------------------------------------------------------------------


def cut_off() -> Line:
    """Return a call in which a noise has cut "one two three four" in the middle."""
    line = Line(quiet_plan()).ready().created().text("one two three four").audio(400)
    line.audio_done().done().after(200).speech("started")
    line.look()
    return line


def resumed(line: Line) -> str:
    """Return the instructions of the only response asked for, '' for none."""
    events: list[dict[str, Any]] = [json.loads(text) for text in line.bridge.to_realtime]
    asks = [each["response"] for each in events if each["type"] == "response.create"]
    line.look()
    return str(asks[0]["instructions"]) if asks else ""


def test_a_noise_without_words_resumes_what_it_cut_off() -> None:
    line = words(over(cut_off()), "")
    assert '"three four"' in resumed(line)
    assert line.bridge.counters["false_interruptions"] == 1


def test_an_answer_to_the_noise_that_has_no_sound_yet_is_called_off() -> None:
    line = words(over(cut_off()).created("r2"), " ")
    assert_sent(line, realtime=["cancel r2"])
    assert "three four" in resumed(line.done("r2", "cancelled"))


def test_an_answer_that_sounds_is_the_answer() -> None:
    line = words(over(cut_off()).created("r2").audio(100, "a2", "r2"), "")
    assert resumed(line) == ""
    assert line.bridge.counters.get("false_interruptions") is None


def test_words_make_it_an_interruption() -> None:
    line = words(over(cut_off()), "Wait.")
    assert words(line, "").bridge.counters.get("false_interruptions") is None


def test_speech_that_leads_to_nothing_resumes_after_a_while() -> None:
    """No commit, no text, no response: the server's detector has changed its mind."""
    plan = replace(quiet_plan(), interruption=Interruption())
    off = TurnDetection(create_response=False, interrupt_response=False)
    line = Line(replace(plan, session=replace(plan.session, turn_detection=off))).ready()
    line.created().text("one two three four").audio(400).audio_done().done().after(200)
    line.speech("started").speech("stopped")
    line.look()
    assert resumed(line.tick(1_499)) == ""
    assert "three four" in resumed(line.tick(1))


def test_nothing_is_resumed_where_everything_was_heard() -> None:
    line = Line(quiet_plan()).ready().says(500).after(500).mark("g1:1").speech("started")
    words(over(line), "")
    assert resumed(line) == ""


# -- through the stand-in -------------------------------------------------------------------------

STORY = "Let me read a long story to you, it has many words and takes its time to be told."


@pytest.mark.parametrize("latency", [evenly(0), evenly(20), Latency(150, 20, 80)])
def test_a_short_word_lets_the_story_go_on_and_three_words_stop_it(latency: Latency) -> None:
    long_story = f"{STORY} {STORY}"  # the words must arrive before its end
    brain = PatientBrain([Rule(Step(say=long_story), re.compile("story"))])
    plan = guarded(
        Interruption(words=3, acknowledgements=("ok",)), plan_of(greeting=Greeting("wait"))
    )
    script = [
        say("story", wait="ms", wait_ms=100),
        say_over("ok", 600),
        say_over("Now stop this please.", 300),
        hang_up(wait="heard", pattern=re.compile("You said")),
    ]
    call = VirtualCall(plan, script, brain, latency=latency).run()
    assert_sound(call)
    assert call.end.metrics["counters"]["barge_ins"] == 1
    assert call.caller.heard_texts[-1].startswith("You said: ")
    assert "stop this" in call.caller.heard_texts[-1]
    (story,) = [turn for turn in call.turns if turn.text_unheard]
    assert story.text
    assert long_story.startswith(story.text)
    assert len(call.caller.heard_texts) == 2  # the story's beginning, the answer
