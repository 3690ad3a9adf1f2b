"""Server messages as they are built: lists, argument types, order, and the SDK's own models."""

from __future__ import annotations

import copy
import functools
import json
import typing
from typing import Any

import pytest
import vapi

from tools.wire import vapi_server as wire

pytestmark = pytest.mark.unit

TIME = "2026-11-22T10:00:00.000Z"
ORG_ID = "0c000000-0000-4000-8000-0000000000aa"
ARTIFACT: dict[str, Any] = {
    "messages": [
        {"role": "system", "message": "Be kind.", "time": 1, "secondsFromStart": 0},
        {
            "role": "bot",
            "message": "Hello",
            "time": 2,
            "endTime": 3,
            "secondsFromStart": 0.1,
            "duration": 1,
            "source": "",
        },
    ],
    "messagesOpenAIFormatted": [{"role": "system", "content": "Be kind."}],
    "transcript": "AI: Hello",
    "recordingUrl": "https://files.example.com/a.wav",
}
ENVELOPE = wire.Envelope(
    timestamp_ms=1_763_805_600_000,
    call={"id": "c1", "orgId": ORG_ID, "createdAt": TIME, "updatedAt": TIME},
    artifact=ARTIFACT,
    assistant={"name": "Front desk"},
    phone_number={
        "id": "n1",
        "orgId": ORG_ID,
        "createdAt": TIME,
        "updatedAt": TIME,
        "provider": "twilio",
        "number": "+15550100002",
        "twilioAccountSid": "AC1",
    },
    customer={"number": "+15550100001"},
)
TOOL: dict[str, Any] = {
    "type": "function",
    "async": False,
    "function": {"name": "book_slot", "description": "Books"},
    "server": {"url": "https://tools.example.com/book", "timeoutSeconds": 20},
    "messages": [],
}


def posted(tool_call_id: str = "call_A1", **changes: Any) -> wire.PostedCall:
    """Return a call of ``book_slot``."""
    values: dict[str, Any] = {"name": "book_slot", "arguments": {"day": "mon"}, "tool": TOOL}
    return wire.PostedCall(tool_call_id, **{**values, **changes})


def wire_types(model: Any) -> list[str]:
    """Return the literals a model's ``type`` may have."""
    annotation = model.model_fields["type"].annotation
    return [
        value
        for part in (annotation, *typing.get_args(annotation))
        if typing.get_origin(part) is typing.Literal
        for value in typing.get_args(part)
    ]


@functools.cache
def models() -> dict[str, Any]:
    """Return the SDK's models by type; a second of work, so not at import in every process."""
    return {
        name: model
        for model in typing.get_args(vapi.ServerMessageMessage)
        for name in wire_types(model)
    }


def check(envelope: dict[str, Any]) -> Any:
    """Validate a body against the SDK's model of its own type (vapi.md 10)."""
    message = copy.deepcopy(envelope["message"])
    with_calls = [tool["toolCall"] for tool in message.get("toolWithToolCallList", [])]
    # An object on the wire, text in the SDK's types.
    for call in [*message.get("toolCallList", []), *with_calls]:
        call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return models()[message["type"]].model_validate(message)


def test_v3_arguments_are_objects_in_all_three_lists() -> None:
    message = wire.tool_calls_message(ENVELOPE, [posted()])["message"]
    functions = [
        message["toolCalls"][0]["function"],
        message["toolCallList"][0]["function"],
        message["toolWithToolCallList"][0]["toolCall"]["function"],
    ]
    assert functions == [{"name": "book_slot", "arguments": {"day": "mon"}}] * 3
    assert {message[name][0]["id"] for name in ("toolCalls", "toolCallList")} == {"call_A1"}
    assert message["toolWithToolCallList"][0]["toolCall"]["id"] == "call_A1"


def test_v3_servers_written_from_the_documentation_find_their_spellings() -> None:
    message = wire.tool_calls_message(ENVELOPE, [posted()])["message"]
    entry = message["toolCallList"][0]
    assert (entry["name"], entry["arguments"], entry["parameters"]) == (
        "book_slot",
        {"day": "mon"},
        {"day": "mon"},
    )
    with_call = message["toolWithToolCallList"][0]
    assert with_call["name"] == "book_slot"
    assert with_call["toolCall"]["parameters"] == {"day": "mon"}
    assert set(message["toolCalls"][0]) == {"id", "type", "function"}


def test_v3_strict_servers_get_nothing_but_the_captured_shape() -> None:
    message = wire.tool_calls_message(ENVELOPE, [posted()], aliases=False)["message"]
    assert set(message["toolCallList"][0]) == {"id", "type", "function"}
    assert set(message["toolWithToolCallList"][0]) == {*TOOL, "toolCall"}


def test_v3_servers_typed_after_the_sdk_may_have_text() -> None:
    message = wire.tool_calls_message(ENVELOPE, [posted()], arguments_as_text=True)["message"]
    assert message["toolCallList"][0]["function"]["arguments"] == '{"day": "mon"}'


def test_members_come_in_the_order_of_captures() -> None:
    message = wire.tool_calls_message(ENVELOPE, [posted()])["message"]
    assert list(message) == [
        *("timestamp", "type", "toolCalls", "toolCallList", "toolWithToolCallList"),
        *("artifact", "call", "phoneNumber", "customer", "assistant"),
    ]
    assert message["timestamp"] == 1_763_805_600_000


