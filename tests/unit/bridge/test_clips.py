"""Speech that was rendered before the call: greeting, filler, apology, and silence ahead of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from calls.bridge.core import GREETING_ITEM_ID
from calls.bridge.effects import CloseStream, DialModel, HangUp, RecordTurn
from calls.bridge.machine import CallBridge
from calls.bridge.person_plan import PersonPlan
from calls.bridge.plan import CallPlan, Filler, Greeting
from calls.bridge.states import LocalBridgeError
from calls.standins.caller import hang_up, say, say_over
from calls.standins.realtime_brain import Rule, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.wire.twilio_media import payload_bytes
from tests.sound_call import assert_sound
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import PatientBrain, VirtualCall, clip, evenly, plan_of

pytestmark = pytest.mark.unit

HELLO = "Hello, this is Harbour Dental. How can I help you?"
LINE = "This call is recorded."
WAIT = "One moment."
SORRY = "I am sorry."


def greeted(interruptible: bool = False, **fields: Any) -> CallPlan:
    """Return a plan whose greeting is a clip."""
    greeting = Greeting("exact", HELLO, interruptible, clip(HELLO, 16_000))
    return plan_of("look", **{"greeting": greeting, **fields})


def media(*texts: str) -> list[str]:
    """Return what of these clips goes to Twilio, each in one piece."""
    sizes = [payload_bytes(payload) for text in texts for payload in clip(text, 16_000).payloads]
    return [f"media {size // 8}" for size in sizes]


def turns(line: Line) -> dict[str, RecordTurn]:
    """Return the last word on each item since the last look."""
    found = (each for each in line.effects(RecordTurn) if isinstance(each, RecordTurn))
    return {each.item_id: each for each in found}


def nothing_said(line: Line, item_id: str) -> None:
    """The sound that began a turn was no speech."""
    line.after(200).speech("stopped", item_id).speech("committed", item_id).created()
    line.look()
    line.after(100).realtime(
        "conversation.item.input_audio_transcription.completed",
        item_id=item_id,
        content_index=0,
        transcript="",
    ).done(status="cancelled")


def told(line: Line) -> list[str]:
    """Return the texts that the model was told as the assistant's, and forget all that was sent."""
    events = [json.loads(text) for text in line.bridge.to_realtime]
    line.look()
    return [
        event["item"]["content"][0]["text"]
        for event in events
        if event["type"] == "conversation.item.create" and event["item"]["role"] == "assistant"
    ]


# -- the greeting ---------------------------------------------------------------------------------


def test_a_greeting_is_heard_at_start_before_the_model_is_there() -> None:
    line = Line(greeted()).streaming()
    assert_sent(line, twilio=[*media(HELLO), "mark g1:1"], realtime=[])
    assert line.bridge.first_word_ms == 0
    line.after(900).dialled().updated()
    assert told(line) == [HELLO]
    assert not line.bridge.responses.running


def test_a_greeting_comes_right_behind_the_policy_line() -> None:
    line = Line(greeted(policy_line=clip(LINE, 16_000))).streaming()
    assert line.look()[0] == [*media(LINE), "mark g1:1", *media(HELLO), "mark g1:2"]
    line.dialled().updated()
    assert told(line) == [LINE, HELLO]
    turn = line.bridge.transcript.get(GREETING_ITEM_ID)
    assert turn is not None
    assert [f"media {turn.started_ms}"] == media(LINE)


def test_the_greeting_is_in_the_conversation_before_the_caller_is_heard() -> None:
    line = Line(greeted()).dialled().streaming()
    line.frame()
    line.look()
    line.updated()
    assert_sent(line, realtime=["seed assistant", "append 20"])


def test_a_greeting_that_may_not_be_interrupted_is_heard_out_before_the_turn_is_answered() -> None:
    line = Line(greeted()).ready()
    line.after(500).turn()
    assert_sent(line, twilio=[], realtime=[])
    line.after(700).mark("g1:1")
    assert_sent(line, realtime=["update cfg-2", "create turn"])


