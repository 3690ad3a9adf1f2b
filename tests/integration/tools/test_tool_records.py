"""What is kept of requests to tool servers: every one, without secrets, with its figures."""

from __future__ import annotations

import datetime as dt
import json
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.bridge.effects import DispatchTool, RecordTool
from calls.media.database import in_database
from calls.models import ToolExchange, ToolInvocation
from calls.selectors.tools import percentile, tool_figures
from calls.services.journal import batch_store
from calls.services.tool_posts import note_running
from calls.services.tool_records import exchange_bodies, invocations_adopt, store_exchange
from calls.standins.tool_server import ToolReply
from tests import factories
from tests.integration.tools.conftest import ToolRig
from tools.masking import masked
from tools.models import ServerCredential
from tools.spec import Exchange, ToolSpec

pytestmark = [pytest.mark.integration]

SECRET = 'planted-"secret"/0xC0FFEE'
TOKEN = "planted-token-0xDECAF"


def a_call(**columns: Any) -> Any:
    tool = factories.make_tool(
        name="book",
        server_url=f"https://tools.example.com/hook?token={TOKEN}",
        server_secret=SECRET,
        server_headers={"Authorization": f"Bearer {TOKEN}-2", "X-Tenant": "42"},
    )
    call = factories.make_call(tool_invocations=[{"tool_call_id": "a1", "name": "book"}], **columns)
    call.tool_invocations.update(tool=tool)
    return call


def an_exchange(**fields: Any) -> Exchange:
    body = {
        "message": {
            "toolCallList": [{"id": "a1", "function": {"arguments": {"password": TOKEN}}}],
            "artifact": {
                "messages": [
                    {"toolCalls": [{"function": {"arguments": '{"pwd": "hunter2", "day": "mon"}'}}]}
                ]
            },
            "tenant": "42",
        }
    }
    given: dict[str, Any] = {
        "host": "tools.example.com",
        "url": f"https://tools.example.com/hook?token={TOKEN}",
        "request_body": json.dumps(body).encode(),
        "status": 201,
        "response_text": json.dumps({"results": [{"toolCallId": "a1", "result": f"saw {SECRET}"}]}),
        "attempts": 2,
        "duration_ms": 321,
    }
    return Exchange(**given | fields)


@pytest.mark.django_db
def test_a_request_is_kept_without_any_secret_and_tied_to_its_calls() -> None:
    call = a_call()
    store_exchange(str(call.pk), an_exchange(), ["a1"])
    stored = ToolExchange.objects.get()
    assert call.tool_invocations.get().exchange == stored
    assert (stored.status, stored.attempts, stored.duration_ms) == (201, 2, 321)
    assert stored.url_shown == "https://tools.example.com/hook?token=***"
    bodies = exchange_bodies(stored)
    for text in (bodies.request, bodies.response):
        assert TOKEN not in text and "hunter2" not in text
        assert SECRET not in text and json.dumps(SECRET)[1:-1] not in text
    # What is no secret is there to be read and replayed.
    request = json.loads(bodies.request)["message"]
    assert request["tenant"] == "42"
    assert (
        '"day": "mon"'
        in request["artifact"]["messages"][0]["toolCalls"][0]["function"]["arguments"]
    )
    assert json.loads(bodies.response)["results"][0]["result"] == "saw ***"


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "<html>planted-token-0xDECAF</html>", "{not json", "[]"])
def test_an_answer_of_any_form_is_kept_as_text(text: str) -> None:
    call = a_call()
    store_exchange(str(call.pk), an_exchange(response_text=text, status=500), ["a1"])
    assert exchange_bodies(ToolExchange.objects.get()).response == text.replace(TOKEN, "***")


@pytest.mark.django_db
def test_a_refused_call_keeps_that_a_request_was_made_and_not_what_was_said() -> None:
    call = a_call(policy_refused_at=timezone.now())
    store_exchange(str(call.pk), an_exchange(), ["a1"])
    stored = ToolExchange.objects.get()
    assert stored.content is None and stored.status == 201
    assert exchange_bodies(stored).request == ""


@pytest.mark.django_db
def test_a_refusal_takes_away_what_was_kept_before() -> None:
    call = a_call()
    store_exchange(str(call.pk), an_exchange(), ["a1"])
    batch_store(
        call_id=str(call.pk),
        stream_number=1,
        turns=[],
        tools=[],
        policy=None,
        pieces=[],
        refused=True,
    )
    stored = ToolExchange.objects.get()
    assert stored.content is None and stored.status == 201


@pytest.mark.django_db
@pytest.mark.parametrize(
    "plan",
    [
        {"type": "bearer", "token": "entered-0xBEEF"},
        {
            "type": "oauth2",
            "url": "https://id.example",
            "clientId": "us",
            "clientSecret": "entered-0xBEEF",
        },
        {"type": "hmac", "secretKey": "entered-0xBEEF"},
    ],
)
def test_the_secret_of_a_credential_is_in_no_record_either(plan: dict[str, str]) -> None:
    tool = factories.make_tool()
    credential = ServerCredential.objects.create(organisation=tool.organisation, plan=plan)
    tool.document = {
        "type": "function",
        "server": {"url": "https://a.example", "credentialId": str(credential.credential_id)},
    }
    tool.save()
    call = factories.make_call(tool_invocations=[{"tool_call_id": "a1"}])
    call.tool_invocations.update(tool=tool)
    store_exchange(str(call.pk), an_exchange(response_text="it is entered-0xBEEF!"), ["a1"])
    assert exchange_bodies(ToolExchange.objects.get()).response == "it is ***!"


