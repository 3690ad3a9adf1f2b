"""Who answers a tool and how it is asked: precedence, grouping, switches and credentials."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import Any

import pytest

from assistants.resource_services import resource_store
from assistants.selectors import NUMBER_KIND
from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.models import Call, PhoneNumber, ToolExchange
from calls.services.call_plan import plan_for
from calls.services.tool_posts import tool_posts
from calls.services.tool_run import tool_run
from calls.services.tool_servers import credential_of, server_for
from calls.standins.tool_server import ToolReply
from tests.factories import (
    default_organisation,
    make_assistant,
    make_call,
    make_number,
    make_organisation,
    make_resource,
    make_tool,
)
from tests.integration.tools.conftest import ToolRig
from tools.models import DefaultServer, ServerCredential, Tool
from tools.servers import Bearer, Hmac
from tools.services import tool_store
from tools.spec import ToolResult, ToolSpec

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

BEARER: dict[str, Any] = {
    "provider": "webhook",
    "authenticationPlan": {"type": "bearer", "token": "hidden-rest"},
}


def stored(name: str, url: str, **fields: Any) -> Tool:
    """Make a tool with a whole document."""
    server = {"url": url, **fields.pop("server", {})} if url else {}
    function = {"name": name, "parameters": {"type": "object", "properties": {}}}
    document = {"type": "function", "function": function, **fields}
    return tool_store(
        organisation=default_organisation(),
        document=document | ({"server": server} if server else {}),
        actor=None,
    )


def companion(number: PhoneNumber, **document: Any) -> None:
    """Store what Vapi's object of a number says beyond its row."""
    resource_store(
        organisation=number.organisation,
        kind=NUMBER_KIND,
        document=document,
        actor=None,
        resource_id=number.pk,
    )


async def run_all(call: Call, *names: str) -> dict[str, ToolResult]:
    """Run one response's calls, ``a0``, ``a1`` …; the results in the order they became known."""
    plan = await in_database(plan_for, call)
    effects = [DispatchTool(f"a{n}", name, "{}") for n, name in enumerate(names)]
    told: list[tuple[str, ToolResult]] = []
    await tool_run(plan=plan, calls=effects, finished=lambda *pair: told.append(pair))
    assert sorted(each for each, _ in told) == sorted(effect.tool_call_id for effect in effects)
    return dict(told)


def test_precedence_is_tool_assistant_number_organisation() -> None:
    tool = make_tool(server_url="", server_secret="stray")
    own = make_tool(server_url="https://tool.example.com/", server_secret="s-tool")
    assistant = make_assistant(server_url="https://assistant.example.com/", server_secret="s-ass")
    number = make_number()
    assert server_for(tool, None, number=number) is None
    DefaultServer.objects.create(
        url="https://org.example.com/", secret="s-org", headers={"X-Team": "o"}, timeout_seconds=9
    )
    organisation = server_for(tool, None, number=number)
    companion(number, server={"url": "https://number.example.com/", "secret": "s-num"})
    found = [
        server_for(own, assistant.current_revision, number=number),
        server_for(tool, assistant.current_revision, number=number),
        server_for(tool, None, number=number),
        organisation,
    ]
    assert [(each.url, each.secret) for each in found if each] == [
        ("https://tool.example.com/", "s-tool"),
        ("https://assistant.example.com/", "s-ass"),
        ("https://number.example.com/", "s-num"),
        ("https://org.example.com/", "s-org"),
    ]
    assert organisation is not None
    assert (organisation.headers, organisation.timeout_seconds) == ({"X-Team": "o"}, 9)
    assert organisation.owner == str(tool.organisation_id)


def test_the_old_server_url_of_a_number_counts_and_another_organisation_s_does_not() -> None:
    number, tool = make_number(), make_tool(server_url="")
    companion(number, serverUrl="https://old.example.com/", serverUrlSecret="s")
    DefaultServer.objects.create(organisation=make_organisation(), url="https://x.example.com/")
    server = server_for(tool, None, number=number)
    assert server is not None
    assert (server.url, server.secret) == ("https://old.example.com/", "s")
    foreign = make_tool(make_organisation(), server_url="")
    assert server_for(foreign, None, number=number) is None


