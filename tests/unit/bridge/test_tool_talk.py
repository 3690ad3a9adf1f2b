"""What is said while tools run and about their answers (vapi.md 3.3), one voice at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.effects import DispatchTools, HangUp, RecordTool
from calls.bridge.plan import CallPlan, Filler, Watchdog
from calls.bridge.tool_talk import Lateness
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import clip
from tools.messages import ToolMessage, read_messages, with_fillers
from tools.spec import Outcome, ToolResult

pytestmark = pytest.mark.unit

MOMENT = ToolMessage("start", "One moment.")
CHARGE = ToolMessage("start", "I am charging your card now.", blocking=True)
BOOKED = ToolMessage("complete", "You are booked.")
FAILED = ToolMessage("failed", "That did not work.")


def plan_with(tools: dict[str, tuple[ToolMessage, ...]], **fields: Any) -> CallPlan:
    """Return a quiet plan whose tools have messages."""
    plan = quiet_plan(*tools, **fields)
    specs = tuple(replace(each, messages=tools[each.name]) for each in plan.tools)
    return replace(plan, tools=specs)


def line_with(*messages: ToolMessage, **fields: Any) -> Line:
    """Return a quiet call that is up, with a tool ``book`` that says ``messages``."""
    return Line(plan_with({"book": messages, "look": ()}, **fields)).ready()


def asked(line: Line) -> list[tuple[str, str]]:
    """Return purpose and exact words of the responses asked for since the last look."""
    found = []
    for text in line.bridge.to_realtime:
        event = json.loads(text)
        if event["type"] != "response.create":
            continue
        body = event["response"]
        words = body.get("instructions", "")
        if words:
            assert body["tool_choice"] == "none"
            words = json.loads(words.partition(": ")[2])
        found.append((body["metadata"]["purpose"], words))
    line.look()
    return found


def answers(
    line: Line,
    output: str = "Booked.",
    outcome: Outcome = "ok",
    *messages: dict[str, Any],
    tool_call_id: str = "c1",
) -> Line:
    """A tool has answered, with messages of its server."""
    result = ToolResult(output, outcome, messages=messages)
    line.bridge.tool_finished(tool_call_id, result, line.now_ms)
    return line


def dispatched(line: Line) -> bool:
    """Tell whether calls have left since the last look."""
    return bool(line.effects(DispatchTools))


def late(after_ms: int, text: str) -> ToolMessage:
    """Return a message for a call that is late."""
    return ToolMessage("delayed", text, after_ms=after_ms)


# -- at the start ---------------------------------------------------------------------------------


def test_a_start_message_is_said_while_the_request_is_on_its_way() -> None:
    line = line_with(MOMENT).created().calls("book").done()
    effects = line.bridge.effects
    assert any(isinstance(each, DispatchTools) for each in effects)
    assert asked(line) == [("tool_start", "One moment.")]


def test_a_blocking_message_is_heard_before_the_request_leaves() -> None:
    line = line_with(CHARGE).created().calls("book").done()
    assert [each for each in line.bridge.effects if isinstance(each, DispatchTools)] == []
    assert asked(line) == [("tool_start", "I am charging your card now.")]
    line.created("r2").audio(1_200, "a2", "r2").audio_done("a2", "r2").done("r2")
    assert not dispatched(line.tick(1_199))
    assert dispatched(line.after(1).mark("g1:1"))
    answers(line.after(300))
    (record,) = line.effects(RecordTool)
    assert isinstance(record, RecordTool)
    assert record.duration_ms == 300, "from when the request left"


def test_each_call_is_waited_for_from_when_it_left() -> None:
    line = line_with(CHARGE, watchdog=Watchdog(tool_ms=5_000)).created().calls("book", "c1").done()
    line.calls("look", "c2", "r9")
    line.created("r2").audio(3_000, "a2", "r2").audio_done("a2", "r2").done("r2")
    line.after(3_000).mark("g1:1").frame()
    line.look()
    assert line.bridge.next_deadline_ms() == 5_000
    assert line.tick(2_000).look()[1][0] == "output c2"
    line.frame()
    assert "output c1" in line.tick(3_000).look()[1]


def test_an_interruption_of_a_blocking_message_lets_the_request_leave() -> None:
    line = line_with(CHARGE).created().calls("book").done().created("r2").audio(900, "a2", "r2")
    line.look()
    line.after(300).speech("started").done("r2", "cancelled")
    to_twilio, to_realtime, effects = line.look()
    assert "clear" in to_twilio
    assert any(each.startswith("truncate a2") for each in to_realtime)
    assert any(isinstance(each, DispatchTools) for each in effects)


def test_a_blocking_message_that_is_never_said_holds_nothing_up_for_ever() -> None:
    line = line_with(CHARGE).created().calls("book").done()
    line.look()
    line.speech("started", "u0").frame()
    for _ in range(14):
        line.tick(1_000)
        line.frame()
    assert not any(isinstance(each, DispatchTools) for each in line.bridge.effects)
    assert dispatched(line.tick(1_000))


def test_one_blocking_message_holds_all_calls_of_its_response() -> None:
    line = Line(plan_with({"book": (CHARGE,), "look": (MOMENT,)})).ready()
    line.created().calls("look", "c1").calls("book", "c2").done()
    assert asked(line) == [("tool_start", "One moment. I am charging your card now.")]
    line.created("r2").done("r2")
    (effect,) = line.effects(DispatchTools)
    assert isinstance(effect, DispatchTools)
    assert [call.tool_call_id for call in effect.calls] == ["c1", "c2"]


def test_the_same_words_of_two_tools_are_said_once() -> None:
    line = Line(plan_with({"book": (MOMENT,), "look": (MOMENT,)})).ready()
    line.created().calls("look", "c1").calls("book", "c2").done()
    assert asked(line) == [("tool_start", "One moment.")]


def test_t6_a_tool_without_words_gets_a_filler_and_one_with_empty_words_silence() -> None:
    line = line_with(*with_fillers((), "en")).created().calls("book").done()
    ((purpose, words),) = asked(line)
    assert purpose == "tool_start"
    assert words in {each.text for each in with_fillers((), "en")}
    silent = read_messages([{"type": "request-start", "content": ""}])
    line = line_with(*with_fillers(silent, "en")).created().calls("book").done()
    assert asked(line) == []


def test_no_filler_follows_what_the_model_has_said_itself_but_the_tools_own_words_do() -> None:
    line = line_with(*with_fillers((), "en")).created().audio(500).calls("book").done()
    assert asked(line) == []
    line = line_with(MOMENT).created().audio(500).calls("book").done()
    assert asked(line) == [("tool_start", "One moment.")]


def test_a_filler_that_was_rendered_is_played_and_the_next_one_waits_longer() -> None:
    filler = Filler(clip("Hm", 1_600), asked=True)
    line = line_with(*with_fillers((), "en"), filler=filler).created().calls("book").done()
    to_twilio, to_realtime, effects = line.look()
    assert (to_realtime, any(each.startswith("media") for each in to_twilio)) == ([], True)
    assert any(isinstance(each, DispatchTools) for each in effects)
    assert line.bridge.counters["fillers"] == 1
    assert line.bridge.playback is not None
    while not line.bridge.playback.silent:
        line.frame().tick(500)
    line.tick(3_999)
    assert line.bridge.counters["fillers"] == 1
    line.tick(1)
    assert line.bridge.counters["fillers"] == 2


def test_nothing_is_said_for_a_tool_that_nobody_waits_for() -> None:
    plan = plan_with({"book": (MOMENT, late(0, "Late."), FAILED, BOOKED)})
    line = Line(replace(plan, tools=(replace(plan.tools[0], is_async=True),))).ready()
    line.created().calls("book").done()
    assert asked(line) == []
    assert asked(answers(line)) == [("tool_answer", "You are booked.")]
    line = Line(line.plan).ready().created().calls("book").done()
    line.look()
    assert asked(answers(line, "No.", "error")) == [("tool", "")]


def test_words_for_the_start_wait_for_nobody_who_has_the_answer() -> None:
    line = line_with(MOMENT).created().calls("book").speech("started").done("r1", "cancelled")
    assert asked(line) == []  # the caller speaks
    answers(line)
    line.speech("stopped").speech("committed").confirmed()
    line.look()
    line.created("r2").done("r2")
    assert asked(line) == []


@pytest.mark.parametrize("code", ["conversation_already_has_active_response", "server_error"])
def test_words_for_the_start_that_were_refused_are_not_said_after_the_answer(code: str) -> None:
    line = line_with(MOMENT).created().calls("book").done()
    assert asked(line) == [("tool_start", "One moment.")]
    answers(line).error(code, "ask-1").created("r2").done("r2").tick(1_000)
    assert asked(line) == [("tool", "")]


def test_words_for_the_start_that_never_come_are_not_asked_for_after_the_answer() -> None:
    line = line_with(MOMENT).created().calls("book").done()
    line.look()
    assert asked(answers(line).tick(3_000)) == [("tool", "")]
    # Before it they are.
    line = line_with(MOMENT).created().calls("book").done()
    line.look()
    assert asked(line.tick(3_000)) == [("tool_start", "One moment.")]


def test_nothing_is_said_over_a_goodbye() -> None:
    line = Line(plan_with({"book": (MOMENT,), "endCall": ()})).ready()
    line.created().calls("book", "c1").calls("endCall", "c2").done()
    assert asked(line) == []


# -- the answer -----------------------------------------------------------------------------------


def test_a_message_about_success_is_said_instead_of_an_answer_of_the_model() -> None:
    line = line_with(BOOKED, FAILED).created().calls("book").done()
    line.look()
    answers(line)
    assert json.loads(line.bridge.to_realtime[0])["item"]["output"] == "Booked."
    assert asked(line) == [("tool_answer", "You are booked.")]
    line.created("r2").audio(100, "a2", "r2").done("r2")
    assert asked(line) == []


@pytest.mark.parametrize("outcome", ["error", "timeout"])
def test_a_message_about_failure_is_said_when_it_failed(outcome: Outcome) -> None:
    line = line_with(BOOKED, FAILED).created().calls("book").done()
    line.look()
    assert asked(answers(line, "No.", outcome)) == [("tool_answer", "That did not work.")]


def test_a_tool_that_never_answers_has_failed() -> None:
    line = line_with(FAILED).created().calls("book").done().frame()
    line.look()
    for _ in range(22):
        line.frame().tick(15_000)
    assert ("tool_answer", "That did not work.") in asked(line)


@pytest.mark.parametrize(
    ("output", "outcome"), [("", "ok"), ("null", "ok"), ("Not in this call.", "refused")]
)
def test_an_empty_or_refused_result_is_the_models_to_speak_of(
    output: str, outcome: Outcome
) -> None:
    line = line_with(BOOKED, FAILED).created().calls("book").done()
    line.look()
    assert asked(answers(line, output, outcome)) == [("tool", "")]


def test_what_was_not_sent_is_no_failure_of_the_tool() -> None:
    line = line_with(FAILED).created().calls("book").done()
    line.look()
    result = ToolResult("The tool was not called: when is missing.", "error", sent=False)
    line.bridge.tool_finished("c1", result, line.now_ms)
    assert asked(line) == [("tool", "")]


def test_the_servers_message_wins_over_the_tools() -> None:
    theirs = {"type": "request-complete", "content": "Monday at ten it is."}
    line = line_with(BOOKED).created().calls("book").done()
    line.look()
    assert asked(answers(line, "Booked.", "ok", theirs)) == [
        ("tool_answer", "Monday at ten it is.")
    ]


def test_where_one_tool_says_nothing_the_model_speaks_after_the_words_of_the_other() -> None:
    line = Line(plan_with({"book": (BOOKED,), "look": ()})).ready()
    line.created().calls("book", "c1").calls("look", "c2").done()
    answers(line)
    line.look()
    answers(line, tool_call_id="c2")
    assert asked(line) == [("tool_answer", "You are booked.")]
    line.created("r2").done("r2")
    assert asked(line) == [("tool", "")]


def test_a_system_message_of_the_tool_tells_the_model_which_then_speaks() -> None:
    note = ToolMessage("complete", "Now ask for the name.", role="system")
    line = line_with(note).created().calls("book").done()
    line.look()
    answers(line)
    event = json.loads(line.bridge.to_realtime[1])
    assert event["item"]["role"] == "system"
    assert event["item"]["content"] == [{"type": "input_text", "text": "Now ask for the name."}]
    assert_sent(line, realtime=["output c1", "seed system", "create tool"])


def test_a_system_message_waits_for_the_session_that_is_to_know_it() -> None:
    note = ToolMessage("complete", "Now ask for the name.", role="system")
    line = line_with(note).created().calls("book").done()
    line.lost()
    answers(line).back()
    sent = line.look()[1]
    assert "seed system" in sent
    assert sent.index("output c1") < sent.index("seed system")


def test_a_message_may_end_the_call_when_it_has_been_heard() -> None:
    last = replace(BOOKED, ends_call=True)
    line = line_with(last).created().calls("book").done()
    line.look()
    assert asked(answers(line)) == [("goodbye", "You are booked.")]
    line.created("r2").audio(500, "a2", "r2").audio_done("a2", "r2").done("r2")
    assert line.effects(HangUp) == []
    line.after(500).mark("g1:1")
    assert line.effects(HangUp) == [HangUp("assistant-ended-call-after-message-spoken")]


def test_who_speaks_over_the_last_words_goes_on() -> None:
    line = line_with(replace(BOOKED, ends_call=True)).created().calls("book").done()
    answers(line).created("r2").audio(500, "a2", "r2").after(100).speech("started")
    line.done("r2", "cancelled")
    line.look()
    line.tick(20_000)
    assert line.bridge._ending is None


def test_the_last_words_of_an_end_call_tool_are_its_own() -> None:
    plan = plan_with({"endCall": (ToolMessage("start", "So long."),)}, end_call_message="Bye.")
    line = Line(plan).ready().created().calls("endCall").done()
    assert asked(line) == [("goodbye", "So long.")]
    silent = replace(plan, tools=(replace(plan.tools[0], messages=(ToolMessage("start"),)),))
    line = Line(silent).ready().created().calls("endCall").done()
    assert line.effects(HangUp) == [HangUp("assistant-ended-call")]


# -- late -----------------------------------------------------------------------------------------


def test_a_late_call_is_spoken_of_at_its_timings() -> None:
    line = line_with(late(4_000, "Still at it."), late(9_000, "Not long now."))
    line.created().calls("book").done()
    line.look()
    assert asked(line.frame().tick(3_999)) == []
    assert asked(line.tick(1)) == [("tool_delayed", "Still at it.")]
    line.created("r2").audio(500, "a2", "r2").audio_done("a2", "r2").done("r2")
    line.after(500).mark("g1:1").frame()
    assert asked(line.tick(4_499)) == []
    assert asked(line.tick(1)) == [("tool_delayed", "Not long now.")]


def test_two_such_messages_are_two_and_a_half_seconds_apart() -> None:
    line = line_with(late(1_000, "A."), late(1_200, "B.")).created().calls("book").done()
    line.look()
    assert asked(line.tick(1_000)) == [("tool_delayed", "A.")]
    line.created("r2").done("r2")
    assert asked(line.tick(2_499)) == []
    assert asked(line.tick(1)) == [("tool_delayed", "B.")]


def test_nothing_is_said_of_a_delay_while_somebody_speaks_or_after_the_answer() -> None:
    line = line_with(late(1_000, "Late.")).created().calls("book").done().speech("started")
    line.look()
    assert asked(line.tick(1_500)) == []
    answers(line)
    line.speech("stopped").speech("committed").created("r2").confirmed().done("r2")
    line.created("r3").done("r3")
    assert ("tool_delayed", "Late.") not in asked(line)


def test_a_delay_is_told_when_the_words_before_it_have_been_heard() -> None:
    line = line_with(MOMENT, late(500, "Late.")).created().calls("book").done()
    line.look()
    line.created("r2").audio(900, "a2", "r2").audio_done("a2", "r2").done("r2")
    assert asked(line.tick(600)) == []
    assert asked(line.after(300).mark("g1:1")) == [("tool_delayed", "Late.")]


def test_no_filler_of_ours_comes_between_what_the_author_wants_said() -> None:
    asks = Filler(asked=True)
    line = line_with(late(3_000, "Late."), filler=asks).created().calls("book").done().frame()
    line.look()
    assert asked(line.tick(2_000)) == []
    assert asked(line.tick(1_000)) == [("tool_delayed", "Late.")]
    silent = line_with(ToolMessage("start"), filler=asks).created().calls("book").done().frame()
    silent.look()
    assert asked(silent.tick(10_000)) == []
    plain = line_with(filler=asks).created().calls("book").done().frame()
    plain.look()
    assert plain.tick(2_000).look()[1] == ["create filler"]


def test_what_a_tool_says_of_the_wait_stands_for_our_first_filler() -> None:
    line = line_with(MOMENT, filler=Filler(asked=True)).created().calls("book").done()
    line.created("r2").audio(500, "a2", "r2").audio_done("a2", "r2").done("r2")
    line.after(500).mark("g1:1").frame()
    line.look()
    assert line.tick(3_999).look()[1] == []
    assert line.tick(1).look()[1] == ["create filler"]


def test_lateness_forgets_who_has_answered() -> None:
    clock = Lateness()
    clock.begin("a", [(0, "now"), (100, "then")], 0)
    clock.begin("b", [(50, "other")], 0)
    assert (clock.is_due, clock.deadline_ms()) == (True, None)
    clock.over("a")
    assert (clock.is_due, clock.deadline_ms()) == (False, 50)
    clock.tick(50)
    assert clock.take(50) == "other"
    assert (clock.take(50), clock.deadline_ms()) == ("", None)
