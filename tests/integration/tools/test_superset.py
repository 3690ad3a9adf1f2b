"""Our requests to tool servers hold every key of the captured ones, with the same types.

The captures are those of ``tests/fixtures/vapi/payloads``; kinds that are not among them are
written here, after vapi.md 4.3 and 4.4. The comparison itself is ``captures``.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.tools import captures
from tests.integration.tools.captures import EXEMPT, differences, missing, paths

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FOLDER = Path(__file__).parents[2] / "fixtures" / "vapi" / "payloads"
KINDS = {"tool-calls", "function-call"}


def read(path: Path) -> Any:
    """Return a fixture."""
    return json.loads(path.read_text(encoding="utf-8-sig"))


def payloads() -> list[Path]:
    """Return the payloads whose message is a tool call."""
    return [
        path for path in sorted(FOLDER.glob("*.json")) if read(path)["message"]["type"] in KINDS
    ]


@pytest.mark.parametrize("path", payloads(), ids=lambda path: path.stem)
def test_ours_has_every_key_of_theirs(path: Path) -> None:
    assert differences(read(path)) == []


def entry(number: int, name: str, arguments: Any) -> dict[str, Any]:
    """Return a call as Vapi lists it."""
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def tool(name: str, call: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a tool as it stands beside its call."""
    parameters = {"type": "object", "properties": {"day": {"type": "string"}}}
    return {
        "type": "function",
        "async": False,
        "function": {"name": name, "description": "Does it", "parameters": parameters},
        "server": {
            "url": "https://desk.example.com/vapi",
            "timeoutSeconds": 20,
            "headers": {"X-Call-Id": CALL["id"], "Content-Type": "application/json"},
        },
        "messages": [{"type": "request-start", "content": "One moment."}],
        "toolCall": call,
        **more,
    }


CALL = {
    "id": "0190c000-0000-7000-8000-000000000001",
    "orgId": "0190c000-0000-7000-8000-000000000002",
    "createdAt": "2024-10-02T10:00:00.000Z",
    "updatedAt": "2024-10-02T10:00:00.000Z",
    "type": "inboundPhoneCall",
    "status": "ringing",
    "phoneCallProvider": "twilio",
    "phoneCallProviderId": "CA1",
    "phoneCallTransport": "pstn",
    "phoneNumberId": "0190c000-0000-7000-8000-000000000003",
    "assistantId": "0190c000-0000-7000-8000-000000000004",
    "customer": {"number": "+15550100009"},
    "transport": {"provider": "twilio", "conversationType": "voice", "callSid": "CA1"},
}
BOOK, LOOK = entry(1, "book", {"day": "mon"}), entry(2, "look_up", {})
AGAIN = entry(3, "book", {"day": "tue"})
PARALLEL = {
    "type": "tool-calls",
    "timestamp": 1_727_863_200_000,
    "toolCalls": [BOOK, LOOK, AGAIN],
    "toolCallList": [BOOK, LOOK, AGAIN],
    "toolWithToolCallList": [tool("book", BOOK), tool("look_up", LOOK), tool("book", AGAIN)],
    "artifact": {
        "messages": [
            {"role": "user", "message": "x", "time": 1, "endTime": 2, "secondsFromStart": 0.1},
            {
                "role": "tool_calls",
                "message": "",
                "time": 3,
                "secondsFromStart": 0.3,
                "toolCalls": [entry(1, "book", '{"day": "mon"}')],
            },
        ],
        "messagesOpenAIFormatted": [
            {"role": "assistant", "tool_calls": [entry(1, "book", '{"day": "mon"}')]}
        ],
    },
    "call": CALL,
    "customer": {"number": "+15550100009"},
    "assistant": {"name": "Desk", "model": {"provider": "openai", "model": "gpt-4o"}},
}
TEXT = entry(1, "book", '{"day": "mon"}')
AS_TEXT = PARALLEL | {
    "toolCalls": [TEXT],
    "toolCallList": [TEXT],
    "toolWithToolCallList": [tool("book", TEXT)],
}
LEGACY = {
    "type": "function-call",
    "timestamp": 1_727_863_200_000,
    "functionCall": {"name": "book", "parameters": {"day": "mon"}},
    "call": CALL,
    "customer": {"number": "+15550100009"},
}
PAGES = {
    "type": "tool-calls",
    "toolCallList": [{"id": "call_1", "name": "book", "arguments": {"day": "mon"}}],
    "toolWithToolCallList": [
        {"name": "book", "toolCall": {"id": "call_1", "parameters": {"day": "mon"}}}
    ],
}
LOGGED = {
    "headers": {
        "Host": "desk.example.com",
        "Content-Type": "application/json",
        "X-Vapi-Secret": "what-it-was",
        "X-Forwarded-For": "203.0.113.9",
        "Content-Length": "2",
    },
    "body": json.dumps({"message": PARALLEL}),
}


@pytest.mark.parametrize(
    "capture",
    [{"message": PARALLEL}, PARALLEL, {"message": AS_TEXT}, {"message": LEGACY}, PAGES, LOGGED],
    ids=["parallel", "bare", "text", "legacy", "pages", "logged"],
)
def test_ours_has_every_key_of_other_kinds(capture: dict[str, Any]) -> None:
    assert differences(copy.deepcopy(capture)) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"call": {**CALL, "novelty": {"a": 1}}}, ".message.call.novelty.a: ['number'], ours"),
        ({"customer": {"number": 1}}, ".message.customer.number: ['number'], ours ['string']"),
        ({"artifact": {"messages": [{"role": "user", "mood": None}]}}, "[user].mood: ['null']"),
    ],
)
def test_a_key_that_ours_lacks_is_found(change: dict[str, Any], found: str) -> None:
    lines = differences({"message": copy.deepcopy(PARALLEL) | change})
    assert any(found in line for line in lines), lines


def test_a_header_that_ours_lacks_and_one_that_is_new_are_found() -> None:
    plain = {"body": {"message": PARALLEL}, "headers": {"X-Vapi-Signature": "t=1"}}
    lines = differences(copy.deepcopy(plain))
    assert lines == ["header x-vapi-signature: missing", "header content-type: only ours"]


def test_another_order_of_calls_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = captures.our_post
    monkeypatch.setattr(captures, "our_post", lambda one, calls: plain(one, calls[::-1]))
    lines = differences({"message": copy.deepcopy(PARALLEL)})
    assert "toolCallList: other calls, or in another order" in lines


def test_captures_are_among_the_payloads_and_every_exemption_is_needed() -> None:
    names = {path.name[:3] for path in payloads()}
    assert {"002", "003", "004", "005", "006"} <= names
    every = {where for path in payloads() for where in paths(read(path))}
    known = {r"\.call\.(assistant|assistantOverrides)(\.|$)", r"\.call\.webCallUrl$"}  # vapi.md 6.3
    for pattern in EXEMPT.keys() - known:
        assert any(re.search(pattern, where) for where in every), pattern


def test_the_walk_finds_a_key_that_is_missing_and_one_of_another_type() -> None:
    theirs = {"a": [{"role": "user", "n": 1}, {"role": "bot", "n": 1}], "b": "x", "secret": "s"}
    ours = {"a": [{"role": "user", "n": 1.5}], "b": 1}
    found = {line.partition(":")[0] for line in missing(theirs, ours)}
    assert found == {".a[bot]", ".a[bot].role", ".a[bot].n", ".b"}