@pytest.mark.django_db
def test_an_exchange_of_no_stored_call_is_dropped() -> None:
    store_exchange("00000000-0000-4000-8000-0000000000ff", an_exchange(), ["a1"])
    assert not ToolExchange.objects.exists()


def test_the_longest_form_of_a_secret_is_masked_first() -> None:
    assert masked("abcdef abc", {"abc", "abcdef"}) == "*** ***"


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([7], 95, 7), ([1, 2, 3, 4], 50, 2), (list(range(1, 101)), 95, 95)],
)
def test_percentiles_are_nearest_rank(values: list[int], percent: int, expected: Any) -> None:
    assert percentile(values, percent) == expected


@pytest.mark.django_db
def test_figures_count_what_was_answered_lately_in_two_queries() -> None:
    call = factories.make_call()
    tools = [factories.make_tool() for _ in range(3)]
    for index, tool in enumerate(tools[:2]):
        for number in range(10):
            factories.make_tool_invocation(
                call,
                tool=tool,
                state="error" if number < index + 1 else "ok",
                duration_ms=100 * (number + 1),
            )
    factories.make_tool_invocation(call, tool=tools[0], state="running", duration_ms=None)
    factories.make_tool_invocation(call, tool=tools[0], state="refused", duration_ms=1)
    old = factories.make_tool_invocation(call, tool=tools[0], state="timeout", duration_ms=9999)
    long_ago = timezone.now() - dt.timedelta(days=8)
    ToolInvocation.objects.filter(pk=old.pk).update(created_at=long_ago)
    with CaptureQueriesContext(connection) as queries:
        week = tool_figures([tool.pk for tool in tools], days=7)
    assert len(queries) == 2
    first, second, none = (week[tool.pk] for tool in tools)
    assert (first.count, first.ok_percent, first.p50_ms, first.p95_ms) == (10, 90.0, 500, 1000)
    assert (second.count, second.ok_percent) == (10, 80.0)
    assert (none.count, none.ok_percent, none.p50_ms) == (0, None, None)
    month = tool_figures([tools[0].pk], days=30)[tools[0].pk]
    assert (month.count, month.p95_ms) == (11, 9999)
    # Only the newest are read: the last of them is the old timeout, before it two do not count.
    capped = tool_figures([tools[0].pk], days=7, most=4)[tools[0].pk]
    assert capped.count == 1


@pytest.mark.django_db(transaction=True)
async def test_a_run_notes_which_tool_it_is_of(rig: ToolRig) -> None:
    def assistant() -> Any:
        return factories.make_assistant(
            tools=[factories.make_tool(name="book", server_url=rig.url)]
        )

    call = await rig.call_with(assistant)
    await rig.run(call, "book")
    row = await in_database(ToolInvocation.objects.select_related("tool").get, call=call)
    assert row.tool is not None and row.tool.name == "book"


@pytest.mark.django_db(transaction=True)
async def test_what_a_run_sent_and_got_is_stored_with_its_calls(rig: ToolRig) -> None:
    rig.answer({"book": ToolReply(result="Booked for {when}", status=201)})
    call = await rig.call_with(
        lambda: factories.make_assistant(
            tools=[factories.make_tool(name="book", server_url=rig.url, server_secret=SECRET)]
        )
    )
    await rig.run(call, "book")
    stored = await in_database(ToolExchange.objects.get, call=call)
    assert (stored.status, stored.attempts, stored.host) == (201, 1, "127.0.0.1")
    bodies = exchange_bodies(stored)
    assert json.loads(bodies.request)["message"]["toolCalls"] == rig.message["toolCalls"]
    assert "Booked for mon" in bodies.response
    row = await in_database(ToolInvocation.objects.get, call=call)
    assert row.exchange_id == stored.pk


@pytest.mark.django_db
def test_each_tool_call_knows_its_organisation_whoever_wrote_it() -> None:
    call = factories.make_call(factories.make_organisation())
    record = RecordTool("j1", "book", "{}", "ok", "Booked", started_ms=5, duration_ms=7)
    no_more: dict[str, Any] = {"turns": [], "policy": None, "pieces": []}
    batch_store(call_id=str(call.pk), stream_number=1, tools=[record], **no_more)
    row = ToolInvocation.objects.get(tool_call_id="j1")
    assert row.organisation_id == call.organisation_id
    noted = DispatchTool("n1", "book", "{}")
    note_running(call, ToolSpec(name="book"), noted)
    rows = ToolInvocation.objects.filter(organisation=call.organisation_id)
    assert rows.count() == 2
    fill = import_module("calls.migrations.0015_tool_call_owner_fill").fill
    for complete in (invocations_adopt, lambda: fill(apps, None)):
        ToolInvocation.objects.update(organisation=None)  # as an older version writes them
        complete()
        assert rows.count() == 2
    assert invocations_adopt() == 0
