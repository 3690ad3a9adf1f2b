"""MCP servers in a session's configuration, and what proves who asks them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from calls.bridge.plan import CallPlan
from calls.wire import realtime
from calls.wire.realtime import FunctionTool, McpAccess, McpServer, SessionConfig
from tests.contract import check_realtime_client
from tests.virtual_call import plan_of

pytestmark = pytest.mark.unit

CRM = McpServer("crm", "https://mcp.example.com/?token=***", "The CRM.", ("find",), "tool-1")
CONFIG = SessionConfig(
    tools=(FunctionTool("look", "Looks.", {"type": "object", "properties": {}}),),
    mcp_servers=(CRM, McpServer("docs", "https://docs.example.com/")),
)
ACCESS = McpAccess(
    "crm",
    "https://mcp.example.com/?token=hidden",
    headers=(("X-Key", 'quo"ted'),),
    authorization="the-token",
)


def tools_of(text: str) -> list[dict[str, Any]]:
    """Return the tools of an update, which fits the SDK's types."""
    event = json.loads(text)
    check_realtime_client(event)
    tools: list[dict[str, Any]] = event["session"]["tools"]
    return tools


def test_servers_are_announced_behind_the_functions_and_need_no_approval() -> None:
    look, crm, docs = tools_of(realtime.session_update(CONFIG, "openai_ga", "cfg-1"))
    assert look["type"] == "function"
    assert crm == {
        "type": "mcp",
        "server_label": "crm",
        "server_url": "https://mcp.example.com/?token=***",
        "require_approval": "never",
        "server_description": "The CRM.",
        "allowed_tools": ["find"],
    }
    assert docs.keys() == {"type", "server_label", "server_url", "require_approval"}


@pytest.mark.parametrize("dialect", ["azure_ga", "beta"])
def test_o4_other_dialects_are_told_of_none(dialect: Any) -> None:
    event = json.loads(realtime.session_update(CONFIG, dialect, "cfg-1"))
    assert [each["type"] for each in event["session"]["tools"]] == ["function"]


def test_access_is_put_in_when_the_configuration_leaves() -> None:
    text = realtime.session_update(CONFIG, "openai_ga", "cfg-1")
    _, crm, docs = tools_of(realtime.with_access(text, [ACCESS]))
    assert crm["server_url"] == "https://mcp.example.com/?token=hidden"
    assert (crm["headers"], crm["authorization"]) == ({"X-Key": 'quo"ted'}, "the-token")
    assert "headers" not in docs
    assert "the-token" not in repr(ACCESS) and "hidden" not in repr(ACCESS)


def test_nothing_else_is_touched() -> None:
    update = realtime.turn_detection_update(CONFIG.turn_detection, "openai_ga", "cfg-2")
    for text in (update, realtime.append("AAAA"), '{"type":"response.create"}'):
        assert json.loads(realtime.with_access(text, [ACCESS])) == json.loads(text)
    text = realtime.session_update(CONFIG, "openai_ga", "cfg-1")
    assert realtime.with_access(text, []) is text


def test_a_plan_comes_back_from_its_json_with_its_servers() -> None:
    plan = plan_of()
    plan = replace(plan, session=replace(plan.session, mcp_servers=(CRM,)))
    value = json.loads(json.dumps(plan.to_json()))
    assert CallPlan.from_json(value) == plan
    del value["session"]["mcp_servers"]  # of an earlier version
    assert CallPlan.from_json(value).session.mcp_servers == ()
