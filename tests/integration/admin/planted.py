"""Secrets planted in a tool, and all that then happens to it: called, tried, checked, exported.

The server repeats whatever it is sent, headers and body, beside its result. What is returned is
every text that came about outside the pages; the database is read as the file is, row by row.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from calls.bridge.effects import DispatchTool
from calls.media.recording import Recorder, tool_text
from calls.models import Call, ToolExchange
from calls.services import tool_check
from calls.services.call_plan import plan_for
from calls.services.tool_records import exchange_bodies, store_exchange
from calls.services.tool_run import tool_post
from tests import factories
from tests.integration.tools.plain_server import Answer, plain_server
from tools.dispatch import close_client, dispatch
from tools.models import DefaultServer, ServerCredential, Tool
from tools.services import tool_patch
from tools.spec import ToolSpec

TOOL_CALL_ID = "call_planted"


ANYTHING: dict[str, Any] = {"type": "object", "properties": {}}


def echo(body: Any, headers: dict[str, str]) -> Answer:
    """Answer as asked, and repeat all that came; a form asks for a token.

    What an API answers to an ``apiRequest`` is a result as a whole, so there nothing is repeated.
    """
    if isinstance(body, str):
        return 200, {"access_token": f"{body.partition('client_secret=')[2]}-token"}
    if body and "message" not in body:
        return 200, {"ok": True}
    calls = body["message"]["toolCallList"] if body else []
    results = [{"toolCallId": call["id"], "result": "Done."} for call in calls]
    said = f"You sent {list(headers.values())} and {body}"
    return 200, {"results": results, "echo": body, "headers": headers, "said": said}


def plant(tool: Tool, url: str, secret: str) -> None:
    """Put ``secret`` into every place of a tool document that may hold one."""
    credential = ServerCredential.objects.create(
        organisation=tool.organisation, name="planted", plan={"type": "bearer", "token": secret}
    )
    tool_patch(
        tool=tool,
        actor=None,
        patch={
            "function": {
                "name": "planted_tool",
                "parameters": {
                    "type": "object",
                    "properties": {"api_key": {"type": "string", "const": secret}},
                },
            },
            "parameters": [{"key": "token", "value": secret}],
            "server": {
                "url": f"{url.replace('://', f'://user:{secret}@')}?token={secret}",
                "secret": secret,
                "headers": {"X-Api-Key": secret, "X-Plain": "plain"},
                "credentialId": str(credential.credential_id),
            },
        },
    )
    tool.refresh_from_db()


def call_once(call: Call, tool: Tool, tool_call_id: str = TOOL_CALL_ID) -> str:
    """Ask the tool's server as a call does, store what was exchanged; return what is recorded."""
    spec = ToolSpec(name=tool.name, kind=tool.type, handle=str(tool.pk), posted_name=tool.name)
    post = tool_post(call=call, spec=spec, effect=DispatchTool(tool_call_id, tool.name, "{}"))
    call.tool_invocations.create(tool_call_id=tool_call_id, name=tool.name, started_ms=0, tool=tool)
    result = asyncio.run(_dispatched(post, {tool_call_id: spec}, call))[tool_call_id]
    exchange = result.exchange
    assert exchange is not None and exchange.status == 200, (tool.name, result)
    store_exchange(str(call.pk), exchange, [tool_call_id])
    return tool_text(tool_call_id, result)


async def _dispatched(post: Any, calls: dict[str, ToolSpec], call: Call) -> Any:
    try:
        return await dispatch(calls, post.server, post.body, call_id=str(call.pk), read=post.read)
    finally:
        await close_client()


def plant_everywhere(client: Client, world: dict[str, Any], url: str, secret: str) -> list[Tool]:
    """Put ``secret`` into every other place that a request's proof may come from.

    Returns the tools that are asked with them: by the API's own credential, by OAuth2, by HMAC
    through a proxy, as an ``apiRequest``, and by the servers of number and organisation.
    """
    organisation, number = world["base.organisation"], world["calls.phonenumber"]
    _, clear = factories.make_api_key(organisation, scopes=("read", "write", "admin"))
    secret_url = f"{url.replace('://', f'://user:{secret}@')}?token={secret}"
    server = {"secret": secret, "headers": {"X-Api-Key": secret, "Authorization": f"Key {secret}"}}

    def api(method: str, path: str, document: dict[str, Any]) -> Any:
        answer = client.generic(
            method,
            path,
            json.dumps(document),
            content_type="application/json",
            headers={"authorization": f"Bearer {clear}"},
        )
        assert answer.status_code in (200, 201), answer.content
        assert secret not in answer.content.decode()
        return answer.json()

    plan = {"type": "bearer", "token": secret, "headerName": "X-Proof"}
    stored = api("POST", "/credential", {"provider": "webhook", "authenticationPlan": plan})
    ids = {"stored": stored["id"]}
    plans = {
        "oauth2": {
            "type": "oauth2",
            "url": secret_url,
            "clientId": "us",
            "clientSecret": secret,
        },
        "hmac": {"type": "hmac", "secretKey": secret, "messageIdHeader": "x-id"},
    }
    for kind, plan in plans.items():
        proxied = url.replace("://", f"://me:{secret}@").removesuffix("/hook")
        ids[kind] = str(
            ServerCredential.objects.create(
                organisation=organisation,
                name=f"planted {kind}",
                kind=kind,
                plan=plan,
                proxy_url=proxied if kind == "hmac" else "",
                key_pem=f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n",
            ).credential_id
        )
    tools = [
        {"name": f"planted_{kind}", "server": {"url": url, "credentialId": each}}
        for kind, each in ids.items()
    ]
    made = [
        api("POST", "/tool", {"type": "function", "server": each["server"]} | _named(each["name"]))
        for each in tools
    ]
    header = {"type": "string", "value": f"Bearer {secret}"}
    made.append(
        api(
            "POST",
            "/tool",
            {
                "type": "apiRequest",
                "name": "planted_api",
                "method": "POST",
                "url": secret_url,
                "body": ANYTHING,
                "headers": {"type": "object", "properties": {"Authorization": header}},
                "parameters": [{"key": "api_key", "value": secret}],
            },
        )
    )
    # Never asked here: the model's own server does that.
    api("POST", "/tool", {"type": "mcp", "name": "planted_mcp", "server": {"url": url, **server}})
    api("PATCH", f"/phone-number/{number.pk}", {"server": {"url": secret_url, **server}})
    made.append(api("POST", "/tool", {"type": "function", **_named("planted_by_number")}))
    DefaultServer.objects.filter(organisation=organisation).update(
        url=secret_url, secret=secret, headers=server["headers"]
    )
    other = factories.make_tool(
        organisation, name="planted_by_default", server_url="", parameters=ANYTHING
    )
    return [*Tool.objects.filter(pk__in=[each["id"] for each in made]).order_by("name"), other]


