"""Rarer shapes of call logs give the sequences that reading them by eye gives.

Each case was written down by reading the document, before the reader was asked. Shapes: captures
of public repositories, models whose tool call ids repeat, log receivers that wrap a webhook's body.
"""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import pytest

from calls.parity.differ import difference
from calls.parity.logs.past_call import merged
from calls.parity.logs.reading import NotACall, NotOver, read_log
from calls.parity.logs.sequencing import sequence_of_log
from calls.parity.logs.streams import items_in
from calls.parity.sequence import Sequence

pytestmark = pytest.mark.unit

Row = dict[str, Any]
CALL: Row = {
    "id": "c-1",
    "type": "inboundPhoneCall",
    "status": "ended",
    "startedAt": "2026-10-05T10:00:00.000Z",
    "endedAt": "2026-10-05T10:01:00.000Z",
    "endedReason": "customer-ended-call",
}


def asked(key: Any, name: str, arguments: Any, seconds: float) -> Row:
    function = {"name": name, "arguments": arguments}
    row = {"id": key, "type": "function", "function": function}
    return {"role": "tool_calls", "message": "", "toolCalls": [row], "secondsFromStart": seconds}


def answered(key: Any, name: str, seconds: float, **more: Any) -> Row:
    row = {"role": "tool_call_result", "toolCallId": key, "name": name}
    return row | more | {"secondsFromStart": seconds}


def sequence(*documents: Any) -> Sequence:
    return sequence_of_log(reduce(merged, map(read_log, documents)))


def of_messages(*messages: Row) -> Sequence:
    return sequence({**CALL, "artifact": {"messages": list(messages)}})


def shown(found: Sequence) -> list[tuple[str, Any, str]]:
    return [(each.name, dict(each.arguments), each.outcome) for each in found.tools]


def report(**more: Any) -> Row:
    messages = [asked("a", "f", "{}", 2)]
    return {
        "type": "end-of-call-report",
        "endedReason": "customer-ended-call",
        "artifact": {"messages": messages},
        "call": {"id": "c-1"},
    } | more


@pytest.mark.parametrize("name", ["f", ""])
def test_an_answer_that_stands_before_its_call_answers_it(name: str) -> None:
    found = of_messages(answered("a", name, 4, result="free"), asked("a", "f", '{"x": 1}', 5))
    assert shown(found) == [("f", {"x": 1}, "ok")]
    assert found.tools[0].result == "free"


def test_an_answer_under_error_has_failed_whatever_it_says() -> None:
    found = of_messages(asked("a", "f", "{}", 5), answered("a", "f", 6, error="calendar is away"))
    assert shown(found) == [("f", {}, "failed")]
    assert found.tools[0].result == "calendar is away"
    found = of_messages(asked("a", "f", "{}", 5), answered("a", "f", 6, error=None, result="x"))
    assert shown(found) == [("f", {}, "ok")]


def test_the_old_function_call_of_an_assistants_message_is_read() -> None:
    messages = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "[1]"}},
        {"role": "function", "name": "f", "content": "done"},
    ]
    found = sequence({**CALL, "artifact": {"messagesOpenAIFormatted": messages}})
    assert shown(found) == [("f", {"_value": [1]}, "ok")]


def test_what_was_called_after_an_answer_of_the_same_moment_came_later() -> None:
    found = of_messages(
        asked("a", "f", "{}", 5),
        answered("a", "f", 5, result="x"),
        asked("b", "g", "{}", 5),
        asked("c", "h", "{}", 5),
    )
    assert [(each.name, each.message) for each in found.tools] == [
        ("f", None),
        ("g", found.tools[2].message),
        ("h", found.tools[1].message),
    ]
    assert found.tools[1].message is not None


