"""What a call tells while it is on: each thing once, as it was heard, and nothing unasked."""

from __future__ import annotations

from typing import get_args

import pytest

from calls.bridge.effects import CallNews, CloseStream, HangUp, NewsKind
from calls.bridge.machine import SERVER_ACTS_MS
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from tests.unit.bridge.line import Line, function_call, quiet_plan
from tools.spec import ToolSpec

pytestmark = pytest.mark.unit

TEXT = "conversation.item.input_audio_transcription"
ALL = tuple(kind for kind in get_args(NewsKind) if kind != "control")


def line_of(*tells: str, plan: CallPlan | None = None) -> Line:
    """Return a call that is up and tells of these."""
    fields = {"tells": tells or ALL}
    return Line(plan or quiet_plan("look", **fields)).ready()


def told(line: Line) -> list[str]:
    """Return what was told since the last look, in short words."""
    found = [each for each in line.effects(CallNews) if isinstance(each, CallNews)]
    return [f"{each.kind} {each.role[0]}{each.turn} {each.text}".strip() for each in found]


def heard(line: Line, text: str, item_id: str = "u1") -> Line:
    return line.realtime(f"{TEXT}.completed", item_id=item_id, content_index=0, transcript=text)


def spoken(line: Line, text: str, ms: int = 1000, item_id: str = "a1", rid: str = "r1") -> Line:
    """A whole answer with its words, heard to its end."""
    line.created(rid).audio(ms, item_id, rid).text(text, item_id, rid)
    line.realtime(
        "response.output_audio_transcript.done", response_id=rid, item_id=item_id, transcript=text
    )
    return line.audio_done(item_id, rid).done(rid)


def test_a_call_that_nobody_follows_tells_nothing() -> None:
    line = Line(quiet_plan("look")).ready()
    heard(line.turn(), "Hello?")
    spoken(line, "Hi there")
    line.after(3000).mark("m-1").tick()
    assert told(line) == []


def test_both_sides_are_told_as_they_speak() -> None:
    line = line_of("speech-started", "speech-stopped", "said")
    heard(line.turn(), "Hello?")
    assert told(line) == ["speech-started u0", "speech-stopped u0", "said u0 Hello?"]
    spoken(line, "Hi there")
    assert told(line) == ["speech-started a1"]
    line.tick(20_000)  # the marks never come back: it is taken as heard
    assert told(line) == ["speech-stopped a1", "said a1 Hi there"]


def test_partial_words_of_both_grow() -> None:
    line = line_of("words", "output", "voiced")
    line.speech("started")
    for piece in ("I want", " a table"):
        line.realtime(f"{TEXT}.delta", item_id="u1", content_index=0, delta=piece)
    assert told(line) == ["words u0 I want", "words u0 I want a table"]
    heard(line.speech("stopped").speech("committed"), "I want a table.")
    line.created().audio(400).text("For ").text("two?")
    assert told(line) == [
        *("output a1 For", "words a1 For", "output a1 two?", "words a1 For two?"),
    ]
    spoken(line, "For two?")
    assert "voiced a1 For two?" in told(line)


def test_an_interrupted_answer_is_told_as_it_was_heard_and_who_cut_it() -> None:
    line = line_of("interrupted", "said", "speech-stopped", "conversation")
    spoken(line, "We are open from nine to five on every day", ms=4000)
    told(line)
    line.after(1000).speech("started")
    news = told(line)
    assert news[0] == "interrupted a0"
    said = next(each for each in news if each.startswith("said"))
    assert said.startswith("said a0 We are") and "every day" not in said
    assert news.count("speech-stopped a0") == 1
    assert sum(each.startswith("conversation") for each in news) == 1


def test_what_nobody_heard_is_not_told_as_said() -> None:
    line = line_of("said", "speech-started", "sounds")
    line.created().text("Never heard", "a9")
    line.twilio({"event": "stop", "streamSid": "MZ" + "c" * 32, "stop": {}})
    assert told(line) == []