def test_not_even_an_emergency_cuts_a_greeting_that_may_not_be_interrupted() -> None:
    words = PersonPlan(
        emergency_words=("help",), on_emergency="notice", emergency_notice="Dial 911."
    )
    line = Line(greeted(person=words)).ready().after(500).turn()
    line.realtime(
        "conversation.item.input_audio_transcription.completed",
        item_id="u1",
        content_index=0,
        transcript="help",
    )
    assert_sent(line, twilio=[], realtime=["create notice"])


def test_an_interrupted_greeting_keeps_what_was_heard_here_and_at_the_model() -> None:
    line = Line(greeted(interruptible=True)).ready()
    line.after(600).speech("started")
    to_model = [json.loads(text) for text in line.bridge.to_realtime]
    assert line.bridge.to_twilio == [
        '{"event":"clear","streamSid":"' + line.bridge._stream_sid + '"}'
    ]
    assert [event["type"] for event in to_model] == [
        "conversation.item.delete",
        "conversation.item.create",
    ]
    assert to_model[0]["item_id"].startswith("said-1-")
    heard = to_model[1]["item"]["content"][0]["text"]
    turn = turns(line)[GREETING_ITEM_ID]
    assert heard == turn.text == HELLO[: len(turn.text)]
    assert 10 < len(turn.text) < 30
    assert f"{turn.text} {turn.text_unheard}" == HELLO
    assert turn.interrupted


def test_a_greeting_cut_by_a_noise_goes_on_where_it_stopped() -> None:
    line = Line(greeted(interruptible=True)).ready().after(600).speech("started")
    line.after(200).speech("stopped").speech("committed").created()
    line.look()
    line.after(100).realtime(
        "conversation.item.input_audio_transcription.completed",
        item_id="u1", content_index=0, transcript="",
    ).done(status="cancelled")  # fmt: skip
    asked = json.loads(line.bridge.to_realtime[-1])
    assert "help you?" in asked["response"]["instructions"].partition("not heard this yet")[2]


def test_a_greeting_heard_to_its_end_is_not_corrected() -> None:
    line = Line(greeted(interruptible=True)).ready().after(1_300).speech("started")
    assert_sent(line, realtime=[])


@pytest.mark.parametrize("mode", ["generated", "wait"])
def test_other_modes_have_no_clip(mode: Any) -> None:
    greeting = Greeting(mode, "", False, clip(HELLO))
    line = Line(plan_of(greeting=greeting)).streaming()
    assert_sent(line, twilio=[])
    line.dialled().updated()
    assert line.look()[1][1:] == (["create greeting"] if mode == "generated" else [])


def test_a_call_that_goes_on_is_not_greeted_again() -> None:
    line = Line(greeted(resumed=True)).streaming()
    assert_sent(line, twilio=[])
    line.dialled().updated()
    assert line.look()[1][1:] == ["create resume"]


@pytest.mark.parametrize("after_ms", [100, 900])
def test_a_session_that_takes_over_knows_the_greeting_once(after_ms: int) -> None:
    line = Line(greeted(interruptible=True)).ready().after(after_ms).lost()
    line.back(200)
    assert told(line) == [HELLO]
    line.speech("started")
    kinds = [json.loads(text)["type"] for text in line.bridge.to_realtime]
    assert kinds == ["conversation.item.delete", "conversation.item.create"]


def test_a_model_lost_before_it_is_there_does_not_cost_the_greeting() -> None:
    line = Line(greeted()).streaming().dialled()
    line.look()
    line.lost().back(300)
    assert told(line) == [HELLO]
    assert not line.bridge.responses.running


def test_a_plan_with_clips_comes_back_from_json_and_an_older_one_too() -> None:
    plan = greeted(filler=Filler(clip(WAIT), asked=True), lead_in_ms=200)
    assert CallPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    value = json.loads(json.dumps(plan_of().to_json()))
    del value["greeting"]["clip"], value["lead_in_ms"]
    assert CallPlan.from_json(value) == plan_of()


