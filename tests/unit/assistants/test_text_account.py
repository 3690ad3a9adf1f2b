"""What an import says of an ``sms`` tool."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.findings import Notes
from assistants.tool_account import account_tool

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("more", "path", "state", "words"),
    [
        ({}, "$.type", "mapped", "to the caller"),
        ({"metadata": {"from": "+15550100001"}}, "$.metadata.from", "mapped", "come from it"),
        ({"metadata": {"from": "5550100001"}}, "$.metadata.from", "invalid", "nothing is sent"),
        ({"metadata": {"to": "{{x}}"}}, "$.metadata.to", "mapped", "for each call"),
        ({"metadata": {"to": "911"}}, "$.metadata.to", "invalid", "nothing is sent"),
        ({"async": True}, "$.async", "mapped", "waited for"),
    ],
)
def test_both_ends_of_a_message_are_spoken_of(
    more: dict[str, Any], path: str, state: str, words: str
) -> None:
    notes = Notes()
    tool = {"type": "sms", "function": {"name": "send_text_tool"}, **more}
    account_tool(tool, notes, "$", assistant_has_server=None)
    found = [each for each in notes.findings if each.path == path and words in each.message]
    assert [each.state for each in found] == [state]
