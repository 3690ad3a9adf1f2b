"""A turn of the caller that is undecided when the model's session is lost: it is heard again, so
nothing of it may be decided twice, and nothing may wait for it for ever (ADR 0021).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.bridge.effects import DialModel, HangUp
from calls.bridge.gate import TEXT_WAIT_MS
from calls.bridge.plan import CallPlan, Greeting, Interruption
from calls.bridge.turns import NOISE_MS
from calls.wire.realtime import TurnDetection
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import plan_of

pytestmark = pytest.mark.unit

TEXT = "conversation.item.input_audio_transcription.completed"


def guarded(*tools: str) -> CallPlan:
    """Return a plan in which two words interrupt, and a sound does not."""
    plan = quiet_plan(*tools, interruption=Interruption(words=2))
    detection = TurnDetection(interrupt_response=False)
    return replace(plan, session=replace(plan.session, turn_detection=detection))


def over(line: Line, item_id: str = "u1") -> Line:
    """The turn has ended."""
    return line.speech("stopped", item_id).speech("committed", item_id)


def talked_over(plan: CallPlan | None = None) -> Line:
    """Return a call in which the caller has begun to talk over 4 s of speech."""
    line = Line(plan or guarded()).ready().says(4_000).after(500).speech("started").frame(200)
    line.look()
    return line


def asked(line: Line) -> list[str]:
    """Return the responses asked for since the last look."""
    return [each for each in line.look()[1] if each.startswith("create")]


# -- the gate -------------------------------------------------------------------------------------


def test_who_knocked_at_a_lost_session_knocks_again_at_the_next() -> None:
    line = talked_over().after(200).lost().tick(600)
    assert_sent(line, twilio=[])  # whether they went on speaking nobody knows
    line.back(100).tick()
    assert "append 200" in line.look()[1]
    line.speech("started", "v1").tick(599)
    assert_sent(line, twilio=[])
    line.tick(1)
    assert line.look()[0] == ["clear"]
    assert line.bridge.counters["barge_ins"] == 1


def test_a_turn_whose_text_was_lost_is_answered_once() -> None:
    line = over(talked_over().after(200)).lost().back(300)
    line.look()
    line.tick(TEXT_WAIT_MS)
    assert asked(line) == []  # it is heard again, and decided then
    over(line.speech("started", "v1"), "v1").realtime(TEXT, item_id="v1", transcript="And?")
    assert asked(line) == ["create turn"]


def test_the_end_of_an_earlier_response_is_no_answer_to_words_spoken_meanwhile() -> None:
    line = Line(guarded()).ready().created().audio(4_000).after(500)
    over(line.speech("started").frame(200)).audio_done().done()
    line.look()
    line.lost().back(300)
    assert line.look()[1][-1] == "append 200"  # heard again, to be answered


def test_the_end_of_a_call_that_has_lost_its_model_is_final() -> None:
    line = talked_over(guarded("endCall")).created("r2").calls("endCall", "c1", "r2").done("r2")
    line.bridge.realtime_closed(1006, line.now_ms)
    line.tick(600)
    assert line.bridge._ending is not None
    assert line.look()[0] == []
    line.tick(6_000)
    assert len(line.effects(HangUp, DialModel)) == 1


# -- noises ---------------------------------------------------------------------------------------


def cut_off() -> Line:
    """Return a call in which speech has just been cut off by a sound."""
    line = Line(quiet_plan()).ready().created().text("one two three four").audio(400)
    line.audio_done().done().after(250).speech("started").frame(100)
    line.look()
    return line


@pytest.mark.parametrize("ended", [False, True])
def test_a_noise_heard_again_is_a_noise_again(ended: bool) -> None:
    line = cut_off()
    line = (over(line) if ended else line).lost().back(300)
    line.look()
    line.speech("started", "v1").tick(NOISE_MS)
    assert asked(line) == []
    over(line, "v1").realtime(TEXT, item_id="v1", transcript="")
    assert line.look()[1] == ["create continue"]


@pytest.mark.parametrize("ended", [False, True])
def test_a_noise_that_the_next_session_does_not_hear_resumes_what_it_cut_off(ended: bool) -> None:
    line = cut_off()
    line = (over(line) if ended else line).lost()
    line.tick(NOISE_MS).tick(100)
    assert_sent(line, realtime=[])  # not in the gap: nobody knows yet what it was
    line = cut_off().lost().back(300)
    line.look()
    line.tick(NOISE_MS - 1)
    assert_sent(line, realtime=[])
    line.tick(1)
    assert line.look()[1] == ["create continue"]


def test_words_heard_again_make_it_an_interruption() -> None:
    line = over(cut_off()).lost().back(300)
    over(line.speech("started", "v1"), "v1").realtime(TEXT, item_id="v1", transcript="Wait.")
    line.look()
    line.created("s1").audio(100, "b1", "s1").tick(2 * NOISE_MS)
    assert_sent(line, realtime=[])


# -- responses ------------------------------------------------------------------------------------


def test_words_of_ours_that_the_caller_has_cut_are_not_said_again() -> None:
    plan = plan_of(greeting=Greeting("exact", "Good morning.", interruptible=True))
    line = Line(plan).ready().created().text("Good morning.").audio(400).after(200)
    over(line.speech("started").frame(100))
    line.look()
    line.lost().back(300)
    assert "create greeting" not in line.look()[1]


def test_words_of_ours_that_have_all_come_are_not_said_again() -> None:
    plan = plan_of(greeting=Greeting("exact", "Good morning.", interruptible=True))
    line = Line(plan).ready().created().text("Good morning.").audio(400).audio_done()
    line.look()
    line.lost().back(300)
    assert asked(line) == []
    assert line.bridge._opening.greeting_done


# -- turns that the next session hears otherwise ---------------------------------------------------


def spoke(line: Line, item_id: str, from_ms: int, to_ms: int) -> Line:
    """Speech at a place of the session's audio, with the audio since the last one."""
    line.realtime("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=from_ms)
    line.frame(to_ms - from_ms)
    line.realtime("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=to_ms)
    return line.speech("committed", item_id)


def user_turns(line: Line) -> list[tuple[int, str]]:
    """Return (ordinal, id) of what the caller has said."""
    turns = line.bridge.transcript.turns()
    return [(turn.ordinal, turn.item_id) for turn in turns if turn.role == "user"]


def two_turns_lost() -> Line:
    """Return a call whose caller spoke twice, 400 ms each with as much between; all is lost."""
    line = spoke(Line(quiet_plan()).ready(), "u1", 0, 400)
    spoke(line.frame(400), "u2", 800, 1_200)
    return line.lost().back(300)


def test_two_turns_heard_again_as_one_leave_nothing_to_the_next() -> None:
    line = two_turns_lost()
    over(
        line.realtime("input_audio_buffer.speech_started", item_id="v1", audio_start_ms=0), "v1"
    ).realtime(TEXT, item_id="v1", transcript="My name is Ada")
    assert user_turns(line) == [(0, "v1"), (1, "u2")]
    spoke(line, "v2", 9_000, 9_400)  # said later: nobody has heard it before
    assert user_turns(line) == [(0, "v1"), (1, "u2"), (2, "v2")]


def test_a_turn_that_is_not_heard_again_does_not_take_the_id_of_another() -> None:
    line = two_turns_lost()
    line.realtime("input_audio_buffer.speech_started", item_id="v1", audio_start_ms=800)
    assert user_turns(line) == [(0, "u1"), (1, "v1")]


def test_a_turn_of_the_gap_is_new_though_it_is_given_in_one_go() -> None:
    line = spoke(Line(quiet_plan()).ready().frame(2_000), "u1", 2_000, 2_400)
    line.frame(100).lost().frame(600).back(300)
    line.realtime("input_audio_buffer.speech_started", item_id="v1", audio_start_ms=700)
    assert user_turns(line) == [(0, "u1"), (1, "v1")]


def test_what_was_never_heard_again_does_not_silence_the_excuse_for_the_next_gap() -> None:
    line = spoke(Line(quiet_plan()).ready(), "u1", 0, 400).lost().back(300)
    line.frame(5_000).says(200).after(200).mark("g1:1").tick(NOISE_MS)
    line.look()
    line.lost().tick(250).back(1_500)
    assert "create resume" in line.look()[1]


def test_a_second_loss_before_the_first_word_keeps_whose_turn_it_is() -> None:
    line = spoke(Line(quiet_plan()).ready(), "u1", 0, 400).frame(500).lost().back(300)
    line.frame(20).lost().tick(250).back(300)
    assert line.look()[1][-3:] == ["append 400", "append 500", "append 20"]
    line.realtime("input_audio_buffer.speech_started", item_id="w1", audio_start_ms=0)
    assert user_turns(line) == [(0, "w1")]
