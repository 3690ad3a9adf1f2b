"""MCP servers of an assistant: what a plan shows, what only the model is told, what is recorded."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import Any

import pytest

from calls.bridge.effects import DispatchTool, RecordMcpTool
from calls.bridge.plan import CallPlan
from calls.media.database import in_database
from calls.models import Call, ProviderConnection, ToolInvocation
from calls.services.call_plan import plan_for, ticket_for
from calls.services.journal import batch_store
from calls.services.mcp_servers import mcp_told
from calls.services.talk_plan import talk_ticket, talk_tool_run
from tests import factories
from tools.models import ServerCredential, Tool
from tools.services import tool_store

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SECRETS = ("planted-header-1", "planted-query-2", "planted-secret-3", "planted-bearer-4")


def document(**server: Any) -> dict[str, Any]:
    """Return an MCP tool as Vapi exports it, with a secret in every place."""
    return {
        "type": "mcp",
        "function": {"name": "crm", "description": "The CRM of {{customer.number}}."},
        "metadata": {"protocol": "shttp"},
        "server": {
            "url": "https://mcp.example.com/mcp?token=planted-query-2",
            "headers": {"X-Key": "planted-header-1", "X-From": "{{customer.number}}"},
            "secret": "planted-secret-3",
            **server,
        },
        "voiceplatform": {"allowedTools": ["find", "find", 3]},
    }


def a_call(*documents: dict[str, Any], **columns: Any) -> Call:
    """Return a call whose assistant has these tools."""
    assistant = factories.make_assistant()
    for each in documents:
        tool = tool_store(organisation=assistant.organisation, document=each, actor="test")
        assistant.current_revision.tools.add(tool)
    number = factories.make_number(assistant=assistant)
    return factories.make_call(number=number, **{"caller": "+15550100009", **columns})


def credential(plan: dict[str, Any]) -> str:
    """Return the id of a credential that was entered here."""
    organisation = factories.default_organisation()
    row = ServerCredential.objects.create(organisation=organisation, name="c", plan=plan)
    return str(row.credential_id)


def test_a_plan_names_the_server_and_holds_no_secret() -> None:
    ticket = ticket_for(a_call(document()))
    (server,) = ticket.plan.session.mcp_servers
    tool = Tool.objects.get(type="mcp")
    assert dataclasses.astuple(server) == (
        "crm",
        "https://mcp.example.com/mcp?token=***",
        "The CRM of +15550100009.",
        ("find",),
        str(tool.pk),
    )
    kept = json.dumps(ticket.plan.to_json()) + repr(ticket)
    assert not [each for each in SECRETS if each in kept]
    assert [each.name for each in ticket.plan.tools] == []


def test_the_model_is_told_address_headers_and_whose_call_it_is() -> None:
    call = a_call(document())
    (access,) = ticket_for(call).endpoint.mcp
    assert access.url.endswith("?token=planted-query-2")
    assert dict(access.headers) == {
        "X-Call-Id": str(call.pk),
        "X-Vapi-Secret": "planted-secret-3",
        "X-Key": "planted-header-1",
        "X-From": "+15550100009",
    }
    assert {*SECRETS[:3]} <= {*access.secrets} and "+15550100009" not in access.secrets


@pytest.mark.parametrize("way", ["credential", "header"])
def test_a_bearer_token_is_the_authorization(way: str) -> None:
    server: dict[str, Any] = {"headers": {"Authorization": "Bearer planted-bearer-4"}}
    if way == "credential":
        server = {"credentialId": credential({"type": "bearer", "token": "planted-bearer-4"})}
    (access,) = ticket_for(a_call(document(**server))).endpoint.mcp
    assert access.authorization == "planted-bearer-4" and "planted-bearer-4" in access.secrets
    assert "Authorization" not in dict(access.headers)


@pytest.mark.parametrize(
    "server",
    [
        {"url": "http://mcp.example.com/mcp"},
        {"url": "https://{{host}}/mcp"},
        {"url": None},
        {"credentialId": ("hmac", {"type": "hmac", "secretKey": "k"})},
        {
            "credentialId": (
                "oauth2",
                {"type": "oauth2", "url": "https://t", "clientId": "c", "clientSecret": "s"},
            )
        },
    ],
    ids=["http", "liquid", "none", "hmac", "oauth2"],
)
def test_what_cannot_be_handed_over_is_left_out(server: dict[str, Any]) -> None:
    if "credentialId" in server:
        server = {"credentialId": credential(server["credentialId"][1])}
    ticket = ticket_for(a_call(document(**server), document()))
    assert [each.label for each in ticket.plan.session.mcp_servers] == ["crm"]
    assert len(ticket.endpoint.mcp) == 1


def test_two_of_one_name_get_labels_of_their_own() -> None:
    ticket = ticket_for(a_call(document(), document(headers={"X-Key": "another"})))
    labels = [each.label for each in ticket.plan.session.mcp_servers]
    assert labels == ["crm", "crm_2"] == [each.label for each in ticket.endpoint.mcp]


@pytest.mark.parametrize("dialect", ["azure_ga", "beta"])
def test_other_dialects_get_none(dialect: str) -> None:
    call = a_call(document())
    ProviderConnection.objects.update(dialect=dialect)
    ticket = ticket_for(Call.objects.get(pk=call.pk))
    assert (ticket.plan.session.mcp_servers, ticket.endpoint.mcp) == ((), ())


@pytest.mark.parametrize("calls_tools", [True, False])
def test_a_rehearsal_has_no_server_that_would_be_asked_for_good(calls_tools: bool) -> None:
    revision = a_call(document()).revision
    assert revision is not None
    talk = factories.make_talk(revision)
    talk.calls_tools = calls_tools
    ticket = talk_ticket(talk=talk)
    assert bool(ticket.plan.session.mcp_servers) is calls_tools is bool(ticket.endpoint.mcp)


def test_its_calls_are_tied_to_the_tool_as_long_as_there_is_one() -> None:
    call = a_call(document())
    (server,) = plan_for(call).session.mcp_servers
    kept = {
        "name": "find",
        "arguments_json": "{}",
        "state": "ok",
        "output": "sent",
        "started_ms": 5,
        "duration_ms": 7,
    }
    handles = (server.handle, str(uuid.uuid4()), "")
    effects = [RecordMcpTool(f"m{at}", handle=each, **kept) for at, each in enumerate(handles)]  # type: ignore[arg-type]
    for _ in range(2):
        batch_store(
            call_id=str(call.pk), stream_number=1, turns=[], tools=effects, policy=None, pieces=[]
        )
    rows = ToolInvocation.objects.filter(call=call).order_by("tool_call_id")
    assert [str(row.tool_id) for row in rows] == [server.handle, "None", "None"]
    assert rows[0].output == "sent"


@pytest.mark.django_db(transaction=True)
async def test_a_session_that_is_dialled_during_a_call_is_told_of_its_own_servers() -> None:
    """After a handoff it is another assistant's, which no row of the call may name yet."""

    def made() -> tuple[Call, CallPlan]:
        call = a_call(document())
        another = a_call(document(headers={"X-Key": "planted-of-another"}))
        return call, dataclasses.replace(plan_for(another), call_id=str(call.pk))

    call, plan = await in_database(made)
    (access,) = await mcp_told(plan)
    headers = dict(access.headers)
    assert (headers["X-Key"], headers["X-Call-Id"]) == ("planted-of-another", str(call.pk))
    (access,) = await mcp_told(plan, lambda: call)  # a talk, which is no row
    assert dict(access.headers)["X-Key"] == "planted-of-another"
    gone = dataclasses.replace(plan, call_id=str(uuid.uuid4()))
    assert await mcp_told(gone) == ()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("calls_tools", [True, False])
async def test_who_takes_over_in_a_rehearsal_has_none_either(calls_tools: bool) -> None:
    def made() -> Any:
        a_call(document())
        target = Tool.objects.get(type="mcp").revisions.get().assistant
        handoff = tool_store(
            organisation=target.organisation,
            document={
                "type": "handoff",
                "function": {"name": "pass_on"},
                "destinations": [{"type": "assistant", "assistantId": str(target.pk)}],
            },
            actor="test",
        )
        talk = factories.make_talk(factories.make_assistant(tools=[handoff]).current_revision)
        talk.calls_tools = calls_tools
        return talk, talk_ticket(talk=talk)

    talk, ticket = await in_database(made)
    effect = DispatchTool("h1", "pass_on", "{}")
    result, _ = await talk_tool_run(talk=talk, plan=ticket.plan, effect=effect, turns=[])
    assert result.successor is not None, result
    servers = result.successor["plan"]["session"]["mcp_servers"]
    assert [each["description"] for each in servers] == ["The CRM of ."] * calls_tools