def test_a_credential_is_the_one_named_entered_here_or_stored_by_a_script() -> None:
    organisation = default_organisation()
    row = make_resource(kind="credential", **BEARER)
    named = str(row.pk)
    assert credential_of(organisation.pk, named) == (Bearer("hidden-rest"), None)
    ServerCredential.objects.create(
        credential_id=row.pk, name="Here", kind="hmac", plan={"type": "hmac", "secretKey": "k"}
    )
    assert credential_of(organisation.pk, named.upper()) == (Hmac("k"), None)
    for unknown in ("", "not-a-uuid", str(uuid.uuid4())):
        assert credential_of(organisation.pk, unknown) == (None, None)
    assert credential_of(make_organisation().pk, named) == (None, None)


async def test_the_calls_of_one_response_share_a_request_by_address(rig: ToolRig) -> None:
    rig.answer({"three": ToolReply(result="3")})
    other = rig.url.replace("/hook", "/other")
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[
                *(stored("one", rig.url), stored("two", other)),
                stored("three", rig.url, server={"timeoutSeconds": 33}),
                stored("four", rig.url, server={"secret": "hidden-1"}),
            ]
        )
    )
    results = await run_all(call, "one", "two", "three", "four", "nobody")
    assert [results[f"a{n}"].output for n in range(4)] == ["OK"] * 2 + ["3", "OK"]
    assert "'nobody'" in results["a4"].output
    posted = sorted((request.path, request.tool_call_ids) for request in rig.requests)
    assert posted == [
        ("/tools/hook", ["a0", "a2"]),
        ("/tools/hook", ["a3"]),
        ("/tools/other", ["a1"]),
    ]
    shared = next(each for each in rig.requests if each.tool_call_ids == ["a0", "a2"])
    message = shared.body["message"]
    assert [each["toolCall"]["id"] for each in message["toolWithToolCallList"]] == ["a0", "a2"]
    # The model's whole message, whoever answers which part of it.
    assert [each["id"] for each in message["artifact"]["messages"][-1]["toolCalls"]] == [
        *("a0", "a1", "a2", "a3"),
    ]
    keys = {request.headers["idempotency-key"] for request in rig.requests}
    assert keys == {f"{call.pk}:a0, {call.pk}:a2", f"{call.pk}:a1", f"{call.pk}:a3"}
    rows = await in_database(lambda: list(ToolExchange.objects.values_list("status", flat=True)))
    assert rows == [200, 200, 200]


async def test_each_result_is_told_when_it_is_known(rig: ToolRig) -> None:
    rig.answer({"slow": ToolReply(result="late", delay_seconds=0.2)})
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[stored("slow", rig.url), stored("fast", rig.url.replace("/hook", "/other"))]
        )
    )
    assert list(await run_all(call, "slow", "fast")) == ["a1", "a0"]


async def test_bad_arguments_of_one_call_hold_up_no_other(rig: ToolRig) -> None:
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[make_tool(name="book", server_url=rig.url), stored("note", rig.url)]
        )
    )
    results = await run_all(call, "book", "note")
    assert "was not called" in results["a0"].output
    assert results["a1"].output == "OK"
    assert rig.message["toolCallList"][0]["id"] == "a1"


async def test_an_asynchronous_call_beside_others_is_resolved_at_once(rig: ToolRig) -> None:
    rig.answer({"slow": ToolReply(result="late", delay_seconds=0.1)})
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[stored("slow", rig.url), stored("note", rig.url, **{"async": True})]
        )
    )
    results = await run_all(call, "slow", "note")
    assert list(results) == ["a1", "a0"]
    assert [results[each].output for each in ("a1", "a0")] == ["Success.", "late"]
    assert len(rig.requests) == 1


