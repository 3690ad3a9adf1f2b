"""Function calls from rows to the tool server and back to the model's text."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import structlog
from django.db import connection

from calls.media.database import in_database
from calls.services import tool_run as module
from calls.services.call_plan import plan_for
from calls.services.tool_run import server_for
from calls.standins.tool_server import ToolReply
from tests.factories import (
    make_assistant,
    make_call,
    make_number,
    make_organisation,
    make_revision,
    make_tool,
)
from tests.integration.tools.conftest import Settings, ToolRig
from tests.tool_schemas import realtime_problems
from tests.unit.tools.test_wire_messages import check
from tools.models import Tool
from tools.services import tool_store
from voiceplatform.base.models import Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

TURNS = [
    {"text": "Hello", "started_ms": 0},
    {"text": "Book me in, please", "started_ms": 3000},
    {"text": "One moment", "started_ms": 6000},
]


async def test_a_booking_goes_out_in_vapi_s_envelope_and_comes_back(rig: ToolRig) -> None:
    rig.answer({"book": ToolReply(result="Booked for {when}", status=201)})
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[make_tool(name="book", server_url=rig.url, server_secret="hidden-1")]
        ),
        turns=TURNS,
    )
    found = await rig.run(call, "book")
    assert (found.output, found.outcome) == ("Booked for mon", "ok")
    (request,) = rig.requests
    assert request.path == "/tools/hook"
    assert request.headers["x-vapi-secret"] == "hidden-1"
    assert request.headers["x-voiceplatform-stack"] == "direct"
    assert request.headers["x-call-id"] == str(call.pk)
    message = rig.message
    assert message["toolCalls"][0]["function"] == {"name": "book", "arguments": {"when": "mon"}}
    assert message["toolCalls"][0]["isPrecededByText"] is True
    assert message["call"]["id"] == str(call.pk)
    assert message["call"]["transport"]["callSid"] == call.call_sid
    assert message["phoneNumber"]["id"] == message["call"]["phoneNumberId"]
    assert message["customer"] == {"number": call.caller} == message["call"]["customer"]
    assert message["assistant"]["id"] == message["call"]["assistantId"]
    assert abs(message["timestamp"] / 1000 - request.at) < 30


async def test_v3_arguments_are_text_inside_the_artifact(rig: ToolRig) -> None:
    call = await rig.call_with(
        lambda: make_assistant(
            instructions="Be kind.", tools=[make_tool(name="book", server_url=rig.url)]
        ),
        turns=TURNS,
        tool_invocations=[{"name": "look_up", "arguments_json": '{"id": 1}', "started_ms": 4000}],
    )
    await rig.run(call, "book")
    artifact = rig.message["artifact"]
    assert [message["role"] for message in artifact["messages"]] == [
        *("system", "bot", "user", "tool_calls", "tool_call_result", "bot", "tool_calls"),
    ]
    pending = artifact["messages"][-1]["toolCalls"]
    assert pending == [
        {
            "id": "a1",
            "type": "function",
            "function": {"name": "book", "arguments": '{"when": "mon"}'},
        }
    ]
    formatted = artifact["messagesOpenAIFormatted"]
    assert [message["role"] for message in formatted] == [
        *("system", "assistant", "user", "assistant", "tool", "assistant", "assistant"),
    ]
    assert formatted[3]["tool_calls"][0]["function"]["arguments"] == '{"id": 1}'
    assert formatted[-1]["tool_calls"] == pending
    assert artifact["transcript"] == "AI: Hello\nUser: Book me in, please\nAI: One moment"


async def test_a_call_that_the_journal_has_stored_stands_there_once(rig: ToolRig) -> None:
    call = await rig.call_with(
        lambda: make_assistant(tools=[make_tool(name="book", server_url=rig.url)]),
        tool_invocations=[{"tool_call_id": "a1", "name": "book", "state": "running"}],
    )
    await rig.run(call, "book")
    roles = [message["role"] for message in rig.message["artifact"]["messages"]]
    assert roles.count("tool_calls") == 1


async def test_v2_what_goes_out_passes_the_sdk_s_model(rig: ToolRig) -> None:
    def assistant() -> Any:
        made = make_assistant(
            document_redacted={
                "name": "Front desk",
                "firstMessage": "Hello",
                "model": {
                    "provider": "openai",
                    "model": "gpt-4o",
                    "messages": [{"role": "system", "content": "Be kind."}],
                },
                "voice": {"provider": "vapi", "voiceId": "Elliot"},
                "transcriber": {"provider": "deepgram", "model": "nova-2", "language": "en"},
            },
            tools=[make_tool(name="book", server_url=rig.url)],
        )
        return made

    call = await rig.call_with(assistant, turns=TURNS)
    await rig.run(call, "book")
    (request,) = rig.requests
    parsed = check(request.body)
    assert parsed.tool_call_list[0].id == "a1"
    assert parsed.call.transport.call_sid == call.call_sid
    assert parsed.assistant.model.tools[0].function.name == "book"
    assert parsed.tool_with_tool_call_list[0].server.timeout_seconds == 20
    assert [type(message).__name__ for message in parsed.artifact.messages] == [
        *("SystemMessage", "BotMessage", "UserMessage", "BotMessage", "ToolCallMessage"),
    ]


@pytest.mark.parametrize(
    ("reply", "output", "outcome"),
    [
        (ToolReply(result={"ok": True}), '{"ok":true}', "ok"),
        (ToolReply(result="a\nb", form="object"), "a b", "ok"),
        (ToolReply(result="x", form="legacy"), "x", "ok"),
        (ToolReply(result="x", form="wrong-id"), "x", "ok"),
        (ToolReply(result="full", form="error"), "full", "error"),
        (ToolReply(result="down", form="top-level-error", status=500), "down", "error"),
        (ToolReply(result="x", status=500), "x", "ok"),
        (ToolReply(result="x", form="text"), "No result returned.", "error"),
        (ToolReply(form="empty"), "No result returned.", "error"),
        (ToolReply(result="http://127.0.0.1:1/", form="redirect"), "No result returned.", "error"),
        (
            ToolReply(form="huge"),
            "No result returned. The tool server's answer is too large.",
            "error",
        ),
    ],
    ids=lambda value: value.form if isinstance(value, ToolReply) else "",
)
async def test_every_form_of_an_answer(
    rig: ToolRig, reply: ToolReply, output: str, outcome: str
) -> None:
    rig.answer({"book": reply})
    call = await rig.call_with(
        lambda: make_assistant(tools=[make_tool(name="book", server_url=rig.url)])
    )
    found = await rig.run(call, "book")
    assert (found.output, found.outcome) == (output, outcome)
    assert len(rig.requests) == 1


async def test_a_late_answer_is_a_timeout(rig: ToolRig) -> None:
    rig.answer({"book": ToolReply(delay_seconds=30)})
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[make_tool(name="book", server_url=rig.url, timeout_seconds=1)]
        )
    )
    found = await rig.run(call, "book")
    assert found.outcome == "timeout"
    assert found.output == "No result returned. The tool server did not answer within 1 seconds."
    assert found.duration_ms >= 1000


@pytest.mark.parametrize("arguments", ['{"when": ', '{"when": 3}', "{}", "[]"])
async def test_arguments_that_do_not_fit_are_not_posted(rig: ToolRig, arguments: str) -> None:
    call = await rig.call_with(
        lambda: make_assistant(tools=[make_tool(name="book", server_url=rig.url)])
    )
    found = await rig.run(call, "book", arguments)
    assert found.outcome == "error"
    assert "was not called" in found.output
    assert rig.requests == []


async def test_v12_static_parameters_win_and_stay_hidden_from_the_model(rig: ToolRig) -> None:
    document = {
        "type": "function",
        "function": {"name": "book"},
        "parameters": [{"key": "when", "value": "tue"}, {"key": "apiKey", "value": "hidden-1"}],
    }
    redacted = {**document, "parameters": [{"key": "when", "value": "tue"}, {"key": "apiKey"}]}
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[
                make_tool(
                    name="book",
                    server_url=rig.url,
                    document=document,
                    document_redacted=redacted,
                )
            ]
        )
    )
    await rig.run(call, "book")
    arguments = rig.message["toolCalls"][0]["function"]["arguments"]
    assert arguments == {"when": "tue", "apiKey": "hidden-1"}
    assert "hidden-1" not in json.dumps(rig.message["toolWithToolCallList"][0]["parameters"])


async def test_templates_are_filled_in_from_the_call_and_the_model_never_sees_them(
    rig: ToolRig,
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "when": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "phone": {"type": "string", "default": "{{customer.number}}"},
            "language": {"type": "string", "default": "sl"},
            "nothing": {"type": "string", "default": "{{no_such_variable}}"},
        },
        "required": ["when", "phone"],
    }
    document = {
        "type": "function",
        "function": {"name": "book", "description": "Books.", "parameters": schema},
        "parameters": [{"key": "line", "value": "{{ phoneNumber.number }}"}],
        "server": {"url": rig.url},
    }

    def assistant() -> Any:
        row = make_tool(name="book")
        tool = tool_store(
            organisation=row.organisation, document=document, actor=None, tool=row, is_inline=True
        )
        return make_assistant(tools=[tool])

    call = await rig.call_with(assistant)
    (offered,) = (await in_database(plan_for, call)).tools
    assert "{{" not in json.dumps(offered.parameters)
    assert realtime_problems(offered.parameters) == []
    assert offered.parameters["required"] == ["when"]
    found = await rig.run(call, "book")
    assert found.outcome == "ok"
    assert rig.message["toolCalls"][0]["function"]["arguments"] == {
        "when": "mon",
        "phone": call.caller,
        "language": "sl",
        "nothing": "",
        "line": call.callee,
    }
    refused = await rig.run(call, "book", '{"when": [1]}', tool_call_id="a2")
    assert "when: [1] is not valid under any of the given schemas" in refused.output
    assert len(rig.requests) == 1


async def test_v14_a_tool_without_a_server_is_answered_by_its_assistant_s(rig: ToolRig) -> None:
    document = {
        "server": {
            "url": rig.url,
            "secret": "hidden-2",
            "timeoutSeconds": 7,
            "headers": {"X-Team": "desk"},
        }
    }
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[make_tool(name="book", server_url="", server_secret="hidden-1")],
            server_url=rig.url,
            server_secret="hidden-2",
            document=document,
        )
    )
    assert (await rig.run(call, "book")).output == "OK"
    (request,) = rig.requests
    assert request.headers["x-vapi-secret"] == "hidden-2"
    assert request.headers["x-team"] == "desk"
    assert rig.message["toolWithToolCallList"][0]["server"]["timeoutSeconds"] == 7


async def test_the_tool_s_own_server_comes_first_and_secrets_do_not_travel(rig: ToolRig) -> None:
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[make_tool(name="book", server_url=rig.url)],
            server_url="https://other.example.com/",
            server_secret="hidden-2",
        )
    )
    await rig.run(call, "book")
    (request,) = rig.requests
    assert "x-vapi-secret" not in request.headers


async def test_a_tool_without_any_server_says_so(rig: ToolRig) -> None:
    call = await rig.call_with(
        lambda: make_assistant(tools=[make_tool(name="book", server_url="")])
    )
    found = await rig.run(call, "book")
    assert (found.output, found.outcome) == ("This tool has no server to call.", "error")


async def test_a_server_that_wants_its_secret_gets_it_and_only_then_answers(rig: ToolRig) -> None:
    rig.standins.tools.secret = "hidden-1"
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[
                make_tool(name="good", server_url=rig.url, server_secret="hidden-1"),
                make_tool(name="bad", server_url=rig.url, server_secret="old"),
            ]
        )
    )
    assert (await rig.run(call, "good")).outcome == "ok"
    assert (await rig.run(call, "bad")).output == "No result returned."
    assert [request.status for request in rig.requests] == [200, 401]


async def test_private_addresses_are_refused_without_permission(
    rig: ToolRig, settings: Settings
) -> None:
    settings.EGRESS_ALLOW = []
    call = await rig.call_with(
        lambda: make_assistant(tools=[make_tool(name="book", server_url=rig.url)])
    )
    found = await rig.run(call, "book")
    assert found.output == "No result returned. The tool server could not be reached."
    assert rig.requests == []


async def test_an_asynchronous_tool_is_answered_at_once(rig: ToolRig) -> None:
    rig.answer({"note": ToolReply(delay_seconds=0.2)})
    call = await rig.call_with(
        lambda: make_assistant(tools=[make_tool(name="note", server_url=rig.url, is_async=True)])
    )
    found = await rig.run(call, "note")
    assert (found.output, found.outcome) == ("Success.", "ok")


@pytest.mark.parametrize("kind", ["code", "query", "voicemail", "mcp", "output"])
async def test_other_kinds_are_not_posted_as_if_they_were_functions(
    rig: ToolRig, kind: str
) -> None:
    call = await rig.call_with(
        lambda: make_assistant(tools=[make_tool(name="x", type=kind, server_url=rig.url)])
    )
    assert (await rig.run(call, "x")).outcome == "error"
    assert rig.requests == []


async def test_a_tool_that_the_plan_lacks_is_named(rig: ToolRig) -> None:
    call = await rig.call_with(make_assistant)
    assert "'invented'" in (await rig.run(call, "invented")).output


async def test_a_deleted_or_foreign_tool_is_an_answer(rig: ToolRig) -> None:
    call = await rig.call_with(
        lambda: make_assistant(tools=[make_tool(name="book", server_url=rig.url)])
    )
    plan = await in_database(module_plan, call)
    other = await in_database(make_organisation)

    def move(organisation: Organisation) -> None:
        Tool.objects.update(organisation=organisation)

    await in_database(move, other)
    effect = module.DispatchTool("a1", "book", '{"when": "mon"}')
    results: dict[str, Any] = {}
    await module.tool_run(plan=plan, calls=[effect], finished=results.__setitem__)
    found = results.pop("a1")
    assert (found.output, found.outcome) == (module.UNAVAILABLE, "error")
    assert rig.requests == []


def module_plan(call: Any) -> Any:
    """Return the plan of a call."""
    from calls.services.call_plan import plan_for

    return plan_for(call)


async def test_a_secret_that_no_key_opens_is_an_answer(rig: ToolRig, settings: Settings) -> None:
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[make_tool(name="book", server_url=rig.url, server_secret="hidden-1")]
        )
    )

    def spoil() -> None:
        with connection.cursor() as cursor:
            cursor.execute("update tools_tool set server_secret = 'gAAAAAbroken'")

    plan = await in_database(module_plan, call)
    await in_database(spoil)
    effect = module.DispatchTool("a1", "book", '{"when": "mon"}')
    results: dict[str, Any] = {}
    await module.tool_run(plan=plan, calls=[effect], finished=results.__setitem__)
    found = results.pop("a1")
    assert (found.output, found.outcome) == (module.UNAVAILABLE, "error")


async def test_nothing_secret_is_posted_or_logged(
    rig: ToolRig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[
                make_tool(
                    name="book",
                    server_url=rig.url,
                    server_secret="hidden-secret",
                    server_headers={"Authorization": "Bearer hidden-header", "X-Team": "desk"},
                    document={
                        "type": "function",
                        "function": {"name": "book"},
                        "server": {
                            "url": rig.url,
                            "secret": "hidden-secret",
                            "headers": {"Authorization": "Bearer hidden-header"},
                        },
                    },
                )
            ],
            server_url="https://other.example.com/?token=hidden-other",
            server_secret="hidden-assistant",
        ),
        turns=[{"text": "Hello"}, {"text": "my-private-words"}],
    )
    with structlog.testing.capture_logs() as lines:
        found = await rig.run(call, "book", '{"when": "my-private-argument"}')
    assert found.outcome == "ok"
    (request,) = rig.requests
    assert request.headers["authorization"] == "Bearer hidden-header"
    assert "hidden" not in json.dumps(request.body)
    assert any(line["event"] == "tool_answered" for line in lines)
    logged = repr(lines) + "".join(record.getMessage() for record in caplog.records)
    assert "hidden" not in logged
    assert "my-private" not in logged


def test_who_answers_a_tool() -> None:
    tool = make_tool(server_url="", server_secret="tool")
    assistant = make_assistant(server_url="https://a.example.com/", server_secret="assistant")
    own = make_tool(server_url="https://t.example.com/", server_secret="tool", timeout_seconds=9)
    revision = assistant.current_revision
    bare = make_revision(make_assistant())
    assert server_for(tool, None) is None
    assert server_for(tool, bare) is None
    by_assistant, by_tool = server_for(tool, revision), server_for(own, revision)
    assert by_assistant is not None
    assert by_tool is not None
    assert (by_assistant.url, by_assistant.secret) == ("https://a.example.com/", "assistant")
    assert (by_tool.url, by_tool.secret, by_tool.timeout_seconds) == (
        "https://t.example.com/",
        "tool",
        9,
    )


def test_calls_without_number_or_speech_have_an_envelope() -> None:
    from calls.services.vapi_objects import envelope_for

    bare = make_call(number=None, caller="")
    envelope = envelope_for(bare, timestamp_ms=1)
    assert (envelope.phone_number, envelope.customer, envelope.assistant) == (None, None, None)
    assert envelope.artifact == {
        "messages": [],
        "messagesOpenAIFormatted": [],
        "transcript": "",
    }
    outbound = make_call(number=make_number(), direction="outbound")
    assert envelope_for(outbound, timestamp_ms=1).customer == {"number": outbound.callee}


def test_v2_the_end_of_a_call_passes_the_sdk_s_models() -> None:
    from calls.services.vapi_objects import cost_breakdown, costs, envelope_for
    from tools.wire.vapi_server import end_of_call_report_message, status_update_message
    from voiceplatform.base.rest import iso

    call = make_call(
        status="ended", turns=TURNS, tool_invocations=[{}, {"state": "running"}, {"state": "error"}]
    )
    envelope = envelope_for(call, timestamp_ms=1_763_805_600_000)
    report = check(
        end_of_call_report_message(
            envelope,
            ended_reason=call.ended_reason,
            started_at=iso(call.started_at),
            ended_at=iso(call.ended_at),
            duration_ms=call.duration_seconds * 1000,
            cost=float(call.cost_usd),
            costs=costs(call),
            cost_breakdown=cost_breakdown(call),
        )
    )
    assert report.ended_reason == "customer-ended-call"
    assert report.call.cost_breakdown is None
    assert [cost.type for cost in report.costs] == ["transport", "model"]
    assert report.costs[1].prompt_tokens == 0
    assert [type(message).__name__ for message in report.artifact.messages].count(
        "ToolCallResultMessage"
    ) == 2
    ended = check(status_update_message(envelope, status="ended", ended_reason=call.ended_reason))
    assert ended.call.status == "ended"