@pytest.mark.parametrize("timestamp", [None, 1791194470000])
def test_calls_of_one_request_that_have_no_ids_are_all_there(timestamp: int | None) -> None:
    listed = [{"name": "f", "arguments": {"x": place}} for place in (1, 2)]
    message = {
        "type": "tool-calls",
        "timestamp": timestamp,
        "call": {"id": "c-1"},
        "toolCallList": listed,
    }
    wanted = [("f", {"x": 1}, "unknown"), ("f", {"x": 2}, "unknown")]
    assert shown(sequence(message)) == wanted
    assert shown(sequence(message, message)) == wanted  # sent twice


def test_a_call_that_stands_beside_its_tool_is_named_by_the_tool() -> None:
    listed = [
        {
            "type": "function",
            "function": {"name": "f", "parameters": {"type": "object"}},
            "toolCall": {"id": "a", "function": {"arguments": {"x": 1}}},
        }
    ]
    found = sequence({"type": "tool-calls", "call": {"id": "c-1"}, "toolWithToolCallList": listed})
    assert shown(found) == [("f", {"x": 1}, "unknown")]


def test_the_copy_that_tells_more_of_the_tools_is_read() -> None:
    said = {"role": "user", "message": "hi", "secondsFromStart": 1}
    openai = [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "free"}]},
    ]
    for messages, at_ms in (([said], None), ([said, asked("a", "f", '{"x": 1}', 2)], 2000)):
        artifact = {"messages": messages, "messagesOpenAIFormatted": openai}
        found = sequence({**CALL, "artifact": artifact})
        assert shown(found) == [("f", {"x": 1}, "ok")]
        assert (found.tools[0].result, found.tools[0].at_ms) == ("free", at_ms)


@pytest.mark.parametrize(
    "document",
    [
        {"severity": "INFO", "jsonPayload": {"message": report()}},
        {"content": json.dumps({"message": report()}), "method": "POST"},
        {"level": 30, "msg": "webhook", "req": {"body": {"message": report()}}},
        {"message": "received", "context": {"payload": report()}},
        {"id": "evt_1", "endedAt": "2026-10-05T10:01:00Z", "body": {"message": report()}},
        {"message": {k: v for k, v in report().items() if k != "call"}, "call": {"id": "c-1"}},
        {"log": json.dumps(report())},
    ],
)
def test_the_wrappings_of_log_receivers_are_taken_off(document: Row) -> None:
    found = sequence(document)
    assert found.key == "c-1" and shown(found) == [("f", {}, "unknown")]


def test_roles_are_read_in_either_spelling_of_words() -> None:
    call = asked("a", "f", "{}", 1) | {"role": "toolCalls"}
    answer = answered("a", "f", 2, result="x") | {"role": "toolCallResult"}
    assert shown(of_messages(call, answer)) == [("f", {}, "ok")]


def test_arguments_that_were_written_as_text_twice_are_an_object() -> None:
    assert shown(of_messages(asked("a", "f", json.dumps('{"x": 1}'), 1))) == [
        ("f", {"x": 1}, "unknown")
    ]
    assert shown(of_messages(asked("a", "f", '"mon"', 1))) == [("f", {"_value": "mon"}, "unknown")]


def test_an_id_that_a_model_uses_again_is_another_call() -> None:
    found = of_messages(
        asked("call_0", "f", '{"x": 1}', 1),
        answered("call_0", "f", 2, result="x"),
        asked("call_0", "f", '{"x":1}', 3),  # a copy
        asked("call_0", "g", '{"x": 2}', 5),
        answered("call_0", "g", 6, result="Error: no"),
        asked("call_0", "f", '{"x": 3}', 8),
    )
    assert shown(found) == [
        ("f", {"x": 1}, "ok"),
        ("g", {"x": 2}, "failed"),
        ("f", {"x": 3}, "unknown"),
    ]


