"""MCP of the Realtime stand-in: lists and calls in the forms of openai_realtime.md 4.5."""

from __future__ import annotations

import re
from typing import Any

import pytest

from calls.standins.realtime_brain import CallMcp, Rule, RuleBrain, Step
from calls.standins.realtime_profile import RealtimeProfile

from .helpers import Session, config, error_of, kinds, of_kind

pytestmark = pytest.mark.unit

CRM = {"type": "mcp", "server_label": "crm", "server_url": "https://mcp.example.com/"}


def session(profile: RealtimeProfile, *calls: CallMcp) -> Session:
    """Return a session whose model calls these on any words, after its servers were asked."""
    brain = RuleBrain([Rule(Step(tools=calls, then=Step(say="Done.")), re.compile("go"))])
    made = Session(profile, brain, configure=False)
    made.send("session.update", session=config(tools=[CRM]))
    made.run(200)
    return made


def test_a_list_is_given_after_the_update() -> None:
    seen = kinds(session(RealtimeProfile()).events)
    at = seen.index("session.updated")
    assert seen[at:] == [
        "session.updated",
        "mcp_list_tools.in_progress",
        "conversation.item.added",
        "conversation.item.done",
        "mcp_list_tools.completed",
    ]


@pytest.mark.parametrize("inside", [False, True])
def test_a_call_runs_behind_its_response_or_within_it(inside: bool) -> None:
    made = session(RealtimeProfile(mcp_inside=inside), CallMcp("crm", "find", "{}", "found"))
    seen = made.speak("go") + made.run(3_000)
    order = [each for each in kinds(seen) if "mcp" in each or each == "response.done"]
    ran = ["response.mcp_call.in_progress", "response.mcp_call.completed"]
    tail = [*ran, "response.done"] if inside else ["response.done", *ran]
    assert order == ["response.mcp_call_arguments.delta", "response.mcp_call_arguments.done", *tail]
    items = [each["item"] for each in of_kind(seen, "conversation.item.done")]
    assert [each["output"] for each in items if each["type"] == "mcp_call"] == ["found"]
    assert made.peer.mcp_calls == [("crm", "find", "{}")]
    assert kinds(seen).count("response.created") == 1  # the next one is the client's to ask for


def test_a_tool_of_a_server_that_gave_no_list_is_not_called() -> None:
    made = session(RealtimeProfile(mcp_lists="failed"), CallMcp("crm", "find"))
    assert "mcp_list_tools.failed" in kinds(made.events)
    made.speak("go")
    made.run(3_000)
    assert made.peer.mcp_calls == []


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "mcp", "server_url": "https://mcp.example.com/"},
        {"type": "mcp", "server_label": "crm"},
        {**CRM, "secret": "x"},
        {**CRM, "headers": {"a": 1}},
        {**CRM, "server_label": "c r m"},
    ],
)
def test_o4_a_wrong_server_voids_the_update(tool: dict[str, Any]) -> None:
    made = Session(configure=False)
    assert error_of(made.send("session.update", session=config(tools=[tool])))["param"]
