"""Tools that the model's own server calls: recorded, waited for, followed up, never answered."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.effects import DispatchTools, RecordMcpTool, RecordTurn
from calls.bridge.mcp_calls import TOO_LATE
from calls.bridge.plan import CallPlan, Limits
from calls.bridge.toolbox import LOST_RESULT
from calls.standins.caller import hang_up, say
from calls.standins.realtime_brain import CallMcp, Rule, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.wire.realtime import McpServer
from tests.sound_call import assert_sound
from tests.unit.bridge.line import Line, assert_sent, quiet_plan
from tests.virtual_call import PatientBrain, VirtualCall, plan_of

pytestmark = pytest.mark.unit

CRM = McpServer("crm", "https://mcp.example.com/sse", "The CRM.", ("find",), handle="tool-1")
ORDER = '{"status":"sent"}'


def with_crm(plan: CallPlan) -> CallPlan:
    """Return a plan whose sessions have one MCP server."""
    return replace(plan, session=replace(plan.session, mcp_servers=(CRM,)))


def line(**fields: Any) -> Line:
    """Return a quiet call that is up."""
    return Line(with_crm(quiet_plan("look", **fields))).ready()


def item(**fields: Any) -> dict[str, Any]:
    """Return an item of a call."""
    shape = {"server_label": "crm", "name": "find", "arguments": "", "output": None, "error": None}
    return {"id": "m1", "type": "mcp_call", **shape, **fields}


def announced(call: Line, item_id: str = "m1", response_id: str = "r1") -> Line:
    """The model has written a call."""
    call.realtime(
        "response.output_item.added", response_id=response_id, item=item(id=item_id)
    ).realtime("response.mcp_call_arguments.done", item_id=item_id, arguments='{"id":7}')
    return call


def running(call: Line, item_id: str = "m1") -> Line:
    """The server asks."""
    return call.realtime("response.mcp_call.in_progress", item_id=item_id, output_index=0)


def over(call: Line, end: str = "completed", item_id: str = "m1") -> Line:
    """The server has been answered."""
    return call.realtime(f"response.mcp_call.{end}", item_id=item_id, output_index=0)


def item_done(call: Line, **fields: Any) -> Line:
    """The item of a call is complete."""
    return call.realtime("conversation.item.done", item=item(arguments='{"id":7}', **fields))


def records(call: Line) -> list[tuple[str, str, str, str]]:
    """Return name, arguments, state and output of what was recorded since the last look."""
    found = [each for each in call.effects(RecordMcpTool) if isinstance(each, RecordMcpTool)]
    assert all(each.handle == "tool-1" for each in found)
    return [(each.name, each.arguments_json, each.state, each.output) for each in found]


def test_a_call_is_recorded_and_followed_up_when_its_response_is_done() -> None:
    call = running(announced(line().created()))
    assert records(call) == [("find", '{"id":7}', "running", "")]
    item_done(over(call.after(400)), output=ORDER)
    assert records(call) == [("find", '{"id":7}', "ok", ""), ("find", '{"id":7}', "ok", ORDER)]
    assert_sent(call.done(), realtime=["create tool"])


def test_it_is_followed_up_when_it_ends_behind_its_response() -> None:
    call = announced(line().created()).done()
    assert_sent(call, realtime=[])
    assert_sent(running(call), realtime=[])
    assert_sent(over(call), realtime=["create tool"])
    assert_sent(item_done(call, output=ORDER), realtime=[])


@pytest.mark.parametrize("first", ["event", "item"])
def test_the_end_and_the_output_come_in_either_order(first: str) -> None:
    call = running(announced(line().created()))
    call.look()
    if first == "item":
        over(item_done(call, output=ORDER))
    else:
        item_done(over(call), output=ORDER)
    assert records(call)[-1] == ("find", '{"id":7}', "ok", ORDER)
    assert_sent(call.done(), realtime=["create tool"])


def test_a_failure_is_recorded_with_its_words() -> None:
    call = running(announced(line().created()))
    error = {"type": "http_error", "code": 500, "message": "Bad gateway"}
    item_done(over(call, "failed"), error=error)
    assert records(call)[-1] == ("find", '{"id":7}', "error", "http_error: Bad gateway")
    assert_sent(call.done(), realtime=["create tool"])


def test_a_response_that_has_spoken_about_the_answer_is_not_followed_up() -> None:
    call = over(running(announced(line().created())))
    call.realtime(
        "response.output_item.added", response_id="r1", item={"id": "a1", "type": "message"}
    )
    call.audio(100).audio_done().done()
    assert "create tool" not in call.look()[1]


def test_words_before_the_call_are_no_answer() -> None:
    call = line().created()
    call.realtime(
        "response.output_item.added", response_id="r1", item={"id": "a1", "type": "message"}
    )
    call.audio(100).audio_done()
    over(running(announced(call)))
    call.look()
    assert_sent(call.done(), realtime=["create tool"])


def test_a_response_of_the_servers_own_answers_it_too() -> None:
    call = announced(line().created()).done()
    running(call).turn()
    call.look()
    over(call).created("r2").audio(100, "a2", "r2").audio_done("a2", "r2").done("r2")
    assert "create tool" not in call.look()[1]


def test_nothing_is_dispatched_and_nothing_answered() -> None:
    call = over(running(announced(line().created()))).done(output=[item(output=ORDER)])
    _, sent, effects = call.look()
    assert not any(each.startswith(("output", "call")) for each in sent)
    assert not any(isinstance(each, DispatchTools) for each in effects)


def test_the_model_owes_nothing_while_its_call_runs() -> None:
    call = running(announced(line().created()))
    call.tick(20_000)
    assert call.bridge.counters.get("dead_air") is None
    over(call)
    call.tick(call.plan.watchdog.stall_ms)  # now it does
    assert call.bridge.counters["dead_air"] == 1


def test_a_call_that_never_ends_is_given_up() -> None:
    call = running(announced(line().created())).done()
    for _ in range(3):
        call.after(20_000).frame()
    call.look()
    call.tick()
    assert ("find", '{"id":7}', "timeout", TOO_LATE) in records(call)
    over(call)
    assert records(call) == []


def test_a_call_of_a_session_that_is_lost_is_told_to_the_next_one() -> None:
    call = running(announced(line().created())).done()
    call.lost()
    assert call.bridge.toolbox.pending == []
    _, sent, _ = call.back().look()
    assert [each.split()[0] for each in sent] == ["call", "output", "create"]
    (known,) = call.bridge.toolbox.calls()
    assert known.output == LOST_RESULT


def test_o8_its_name_is_made_one_that_a_function_may_have() -> None:
    call = line().created()
    call.realtime("response.output_item.added", response_id="r1", item=item(name="crm/find.one"))
    over(running(call)).done()
    call.lost().back()
    told = [json.loads(text) for text in call.bridge.to_realtime]
    (made,) = [each["item"] for each in told if each.get("item", {}).get("type") == "function_call"]
    assert made["name"] == "crm_find_one"


def test_the_ceiling_takes_the_tools_from_the_last_answer() -> None:
    call = over(running(announced(line(limits=Limits(max_tool_calls=1)).created()))).done()
    (event,) = [json.loads(text) for text in call.bridge.to_realtime if "response.create" in text]
    assert event["response"]["tool_choice"] == "none"


def test_a_list_that_fails_is_noted_where_people_look() -> None:
    call = line()
    for _ in range(2):
        call.realtime(
            "conversation.item.added",
            item={"id": "l1", "type": "mcp_list_tools", "server_label": "crm", "tools": []},
        ).realtime("mcp_list_tools.failed", item_id="l1")
    (note,) = [each for each in call.effects(RecordTurn) if isinstance(each, RecordTurn)][-1:]
    assert note.role == "system" and "MCP server crm" in note.text
    assert call.bridge.transcript.count == 1
    assert call.bridge.notes["mcp_list_failed"] == "crm"
    assert call.bridge.counters["mcp_lists_failed"] == 2


@pytest.mark.parametrize(
    "fields", [{}, {"item_id": "m9"}, {"item_id": 3}, {"item_id": "m1", "output_index": []}]
)
def test_events_of_unknown_calls_change_nothing(fields: dict[str, Any]) -> None:
    call = line().created()
    for kind in ("in_progress", "completed", "failed"):
        call.realtime(f"response.mcp_call.{kind}", **fields)
    call.realtime("response.mcp_call_arguments.done", **fields)
    assert call.effects(RecordMcpTool) == []


# -- whole calls ----------------------------------------------------------------------------------


def brain(**answer: str) -> PatientBrain:
    """Return a model that looks orders up in the CRM."""
    order = Step(
        say="Let me look.",
        tools=(CallMcp("crm", "find", '{"id":7}', **answer),),
        then=Step(say="Your order: {output}."),
    )
    return PatientBrain([Rule(order, re.compile("order"))])


@pytest.mark.parametrize("inside", [False, True], ids=["behind", "inside"])
@pytest.mark.parametrize("follows", [False, True], ids=["asked", "by_itself"])
def test_the_caller_hears_what_the_server_found(inside: bool, follows: bool) -> None:
    profile = RealtimeProfile(mcp_inside=inside, mcp_follows_up=follows, mcp_call_ms=900)
    plan = with_crm(plan_of())
    script = [say("Where is my order?"), hang_up(wait="heard", pattern=re.compile("order:"))]
    call = VirtualCall(plan, script, brain(output="sent"), realtime=profile).run()
    assert_sound(call)
    assert call.caller.heard_texts == ["Good morning.", "Let me look.", "Your order: sent."]
    assert call.tool_records == [("find", "ok")]
    assert [each.mcp_calls for each in call.models] == [[("crm", "find", '{"id":7}')]]


def test_a_wait_is_filled_and_a_failure_spoken_about() -> None:
    profile = RealtimeProfile(mcp_call_ms=9_000)
    script = [say("Where is my order?"), hang_up(wait="heard", pattern=re.compile("order:"))]
    plan = with_crm(plan_of(filler=plan_of().filler.__class__(asked=True)))
    call = VirtualCall(plan, script, brain(error="no such order"), realtime=profile).run()
    assert_sound(call)
    assert call.part.bridge.counters["fillers"] >= 1
    assert call.part.bridge.counters.get("dead_air") is None
    assert call.caller.heard_texts[-1] == "Your order: no such order."
    assert call.tool_records == [("find", "error")]


def test_a_list_that_fails_leaves_a_model_without_the_tool() -> None:
    script = [say("Where is my order?"), hang_up()]
    plan, profile = with_crm(plan_of()), RealtimeProfile(mcp_lists="failed")
    call = VirtualCall(plan, script, brain(output="sent"), realtime=profile).run()
    assert_sound(call)
    assert ("system", "The tools of the MCP server crm could not be loaded; the assistant had "
            "none of them.") in call.spoken  # fmt: skip
    assert call.tool_records == []
