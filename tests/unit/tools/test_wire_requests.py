"""What a server answers to a request of ours, in every form (vapi.md 5.3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools.wire.vapi_requests import (
    TRANSFERRING,
    NamedDestination,
    read_assistant_answer,
    read_destination,
    read_destination_answer,
)

pytestmark = pytest.mark.unit

NUMBER = {"type": "number", "number": "+15550100099"}


def kind_of(value: Any) -> str:
    answer = read_assistant_answer(json.dumps(value))
    return answer.kind if answer is not None else "unreadable"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": "Closed", "destination": NUMBER, "assistantId": "a"}, "error"),
        ({"destination": NUMBER, "assistantId": "a"}, "destination"),
        ({"destination": {"type": "assistant", "assistantName": "x"}, "assistantId": "a"},
         "assistant"),
        ({"assistant": {"model": {}}}, "assistant"),
        ({"squadId": "s"}, "squad"),
        ({"squad": {"members": []}}, "squad"),
        ({"workflowId": "w"}, "nothing"),
        ({}, "nothing"),
        ({"assistantId": 7, "assistant": "text"}, "nothing"),
        ({"messageResponse": {"assistantId": "a"}}, "assistant"),
        ([1], "unreadable"),
    ],
)  # fmt: skip
def test_error_comes_before_destination_before_assistant(body: Any, kind: str) -> None:
    assert kind_of(body) == kind


def test_text_that_is_no_json_is_no_answer() -> None:
    for text in ("", "<html>", "[" * 100_000, "null"):
        assert read_assistant_answer(text) is None
        assert read_destination_answer(text).destination is None


def test_an_error_that_is_no_text_cannot_be_spoken() -> None:
    for error in (7, "", "  ", {}):
        answer = read_assistant_answer(json.dumps({"error": error}))
        assert answer is not None and (answer.kind, answer.error) == ("error", "")


@pytest.mark.parametrize(
    ("place", "message", "said"),
    [
        ({}, None, TRANSFERRING),
        ({"message": ""}, None, ""),
        ({"message": "One moment"}, None, "One moment"),
        ({"message": {"type": "custom-message", "content": "Hold on"}}, None, "Hold on"),
        ({"message": "One moment"}, {"content": "Mine wins"}, "Mine wins"),
    ],
)
def test_words_of_a_destination(place: dict[str, Any], message: Any, said: str) -> None:
    found = read_destination({**NUMBER, **place}, message=message)
    assert found == NamedDestination("+15550100099", said)


def test_a_sip_address_and_what_is_no_destination() -> None:
    found = read_destination({"type": "sip", "sipUri": "sip:desk@example.com", "callerId": "+1555"})
    assert found is not None and (found.to, found.caller_id) == ("sip:desk@example.com", "+1555")
    for value in (None, "x", {"type": "sip", "number": "+1"}, {"type": "step"}, {"number": ""}):
        assert read_destination(value) is None


def test_an_answer_to_a_transfer_request() -> None:
    good = read_destination_answer(json.dumps({"destination": NUMBER, "message": "Bye"}))
    assert good.destination == NamedDestination("+15550100099", "Bye")
    assert read_destination_answer('{"error": "nobody is in"}').error == "nobody is in"
    assert read_destination_answer('{"error": 5}').error == "no reason was given"
