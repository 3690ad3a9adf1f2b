"""The caller's voice cut into turns, and what each stack understood of it, second by second."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
import struct

import pytest

from calls.conversation import Entry, Speech, ToolUse, conversation
from calls.parity.fields import Marks
from calls.parity.past import script_of
from calls.parity.rehear import (
    LEAD_MS,
    Span,
    audio_of,
    is_silent,
    mulaw_of,
    spans_of,
    understood,
)
from calls.parity.replay import Answered, OurCall, Plan, Replayed
from calls.standins.realtime_brain import CallTool, Part, Speak, Turn
from calls.standins.tones import encode, linear, silence, utterance_ms
from tests.replays import Rehearsal, script

pytestmark = pytest.mark.unit

MARKS: Marks = {"book": {"phone": "phone"}}


# ---- sound ------------------------------------------------------------------------------------


def test_sound_of_sixteen_bits_becomes_the_mu_law_it_came_from() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)
    frames = b"".join(struct.pack("<h", linear(code)) for code in codes)
    assert mulaw_of(frames) == codes


def test_the_extremes_and_both_sides_of_zero_are_in_range() -> None:
    frames = struct.pack("<5h", -32_768, -1, 0, 1, 32_767)
    lowest, below, zero, above, highest = (linear(code) for code in mulaw_of(frames))
    assert lowest == -highest == -32_124
    assert abs(below) <= 8 and abs(zero) <= 8 and abs(above) <= 8


def test_one_channel_of_two_is_taken() -> None:
    caller, agent = encode("I am the caller"), encode("I am the agent.")
    frames = b"".join(
        struct.pack("<2h", linear(a), linear(b)) for a, b in zip(caller, agent, strict=True)
    )
    assert mulaw_of(frames, channels=2, channel=0) == caller
    assert mulaw_of(frames, channels=2, channel=1) == agent
    with pytest.raises(ValueError, match="no channel 2"):
        mulaw_of(frames, channels=2, channel=2)


def test_sixteen_kilohertz_are_halved_and_odd_rates_refused() -> None:
    sound = encode("Hello.")
    frames = b"".join(struct.pack("<2h", linear(code), linear(code)) for code in sound)
    assert mulaw_of(frames, rate=16_000) == sound
    with pytest.raises(ValueError, match="44100 Hz"):
        mulaw_of(frames, rate=44_100)


def test_a_channel_on_which_nobody_spoke_is_known() -> None:
    assert is_silent(silence(500)) and is_silent(bytes([0x7F]) * 80)
    assert not is_silent(silence(500) + encode("x"))


# ---- turns ------------------------------------------------------------------------------------


def test_turns_are_found_in_a_recording_that_began_later_than_the_call() -> None:
    past = script(("bot", "Hello."), ("user", "One."), ("bot", "Yes."), ("user", "Two."))
    spans = spans_of(past, offset_ms=500, length_ms=10_000)
    assert spans == {0: Span(200, 1_800), 1: Span(2_200, 3_800)}


def test_a_turn_ends_with_the_recording_and_one_that_is_not_in_it_is_left_out() -> None:
    past = script(("user", "One."), ("bot", "Yes."), ("user", "Two."))
    assert spans_of(past, offset_ms=0, length_ms=700) == {0: Span(0, 700)}
    assert spans_of(past, offset_ms=2_500, length_ms=5_000) == {1: Span(0, 800)}


def test_turns_never_overlap_where_callers_speak_quickly() -> None:
    speech = [
        Speech("user", "One.", 0, 5_000, 0),
        Speech("assistant", "Y.", 900, 1_000, 1),
        Speech("user", "Two.", 1_000, 2_000, 2),
    ]
    spans = spans_of(script_of(conversation(speech)), offset_ms=0, length_ms=9_000)
    assert spans == {0: Span(0, 700), 1: Span(700, 2_400)}


def test_a_turn_whose_end_is_not_known_is_as_long_as_its_words() -> None:
    speech = [Speech("user", "x" * 30, 1_000, None, 0), Speech("assistant", "Y", 9_000, None, 1)]
    assert spans_of(script_of(conversation(speech)), offset_ms=0, length_ms=20_000) == {
        0: Span(700, 3_410)
    }


# ---- what was understood ----------------------------------------------------------------------


class Listener:
    """A model that books whatever number it hears."""

    def reply(self, turn: Turn) -> list[Part]:
        digits = "".join(each for each in turn.heard or "" if each.isdigit())
        if len(digits) >= 7 and not turn.outputs:
            return [CallTool("book", json.dumps({"phone": digits}))]
        return [Speak("Yes.")]


def recorded(
    chance: random.Random, count: int
) -> tuple[tuple[Entry, ...], bytes, dict[int, tuple[str, str, float]]]:
    """Return a call of ``count`` numbers, its caller's channel, and where a digit was misheard.

    The caller says every number right. In the log of some turns one digit is another one:
    exchange -> (number in the log, number said, the second at which its first digit is heard).
    """
    sound = bytearray()
    speech: list[Speech] = []
    tools: list[ToolUse] = []
    planted: dict[int, tuple[str, str, float]] = {}
    for index in range(count):
        said = "555" + "".join(chance.choice("0123456789") for _ in range(7))
        logged = said
        if chance.random() < 0.4:
            place = chance.randrange(3, 10)
            other = chance.choice([digit for digit in "0123456789" if digit != said[place]])
            logged = said[:place] + other + said[place + 1 :]
        before = "Well, " * chance.randrange(4)
        text = f"{before}my number is {{}}, please call me back."
        sound += silence(chance.randrange(1_500, 4_000))
        start_ms = len(sound) // 8
        spoken = text.format(said)
        sound += encode(spoken)
        if logged != said:
            at = (2 + text.index("{")) * 20  # two blocks of preamble, 20 ms a letter
            planted[index] = (logged, said, (start_ms + at) / 1000)
        end_ms = start_ms + utterance_ms(spoken)
        # A log's times are those of a detector of voice: a little off.
        off_ms = chance.randrange(-150, 150)
        speech.append(Speech("user", text.format(logged), start_ms + off_ms, end_ms, 2 * index))
        tools.append(
            ToolUse(f"c{index}", "book", json.dumps({"phone": logged}), end_ms + 300, 10, "ok")
        )
        sound += silence(1_500)
        speech.append(Speech("assistant", "Noted.", end_ms + 400, end_ms + 900, 2 * index + 1))
    return conversation(speech, tools), bytes(sound), planted


@pytest.mark.parametrize("seed", [1, 2])
def test_planted_errors_in_phone_digits_are_all_listed_at_the_right_second(seed: int) -> None:
    entries, sound, planted = recorded(random.Random(seed), 25)
    past = script_of(entries)
    spans = spans_of(past, offset_ms=0, length_ms=len(sound) // 8)
    audio = audio_of(sound, spans)

    def heard(plan: Plan) -> Plan:
        # As a replay does not stop at a wrong number here, every turn is reached.
        return dataclasses.replace(plan, audio=audio, alike=lambda *_: True, pace=50.0)

    rehearsal = Rehearsal(past, Listener(), alter=heard)
    result = rehearsal.run()
    assert (rehearsal.refusals, result.cut) == ([], "")
    found = understood(past, result, spans, MARKS)
    assert len(planted) >= 5
    by_words = {each.exchange: each for each in found.differences if each.where == "words"}
    by_tool = {each.exchange: each for each in found.differences if each.where == "book.phone"}
    assert set(by_words) == set(by_tool) == set(planted)
    for exchange, (logged, said, second) in planted.items():
        for each in (by_words[exchange], by_tool[exchange]):
            assert (each.old, each.new, each.kind) == (logged, said, "phone")
            assert each.start_seconds <= second <= each.end_seconds
            assert each.end_seconds - each.start_seconds < 4
    wrong = len(planted)
    assert found.agree == {"phone": (50 - 2 * wrong, 50)}


def test_what_the_log_has_as_digits_and_we_hear_as_words_is_no_difference() -> None:
    past = script(("user", "It is 555 010 2233."), ("bot", "Thanks."))
    result = Replayed(answers=[Answered(0, heard="It's five five five oh one oh 2233")])
    found = understood(past, result, {0: Span(0, 1_500)}, {})
    assert (found.differences, found.agree) == ((), {"phone": (1, 1)})


def test_an_argument_is_heard_where_its_value_was_said_not_where_the_tool_was_called() -> None:
    past = script(
        ("user", "My number is 555 010 2233."),
        ("bot", "And your name?"),
        ("user", "Jane."),
        ("tool", "book", {"phone": "5550102234"}, "ok"),
    )
    (tool,) = past.tools
    call = OurCall("book", {"phone": "5550102233"}, 1, 3_000, None, tool)
    result = Replayed(calls=[call], compared=(tool,), answers=[Answered(0, heard=None)])
    spans = spans_of(past, offset_ms=0, length_ms=9_000)
    (found,) = understood(past, result, spans, MARKS).differences
    assert (found.exchange, found.where) == (0, "book.phone")
    assert found.start_seconds >= 0 and found.end_seconds <= spans[0].end_ms / 1000


def test_a_date_is_counted_from_the_day_of_the_call() -> None:
    past = script(("user", "Come tomorrow."), ("bot", "Fine."))
    result = Replayed(answers=[Answered(0, heard="Come on the 24th of November.")])
    spans = {0: Span(0, 1_000 + LEAD_MS)}
    assert understood(past, result, spans, {}, moment=dt.date(2026, 11, 23)).differences == ()
    assert understood(past, result, spans, {}, moment=dt.date(2026, 11, 24)).differences != ()
