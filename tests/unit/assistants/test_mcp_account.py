"""What an import says of MCP servers: that the model asks them itself, and what that leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.findings import Notes
from assistants.tool_account import account_tool

pytestmark = pytest.mark.unit

URL = "https://mcp.example.com/mcp"


def states(path: str, **more: Any) -> list[str]:
    """Return the states of the findings on one place of an MCP tool."""
    notes = Notes()
    tool = {"type": "mcp", "server": {"url": URL, "headers": {"X-Key": "k"}}, **more}
    account_tool(tool, notes, "$", assistant_has_server=None)
    return [each.state for each in notes.findings if each.path == path]


def test_what_is_bypassed_is_said() -> None:
    notes = Notes()
    account_tool({"type": "mcp", "server": {"url": URL}}, notes, "$", assistant_has_server=True)
    (found,) = [each for each in notes.findings if each.path == "$.type"]
    assert found.state == "mapped-lossy"
    for word in ("Azure", "arguments", "addresses", "Idempotency-Key", "rejectionPlan", "envelope"):
        assert word in found.message


@pytest.mark.parametrize(
    ("more", "path", "expected"),
    [
        ({"server": {}}, "$", ["invalid"]),
        ({"server": {"url": "http://x.example"}}, "$.server.url", ["invalid"]),
        ({"server": {"url": "https://{{host}}/"}}, "$.server.url", ["invalid"]),
        ({"server": {"url": URL}}, "$.server", ["secret-missing"]),
        ({}, "$.server", []),
        ({"server": {"url": URL, "credentialId": "c"}}, "$.server.credentialId",
         ["secret-missing"]),
        ({"server": {"url": URL, "timeoutSeconds": 5}}, "$.server.timeoutSeconds", ["unsupported"]),
        (
            {"server": {"url": URL, "backoffPlan": {"maxRetries": 1}}},
            "$.server.backoffPlan",
            ["unsupported"],
        ),
        ({"messages": [{"type": "request-start", "content": "Hm."}]}, "$.messages",
         ["caller-audible"]),
        ({"toolMessages": [{"name": "find"}]}, "$.toolMessages", ["caller-audible"]),
        ({"rejectionPlan": {"conditions": [{}]}}, "$.rejectionPlan", ["unsupported"]),
        ({"variableExtractionPlan": {"aliases": []}}, "$.variableExtractionPlan", ["unsupported"]),
    ],
)  # fmt: skip
def test_a_place_is_spoken_of(more: dict[str, Any], path: str, expected: list[str]) -> None:
    assert states(path, **more) == expected
