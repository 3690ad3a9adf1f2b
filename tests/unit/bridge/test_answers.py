"""Responses, tools and money: what the model asks for and gets."""

from __future__ import annotations

import json

import pytest

from calls.bridge.effects import DispatchTool, DispatchTools, HangUp, RecordTool
from calls.bridge.plan import Greeting, Limits
from calls.bridge.reasons import EndCause
from tests.unit.bridge.line import Line, assert_sent, function_call, quiet_plan
from tests.virtual_call import plan_of

pytestmark = pytest.mark.unit


@pytest.fixture
def line() -> Line:
    """A quiet call with two tools that is up."""
    return Line(quiet_plan("look", "book", "endCall")).ready()


def dispatched(line: Line) -> list[str]:
    """Return the ids of the tools to run."""
    found = [e for e in line.effects(DispatchTools) if isinstance(e, DispatchTools)]
    return [call.tool_call_id for each in found for call in each.calls]


def test_o29_a_call_announced_three_times_runs_once(line: Line) -> None:
    line.created().realtime(
        "response.function_call_arguments.done", call_id="c1", name="look", arguments="{}"
    )
    line.calls("look").calls("look").done(output=[function_call("look", "c1")])
    assert dispatched(line) == ["c1"]


def test_a_call_only_in_response_done_runs_too(line: Line) -> None:
    line.created().done(output=[function_call("look", "c1")])
    assert dispatched(line) == ["c1"]


def test_half_written_arguments_of_a_cancelled_response_are_not_executed(line: Line) -> None:
    line.created().calls("look", status="incomplete")
    line.done(status="cancelled", output=[function_call("look", "c1", "incomplete")])
    assert dispatched(line) == []


def test_the_follow_up_waits_for_the_response_to_be_done(line: Line) -> None:
    line.created().calls("look").tool()
    assert_sent(line, realtime=["output c1"])
    line.done()
    assert_sent(line, realtime=["create tool"])


def test_two_outputs_one_follow_up_in_any_order(line: Line) -> None:
    line.created().calls("look", "c1").calls("book", "c2").done().tool("c2")
    assert_sent(line, realtime=["output c2"])
    line.tool("c1")
    assert_sent(line, realtime=["output c1", "create tool"])


def test_an_instant_answer_does_not_ask_before_the_slow_one_is_in(line: Line) -> None:
    line.created().calls("nonsense", "c1").calls("look", "c2").done()
    assert_sent(line, realtime=["output c1"])
    line.tool("c2")
    assert_sent(line, realtime=["output c2", "create tool"])


def test_calls_of_two_responses_are_followed_up_apart(line: Line) -> None:
    line.created("r1").calls("look", "c1", "r1").done("r1")
    line.turn().created("r2").calls("book", "c2", "r2").done("r2").tool("c2")
    assert_sent(line, realtime=["output c2", "create tool"])
    line.created("r3").done("r3").tool("c1")
    assert_sent(line, realtime=["output c1", "create tool"])


def test_a_tool_answers_once(line: Line) -> None:
    line.created().calls("look").done().tool("c1", "first").tool("c1", "second").tool("c9")
    assert_sent(line, realtime=["output c1", "create tool"])
    assert line.bridge.counters["late_tool_results"] == 2


def test_an_unknown_tool_is_told_to_the_model(line: Line) -> None:
    line.created().calls("nonsense").done()
    assert "There is no tool" in line.bridge.to_realtime[0]
    records = [e.state for e in line.effects(RecordTool) if isinstance(e, RecordTool)]
    assert records == ["error"]


def test_o15_no_follow_up_while_the_caller_speaks_nor_while_the_server_will_answer(
    line: Line,
) -> None:
    line.created().calls("look").done().speech("started").tool()
    assert_sent(line, realtime=["output c1"])
    line.speech("stopped").speech("committed").confirmed()
    assert_sent(line, realtime=[])
    line.created("r2").done("r2")
    assert_sent(line, realtime=[])