async def test_v3_switches_of_a_tool_change_its_arguments_and_aliases(rig: ToolRig) -> None:
    marks = {"argumentsAsText": True, "aliases": False}
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[stored("strict", rig.url, voiceplatform=marks, idempotent=True)]
        )
    )
    await run_all(call, "strict")
    (entry,) = rig.message["toolCallList"]
    assert entry == {
        "id": "a0",
        "type": "function",
        "function": {"name": "strict", "arguments": "{}"},
    }
    assert rig.message["toolCalls"] == [entry]
    shown = rig.message["toolWithToolCallList"][0]
    assert "name" not in shown
    assert "voiceplatform" not in shown
    assert "idempotent" not in shown


async def test_an_object_of_its_own_is_an_answer_where_the_switch_says_so(rig: ToolRig) -> None:
    reply = ToolReply(form="text", result='{"free": true}')
    rig.answer({"plain": reply, "loose": reply})
    marks = {"objectAnswers": True}
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[stored("plain", rig.url), stored("loose", rig.url, voiceplatform=marks)]
        )
    )
    results = await run_all(call, "plain", "loose")
    assert [(results[each].output, results[each].outcome) for each in ("a0", "a1")] == [
        ("No result returned.", "error"),
        ('{"free":true}', "ok"),
    ]
    assert "voiceplatform" not in json.dumps([each.body for each in rig.requests])


async def test_v44_a_legacy_tool_is_sent_the_old_message_alone(rig: ToolRig) -> None:
    seen: list[Any] = []
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[
                stored(name, rig.url, voiceplatform={"message": "function-call"})
                for name in ("old", "older")
            ]
        )
    )
    await run_all(call, "old", "older")
    seen = [request.body["message"] for request in rig.requests]
    assert sorted(message["functionCall"]["name"] for message in seen) == ["old", "older"]
    for message in seen:
        assert message["type"] == "function-call"
        assert message["functionCall"]["parameters"] == {}
        assert message["call"]["id"] == str(call.pk)
        assert not {"toolCalls", "toolCallList", "toolWithToolCallList"} & set(message)


async def test_a_credential_of_the_tool_s_server_signs_the_request(rig: ToolRig) -> None:
    credential_id = uuid.uuid4()

    def assistant() -> Any:
        ServerCredential.objects.create(
            credential_id=credential_id,
            name="Desk",
            kind="hmac",
            plan={"type": "hmac", "secretKey": "hidden-key"},
        )
        server = {
            "credentialId": str(credential_id),
            "headers": {"X-Line": "{{ phoneNumber.number }}"},
        }
        return make_assistant(tools=[stored("book", rig.url, server=server)])

    call = await rig.call_with(assistant)
    await run_all(call, "book")
    (request,) = rig.requests
    assert request.headers["x-line"] == call.callee
    raw = json.dumps(request.body, separators=(",", ":")).encode()
    payload = request.headers["x-timestamp"].encode() + b"." + raw
    assert request.headers["x-signature"] == (
        hmac.new(b"hidden-key", payload, hashlib.sha256).hexdigest()
    )


async def test_the_headers_are_vapi_s_and_ours_are_the_only_difference(rig: ToolRig) -> None:
    call = await rig.call_with(
        lambda: make_assistant(tools=[stored("book", rig.url, server={"secret": "s"})])
    )
    await run_all(call, "book")
    (request,) = rig.requests
    of_http = {"host", "content-length", "accept", "accept-encoding", "user-agent", "connection"}
    # vapi.md 4.2; X-Chat-Id stands in the captures of text chats where X-Call-Id does here.
    of_vapi = {"content-type", "x-vapi-secret", "x-call-id"}
    assert set(request.headers) - of_http == of_vapi | {"x-voiceplatform-stack", "idempotency-key"}


def test_a_request_of_no_server_is_none() -> None:
    call = make_call(number=make_number(assistant=make_assistant(tools=[stored("lost", "")])))
    tool = Tool.objects.get(name="lost")
    spec = ToolSpec(name="lost", handle=str(tool.pk))
    posts, known = tool_posts(str(call.pk), [(spec, DispatchTool("a1", "lost", "{}"))])
    assert posts == []
    assert known["a1"].output == "This tool has no server to call."
