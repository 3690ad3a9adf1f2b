"""What a result sets in a call: what follows sees it, and it is kept with the call."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import OperationalError

from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.models import AssistantActivation, Call, ToolInvocation
from calls.services import tool_run
from calls.services.call_plan import plan_for
from calls.services.call_variables import variables_for
from calls.services.extraction import variables_take
from calls.services.talk_plan import talk_ticket, talk_tool_run
from calls.services.vapi_objects import artifact_object, set_variables
from tests import factories
from tests.integration.tools.conftest import ToolRig
from tests.integration.tools.plain_server import PlainServer, plain_server
from tools.encryption import encryption_plan
from tools.models import ServerCredential
from tools.services import tool_store

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

USER = {"data": {"id": 17, "name": "Ada"}, "tier": "gold", "pin": "0000"}


@pytest.fixture
def server() -> Iterator[PlainServer]:
    """A customer's server: it knows a user, and takes orders."""

    def answer(body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        if "message" not in body:
            return 200, {"got": body}
        (call,) = body["message"]["toolCallList"]
        result = USER if call["function"]["name"] == "who" else "Ordered."
        return 200, {"results": [{"toolCallId": call["id"], "result": result}]}

    with plain_server(answer) as made:
        yield made


def documents(url: str) -> list[dict[str, Any]]:
    """Return a tool that sets variables, and two that use them."""
    return [
        {
            "type": "function",
            "function": {"name": "who"},
            "server": {"url": url},
            "messages": [{"type": "request-complete", "content": "Hello {{ userName }}."}],
            "variableExtractionPlan": {
                "schema": {"type": "object", "properties": {"tier": {"type": "string"}}},
                "aliases": [
                    {"key": "userId", "value": "{{ $.data.id }}"},
                    {"key": "userName", "value": "{{ $.data.name }}"},
                ],
            },
        },
        {
            "type": "function",
            "function": {"name": "order"},
            "server": {"url": url, "headers": {"X-User": "{{ userId }}"}},
            "parameters": [{"key": "user", "value": "{{ userId }}"}],
            "messages": [{"type": "request-start", "content": "One moment, {{ userName }}."}],
        },
        {
            "type": "apiRequest",
            "name": "bill",
            "url": url.replace("/hook", "/users/{{ userId }}/bill"),
            "parameters": [{"key": "tier", "value": "{{ tier }}"}],
        },
    ]


def assistant(*tools: dict[str, Any], **columns: Any) -> Any:
    made = factories.make_assistant(**columns)
    for each in tools:
        tool = tool_store(organisation=made.organisation, document=each, actor="test")
        made.current_revision.tools.add(tool)
    return made


async def test_what_is_sent_and_said_afterwards_sees_it(rig: ToolRig, server: PlainServer) -> None:
    call = await rig.call_with(lambda: assistant(*documents(server.url)))
    found = await rig.run(call, "who", "{}", "a1")
    said = {name: [each.text for each in messages] for name, messages in found.retold.items()}
    assert "Hello Ada." in said["who"] and said["order"] == ["One moment, Ada."]
    await rig.run(call, "order", "{}", "a2")
    await rig.run(call, "bill", "{}", "a3")
    (_, _, _), (_, headers, envelope), (_, _, bill) = server.requests
    assert headers["x-user"] == "17"
    assert envelope["message"]["toolCallList"][0]["function"]["arguments"] == {"user": "17"}
    assert envelope["message"]["artifact"]["variableValues"]["userName"] == "Ada"
    assert (server.paths[-1], bill) == ("/users/17/bill", {"tier": "gold"})

    def kept() -> tuple[Any, Any, list[str]]:
        again = Call.objects.get(pk=call.pk)
        plan = plan_for(Call.objects.get(pk=call.pk))  # of a stream that resumes it
        (order,) = [tool for tool in plan.tools if tool.name == "order"]
        known = variables_for(again)
        return known, artifact_object(again)["variableValues"], [m.text for m in order.messages]

    known, artifact, texts = await in_database(kept)
    assert artifact == {"tier": "gold", "userId": "17", "userName": "Ada"}
    assert {**known, **artifact} == known and "pin" not in known
    assert texts == ["One moment, Ada."]


async def test_a_database_that_is_busy_is_asked_again(
    rig: ToolRig, server: PlainServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await rig.call_with(lambda: assistant(*documents(server.url)))
    tries: list[int] = []

    def busy(*arguments: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("locked")
        return variables_take(*arguments)

    monkeypatch.setattr(tool_run, "variables_take", busy)
    assert "who" in (await rig.run(call, "who", "{}", "a1")).retold
    monkeypatch.setattr(tool_run, "variables_take", lambda *_: busy_for_ever())
    found = await rig.run(call, "who", "{}", "a2")
    assert (found.outcome, found.retold) == ("ok", {})


def busy_for_ever() -> None:
    raise OperationalError("locked")


async def test_a_failure_and_words_set_nothing(rig: ToolRig, server: PlainServer) -> None:
    who, order, _ = documents(server.url)
    order["variableExtractionPlan"] = who["variableExtractionPlan"]
    call = await rig.call_with(lambda: assistant(who, order))
    found = await rig.run(call, "order", "{}", "a1")
    assert (found.output, found.retold) == ("Ordered.", {})
    server.handler = lambda body, headers: (500, {"error": json.dumps(USER)})
    assert (await rig.run(call, "who", "{}", "a2")).outcome == "error"
    assert await in_database(lambda: Call.objects.get(pk=call.pk).variable_values) is None


async def test_the_later_of_what_was_handed_over_and_what_a_result_sets_wins(
    rig: ToolRig, server: PlainServer
) -> None:
    call = await rig.call_with(lambda: assistant(*documents(server.url)))

    def handed_over() -> None:
        row = Call.objects.get(pk=call.pk)
        row.variable_values = {"userName": "before", "tier": "silver"}
        row.activation = AssistantActivation.objects.create(
            call=row,
            ordinal=0,
            revision=row.revision,
            started_ms=0,
            first_ordinal=0,
            variables={"userName": "handed over", "desk": "7"},
        )
        row.save()

    await in_database(handed_over)
    known = await in_database(lambda: set_variables(Call.objects.get(pk=call.pk)))
    assert known == {"userName": "handed over", "desk": "7", "tier": "silver"}
    await rig.run(call, "who", "{}", "a1")
    known = await in_database(lambda: set_variables(Call.objects.get(pk=call.pk)))
    assert known == {"userName": "Ada", "desk": "7", "tier": "gold", "userId": "17"}


@pytest.mark.parametrize("words", [True, False])
async def test_what_is_masked_is_never_written_and_known_while_the_call_lasts(
    rig: ToolRig, server: PlainServer, words: bool
) -> None:
    phone = "+15550100077"
    server.handler = lambda body, headers: (
        200,
        {"results": [{"toolCallId": "a1", "result": {**USER, "data": {"id": phone}}}]},
    )

    def made() -> Any:
        if not words:
            document = {"compliancePlan": {"hipaaEnabled": True}}
            return assistant(*documents(server.url), document=document)
        assistant_ = assistant(*documents(server.url))
        factories.make_redaction_rule(assistant_.organisation)
        return assistant_

    call = await rig.call_with(made)
    await rig.run(call, "who", "{}", "a1")

    def kept() -> tuple[Any, Any]:
        row = Call.objects.get(pk=call.pk)
        return row.variable_values, variables_for(row)["userId"]

    stored, known = await in_database(kept)
    assert phone not in json.dumps(stored) and known == phone
    assert bool(stored) is words
    await rig.run(call, "order", "{}", "a2")
    assert server.requests[-1][1]["x-user"] == phone


async def test_a_talk_gathers_them_in_memory(rig: ToolRig, server: PlainServer) -> None:
    def make() -> Any:
        talk = factories.make_talk(assistant(*documents(server.url)).current_revision)
        talk.calls_tools = True
        return talk, talk_ticket(talk=talk)

    talk, ticket = await in_database(make)
    variables: dict[str, Any] = {}
    for name in ("who", "bill"):
        result, _ = await talk_tool_run(
            talk=talk,
            plan=ticket.plan,
            effect=DispatchTool(name, name, "{}"),
            turns=[],
            variables=variables,
        )
        assert result.outcome == "ok", result
    assert variables["userId"] == "17" and server.paths[-1] == "/users/17/bill"


# -- arguments that only a server may read --------------------------------------------------------

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
CARD = "4111-planted-1111"


def opened(text: str) -> str:
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return KEY.decrypt(base64.b64decode(text), scheme).decode()


def paying(url: str, kind: str, *, pem: str | None = PEM) -> Any:
    """Return an assistant whose tool encrypts a card; without ``pem`` the key is not here."""
    organisation = factories.default_organisation()
    plan = {"type": "bearer", "token": "t", "encryptionPlan": encryption_plan(pem or "")}
    row = ServerCredential.objects.create(organisation=organisation, name="pay", plan=plan)
    credential_id = str(row.credential_id)
    if pem is None:
        row.delete()
    schema = {"type": "object", "properties": {"card": {"type": "string"}}}
    asked = {"credentialId": credential_id, "encryptedPaths": ["card"]}
    if kind == "apiRequest":
        return assistant({"type": kind, "name": "pay", "url": url, "body": schema, **asked})
    server = {"url": url, **asked}
    function = {"name": "pay", "parameters": schema}
    return assistant({"type": kind, "function": function, "server": server})


@pytest.mark.parametrize("kind", ["function", "apiRequest"])
async def test_a_card_leaves_encrypted_and_is_kept_nowhere(
    rig: ToolRig, server: PlainServer, kind: str
) -> None:
    server.handler = lambda body, headers: (200, {"ok": True})
    call = await rig.call_with(lambda: paying(server.url, kind))
    await rig.run(call, "pay", json.dumps({"card": CARD, "day": "mon"}))
    ((_, _, body),) = server.requests
    sent = (
        body if kind == "apiRequest" else body["message"]["toolCalls"][0]["function"]["arguments"]
    )
    assert opened(sent["card"]) == CARD and sent["day"] == "mon"
    assert CARD not in json.dumps(body)
    row = await in_database(lambda: ToolInvocation.objects.get(call_id=call.pk))
    assert json.loads(row.arguments_json) == {"card": "***", "day": "mon"}


@pytest.mark.parametrize(("pem", "card"), [(None, CARD), ("no key", CARD), (PEM, "4" * 191)])
async def test_what_cannot_be_encrypted_is_not_sent(
    rig: ToolRig, server: PlainServer, pem: str | None, card: str
) -> None:
    call = await rig.call_with(lambda: paying(server.url, "function", pem=pem))
    found = await rig.run(call, "pay", json.dumps({"card": card}))
    assert found.outcome == "error" and server.requests == []
    assert ("too long" in found.output) is (card != CARD)