def test_several_calls_stay_in_their_order() -> None:
    calls = [posted("a"), posted("b", preceded_by_text=True)]
    message = wire.tool_calls_message(ENVELOPE, calls)["message"]
    for name in ("toolCalls", "toolCallList"):
        assert [call["id"] for call in message[name]] == ["a", "b"]
        assert ["isPrecededByText" in call for call in message[name]] == [False, True]
    assert [t["toolCall"]["id"] for t in message["toolWithToolCallList"]] == ["a", "b"]


def test_what_is_unknown_is_left_out() -> None:
    bare = wire.Envelope(timestamp_ms=1, call={"id": "c1"})
    message = wire.status_update_message(bare, status="in-progress")["message"]
    assert set(message) == {"timestamp", "type", "status", "artifact", "call"}


def test_building_changes_nothing_it_was_given() -> None:
    before = copy.deepcopy((ARTIFACT, TOOL))
    body = wire.tool_calls_message(ENVELOPE, [posted()])
    body["message"]["artifact"]["added"] = 1
    body["message"]["toolWithToolCallList"][0]["added"] = 1
    assert before == (ARTIFACT, TOOL)


def test_v2_each_message_passes_the_model_of_its_own_type() -> None:
    tool_calls = check(wire.tool_calls_message(ENVELOPE, [posted()]))
    assert type(tool_calls) is vapi.ServerMessageToolCalls
    assert tool_calls.tool_call_list[0].function.name == "book_slot"
    assert tool_calls.phone_number.number == "+15550100002"
    ended = check(
        wire.status_update_message(ENVELOPE, status="ended", ended_reason="customer-ended-call")
    )
    assert type(ended) is vapi.ServerMessageStatusUpdate
    assert ended.ended_reason == "customer-ended-call"
    report = check(
        wire.end_of_call_report_message(
            ENVELOPE,
            ended_reason="customer-ended-call",
            started_at=TIME,
            ended_at=TIME,
            duration_ms=61_500,
            cost=0.25,
            costs=[
                {
                    "type": "model",
                    "model": {"provider": "openai", "model": "gpt-realtime-2.1"},
                    "promptTokens": 1,
                    "completionTokens": 2,
                    "cost": 0.25,
                }
            ],
            analysis={"summary": "Booked."},
        )
    )
    assert type(report) is vapi.ServerMessageEndOfCallReport
    assert report.analysis.summary == "Booked."


def test_sdk_models_would_notice_what_is_missing() -> None:
    body = wire.tool_calls_message(ENVELOPE, [posted()])
    del body["message"]["toolCallList"][0]["id"]
    with pytest.raises(ValueError, match="id"):
        check(body)


def test_a_report_without_analysis_carries_an_empty_one() -> None:
    body = wire.end_of_call_report_message(ENVELOPE, ended_reason="silence-timed-out")
    assert body["message"]["analysis"] == {}
    assert check(body).ended_reason == "silence-timed-out"


def test_old_servers_find_flat_copies_in_the_report() -> None:
    body = wire.end_of_call_report_message(
        ENVELOPE, ended_reason="x", duration_ms=90_000, cost=0.5, analysis={"summary": "Fine"}
    )
    message = body["message"]
    assert message["transcript"] == "AI: Hello"
    assert message["summary"] == "Fine"
    assert message["messages"] == ARTIFACT["messages"]
    assert message["recordingUrl"] == ARTIFACT["recordingUrl"]
    assert "stereoRecordingUrl" not in message
    assert (message["durationMs"], message["durationSeconds"]) == (90_000, 90.0)
    assert message["durationMinutes"] == 1.5
    assert message["costBreakdown"] == {"total": 0.5}


def test_forwarding_repeats_what_was_said() -> None:
    destination = {"type": "number", "number": "+15550100009"}
    body = wire.status_update_message(ENVELOPE, status="forwarding", destination=destination)
    assert body["message"]["destination"] == destination
    assert body["message"]["transcript"] == "AI: Hello"
    assert check(body).destination.number == "+15550100009"
    assert "messages" not in wire.status_update_message(ENVELOPE, status="ended")["message"]


def test_bytes_survive_any_text() -> None:
    raw = wire.encode({"a": "\ud800 é \u2028 \x00"})
    assert raw.isascii()
    assert json.loads(raw) == {"a": "\ud800 é \u2028 \x00"}


@pytest.mark.parametrize("text", ["", "  ", "{}"])
def test_no_text_means_no_arguments(text: str) -> None:
    assert wire.read_arguments(text) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": ', "not valid JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "out of range"),
        ("[1]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "out of range"),
    ],
)
def test_what_is_no_object_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wire.read_arguments(text)


def test_v12_static_parameters_are_the_tool_s_own_not_the_function_s() -> None:
    document = {
        "function": {"parameters": {"type": "object"}},
        "parameters": [{"key": "site", "value": {"id": 7}}, {"key": 3}, "x", {"key": "none"}],
    }
    assert wire.static_parameters(document) == {"site": {"id": 7}, "none": None}
    assert wire.static_parameters({"parameters": {"site": 1}}) == {}