def test_a_greeting_that_could_never_be_played_is_refused() -> None:
    broken = Greeting("exact", HELLO, clip=clip(HELLO).__class__(("%%%",), HELLO))
    with pytest.raises(LocalBridgeError):
        CallBridge(plan_of(greeting=broken), 0)


@pytest.mark.parametrize("ms", [0, 20, 150])
def test_a_greeting_in_a_whole_call(ms: int) -> None:
    script = [say("Hello there."), hang_up()]
    call = VirtualCall(greeted(), script, latency=evenly(ms), dial_ms=700).run()
    assert_sound(call)
    assert call.caller.heard_texts == [HELLO, "You said: Hello there."]
    assert call.spoken[0] == ("assistant", HELLO)
    assert call.sent("response.create") == []


def test_a_greeting_that_is_talked_over_in_a_whole_call() -> None:
    script = [say_over("Stop it.", 600), hang_up(wait="heard", pattern=re.compile("said"))]
    call = VirtualCall(greeted(interruptible=True), script, latency=evenly(20)).run()
    assert_sound(call)
    first = call.turns[0]
    assert (first.item_id, first.interrupted) == (GREETING_ITEM_ID, True)
    assert call.caller.cleared_bytes > 0
    texts = [event["item"]["content"][0]["text"] for event in call.sent("conversation.item.create")]
    assert texts == [HELLO, first.text]


# -- silence ahead --------------------------------------------------------------------------------


def test_t18b_silence_goes_ahead_of_the_first_word() -> None:
    line = Line(greeted(lead_in_ms=200)).streaming()
    payload = json.loads(line.bridge.to_twilio[0])["media"]["payload"]
    assert line.look()[0] == ["media 200", "mark g1:1", *media(HELLO), "mark g1:2"]
    assert set(payload[:-4]) == {"/"}  # 0xFF in base64
    assert line.bridge.first_word_ms == 200
    turn = line.bridge.transcript.get(GREETING_ITEM_ID)
    assert turn is not None
    assert turn.started_ms == 200


def test_t18b_silence_plays_while_the_model_makes_its_greeting() -> None:
    line = Line(plan_of(lead_in_ms=200)).streaming()
    assert_sent(line, twilio=["media 200", "mark g1:1"])
    line.dialled().updated().after(300).mark("g1:1")
    line.look()
    line.says(500)
    assert_sent(line, twilio=["media 500", "mark g1:2"])
    assert line.bridge.first_word_ms == 300


def test_t18b_silence_is_no_part_of_what_was_heard() -> None:
    script = [say_over("Stop it.", 600), hang_up(wait="heard", pattern=re.compile("said"))]
    plan = greeted(interruptible=True, lead_in_ms=200)
    call = VirtualCall(plan, script, latency=evenly(20)).run()
    assert_sound(call)
    spoken = [turn for turn in call.turns if turn.role == "assistant"]
    assert spoken[0].text
    assert spoken[0].item_id == GREETING_ITEM_ID


# -- filler and apology ---------------------------------------------------------------------------


def filled(**fields: Any) -> CallPlan:
    """Return a quiet plan with both clips."""
    clips = {"filler": Filler(clip(WAIT, 16_000), asked=True), "apology": clip(SORRY, 16_000)}
    return quiet_plan("look", **{**clips, **fields})


def test_a_filler_starts_at_two_seconds_of_silence_while_the_model_owes_an_answer() -> None:
    line = Line(filled()).ready().turn()
    line.look()
    line.tick(1_999)
    assert_sent(line, twilio=[])
    line.tick(1)
    assert_sent(line, twilio=[*media(WAIT), "mark g1:1"], realtime=[])


