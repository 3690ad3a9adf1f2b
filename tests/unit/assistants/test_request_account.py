"""What an import says of an ``apiRequest``, place by place."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.findings import Notes
from assistants.tool_account import account_tool

pytestmark = pytest.mark.unit

URL = "https://api.example.com/orders/{{orderId}}"
BODY = {"type": "object", "properties": {"orderId": {"type": "string"}}}


@pytest.mark.parametrize(
    ("more", "path", "state", "words"),
    [
        ({}, "$.url", "mapped", "none that the model gives can change the host"),
        ({}, "$", "mapped", "sent as a POST"),
        ({"url": "https://<<HOST>>/x"}, "$.url", "invalid", "placeholder"),
        ({"url": "ftp://h/{{x}}"}, "$.url", "invalid", "No http"),
        ({"url": "http://h.example"}, "$.url", "mapped-lossy", "unencrypted"),
        ({"url": "{{base}}/x"}, "$.url", "mapped", "filled in"),
        ({"url": None}, "$", "invalid", "No address"),
        ({"method": "TRACE"}, "$.method", "invalid", "go nowhere"),
        ({"body": {"type": "string"}}, "$.body", "invalid", "no arguments"),
        (
            {"method": "GET", "body": {"properties": {"a": {}, "orderId": {}}}},
            "$.body",
            "mapped-lossy",
            "does not name a: not sent",
        ),
        ({"headers": {"properties": {"X-K": {"value": "v"}}}}, "$.headers", "mapped", "X-K"),
        (
            {"headers": {"properties": {"X-K": {"value": "<<KEY>>"}}}},
            "$.headers",
            "secret-missing",
            "X-K",
        ),
        ({"headers": {"type": "object"}}, "$.headers", "invalid", "none is sent"),
        ({"credentialId": "c"}, "$.credentialId", "secret-missing", "Server credentials"),
        ({"backoffPlan": {"maxRetries": 2}}, "$.backoffPlan", "mapped", "same bytes"),
        ({"encryptedPaths": ["a"]}, "$.encryptedPaths", "mapped-lossy", "sent as they are"),
        ({"encryptedPaths": [1]}, "$.encryptedPaths", "invalid", "nothing is encrypted"),
        (
            {"encryptedPaths": ["a"], "credentialId": "c"},
            "$.encryptedPaths",
            "secret-missing",
            "nothing is sent without it",
        ),
        ({"async": True}, "$.async", "mapped", "waited for"),
        (
            {"messages": [{"type": "request-failed", "content": "Oh."}], "async": True},
            "$.messages",
            "mapped",
            "when it has failed",
        ),
        ({"variableExtractionPlan": {"a": 1}}, "$.variableExtractionPlan", "invalid", "no varia"),
        (
            {"variableExtractionPlan": {"aliases": [{"key": "userId", "value": "{{ $.id }}"}]}},
            "$.variableExtractionPlan",
            "mapped-lossy",
            "userId",
        ),
    ],
)  # fmt: skip
def test_a_place_of_the_request_is_spoken_of(
    more: dict[str, Any], path: str, state: str, words: str
) -> None:
    notes = Notes()
    tool = {"type": "apiRequest", "name": "order", "url": URL, "body": BODY, **more}
    account_tool(tool, notes, "$", assistant_has_server=None)
    found = [each for each in notes.findings if each.path == path and words in each.message]
    assert [each.state for each in found] == [state]
