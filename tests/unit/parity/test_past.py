"""A past call as a script, and a recording as sound: every shape in which they come."""

from __future__ import annotations

import struct

import pytest

from calls.conversation import Handover, Speech, ToolUse, conversation
from calls.parity.past import Note, Words, script_of
from calls.parity.rehear import Span
from calls.parity.sound_file import SoundUnreadable, sound_file
from calls.standins.tones import encode, linear
from tests.replays import script

pytestmark = pytest.mark.unit


def test_turns_of_the_caller_with_nothing_between_are_one_turn() -> None:
    past = script(("user", "I want"), ("user", "  a table. "), ("bot", "Fine."), ("user", "Bye."))
    assert [each.caller for each in past.exchanges] == ["I want a table.", "Bye."]
    assert (past.exchanges[0].started_ms, past.exchanges[0].ended_ms) == (0, 1_900)


def test_what_came_before_the_caller_is_the_opening_and_keys_are_notes() -> None:
    past = script(
        ("bot", "Hello."),
        ("tool", "look", {}, "known"),
        ("user", "Hi."),
        ("system", "The caller pressed 1."),
        ("bot", ""),
        ("bot", "One?"),
    )
    assert [type(each).__name__ for each in past.opening] == ["Words", "PastTool"]
    assert past.exchanges[0].reactions == (
        Note("The caller pressed 1.", 3_000),
        Words("One?", 5_000),
    )
    assert past.exchanges[0].words == "One?"
    assert [tool.name for tool in past.tools] == ["look"]


def test_a_call_is_replayed_up_to_where_another_assistant_took_over() -> None:
    speech = [Speech("user", "Hi.", 0, 500, 0), Speech("user", "More.", 5_000, 5_500, 1)]
    past = script_of(conversation(speech, (), [Handover(3_000, "A", "B")]))
    assert [each.caller for each in past.exchanges] == ["Hi."]
    assert past.handed_over_ms == 3_000


def test_tools_have_the_sessions_names_and_those_made_together_share_a_message() -> None:
    tools = [
        ToolUse("a", "book table", '{"n": 2}', 1_000, 10, "ok"),
        ToolUse("b", "note", "not json", 1_010, 10, "ok"),
        ToolUse("c", "wait", "[1]", 5_000, running=True),
    ]
    past = script_of(
        conversation([Speech("user", "Hi.", 0, 500)], tools), {"book table": "book_table"}
    )
    one, two, three = past.tools
    assert (one.name, one.arguments, one.message == two.message) == ("book_table", {"n": 2}, True)
    assert two.arguments == {"_text": "not json"}
    assert (three.result, three.outcome, three.message) == (None, "unknown", None)


def wav(
    data: bytes, kind: int, channels: int, rate: int, bits: int, *, before: bytes = b""
) -> bytes:
    """Return a WAV file; ``before``: chunks between the format and the sound."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits)
    if kind == 0xFFFE:
        form += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", 1) + bytes(14)
    size = struct.pack("<I", len(form))
    body = b"WAVEfmt " + size + form + before + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


SOUND = encode("Hello.")
PCM = b"".join(struct.pack("<h", linear(code)) for code in SOUND)
WHOLE = Span(0, len(SOUND) // 8)


@pytest.mark.parametrize(
    "content",
    [
        wav(PCM, 1, 1, 8_000, 16),
        wav(PCM, 0xFFFE, 1, 8_000, 16),
        wav(SOUND, 7, 1, 8_000, 8),
        wav(PCM, 1, 1, 8_000, 16, before=b"LIST\x03\x00\x00\x00abc\x00"),
        wav(PCM, 1, 1, 8_000, 16).replace(struct.pack("<I", len(PCM)), b"\xff\xff\xff\xff"),
    ],
    ids=["pcm", "extensible", "mu-law", "other chunks", "streamed"],
)
def test_sound_is_read_from_every_form_of_a_wav_file(content: bytes) -> None:
    found = sound_file(content)
    assert (found.channels, found.rate, found.length_ms) == (1, 8_000, len(SOUND) // 8)
    assert found.mulaw(0, WHOLE) == SOUND
    assert found.mulaw(0, Span(20, 60)) == SOUND[160:480]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ID3 this is another format",
        wav(PCM, 1, 1, 8_000, 16)[:30],
        wav(PCM, 3, 1, 8_000, 32),
        wav(PCM, 1, 6, 8_000, 16),
        wav(PCM, 1, 1, 0, 16),
        b"RIFF\x00\x00\x00\x00WAVEdata\x04\x00\x00\x00abcd",
    ],
)
def test_what_is_no_such_sound_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(SoundUnreadable):
        sound_file(content)


def test_a_channel_or_rate_that_is_not_there_is_refused() -> None:
    for content, channel in (
        (wav(PCM, 1, 1, 8_000, 16), 1),
        (wav(PCM, 1, 1, 11_025, 16), 0),
        (wav(SOUND, 7, 1, 16_000, 8), 0),
        (wav(SOUND, 7, 1, 8_000, 8), 1),
    ):
        with pytest.raises(SoundUnreadable):
            sound_file(content).mulaw(channel, WHOLE)
