"""Reading and writing tool documents (vapi.md 3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.servers import Backoff
from tools.wire.vapi_tool import ToolReading, read_tool, write_tool

pytestmark = pytest.mark.unit

FIELDS = [
    *("type", "function", "name", "description", "parameters", "server", "url", "secret"),
    *("headers", "timeoutSeconds", "async", "messages", "destinations"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=25,
)


@given(JSON)
def test_reading_is_total_and_stays_in_bounds(document: Any) -> None:
    reading = read_tool(document)
    assert 1 <= reading.timeout_seconds <= 300
    assert reading.name and reading.type
    write_tool(document, {"name": "x", "server_secret": ""})


def test_a_function_tool() -> None:
    document = {
        "type": "function",
        "async": True,
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
        "server": {"url": "https://h", "secret": "s", "headers": {"a": "b"}, "timeoutSeconds": 9},
        "messages": [{"type": "request-start"}],
    }
    assert read_tool(document) == ToolReading(
        type="function",
        name="f",
        description="d",
        parameters={"type": "object"},
        server_url="https://h",
        server_secret="s",
        server_headers={"a": "b"},
        timeout_seconds=9,
        is_async=True,
        messages=({"type": "request-start"},),
    )


def test_an_api_request_has_its_address_and_timeout_at_the_top() -> None:
    """Vapi trap 14."""
    reading = read_tool(
        {"type": "apiRequest", "name": "n", "url": "https://h", "timeoutSeconds": 4}
    )
    assert (reading.name, reading.server_url, reading.timeout_seconds) == ("n", "https://h", 4)


def test_a_tool_without_a_function_is_called_by_its_type() -> None:
    assert read_tool({"type": "endCall"}).name == "endCall"
    assert read_tool(None).name == "function"


def test_static_parameters_are_not_the_schema() -> None:
    """Vapi trap 12: two fields called parameters."""
    assert read_tool({"parameters": [{"key": "a", "value": 1}]}).parameters == {}


def test_writing_reads_back_and_leaves_the_rest_alone() -> None:
    document = {"type": "function", "kept": 1, "server": {"url": "https://h", "backoffPlan": {}}}
    changes = {"name": "n", "parameters": {"type": "object"}, "timeout_seconds": 5}
    new = write_tool(document, changes | {"is_async": True, "server_url": ""})
    reading = read_tool(new)
    assert (reading.name, reading.timeout_seconds, reading.is_async) == ("n", 5, True)
    assert reading.server_url == ""
    assert (new["kept"], new["server"]["backoffPlan"]) == (1, {})
    assert document["server"]["url"] == "https://h"


@pytest.mark.parametrize(
    ("plan", "read"),
    [
        (None, None),
        ({"type": "fixed", "maxRetries": 0, "baseDelaySeconds": 1}, None),
        (
            {"type": "exponential", "maxRetries": 3, "baseDelaySeconds": 0.5},
            Backoff("exponential", 3, 0.5),
        ),
        (
            {
                "type": {"x": 1},
                "maxRetries": 99,
                "baseDelaySeconds": 99,
                "excludedStatusCodes": [404, "410", {"code": 1}, True, 99999],
            },
            Backoff("fixed", 10, 10.0, frozenset({404, 410})),
        ),
        ({"maxRetries": 1, "baseDelaySeconds": float("nan")}, Backoff("fixed", 1, 0.0)),
        ({"maxRetries": 1, "baseDelaySeconds": True}, Backoff("fixed", 1, 0.0)),
    ],
)
def test_a_backoff_plan_is_read_within_vapi_s_bounds(plan: Any, read: Backoff | None) -> None:
    server = {"url": "https://x.example", "backoffPlan": plan, "credentialId": "c-1"}
    found = read_tool({"type": "function", "server": server})
    assert (found.backoff, found.credential_id) == (read, "c-1")
