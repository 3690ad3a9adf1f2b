"""The pages of a tool: how it did, and a form that sends one marked test request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from calls.models import Call, ToolExchange, ToolInvocation
from tests import factories
from tests.integration.tools.plain_server import PlainServer, answer_all, plain_server
from tests.unit.admin.test_tool_form import FIELDS, SCHEMA, SECRET, posted
from tools.models import Tool
from tools.services import tool_store
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def server(settings: Any) -> Iterator[PlainServer]:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    with plain_server(answer_all("Booked for Monday.")) as made:
        yield made


def make_tool(server: PlainServer, **columns: Any) -> Tool:
    given = {
        "name": "book_table",
        "parameters": SCHEMA,
        "server_url": f"{server.url}?token={SECRET}",
        "server_secret": SECRET,
        "server_headers": {"Authorization": f"Bearer {SECRET}"},
    }
    return factories.make_tool(**given | columns)


def page(tool: Tool, name: str = "try") -> str:
    return reverse(f"admin:tools_tool_{name}", args=[tool.pk])


def test_the_form_has_a_field_for_each_argument_and_none_for_what_we_fill_in(
    client: Client, server: PlainServer
) -> None:
    client.force_login(factories.make_superuser())
    response = client.get(page(make_tool(server)))
    form = response.context["form"]
    assert tuple(form.names.values()) == FIELDS
    labels = [field.label for field in form.fields.values()]
    assert labels[:3] == ["day *", "people *", "price"]
    text = response.content.decode()
    assert "Which day" in text and "Left out, it is phone." in text
    assert SECRET not in text
    assert server.requests == []


def test_a_marked_request_goes_out_and_the_page_shows_all_of_it_but_secrets(
    client: Client, server: PlainServer
) -> None:
    tool = make_tool(server)
    factories.make_assistant(tools=[tool])
    user = factories.make_staff(tool.organisation, ["tools.view_tool", "calls.try_tool"])
    client.force_login(user)
    body = posted(
        day='"mon"',
        people="4",
        price="9.5",
        outside="true",
        guest='{"name": "Ann"}',
        tags='["window"]',
    )
    response = client.post(page(tool), body)
    text = response.content.decode()
    (sent,) = server.bodies
    (_, headers, _) = server.requests[0]
    assert headers["x-voiceplatform-test"] == "tool"
    assert headers["x-vapi-secret"] == SECRET
    message = sent["message"]
    assert message["call"]["metadata"] == {"voiceplatformTest": True}
    assert message["call"]["type"] == "webCall" and "transport" not in message["call"]
    assert message["assistant"]["id"] == message["call"]["assistantId"]
    assert message["toolCallList"][0]["function"]["arguments"] == {
        "day": "mon",
        "people": 4,
        "price": 9.5,
        "outside": True,
        "guest": {"name": "Ann"},
        "tags": ["window"],
        "source": "phone",
        "api_key": SECRET,
    }
    trial = response.context["trial"]
    assert trial["output"] == "Booked for Monday." and trial["status"] == "HTTP 200"
    assert "Booked for Monday." in text and "Ann" in text
    assert SECRET not in text
    assert "no-store" in response["Cache-Control"]
    # Nothing of it is a call.
    assert not Call.objects.exists() and not ToolInvocation.objects.exists()
    assert not ToolExchange.objects.exists()
    entry = AuditEntry.objects.get(action="tool.try")
    assert entry.actor == f"user:{user.username}" and entry.target_id == str(tool.pk)
    assert entry.details["outcome"] == "ok" and entry.details["host"] == "127.0.0.1"
    assert "Ann" not in json.dumps(entry.details) and SECRET not in json.dumps(entry.details)


def test_what_is_wrong_stands_beside_its_field_and_nothing_is_sent(
    client: Client, server: PlainServer
) -> None:
    client.force_login(factories.make_superuser())
    response = client.post(page(make_tool(server)), posted(day='"mon"', people="many"))
    assert "Enter a whole number." in response.content.decode()
    assert server.requests == [] and response.context["trial"] is None
    assert not AuditEntry.objects.filter(action="tool.try").exists()


def test_a_schema_without_properties_is_filled_in_as_json(
    client: Client, server: PlainServer
) -> None:
    client.force_login(factories.make_superuser())
    tool = make_tool(server, parameters={})
    assert client.post(page(tool), {"arguments": "[]"}).context["form"].errors
    client.post(page(tool), {"arguments": '{"x": 1}'})
    assert server.bodies[0]["message"]["toolCallList"][0]["function"]["arguments"] == {"x": 1}


def test_an_answer_that_repeats_the_secret_is_shown_without_it(
    client: Client, server: PlainServer
) -> None:
    client.force_login(factories.make_superuser())
    server.handler = lambda body, headers: (500, f"<b>bad {headers['x-vapi-secret']}</b>".encode())
    response = client.post(page(make_tool(server)), posted(day='"mon"', people="1"))
    text = response.content.decode()
    assert response.context["trial"]["status"] == "HTTP 500"
    assert "&lt;b&gt;bad ***&lt;/b&gt;" in text
    assert SECRET not in text


def test_without_the_permission_nobody_can_try_and_nobody_is_offered_to(
    client: Client, server: PlainServer
) -> None:
    tool = make_tool(server)
    client.force_login(factories.make_staff(tool.organisation, ["tools.view_tool"]))
    assert client.get(page(tool)).status_code == 403
    assert client.post(page(tool), posted(day='"mon"', people="1")).status_code == 403
    assert page(tool) not in client.get(page(tool, "change")).content.decode()
    client.force_login(factories.make_superuser())
    assert page(tool) in client.get(page(tool, "change")).content.decode()
    gone = make_tool(server, type="endCall")
    assert client.get(page(gone)).status_code == 403
    assert server.requests == []


def test_a_private_address_is_not_asked(client: Client, server: PlainServer, settings: Any) -> None:
    settings.EGRESS_ALLOW = []
    client.force_login(factories.make_superuser())
    response = client.post(page(make_tool(server, parameters={})), {"arguments": "{}"})
    trial = response.context["trial"]
    assert trial["output"].startswith("No result returned.") and "loopback" in trial["status"]
    assert server.requests == []


def test_a_tool_without_any_server_says_what_to_do(client: Client) -> None:
    client.force_login(factories.make_superuser())
    tool = factories.make_tool(parameters={}, server_url="", server_url_host="")
    response = client.post(page(tool), {"arguments": "{}"})
    assert "enter its address" in response.context["problem"]


def test_the_list_and_the_page_show_how_a_tool_does(client: Client) -> None:
    tool, quiet = factories.make_tool(name="book"), factories.make_tool(name="quiet")
    call = factories.make_call()
    for number in range(20):
        factories.make_tool_invocation(
            call,
            tool=tool,
            state="timeout" if number == 0 else "ok",
            duration_ms=100 + 10 * number,
        )
    client.force_login(factories.make_superuser())
    text = client.get(reverse("admin:tools_tool_changelist")).content.decode()
    assert "95.0%" in text and "190 ms" in text and "280 ms" in text
    assert "no calls" in text
    response = client.get(page(tool, "change"))
    week = response.context["tool_page"]["figures"][0]
    assert (week["count"], week["share"], week["p50"], week["p95"]) == (
        *("20", "95.0%"),
        *("190 ms", "280 ms"),
    )
    assert len(response.context["tool_page"]["recent"]) == 10
    assert client.get(page(quiet, "change")).context["tool_page"]["recent"] == []
    with CaptureQueriesContext(connection) as queries:
        client.get(page(tool, "change"))
    assert len(queries) <= 20


def test_calls_of_a_tool_are_found_by_tool_result_and_time(client: Client) -> None:
    tool = factories.make_tool(name="book")
    call = factories.make_call()
    factories.make_tool_invocation(call, tool=tool, name="book", state="error")
    factories.make_tool_invocation(call, name="other", state="ok")
    client.force_login(factories.make_superuser())
    changelist = reverse("admin:calls_toolinvocation_changelist")
    for query, expected in (
        (f"tool__id__exact={tool.pk}", ["book"]),
        ("state__exact=ok", ["other"]),
        (f"q={call.pk}", ["other", "book"]),
        (f"q={call.call_sid}", ["other", "book"]),
        (f"q={factories.sid('CA')}", []),
        ("q=boo", ["book"]),
        ("q=ook", []),
        ("created_at__gte=2000-01-01T00:00Z", ["other", "book"]),
        ("created_at__gte=2100-01-01T00:00Z", []),
    ):
        rows = client.get(f"{changelist}?{query}").context["cl"].queryset
        assert [row.name for row in rows] == expected, query


def test_the_page_of_a_call_leads_to_what_was_sent(client: Client) -> None:
    call = factories.make_call(tool_invocations=[{"name": "book"}])
    exchange = factories.make_tool_exchange(call, status=0, error="ReadTimeout", attempts=3)
    call.tool_invocations.update(exchange=exchange)
    client.force_login(factories.make_superuser())
    text = client.get(reverse("admin:calls_call_change", args=[call.pk])).content.decode()
    assert "tools.example.com ReadTimeout, attempt 3" in text
    assert reverse("admin:calls_toolexchange_change", args=[exchange.pk]) in text


def test_an_api_is_tried_with_the_very_request_of_a_call_and_a_mark_in_its_headers(
    client: Client, server: PlainServer
) -> None:
    schema = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
    document = {
        "type": "apiRequest",
        "name": "order",
        "method": "PUT",
        "url": server.url.replace("/hook", "/orders/{{order}}"),
        "body": schema,
        "headers": {"type": "object", "properties": {"X-Key": {"value": SECRET}}},
    }
    owner = factories.default_organisation()
    tool = tool_store(organisation=owner, document=document, actor=None)
    server.handler = lambda body, headers: (200, {"got": body, "key": headers["x-key"]})
    client.force_login(factories.make_superuser())
    assert "it really does" in client.get(page(tool)).content.decode()
    response = client.post(page(tool), {"argument-0": "A 1"})
    trial, text = response.context["trial"], response.content.decode()
    ((method, headers, body),) = server.requests
    assert (method, server.paths, body) == ("PUT", ["/orders/A%201"], {"order": "A 1"})
    assert headers["x-voiceplatform-test"] == "tool"
    assert trial["is_ok"] and json.loads(trial["output"])["got"] == {"order": "A 1"}
    assert SECRET not in text and "{{order}}" in trial["url"]