def test_text_that_comes_after_its_audio_was_heard_is_told_once() -> None:
    line = line_of("said")
    line.created().audio(200).audio_done()
    line.tick(20_000)
    line.realtime(
        "response.output_audio_transcript.done", response_id="r1", item_id="a1", transcript="Hi"
    )
    assert told(line) == ["said a0 Hi"]


def test_function_calls_and_their_answers_are_told() -> None:
    line = line_of("calls", "conversation")
    line.created().calls("look").done(output=[function_call("look", "c1")])
    assert told(line) == ['calls a0 {"id": "c1", "name": "look", "arguments": "{}"}']
    line.tool("c1", "found")
    assert told(line) == ["conversation a0"]


def test_a_model_that_owes_a_word_is_told_as_late() -> None:
    line = line_of("late")
    heard(line.turn(), "Hello?")
    line.tick(3_500)
    assert told(line) == ["late a1"]


def test_a_change_of_language_is_told_and_the_first_one_is_none() -> None:
    line = line_of("language")
    for number, language in enumerate(("en", "es", "es", None, "en")):
        item = f"u{number}"
        line.turn(item).realtime(
            f"{TEXT}.completed",
            item_id=item,
            content_index=0,
            transcript="si",
            **({"languages": [language]} if language else {}),
        )
    assert told(line) == ["language u1 es", "language u4 en"]


def test_news_are_numbered_without_a_gap() -> None:
    line = line_of()
    heard(line.turn(), "Hello?")
    spoken(line, "Hi")
    numbers = [each.number for each in line.effects(CallNews) if isinstance(each, CallNews)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 5


# -- a server that acts at the carrier itself ----------------------------------------------------


def ending() -> Line:
    """Return a call whose model has asked for its end."""
    line = Line(quiet_plan("endCall", tells=("control",))).ready()
    line.created().calls("endCall").done(output=[function_call("endCall", "c1")])
    return line


def test_a_server_that_controls_the_call_is_told_to_hang_up_and_we_wait() -> None:
    line = ending()
    effects = line.tick().look()[2]
    assert [each.text for each in effects if isinstance(each, CallNews)] == ["hang-up"]
    assert not any(isinstance(each, HangUp | CloseStream) for each in effects)
    line.tick(SERVER_ACTS_MS - 1)
    assert line.effects(HangUp, CloseStream) == []


def test_a_server_that_does_not_hang_up_in_time_is_done_without() -> None:
    line = ending()
    line.tick(SERVER_ACTS_MS)
    (close,) = line.effects(CloseStream)
    assert isinstance(close, CloseStream) and close.next_step == "hangup"


def test_an_operator_and_a_ceiling_wait_for_no_server() -> None:
    line = Line(quiet_plan(tells=("control",))).ready()
    line.bridge.end(EndCause.OPERATOR_ENDED, line.now_ms)
    assert len(line.effects(HangUp)) == 1


def test_a_transfer_is_the_server_s_and_ours_when_it_does_nothing() -> None:
    plan = quiet_plan(tells=("control",))
    tool = ToolSpec(name="person", kind="transferCall", transfer_to="+15550100099")
    line = Line(CallPlan(**{**{name: getattr(plan, name) for name in plan.__slots__},
                            "tools": (tool,)})).ready()  # fmt: skip
    line.created().calls("person").done(output=[function_call("person", "c1")])
    assert told(line) == ["control a0 forward:+15550100099"]
    line.tick(SERVER_ACTS_MS - 1)
    assert line.effects(CloseStream) == []
    line.tick(1)
    (close,) = line.effects(CloseStream)
    assert isinstance(close, CloseStream)
    assert (close.next_step, close.dial_to) == ("dial", "+15550100099")


def test_a_plan_keeps_what_it_tells() -> None:
    plan = quiet_plan(tells=("said", "words"))
    assert CallPlan.from_json(plan.to_json()).tells == ("said", "words")
    old = plan.to_json()
    del old["tells"]
    assert CallPlan.from_json(old).tells == ()
