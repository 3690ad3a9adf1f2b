"""A session of the model that is lost in the middle of a call, by hand: what the next one is told,
what is asked of it, and when the bridge gives up (openai_realtime.md 7.4).
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from calls.bridge.effects import CloseModel, CloseStream, DialModel, HangUp, RecordTool, RecordTurn
from calls.bridge.holding import hold_tone, mulaw
from calls.bridge.model import configuration
from calls.bridge.plan import Greeting, HistoryItem
from calls.bridge.reasons import EndCause
from calls.bridge.sessions import BACKOFF_MS
from calls.bridge.toolbox import LOST_RESULT
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.unit.bridge.line import mulaw as mulaw_b64
from tests.virtual_call import clip, plan_of

pytestmark = pytest.mark.unit


def talking(**plan: Any) -> Line:
    """Return a line on which the caller has asked and been answered, to the end."""
    line = Line(quiet_plan("look", "endCall", **plan)).ready()
    line.turn("u1").realtime(
        "conversation.item.input_audio_transcription.completed", item_id="u1", transcript="I am Ada"
    )
    line.created().text("Hello Ada.").audio(200).audio_done().done().after(200)
    marks = [each for each in line.look()[0] if each.startswith("mark")]
    for mark in marks:
        line.mark(mark.split()[1])
    line.look()
    return line


def seeds(line: Line) -> list[tuple[str, str]]:
    """Return (role or type, text) of the items that wait to be sent; nothing is forgotten."""
    events = [json.loads(text) for text in line.bridge.to_realtime]
    items = [each["item"] for each in events if each["type"] == "conversation.item.create"]
    return [
        (item["role"], item["content"][0].get("text") or item["content"][0]["audio"])
        if item["type"] == "message"
        else (item["type"], item.get("output", item.get("arguments")))
        for item in items
    ]


def turns(line: Line) -> list[tuple[str, str, str]]:
    """Return (role, text, unheard) of the transcript so far."""
    return [(turn.role, turn.text, turn.text_unheard) for turn in line.bridge.transcript.turns()]


# ---- coming back ------------------------------------------------------------------------------


def test_a_session_back_in_under_a_second_is_told_the_conversation_and_says_nothing() -> None:
    line = talking().lost()
    assert_sent(line, twilio=[], realtime=[])
    line.back(900)
    assert seeds(line) == [("user", "I am Ada"), ("assistant", "Hello Ada.")]
    assert_sent(line, twilio=[], realtime=["seed user", "seed assistant"])


def test_a_gap_that_was_noticed_is_excused_in_one_line() -> None:
    line = talking().lost().back(1_000)
    event = json.loads(line.bridge.to_realtime[-1])
    assert "apology" in event["response"]["instructions"]
    assert_sent(line, realtime=["seed user", "seed assistant", "create resume"])


def test_the_configuration_of_the_next_session_takes_turns_at_once() -> None:
    plan = plan_of(greeting=Greeting("exact", "Hi"), policy_line=clip("Recorded."))
    line = Line(plan).streaming().dialled().updated()
    line.bridge.realtime_closed(1006, 0)
    (held,) = line.effects(DialModel)
    assert held == DialModel(2, configuration(plan))  # nobody interrupts the opening
    line = talking()
    line.bridge.realtime_closed(1006, line.now_ms)
    (dial,) = line.effects(DialModel)
    assert isinstance(dial, DialModel)
    detection = json.loads(dial.config_text)["session"]["audio"]["input"]["turn_detection"]
    assert (detection["create_response"], detection["interrupt_response"]) == (True, True)


def test_an_opening_that_ends_in_the_gap_gives_the_next_session_its_turns() -> None:
    line = Line(plan_of(greeting=Greeting("exact", "Good morning."))).ready()
    line.created().text("Good morning.").audio(100).audio_done().done().lost()
    line.after(100).mark("g1:1")  # it was dialled to leave the caller alone
    assert line.bridge._opening.over
    line.back()
    assert "update cfg-2" in line.look()[1]
    assert not line.bridge._server_turns
    line.updated()
    assert line.bridge._server_turns


def test_o21_caller_audio_of_the_gap_waits_for_the_confirmation_behind_the_history() -> None:
    line = talking().lost().frame(20).after(100).frame(40)
    line.dialled(config_sent=True)
    assert_sent(line, realtime=[])
    line.updated()
    assert_sent(line, realtime=["seed user", "seed assistant", "append 20", "append 40"])
    line.frame()
    assert_sent(line, realtime=["append 20"])


def test_the_gap_keeps_ten_seconds_of_audio_and_counts_the_rest() -> None:
    line = talking().lost()
    for _ in range(11):
        line.frame(1_000)
    caller = line.bridge._caller
    assert (caller.kept_bytes, caller.dropped_bytes) == (80_000, 8_000)


def test_words_that_the_lost_session_had_not_told_are_heard_again_and_stay_one_turn() -> None:
    line = talking().speech("started", "u2").frame(300).frame(300)
    line.speech("stopped", "u2").speech("committed", "u2")
    line.look()
    line.lost().frame(20).back()
    sent = assert_sent(
        line, realtime=["seed user", "seed assistant", "append 300", "append 300", "append 20"]
    )
    assert sent == []
    line.turn("v1").realtime(
        "conversation.item.input_audio_transcription.completed", item_id="v1", transcript="My key"
    )
    recorded = [each for each in line.effects(RecordTurn) if isinstance(each, RecordTurn)]
    assert {turn.ordinal for turn in recorded} == {2}
    assert turns(line)[-1] == ("user", "My key", "")


def test_words_that_are_known_are_not_heard_twice() -> None:
    line = talking().speech("started", "u2").frame(300).frame(300)
    line.speech("stopped", "u2").frame(100).frame(100).speech("committed", "u2").realtime(
        "conversation.item.input_audio_transcription.completed", item_id="u2", transcript="My key"
    )
    line.look()
    line.lost().back()
    assert seeds(line)[-1] == ("user", "My key")
    # The answer was still owed and is asked for; of the audio only the silence behind the turn
    # comes again, because the beginning of speech may be in it.
    assert line.look()[1][-3:] == ["create turn", "append 100", "append 100"]


def test_an_answered_turn_without_text_is_not_answered_twice() -> None:
    line = talking().speech("started", "u2").frame(300).speech("stopped", "u2")
    line.speech("committed", "u2").says(100, "a2", "r2")
    line.look()
    line.lost().back()
    assert seeds(line)[2:] == [("user", mulaw_b64(300))]  # in its place, as the audio it is
    sent = line.look()[1]
    assert not [each for each in sent if each.startswith(("create", "append"))]


def test_words_given_in_one_go_survive_a_second_loss_before_the_model_spoke_of_them() -> None:
    line = talking().lost()
    for _ in range(3):
        line.frame(1_000)
    line.back()
    line.look()
    line.lost().tick(250).back()
    assert line.look()[1][-3:] == ["append 1000"] * 3


# ---- what was going on ------------------------------------------------------------------------


def cut_in_the_middle() -> Line:
    """Return a line whose model was lost while it spoke."""
    line = (
        talking()
        .turn("u2")
        .realtime(
            "conversation.item.input_audio_transcription.completed",
            item_id="u2",
            transcript="When?",
        )
    )
    line.created("r2").text("We open at nine and we close at five every day.", "a2", "r2")
    line.audio(1_000, "a2", "r2")
    line.look()
    return line.lost()


def test_speech_that_was_cut_is_gone_on_with_from_where_its_audio_ends() -> None:
    line = cut_in_the_middle().back()
    assert seeds(line)[2:] == [("user", "When?"), ("assistant", "We open at nine and")]
    create = json.loads(line.bridge.to_realtime[-1])
    assert "Go on from exactly there" in create["response"]["instructions"]
    assert "apology" not in create["response"]["instructions"]
    assert line.look()[1][-1] == "create turn"
    line.created("s1").audio(500, "b1", "s1")
    twilio, realtime, _ = line.look()
    assert (twilio[0], realtime) == ("media 500", [])
    assert turns(line)[3] == ("assistant", "We open at nine and", "we close at five every day.")


def test_a_cut_that_was_noticed_is_excused_in_the_same_breath() -> None:
    line = cut_in_the_middle().back(1_500)
    creates = [json.loads(t) for t in line.bridge.to_realtime if '"response.create"' in t]
    assert len(creates) == 1
    assert "apology" in creates[0]["response"]["instructions"]
    assert "Go on from exactly there" in creates[0]["response"]["instructions"]


def test_interrupting_what_an_earlier_session_said_corrects_its_text() -> None:
    """The item is unknown to the new session: it is told again with what was heard of it."""
    line = cut_in_the_middle().back()
    line.look()
    line.after(200).speech("started", "v1")
    told = seeds(line)
    twilio, realtime, _ = line.look()
    assert twilio == ["clear"]
    assert realtime == ["delete said-2-4", "seed assistant"]
    assert told[0][0] == "assistant"
    assert "We open at nine".startswith(told[0][1])
    assert not [each for each in realtime if each.startswith("truncate")]


def test_a_response_without_a_sound_is_asked_for_again_once() -> None:
    line = (
        talking()
        .turn("u2")
        .realtime(
            "conversation.item.input_audio_transcription.completed",
            item_id="u2",
            transcript="When?",
        )
    )
    line.created("r2")
    line.look()
    line.lost().back()
    assert line.look()[1][-1] == "create turn"
    line.created("s1")
    assert_sent(line, realtime=[])


def test_words_of_our_own_are_asked_for_again_as_they_were() -> None:
    line = Line(plan_of(greeting=Greeting("exact", "Good morning.", interruptible=True))).ready()
    line.lost().back()
    create = json.loads(line.bridge.to_realtime[0])
    assert "Good morning." in create["response"]["instructions"]
    assert_sent(line, realtime=["create greeting"])


def test_no_doubled_greeting_once_it_was_heard() -> None:
    line = Line(plan_of(greeting=Greeting("exact", "Good morning."))).ready()
    line.created().text("Good morning.").audio(100).audio_done().done().mark("g1:1")
    line.look()
    line.lost().back()
    assert_sent(line, realtime=["seed assistant"])


def test_a_session_lost_in_a_goodbye_is_not_replaced() -> None:
    line = talking().created("r2").audio(800, "a2", "r2").audio_done("a2", "r2")
    line.calls("endCall", "c1", "r2").done("r2")
    line.look()
    line.bridge.realtime_closed(1006, line.now_ms)
    assert line.effects(DialModel) == []


# ---- tools ------------------------------------------------------------------------------------


def test_a_result_in_the_gap_is_told_with_its_call_and_answered_once() -> None:
    line = talking().created("r2").calls("look", "c1", "r2").done("r2")
    line.look()
    line.lost().after(100).tool("c1", "Found.")
    assert_sent(line, realtime=[])
    line.back()
    assert seeds(line)[2:] == [("function_call", "{}"), ("function_call_output", "Found.")]
    assert line.look()[1][-3:] == ["call c1", "output c1", "create tool"]
    line.tool("c1", "Found.")
    assert_sent(line, realtime=[])


def test_o16_a_result_after_the_gap_finds_its_call_in_the_new_session() -> None:
    line = talking().created("r2").calls("look", "c1", "r2").done("r2")
    line.look()
    line.lost().back()
    assert line.look()[1][-1] == "call c1"
    line.tool("c1", "Found.")
    assert_sent(line, realtime=["output c1", "create tool"])
    assert line.bridge.counters.get("late_tool_results") is None


def test_o17_an_id_that_we_may_not_create_is_replaced_on_both_sides() -> None:
    odd = "call." + "x" * 40
    line = talking().created("r2").calls("look", odd, "r2").done("r2")
    line.look()
    line.lost().back()
    call = json.loads(line.bridge.to_realtime[-1])["item"]["call_id"]
    line.look()
    line.tool(odd)
    output = json.loads(line.bridge.to_realtime[0])["item"]["call_id"]
    assert call == output
    assert len(call) <= 32


def test_a_call_that_was_cut_off_by_the_end_of_a_stream_runs_again_where_that_is_harmless() -> None:
    history = (
        HistoryItem("user", "Find it."),
        HistoryItem("tool", LOST_RESULT, "c0", "endCall", "{}"),
        HistoryItem("tool", "", "c1", "look", '{"a":1}', pending=True),
    )
    line = Line(quiet_plan("look", resumed=True, history=history)).dialled().streaming().updated()
    records = line.effects(RecordTool)
    assert [
        (each.tool_call_id, each.state) for each in records if isinstance(each, RecordTool)
    ] == [("c1", "running")]
    line.created("r1").done("r1").tool("c1", "Here.")
    assert_sent(line, realtime=["output c1", "create tool"])


def test_what_was_spent_is_one_sum_over_all_sessions() -> None:
    line = talking()
    usage = {"output_token_details": {"audio_tokens": 100, "text_tokens": 0}}
    line.created("r2").done("r2", usage=usage)
    before = line.bridge.spend_microusd
    line.lost().back().created("s1").done("s1", usage=usage)
    assert line.bridge.spend_microusd == 2 * before > 0


# ---- giving up --------------------------------------------------------------------------------


def dials(line: Line) -> list[int]:
    """Return the sessions dialled since the last look."""
    return [each.session for each in line.effects(DialModel) if isinstance(each, DialModel)]


def test_attempts_back_off_and_are_counted() -> None:
    line = talking(apology=None)
    line.bridge.realtime_closed(1006, line.now_ms)
    assert dials(line) == [2]
    for number, pause_ms in enumerate(BACKOFF_MS[1:], start=3):
        line.bridge.realtime_closed(500, line.now_ms)
        assert dials(line) == []
        line.frame().tick(pause_ms - 1)
        assert dials(line) == []
        line.tick(1)
        assert dials(line) == [number]
    line.bridge.realtime_closed(500, line.now_ms)
    line.tick(3_000)  # the tone is heard out
    assert line.effects(CloseStream, HangUp) == [CloseStream("apologise")]


@pytest.mark.parametrize(("status", "cause"), [(401, "MODEL_KEY"), (404, "MODEL_FAILED")])
def test_o19_a_refusal_that_never_heals_ends_the_attempts_at_once(status: int, cause: str) -> None:
    line = talking(apology=clip("Sorry.", 16_000)).lost()
    line.bridge.realtime_closed(status, line.now_ms)
    twilio, _, _ = line.look()
    line.after(500).mark(twilio[-1].split()[1])
    assert line.effects(HangUp) == [HangUp(EndCause[cause].ended_reason)]


def test_a_fatal_error_of_the_next_session_ends_the_attempts_at_once() -> None:
    line = talking(apology=None).lost()
    line.bridge.realtime_opened(line.now_ms, config_sent=True)
    line.error("insufficient_quota")
    assert line.effects(CloseModel, CloseStream) == [CloseModel(2), CloseStream("apologise")]


def test_an_attempt_that_hangs_is_dropped_and_made_again() -> None:
    line = talking().lost()
    line.bridge.realtime_opened(line.now_ms, config_sent=True)
    line.tick(2_999)
    assert dials(line) == []
    line.tick(1)
    assert line.effects(CloseModel) == [CloseModel(2)]
    line.tick(250)
    assert dials(line) == [3]
    line.bridge.receive_realtime('{"type":"session.created"}', line.now_ms, session=2)
    line.bridge.realtime_closed(1006, line.now_ms, session=2)  # nobody waits for it any more
    assert line.effects(DialModel, CloseStream) == []


def test_sessions_that_die_one_after_the_other_are_not_replaced_for_ever() -> None:
    line = talking(apology=None)
    for _ in range(len(BACKOFF_MS)):
        line.lost()
        line.tick(max(BACKOFF_MS)).look()
        line.back(10)
    line.look()
    line.bridge.realtime_closed(1006, line.now_ms)
    line.tick(3_000)
    assert line.effects(CloseStream, DialModel) == [CloseStream("apologise")]


def test_a_session_that_lived_gives_all_attempts_back() -> None:
    line = talking(apology=None)
    for _ in range(3 * len(BACKOFF_MS)):
        line.lost().back(10).after(20_000).frame()
    assert line.effects(CloseStream) == []


def test_o18_an_expired_session_is_replaced_without_waiting_for_its_close() -> None:
    line = talking().error("session_expired")
    assert [type(each) for each in line.effects(CloseModel, DialModel)] == [DialModel, CloseModel]
    line.bridge.realtime_closed(1001, line.now_ms, session=1)
    line.back()
    assert line.look()[1] == ["seed user", "seed assistant"]


def test_what_an_earlier_session_still_says_counts_no_more() -> None:
    line = talking().lost().back()
    line.look()
    delta = json.dumps(
        {"type": "response.output_audio.delta", "response_id": "r1", "item_id": "a1",
         "delta": base64.b64encode(b"\x55" * 800).decode()}
    )  # fmt: skip
    line.bridge.receive_realtime(delta, line.now_ms, session=1)
    line.bridge.realtime_closed(1006, line.now_ms, session=1)
    assert assert_sent(line, twilio=[], realtime=[]) == []


# ---- the tone ---------------------------------------------------------------------------------


def test_a_long_gap_is_not_silent() -> None:
    line = talking().lost().tick(1_999)
    assert line.look()[0] == []
    line.tick(1)
    twilio = line.look()[0]
    assert twilio == ["media 320", "mark g1:2"] or twilio[0] == "media 320"
    line.after(320).mark(twilio[-1].split()[1]).tick(1_999)
    assert line.look()[0] == []
    line.tick(1)
    assert line.look()[0][0] == "media 320"
    assert [turn[0] for turn in turns(line)] == ["user", "assistant"]  # it is no turn


def test_the_tone_is_soft_valid_mu_law() -> None:
    payload, size = hold_tone()
    audio = base64.b64decode(payload)
    assert len(audio) == size == 2_560
    assert (mulaw(0), mulaw(32_767), mulaw(-32_768)) == (0xFF, 0x80, 0x00)
    loudest = min(byte & 0x7F for byte in audio)
    assert 0x30 < loudest < 0x50  # about a fourteenth of full scale