def _named(name: str) -> dict[str, Any]:
    return {"function": {"name": name, "parameters": ANYTHING}}


def use_everywhere(client: Client, world: dict[str, Any], secret: str) -> str:
    """Plant ``secret`` where ``plant`` does not, and let calls use it; return what is kept."""
    organisation = world["base.organisation"]
    with plain_server(echo) as server:
        *others, by_default = plant_everywhere(client, world, server.url, secret)
        assistant = factories.make_assistant(organisation, tools=[*others, by_default])
        texts = []
        for number, tools in (
            (world["calls.phonenumber"], others),
            (factories.make_number(organisation), [by_default]),
        ):
            revision = assistant.current_revision
            call = factories.make_call(organisation, number=number, revision=revision)
            told = [call_once(call, each, f"call_{each.name}") for each in tools]
            texts.append(recorded(call, told))
        seen = [headers for _, headers, _ in server.requests]
    # Each proof went where it belongs, and OAuth2's token was asked for with a form.
    assert len(seen) == len(others) + 2
    assert [each.get("x-vapi-secret") for each in seen].count(secret) == 2
    assert [each.get("x-proof") for each in seen].count(f"Bearer {secret}") == 1
    tokens = [each.get("authorization") for each in seen]
    assert tokens.count(f"Bearer {secret}-token") == tokens.count(f"Bearer {secret}") == 1
    assert sum("x-signature" in each and "proxy-authorization" in each for each in seen) == 1
    exchanges = ToolExchange.objects.filter(call__organisation=organisation)
    bodies = [exchange_bodies(each) for each in exchanges]
    assert sum("You sent" in each.response for each in bodies) >= len(others)
    return "\n".join([*texts, *(each.request + each.response for each in bodies)])


def recorded(call: Call, results: list[str]) -> str:
    """Return the replay record of a call in which tools answered so."""
    pieces: list[str] = []
    recorder = Recorder(plan_for(call), keep_audio=True, store=pieces.append)
    for text in results:
        recorder.input("F", 0, text)
    recorder.flush()
    return "".join(pieces)


def all_that_happens(
    client: Client,
    world: dict[str, Any],
    secret: str,
    *,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Plant ``secret``, use the tool in every way, and return what was shown, sent and written.

    The newest request of a call takes the place of the world's own.
    """
    tool, messages = world["tools.tool"], []
    monkeypatch.setattr(
        current_app, "send_task", lambda *args, **more: messages.append((args, more))
    )
    with plain_server(echo) as server:
        plant(tool, server.url, secret)
        call_once(world["calls.call"], tool)
        world["calls.toolexchange"] = world["calls.call"].tool_exchanges.latest("id")
        world["calls.toolinvocation"] = world["calls.call"].tool_invocations.latest("id")
        tried = client.post(reverse("admin:tools_tool_try", args=[tool.pk]), {"arguments": "{}"})
        assert tried.context["trial"]["output"] == "Done.", tried.context["problem"]
        tool_check.marked_calls_allow(tool=tool, actor=None, allowed=True)
        job = tool_check.check_start(organisation=tool.organisation, actor=None, may_post=True)
        tool_check.BELL.poke(job.pk)
        tool_check.check_run(job.pk)
        # The secrets did go to where they belong.
        assert all(secret in json.dumps(headers) for _, headers, _ in server.requests)
        assert len(server.bodies) == 3
    world["calls.toolcheck"] = tool.check_result
    assert world["calls.toolcheck"].verdict == "unsure"  # plain http, otherwise well
    kept = use_everywhere(client, world, secret)
    call_command("export_assistants", str(folder), "--organisation", tool.organisation.name)
    files = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert all(any(name in text for text in files) for name in ("planted_tool", "planted_hmac"))
    return "\n".join([tried.content.decode(), repr(messages), kept, *files])


def whole_database() -> str:
    """Return every value of every table as it is stored."""
    texts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - the database's own names
            texts += [
                repr(bytes(v) if isinstance(v, memoryview) else v) for row in cursor for v in row
            ]
    return "\n".join(texts)