@pytest.mark.parametrize(
    ("transfers", "reason", "reached"),
    [
        ([{"status": "failed"}], "call.in-progress.error-transfer-failed", False),
        ([{"status": "no-answer"}, {"status": "connected"}], "assistant-forwarded-call", True),
        ([{"status": "busy"}], "customer-ended-call", False),
        ([{"mode": "blind-transfer"}], "assistant-forwarded-call", True),
        ([{}], "customer-ended-call", False),
    ],
)
def test_an_attempt_to_transfer_is_judged_by_how_it_ended(
    transfers: list[Row], reason: str, reached: bool
) -> None:
    artifact = {"messages": [], "transfers": transfers}
    found = sequence({**CALL, "endedReason": reason, "artifact": artifact})
    assert found.outcomes.transferred is reached


def test_one_legacy_call_that_two_tellings_have_is_one() -> None:
    head = {"call": {"id": "c-1", "startedAt": "2026-10-05T10:00:00.000Z"}}
    old = {"name": "f", "parameters": {"x": 1}}
    said = [{"role": "function_call", "functionCall": old, "secondsFromStart": 9.2}]
    request = head | {"type": "function-call", "timestamp": 1791194409500, "functionCall": old}
    update = head | {"type": "conversation-update", "timestamp": 1791194411000, "messages": said}
    again = request | {"timestamp": 1791194412000}
    once = [("f", {"x": 1}, "unknown")]
    assert shown(sequence(request, update)) == shown(sequence(update, request)) == once
    assert shown(sequence(request | {"artifact": {"messages": said}})) == once
    assert shown(sequence(request, again)) == 2 * once  # two requests are two calls
    assert shown(sequence(request, again, update)) == 2 * once


@pytest.mark.parametrize(
    "row",
    [
        {"transcript": "AI: Good day.\nUser: A table, please."},
        {"transcript": "AI: Good day.\nUser: A table, please.", "status": "ended"},
        {"createdAt": "2026-10-05T10:00:00.000Z"},
    ],
)
def test_an_extract_without_a_begin_and_messages_does_not_tell_that_no_tool_was_called(
    row: Row,
) -> None:
    past = read_log({"id": "c-1", "endedReason": "customer-ended-call", **row})
    assert not past.is_whole and past.started_at == past.created_at


def test_a_call_that_never_began_is_whole_without_a_word() -> None:
    row = {"id": "c-1", "status": "ended", "endedReason": "customer-did-not-answer"}
    assert read_log(row).is_whole


def test_an_extract_of_a_call_is_a_call_that_is_cut() -> None:
    found = sequence({"id": "c-1", "messages": [asked("a", "f", "{}", 2)]})
    assert shown(found) == [("f", {}, "unknown")] and found.cut
    with pytest.raises(NotOver):
        read_log({"id": "c-1", "status": "in-progress", "messages": [asked("a", "f", "{}", 2)]})
    with pytest.raises(NotACall):
        read_log({"id": "chat-1", "messages": "none"})


@pytest.mark.parametrize(
    "raw",
    [
        '{"id": "1"}{"id": "2"}',
        '{\n "id": "1"\n}\n{\n "id": "2"\n}\n',
        '[\n {"id": "1"}\n]\n[\n {"id": "2"}\n]',
        'data: {"id": "1"}\n\ndata: {"id": "2"}\n',
    ],
)
def test_json_values_one_behind_the_other_are_read(raw: str) -> None:
    found = list(items_in([raw.encode()]))
    assert [each.document for each in found] == [{"id": "1"}, {"id": "2"}]
    assert not any(each.problem for each in found)


def test_a_tool_that_worked_in_the_end_has_not_failed_for_good() -> None:
    def tries(*results: str) -> Sequence:
        rows = [
            row
            for place, result in enumerate(results)
            for row in (
                asked(f"k{place}", "f", '{"x": 1}', 2 * place),
                answered(f"k{place}", "f", 2 * place + 1, result=result),
            )
        ]
        return of_messages(*rows)

    assert tries("Error: busy", "done").outcomes.tools_ok is True
    assert tries("done", "Error: busy").outcomes.tools_ok is False
    assert not difference(tries("Error: busy", "done"), tries("done"), {}).outcome
