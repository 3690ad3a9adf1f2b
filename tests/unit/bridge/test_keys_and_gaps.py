"""Keys that become text (T36) and silence for audio that did not come (T21)."""

from __future__ import annotations

import base64
import json
import re

import pytest

from calls.bridge.effects import RecordTurn
from calls.bridge.gaps import MOST_MS, Gaps, silence
from calls.bridge.keys import MOST_KEYS, Keys
from calls.bridge.plan import CallPlan, Greeting, Keypad
from calls.standins.caller import CallerStep, hang_up, say
from calls.standins.realtime_brain import Rule, Step
from calls.standins.twilio_media import MediaProfile
from tests.sound_call import assert_sound
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import (
    STREAM_SID,
    PatientBrain,
    VirtualCall,
    clip,
    evenly,
    plan_of,
)

pytestmark = pytest.mark.unit

PAD = Keypad(timeout_ms=1_500, delimiters=("#",))


def pressed(line: Line, keys: str) -> Line:
    """The caller presses keys, one message each."""
    for key in keys:
        body = {"track": "inbound_track", "digit": key}
        line.twilio({"event": "dtmf", "streamSid": STREAM_SID, "dtmf": body})
    return line


def told(line: Line) -> list[str]:
    """Return the texts of the items created since the last look."""
    events = [json.loads(text) for text in line.bridge.to_realtime]
    items = [each["item"] for each in events if each["type"] == "conversation.item.create"]
    return [item["content"][0]["text"] for item in items]


# -- keys -----------------------------------------------------------------------------------------


def test_t36_keys_reach_the_model_as_text_when_the_delimiter_comes() -> None:
    line = pressed(Line(quiet_plan(keypad=PAD)).ready(), "12")
    assert told(line) == []
    pressed(line, "#")
    assert told(line) == ["Keys pressed: 12"]
    (turn,) = {e.ordinal: e for e in line.bridge.effects if isinstance(e, RecordTurn)}.values()
    assert (turn.role, turn.text) == ("user", "Keys pressed: 12")
    assert_sent(line, realtime=["seed user", "create turn"])


def test_t36_an_entry_without_a_delimiter_ends_with_a_pause() -> None:
    line = pressed(Line(quiet_plan(keypad=PAD)).ready(), "1").after(1_000)
    pressed(line, "2").tick(1_499)
    assert told(line) == []
    line.tick(1)
    assert told(line) == ["Keys pressed: 12"]


def test_t36_keys_that_nobody_asked_for_are_known_and_not_answered() -> None:
    line = pressed(Line(quiet_plan()).ready(), "5").tick(2_000)
    assert_sent(line, realtime=["seed user"])


def test_keys_during_the_opening_are_answered_after_it() -> None:
    plan = plan_of(policy_line=clip("x", 16_000), greeting=Greeting(), keypad=PAD)
    line = pressed(Line(plan).ready(), "3#")
    assert_sent(line, realtime=["seed user"])
    assert "create turn" in line.mark("g1:1").look()[1]


def test_keys_before_the_model_is_there_wait_for_it() -> None:
    line = pressed(Line(quiet_plan(keypad=PAD)).streaming(), "4#")
    assert told(line) == []
    line.dialled().updated()
    assert told(line) == ["Keys pressed: 4"]


def test_an_odd_key_is_malformed_and_no_key() -> None:
    line = pressed(Line(quiet_plan(keypad=PAD)).ready(), "xé")
    line.twilio({"event": "dtmf", "streamSid": STREAM_SID, "dtmf": {"digit": "12"}})
    assert line.bridge.counters == {"twilio_malformed": 3}


def test_an_entry_is_bounded() -> None:
    keys = Keys(None)
    entries = [keys.press("7", 0) for _ in range(MOST_KEYS)]
    assert entries[-1] == "7" * MOST_KEYS
    assert keys.deadline_ms() is None
    assert Keys(PAD).press("#", 0) == ""


def test_keys_are_answered_through_the_stand_in() -> None:
    brain = PatientBrain([Rule(Step(say="Four it is."), re.compile("Keys pressed: 4"))])
    plan = plan_of(keypad=PAD)
    script = [CallerStep("dtmf", "4"), hang_up(wait="heard", pattern=re.compile("Four"))]
    call = VirtualCall(plan, script, brain, latency=evenly(20)).run()
    assert_sound(call)
    assert call.spoken[1] == ("user", "Keys pressed: 4")
    assert call.caller.heard_texts[-1] == "Four it is."