def test_an_output_the_server_had_not_taken_yet_is_followed_up_after_its_response(
    line: Line,
) -> None:
    line.created().calls("look").done().speech("started").speech("stopped").tool()
    line.speech("committed").created("r2").confirmed().done("r2")
    assert_sent(line, realtime=["output c1", "create tool"])


def test_o15_a_lost_race_is_repeated_once(line: Line) -> None:
    line.created().calls("look").done().tool()
    line.look()
    line.error("conversation_already_has_active_response", "ask-1")
    assert_sent(line, realtime=[])
    line.created("r9").done("r9")
    assert_sent(line, realtime=["create tool"])
    line.created("r10").done("r10")
    assert_sent(line, realtime=[])


def test_the_ceiling_refuses_tools_and_then_ends_the_call() -> None:
    line = Line(quiet_plan("look", limits=Limits(max_tool_calls=1))).ready().created()
    line.calls("look", "c1").calls("look", "c2").done()
    assert line.bridge._ending is not None
    assert line.bridge._ending.cause is EndCause.CEILING
    effects = line.effects(DispatchTools, HangUp)
    assert effects == [
        DispatchTools((DispatchTool("c1", "look", "{}"),)),
        HangUp(EndCause.CEILING.ended_reason),
    ]


def test_end_call_is_allowed_beyond_the_ceiling() -> None:
    line = Line(quiet_plan("look", "endCall", limits=Limits(max_tool_calls=1))).ready().created()
    line.calls("look", "c1").calls("endCall", "c2").done()
    assert line.effects(HangUp) == [HangUp(EndCause.ASSISTANT_ENDED.ended_reason)]


def test_spend_is_counted_once_per_response() -> None:
    usage = {"output_token_details": {"audio_tokens": 1000, "text_tokens": 0}}
    line = Line(quiet_plan()).ready().created().done(usage=usage).done(usage=usage)
    assert line.bridge.spend_microusd == 64_000
    assert line.bridge.counters["protocol_errors"] == 1


def test_o26_a_response_given_up_is_still_billed() -> None:
    usage = {"output_token_details": {"audio_tokens": 1000}}
    line = Line(plan_of(greeting=Greeting("exact", "Hi"))).ready().created().tick(4_000)
    line.done(status="cancelled", usage=usage)
    assert line.bridge.spend_microusd == 64_000


def test_the_spend_ceiling_lets_the_answer_be_heard() -> None:
    usage = {"output_token_details": {"audio_tokens": 1000}}
    line = Line(quiet_plan(limits=Limits(max_spend_microusd=10_000))).ready()
    line.created().audio(500).audio_done().done(usage=usage)
    assert line.effects(HangUp) == []
    line.after(500).mark("g1:1")
    assert line.effects(HangUp) == [HangUp(EndCause.CEILING.ended_reason)]


def test_nothing_new_is_said_once_a_ceiling_ends_the_call() -> None:
    usage = {"output_token_details": {"audio_tokens": 1000}}
    line = Line(quiet_plan(limits=Limits(max_spend_microusd=10_000))).ready()
    line.created().audio(500).audio_done().done(usage=usage)
    line.look()
    line.turn().created("r2").audio(5_000, "a2", "r2")
    assert_sent(line, twilio=[], realtime=["cancel r2"])


def test_o22_the_greeting_is_asked_for_verbatim_and_without_tools() -> None:
    line = Line(plan_of(greeting=Greeting("exact", 'Say "hi"')))
    line.dialled().streaming().updated()
    event = json.loads(line.bridge.to_realtime[-1])
    assert event["response"]["tool_choice"] == "none"
    assert json.dumps('Say "hi"') in event["response"]["instructions"]


def test_a_generated_greeting_keeps_the_sessions_instructions() -> None:
    line = Line(plan_of(greeting=Greeting("generated"))).dialled().streaming().updated()
    assert "instructions" not in json.loads(line.bridge.to_realtime[-1])["response"]
