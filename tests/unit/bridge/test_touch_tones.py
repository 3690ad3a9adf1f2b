"""Keys that the model presses: tones in the stream, answered for when they have been heard."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace

import pytest

from calls.bridge.effects import RecordTool
from calls.bridge.plan import CallPlan
from calls.bridge.touch_tones import keys_of, touch_tones
from calls.standins.tones import linear
from tests.unit.bridge.line import Line, function_call, quiet_plan
from tools.spec import ToolSpec

pytestmark = pytest.mark.unit

ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)


def strength(audio: bytes, hertz: int) -> float:
    """Return how much of one frequency is in some audio."""
    step = 2j * math.pi * hertz / 8000
    e = complex(math.e)
    return abs(sum(linear(code) * e ** (step * at) for at, code in enumerate(audio))) / len(audio)


@pytest.mark.parametrize(
    ("key", "tones"), [("1", (697, 1209)), ("#", (941, 1477)), ("D", (941, 1633))]
)
def test_a_key_is_its_two_tones_and_nothing_else(key: str, tones: tuple[int, int]) -> None:
    ((payload, size),) = touch_tones(key)
    audio = base64.b64decode(payload)
    assert len(audio) == size == 220 * 8
    loud = {hertz for hertz in ROWS + COLUMNS if strength(audio[: 120 * 8], hertz) > 1500}
    assert loud == set(tones)
    assert set(audio[120 * 8 :]) == {0xFF}  # T20: silence of mu-law


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("1", "1"),
        ("0w12#", "0w12#"),
        ("(555) 010-0001", "5550100001"),
        ("call me", ""),
        ("", ""),
        ("1" * 65, ""),
    ],
)
def test_what_is_a_row_of_keys(text: str, keys: str) -> None:
    assert keys_of(text) == keys


def test_a_pause_is_silence() -> None:
    assert [size // 8 for _, size in touch_tones("1w2W,")] == [220, 500, 220, 1000, 500]


def keypad_plan() -> CallPlan:
    return replace(quiet_plan(), tools=(ToolSpec(name="dtmf", kind="dtmf"),))


def pressing(line: Line, keys: str = "1w2") -> Line:
    item = {**function_call("dtmf", "c1"), "arguments": json.dumps({"keys": keys})}
    return line.realtime("response.output_item.done", response_id="r1", item=item)


def answers(line: Line) -> list[tuple[str, str]]:
    found = [each for each in line.effects(RecordTool) if isinstance(each, RecordTool)]
    return [(each.state, each.output) for each in found if each.state != "running"]


def test_keys_sound_behind_what_is_said_and_are_answered_for_when_heard() -> None:
    line = pressing(Line(keypad_plan()).ready().created().audio(300).audio_done()).done()
    twilio, _, _ = line.look()
    assert [each for each in twilio if each.startswith("media")] == [
        *("media 300", "media 220", "media 500", "media 220"),
    ]
    marks = [each.split()[1] for each in twilio if each.startswith("mark")]
    line.after(300).mark(marks[0])
    assert answers(line) == []
    line.after(940).mark(marks[-1])
    assert line.bridge.to_realtime, "the model is told, and goes on"
    assert answers(line) == [("ok", "The keys were pressed.")]


def test_keys_that_somebody_speaks_over_are_not_cut() -> None:
    line = pressing(Line(keypad_plan()).ready().created()).done()
    line.look()
    line.after(200).speech("started")
    assert "clear" not in line.look()[0]


def test_keys_that_were_cut_off_with_speech_ahead_of_them_were_not_pressed() -> None:
    line = pressing(Line(keypad_plan()).ready().created().audio(300).audio_done()).done()
    line.look()
    line.after(100).speech("started")
    assert [(state, output[:21]) for state, output in answers(line)] == [
        ("error", "The keys were cut off")
    ]


def test_what_is_no_key_is_answered_at_once() -> None:
    line = pressing(Line(keypad_plan()).ready().created(), "one").done()
    assert [state for state, _ in answers(line)] == ["error"]
    assert line.bridge.playback is not None and line.bridge.playback.silent
