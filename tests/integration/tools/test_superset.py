"""Our tool-calls envelope holds every key of the captured ones, with the same types.

Generated from ``tests/fixtures/vapi/payloads``: rows are made of what a payload describes, the
envelope is built from the rows, and each path of the payload is looked up in it. ``EXEMPT`` names
what is left out on purpose, with its reason.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from assistants.services import assistant_publish
from calls.bridge.effects import DispatchTool
from calls.models import Call
from calls.services.tool_posts import tool_posts
from tests.factories import default_organisation, make_call, make_number
from tests.unit.tools.test_wire_messages import check
from tools.models import Tool
from tools.services import tool_store
from tools.spec import ToolSpec

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FOLDER = Path(__file__).parents[2] / "fixtures" / "vapi" / "payloads"
EXEMPT = {
    r"\.chat(\.|$)": "a text chat: there is no call",
    r"\.timestamp$": "text in the captures of July 2024, a number since (vapi.md 1.6)",
    r"\.server\.secret$": "Vapi once echoed the tool server's secret; we never do (vapi.md 4.1)",
    r"\.phoneNumber\.stripe": "how Vapi bills its customers",
    r"\.call\.squad(\.|$)": "a transient squad; ours is the assistant that answers",
}
# Documentation and re-typed fixtures disagree with captured traffic about arguments (vapi.md 4.3).
OTHER_SPELLINGS = {
    "007-callspine-str.json": r"arguments$",
    "011-docs-tool-calls.json": r"\.(call|toolWithToolCallList|toolCallList)(\.|\[|$)",
}


def payloads() -> list[Path]:
    """Return the payloads whose message is a tool call."""
    return [
        path
        for path in sorted(FOLDER.glob("*.json"))
        if json.loads(path.read_text(encoding="utf-8-sig"))["message"]["type"] == "tool-calls"
    ]


def kind(value: Any) -> str:
    """Return the JSON type of a value; integers and floats are both numbers."""
    if isinstance(value, bool):
        return "boolean"
    return {dict: "object", list: "array", str: "string", int: "number", float: "number"}.get(
        type(value), "null"
    )


def paths(node: Any, where: str = "") -> dict[str, set[str]]:
    """Return the JSON types found at every path; list elements with a role are told apart by it."""
    found: dict[str, set[str]] = defaultdict(set)
    found[where].add(kind(node))
    children: list[tuple[str, Any]] = []
    if isinstance(node, dict):
        children = [(f"{where}.{key}", value) for key, value in node.items()]
    elif isinstance(node, list):
        for value in node:
            role = value.get("role", "") if isinstance(value, dict) else ""
            children.append((f"{where}[{role}]", value))
    for path, value in children:
        for each, kinds in paths(value, path).items():
            found[each] |= kinds
    return found


def described_tool(message: dict[str, Any]) -> dict[str, Any]:
    """Return the document of the called tool."""
    first = message["toolCalls"][0] if "toolCalls" in message else message["toolCallList"][0]
    name = first.get("function", first)["name"]
    listed = message.get("toolWithToolCallList") or [{}]
    document = {key: value for key, value in listed[0].items() if key not in {"toolCall", "name"}}
    document.setdefault("type", "function")
    document["function"] = {"name": name, **document.get("function", {})}
    server = document.get("server") or {}
    document["server"] = {"url": "https://tools.example.com/hook", **server}
    return document


def described_call(message: dict[str, Any]) -> tuple[Call, Tool]:
    """Make the rows that a payload describes."""
    organisation = default_organisation()
    document = dict(message.get("assistant") or {})
    if not document:
        members = message.get("call", {}).get("squad", {}).get("members", [])
        document = dict(members[0]["assistant"]) if members else {"name": "Front desk"}
    model = dict(document.get("model") or {"provider": "openai", "model": "gpt-4o"})
    model.setdefault("messages", [{"role": "system", "content": "Be kind."}])
    saved = [tool for tool in model.get("tools", []) if "id" in tool]
    for tool in saved:
        tool_store(
            organisation=organisation, document=tool, actor=None, tool_id=uuid.UUID(tool["id"])
        )
    model["tools"] = [tool for tool in model.get("tools", []) if "id" not in tool]
    tool = tool_store(organisation=organisation, document=described_tool(message), actor=None)
    model["toolIds"] = [*(each["id"] for each in saved), str(tool.pk)]
    assistant = assistant_publish(
        organisation=organisation,
        document={**document, "model": model},
        source="import",
        actor=None,
    )
    call = make_call(
        number=make_number(assistant=assistant),
        turns=[{"text": "Hello"}, {"text": "Please"}, {"text": "A moment"}],
        tool_invocations=[{"name": "earlier", "started_ms": 900}],
    )
    return call, tool


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the calls of a message, however they are spelt."""
    found: list[dict[str, Any]] = message.get("toolCalls") or message["toolCallList"]
    return found


def ours(message: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope we would have sent for the same calls of the same tool."""
    call, tool = described_call(message)
    spec = ToolSpec(name=tool.name, handle=str(tool.pk))
    wanted = []
    for theirs in calls_of(message):
        function = theirs.get("function", theirs)
        arguments = function.get("arguments", function.get("parameters", {}))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        wanted.append((spec, DispatchTool(theirs["id"], tool.name, text)))
    ((post,), known) = tool_posts(str(call.pk), wanted)
    assert known == {}
    body: dict[str, Any] = json.loads(post.body)
    return body


@pytest.mark.parametrize("path", payloads(), ids=lambda path: path.stem)
def test_ours_has_every_key_of_theirs(path: Path) -> None:
    theirs = json.loads(path.read_text(encoding="utf-8-sig"))
    body = ours(theirs["message"])
    have = paths(body)
    spelling = OTHER_SPELLINGS.get(path.name)
    exempt = [*EXEMPT, *([spelling] if spelling else [])]
    missing = [
        f"{where}: {sorted(kinds)}, ours {sorted(have.get(where, {'missing'}))}"
        for where, kinds in paths(theirs).items()
        if not kinds & have.get(where, set())
        and not any(re.search(pattern, where) for pattern in exempt)
    ]
    assert missing == []
    ids = [call["id"] for call in calls_of(theirs["message"])]
    for name in ("toolCalls", "toolCallList"):
        assert [call["id"] for call in body["message"][name]] == ids
    listed = body["message"]["toolWithToolCallList"]
    assert [entry["toolCall"]["id"] for entry in listed] == ids
    parsed = check(body)
    assert [call.id for call in parsed.tool_call_list] == ids


def test_captures_are_among_the_payloads_and_every_exemption_is_needed() -> None:
    names = {path.name[:3] for path in payloads()}
    assert {"002", "003", "004", "005", "006"} <= names
    every = {
        where
        for path in payloads()
        for where in paths(json.loads(path.read_text(encoding="utf-8-sig")))
    }
    for pattern in EXEMPT:
        assert any(re.search(pattern, where) for where in every), pattern


def test_the_walk_finds_a_key_that_is_missing_and_one_of_another_type() -> None:
    theirs = {"a": [{"role": "user", "n": 1}, {"role": "bot", "n": 1}], "b": "x"}
    have = paths({"a": [{"role": "user", "n": 1.5}], "b": 1})
    missing = {where for where, kinds in paths(theirs).items() if not kinds & have[where]}
    assert missing == {".a[bot]", ".a[bot].role", ".a[bot].n", ".b"}