# -- gaps -----------------------------------------------------------------------------------------


def test_t21_frames_that_were_lost_are_silence() -> None:
    line = Line(quiet_plan()).ready().frame(timestamp="1000")
    line.look()
    line.after(140).frame(timestamp="1140")
    sent = [json.loads(text)["audio"] for text in line.bridge.to_realtime]
    assert base64.b64decode(sent[0]) == b"\xff" * (120 * 8)  # 0x00 would be a bang (T20)
    assert_sent(line, realtime=["append 120", "append 20"])
    line.frame(timestamp="1160").frame(timestamp="1160").frame(timestamp="900")
    assert_sent(line, realtime=["append 20"] * 3)


def test_t21_a_line_that_falls_silent_in_a_turn_is_silence_and_counted_once() -> None:
    line = Line(quiet_plan()).ready().frame(timestamp="0").speech("started")
    line.look()
    line.tick(749)
    assert_sent(line, realtime=[])
    line.tick(1)
    assert_sent(line, realtime=["append 750"])
    line.tick(250)
    assert line.look()[1] == []
    line.tick(250)
    assert_sent(line, realtime=["append 500"])
    line.frame(timestamp="1400")  # 1380 ms are missing, 1250 of them are there already
    assert_sent(line, realtime=["append 130", "append 20"])


def test_t21_silence_ends_with_the_turn_and_after_ten_seconds() -> None:
    line = Line(quiet_plan()).ready().frame().speech("started").tick(750)
    line.speech("stopped")
    line.look()
    line.tick(900)
    assert line.look()[1] == []
    gaps = Gaps()
    gaps.before_frame(0, 160, 0)
    filled, now_ms = 0, 0
    while (due_ms := gaps.deadline_ms()) is not None:
        now_ms = due_ms
        filled += gaps.on_silent_line(now_ms)
    assert filled == MOST_MS
    assert now_ms < MOST_MS + 500
    assert gaps.on_silent_line(now_ms + 5_000) == 0


def test_t21_after_a_sleep_of_our_own_the_line_is_read_before_it_counts_as_silent() -> None:
    gaps = Gaps()
    gaps.before_frame(0, 160, 0)
    assert gaps.on_silent_line(1_125) == 0  # the timer was due at 750
    assert gaps.deadline_ms() == 1_225
    for number in range(1, 56):  # what lay in the socket
        assert gaps.before_frame(number * 20, 160, 1_126) == 0
    assert gaps.deadline_ms() == 1_126 + 750
    assert gaps.on_silent_line(3_000) == 0
    assert gaps.on_silent_line(3_100) == 3_100 - 1_126  # nothing lay there


@pytest.mark.parametrize("timestamp", ["", "x", "-5", "1" * 16, "٣", None, 7])
def test_a_timestamp_that_is_none_opens_no_gap(timestamp: object) -> None:
    line = Line(quiet_plan()).ready().frame(timestamp="0").frame(timestamp=timestamp)
    line.frame(timestamp="9000")
    assert line.bridge.counters.get("padded_bytes") is None


def test_a_gap_is_never_longer_than_ten_seconds_and_comes_in_pieces() -> None:
    gaps = Gaps()
    gaps.before_frame(0, 160, 0)
    assert gaps.before_frame(3_600_000, 160, 20) == MOST_MS
    assert [size for _, size in silence(2_040)] == [8_000, 8_000, 320]
    assert silence(0) == []


def test_t21_a_turn_whose_end_is_lost_is_answered_through_the_stand_in() -> None:
    """Only the frames after the words are lost; without them the detector waits for ever."""
    plan: CallPlan = plan_of(greeting=Greeting())
    script = [say("Hello.", wait="ms", wait_ms=100), hang_up(wait="heard")]
    call = VirtualCall(plan, script, latency=evenly(20), media=MediaProfile(gap_frames=(13, 400)))
    call.run()
    assert call.faults == []
    assert call.caller.stuck_step is None
    assert call.end.metrics["counters"]["padded_bytes"] > 0
    assert call.spoken[-1][0] == "assistant"
    assert call.end.metrics["counters"].get("retries") is None