def test_a_filler_is_a_clip_while_a_tool_runs_too() -> None:
    line = Line(filled()).ready().turn().created().calls("look").done()
    line.look()
    line.tick(2_000)
    assert_sent(line, twilio=[*media(WAIT), "mark g1:1"], realtime=[])


def test_filler_then_apology_then_the_end_when_the_model_never_answers() -> None:
    line = Line(filled()).ready().turn()
    line.look()
    heard = []
    marks = 0
    for _ in range(80):
        line.tick(100).frame(100)
        sent, _, effects = line.look()
        heard += [(line.now_ms, each) for each in sent if each.startswith("media")]
        for _ in (each for each in sent if each.startswith("mark")):
            marks += 1
            line.after(440).mark(f"g1:{marks}")
        if any(isinstance(each, HangUp | CloseStream) for each in effects):
            break
    line.look()
    assert [each for _, each in heard] == media(WAIT, SORRY)
    (filler_ms, _), (apology_ms, _) = heard
    assert filler_ms == 2_000
    assert 6_000 <= apology_ms <= 6_500
    texts = [turn.text for turn in line.bridge.transcript.turns() if turn.role == "assistant"]
    assert texts == [WAIT, SORRY]


def test_a_filler_that_is_talked_over_keeps_what_was_heard_and_is_not_said_again() -> None:
    line = Line(filled()).ready().turn().tick(2_000).frame()
    line.after(200).speech("started", "u2")
    assert line.look()[1] == ["append 20"]  # the model knows nothing of it
    turn = line.bridge.transcript.get("clip-filler-1")
    assert turn is not None
    assert (turn.text, turn.text_unheard, turn.interrupted) == ("One", "moment.", True)
    nothing_said(line, "u2")
    assert line.bridge.counters.get("false_interruptions") is None


def test_words_cover_the_first_wait_for_another_session_and_a_tone_the_next() -> None:
    line = Line(filled()).ready().lost()
    line.look()
    for _ in range(3):
        line.tick(1_000)
    assert line.look()[0][:1] == media(WAIT)
    line.mark("g1:1").tick(2_000)
    assert "media 320" in line.look()[0]
    assert line.bridge.counters["fillers"] == 1


def test_the_model_that_takes_long_for_a_greeting_does_not_leave_the_caller_alone() -> None:
    plan = greeted(filler=Filler(clip(WAIT)))
    brain = PatientBrain([Rule(Step(say="Yes."), re.compile("there"))])
    script = [say("Are you there?", wait="heard", pattern=re.compile(WAIT)), hang_up()]
    call = VirtualCall(plan, script, brain, dial_ms=4_500).run()
    assert_sound(call)
    assert call.caller.heard_texts == [HELLO, WAIT, "Yes."]


def test_a_dialled_session_is_no_reason_to_forget_the_clip() -> None:
    line = Line(greeted()).streaming()
    line.look()
    line.lost()
    assert line.effects(DialModel) == []
    line.tick(100)
    assert line.bridge.transcript.get(GREETING_ITEM_ID) is not None


def test_a_model_that_refuses_costs_neither_greeting_nor_apology() -> None:
    refusing = RealtimeProfile(upgrade_status=401)
    plan = greeted(apology=clip(SORRY))
    call = VirtualCall(plan, [hang_up(wait="ms", wait_ms=60_000)], realtime=refusing).run()
    assert_sound(call)
    assert call.caller.heard_texts == [HELLO, SORRY]
    assert call.end.call_over


def test_words_then_a_tone_then_an_apology_where_no_session_ever_comes() -> None:
    silent = RealtimeProfile(created_delay_ms=60_000)
    plan = greeted(filler=Filler(clip(WAIT)), apology=clip(SORRY))
    call = VirtualCall(plan, [hang_up(wait="ms", wait_ms=60_000)], realtime=silent).run()
    assert_sound(call)
    assert call.caller.heard_texts == [HELLO, WAIT, SORRY]
    assert call.end.metrics["counters"]["hold_tones"] > 0
    assert call.end.metrics["stream_ms"] < 30_000
