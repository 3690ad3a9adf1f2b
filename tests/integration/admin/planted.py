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
from calls.models import Call
from calls.services import tool_check
from calls.services.tool_records import store_exchange
from calls.services.tool_run import tool_post
from tests.integration.tools.plain_server import Answer, plain_server
from tools.dispatch import dispatch
from tools.models import ServerCredential, Tool
from tools.services import tool_patch
from tools.spec import ToolSpec

TOOL_CALL_ID = "call_planted"


def echo(body: dict[str, Any], headers: dict[str, str]) -> Answer:
    """Answer as asked, and repeat all that came."""
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


def call_once(call: Call, tool: Tool) -> None:
    """Ask the tool's server as a call does, and store what was exchanged."""
    spec = ToolSpec(name=tool.name, handle=str(tool.pk), posted_name=tool.name)
    post = tool_post(call=call, spec=spec, effect=DispatchTool(TOOL_CALL_ID, tool.name, "{}"))
    call.tool_invocations.create(tool_call_id=TOOL_CALL_ID, name=tool.name, started_ms=0, tool=tool)
    results = asyncio.run(
        dispatch({TOOL_CALL_ID: spec}, post.server, post.body, call_id=str(call.pk))
    )
    exchange = results[TOOL_CALL_ID].exchange
    assert exchange is not None and exchange.status == 200
    store_exchange(str(call.pk), exchange, [TOOL_CALL_ID])


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
        tool_check.poke(job.pk)
        tool_check.check_run(job.pk)
        # The secrets did go to where they belong.
        assert all(secret in json.dumps(headers) for _, headers, _ in server.requests)
        assert len(server.bodies) == 3
    world["calls.toolcheck"] = tool.check_result
    assert world["calls.toolcheck"].verdict == "unsure"  # plain http, otherwise well
    call_command("export_assistants", str(folder), "--organisation", tool.organisation.name)
    files = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert any("planted_tool" in text for text in files)
    return "\n".join([tried.content.decode(), repr(messages), *files])


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
