"""The caller of a live run, fed with sound: when it speaks, presses keys, and gives up."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from calls.parity.live_caller import (
    GAP_MS,
    STUCK_MS,
    TOOL_GAP_MS,
    UNHEARD_MS,
    End,
    LiveCaller,
    Press,
    Say,
    Understand,
    wav_of,
)
from calls.parity.scenario_reading import scenario_read
from calls.standins.tones import encode, linear, silence
from calls.standins.transcriptions import transcription

pytestmark = pytest.mark.unit

FRAME = 160
VOICE = encode("a voice of the other side, long enough")


def caller(*turns: dict[str, Any], step: int = 0, most_ms: int = 600_000) -> LiveCaller:
    scenario = scenario_read({"caller": list(turns)}, "a scenario")
    said = [at for at, turn in enumerate(scenario.caller) if turn.action == "say"]
    return LiveCaller(scenario, dict.fromkeys(said, b"\x80" * 800), step=step, most_ms=most_ms)


def feed(mind: LiveCaller, audio: bytes) -> None:
    for at in range(0, len(audio), FRAME):
        mind.audio(audio[at : at + FRAME])


def voice(mind: LiveCaller, ms: int = 500) -> None:
    feed(mind, VOICE[: ms * 8])


def quiet(mind: LiveCaller, ms: int) -> None:
    feed(mind, silence(ms))


def deeds(mind: LiveCaller) -> list[Any]:
    found, mind.deeds = mind.deeds, []
    return found


def test_a_turn_is_said_when_the_other_side_has_been_silent_for_a_while() -> None:
    mind = caller({"say": "One."}, {"hang_up": True})
    voice(mind)
    quiet(mind, GAP_MS - 40)
    assert deeds(mind) == []
    quiet(mind, 60)
    (said,) = deeds(mind)
    assert (type(said), said.ordinal) == (Say, 0)
    mind.spoken(0)
    quiet(mind, 5_000)  # the other side's answer is waited for
    assert deeds(mind) == []
    voice(mind)
    quiet(mind, GAP_MS + 20)
    assert deeds(mind) == [End("script")]
    assert [event.kind for event in mind.events] == ["said"]


def test_a_pause_inside_a_turn_and_a_click_are_no_end_and_no_beginning() -> None:
    mind = caller({"say": "One."}, {"hang_up": True})
    voice(mind)
    quiet(mind, GAP_MS - 200)
    voice(mind)
    quiet(mind, GAP_MS - 200)
    assert deeds(mind) == []
    other = caller({"say": "One."}, {"hang_up": True})
    feed(other, VOICE[:FRAME])  # 20 ms
    quiet(other, GAP_MS * 3)
    assert deeds(other) == []


def test_after_a_turn_with_tools_the_caller_leaves_time_for_their_answer() -> None:
    mind = caller({"say": "Book it.", "expect": [{"tool": "book"}]}, {"say": "Thanks."})
    voice(mind)
    quiet(mind, GAP_MS + 20)
    mind.spoken(0)
    deeds(mind)
    voice(mind)  # let me look
    quiet(mind, TOOL_GAP_MS - 100)
    assert deeds(mind) == []
    voice(mind)  # it is booked
    quiet(mind, TOOL_GAP_MS + 20)
    assert [type(each) for each in deeds(mind)] == [Say]


def test_who_hears_nothing_at_all_begins_in_the_end() -> None:
    mind = caller({"say": "Hello?"}, {"hang_up": True})
    quiet(mind, UNHEARD_MS - 40)
    assert deeds(mind) == []
    quiet(mind, 80)
    assert [type(each) for each in deeds(mind)] == [Say]


def test_a_cue_of_words_waits_until_they_are_understood() -> None:
    mind = caller(
        {"say": "Ten.", "after": {"heard": "which TIME"}},
        {"hang_up": True},
    )
    voice(mind)
    quiet(mind, GAP_MS + 100)
    (asked,) = deeds(mind)
    assert (type(asked), asked.utterance) == (Understand, 0)
    mind.understood(0, "Hello there.")
    quiet(mind, GAP_MS)
    assert deeds(mind) == []
    voice(mind)
    quiet(mind, GAP_MS + 100)
    (asked,) = deeds(mind)
    quiet(mind, 2_000)
    assert deeds(mind) == []
    mind.understood(1, "Which time suits you?")
    quiet(mind, 20)
    assert [type(each) for each in deeds(mind)] == [Say]
    assert [event.text for event in mind.events] == [
        "Hello there.",
        "Which time suits you?",
        "Ten.",
    ]


def test_what_was_understood_is_what_was_heard() -> None:
    mind = caller({"say": "Ten.", "after": {"heard": "never"}}, {"hang_up": True})
    feed(mind, silence(300) + encode("Which time?") + silence(700))
    (asked,) = deeds(mind)
    boundary = "limit"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        "Content-Type: audio/wav\r\nContent-Transfer-Encoding: binary\r\n\r\n".encode(),
        wav_of(asked.audio),
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    answer = transcription(b"".join(parts), f"multipart/form-data; boundary={boundary}")
    assert answer == (200, {"text": "Which time?"})


def test_an_interruption_comes_over_the_other_sides_voice() -> None:
    mind = caller({"say": "Stop.", "barge_in": {"after_ms_of_agent_audio": 400}})
    voice(mind, 380)
    assert deeds(mind) == []
    voice(mind, 60)
    assert [type(each) for each in deeds(mind)] == [Say]


def test_keys_end_the_stream_and_the_next_one_goes_on_behind_them() -> None:
    turns = ({"dtmf": "12"}, {"say": "Hello."}, {"hang_up": True})
    mind = caller(*turns)
    voice(mind)
    quiet(mind, GAP_MS + 20)
    assert deeds(mind) == [Press("12")]
    assert (mind.ended, mind.step) == ("pressed", 1)
    quiet(mind, 60_000)
    assert deeds(mind) == []
    after = caller(*turns, step=mind.step)
    voice(after)
    quiet(after, GAP_MS + 20)
    (said,) = deeds(after)
    assert said.ordinal == 1


def test_a_mark_that_never_comes_back_holds_up_nothing() -> None:
    mind = caller({"say": "One."}, {"hang_up": True, "after": {"ms": 500}})
    voice(mind)
    quiet(mind, GAP_MS + 20)
    deeds(mind)
    quiet(mind, 100 + 2_000 + 40)
    assert mind.step == 1
    mind.spoken(0)  # late: it moves nothing
    assert mind.step == 1
    quiet(mind, 520)
    assert deeds(mind) == [End("script")]


def test_a_caller_who_waits_in_vain_hangs_up_and_says_that_it_was_stuck() -> None:
    mind = caller({"say": "Ten.", "after": {"heard": "never said"}})
    quiet(mind, STUCK_MS + 40)
    assert deeds(mind) == [End("stuck")]
    assert mind.ended == "stuck"


def test_a_call_without_an_end_is_ended_by_silence_or_by_its_limit() -> None:
    mind = caller({"say": "One."})
    voice(mind)
    quiet(mind, GAP_MS + 20)
    mind.spoken(0)
    quiet(mind, 8_100)
    assert deeds(mind)[-1] == End("script")
    endless = caller({"say": "One."}, most_ms=3_000)
    voice(endless, 400)
    quiet(endless, 300)
    for _ in range(20):
        voice(endless, 400)
    assert deeds(endless)[-1] == End("time")


def test_a_wav_file_has_the_samples_of_the_line() -> None:
    mulaw = bytes(range(256)).replace(b"\x7f", b"\xff")
    data = wav_of(mulaw)
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    assert list(struct.unpack("<256h", data[44:])) == [linear(code) for code in mulaw]
