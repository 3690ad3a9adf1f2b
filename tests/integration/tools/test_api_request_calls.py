"""``apiRequest`` tools of a call: the very request that leaves, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.models import Call, ToolExchange
from calls.services.talk_plan import DRY_ANSWER, talk_ticket, talk_tool_run
from calls.services.tool_records import exchange_bodies
from tests import factories
from tests.integration.tools.conftest import ToolRig
from tests.integration.tools.plain_server import PlainServer, plain_server
from tools.services import tool_store

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

KEY = "the-key-in-a-header"
BODY = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "customer": {"type": "string"}},
    "required": ["order"],
}


@pytest.fixture
def api() -> Iterator[PlainServer]:
    """A third party's API that repeats the key it was sent."""
    with plain_server(lambda body, headers: (200, {"got": body, "key": headers["x-key"]})) as made:
        yield made


def document(url: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "apiRequest",
        "name": "order",
        "url": url.replace("/hook", "/orders/{{order}}?by={{customer.number}}"),
        "body": BODY,
        "headers": {"type": "object", "properties": {"X-Key": {"value": KEY}}},
        "parameters": [
            {"key": "line", "value": "{{order}} of {{phoneNumber.number}}"},
            {"key": "customer", "value": "fixed"},
        ],
        **more,
    }


def assistant(url: str, **more: Any) -> Any:
    made = factories.make_assistant()
    tool = tool_store(organisation=made.organisation, document=document(url, **more), actor="test")
    made.current_revision.tools.add(tool)
    return made


async def test_arguments_and_fixed_values_are_the_body(rig: ToolRig, api: PlainServer) -> None:
    call = await rig.call_with(lambda: assistant(api.url, timeoutSeconds=7), caller="+15550100009")
    arguments = json.dumps({"order": "A/1", "customer": "Eve"})
    found = await rig.run(call, "order", arguments)
    assert found.outcome == "ok" and json.loads(found.output)["key"] == "***"
    ((method, headers, body),) = api.requests
    number = await in_database(lambda: Call.objects.get(pk=call.pk).number.number_e164)  # type: ignore[union-attr]
    assert (method, body) == (
        "POST",
        {"order": "A/1", "customer": "fixed", "line": f"A/1 of {number}"},
    )
    # An argument called customer is not the caller.
    assert api.paths == ["/orders/A%2F1?by=%2B15550100009"]
    assert "x-vapi-secret" not in headers and headers["idempotency-key"] == f"{call.pk}:a1"


async def test_a_get_has_no_body_and_the_records_no_secret(rig: ToolRig, api: PlainServer) -> None:
    call = await rig.call_with(lambda: assistant(api.url, method="GET"))
    await rig.run(call, "order", '{"order": "secret-order"}')
    ((method, headers, body),) = api.requests
    assert (method, body, headers.get("content-length")) == ("GET", None, None)

    def kept() -> tuple[str, str]:
        row = ToolExchange.objects.get(call_id=call.pk)
        return row.url_shown, exchange_bodies(row).response

    shown, response = await in_database(kept)
    assert shown.endswith("/orders/{{order}}") and "secret-order" not in shown
    assert '"got"' in response and KEY not in response


async def test_what_the_model_may_not_send_is_not_sent(rig: ToolRig, api: PlainServer) -> None:
    call = await rig.call_with(lambda: assistant(api.url))
    for number, arguments in enumerate(('{"order": ".."}', "{}", "[]")):
        found = await rig.run(call, "order", arguments, f"a{number}")
        assert (found.outcome, found.sent) == ("error", False)
    assert api.requests == []


async def test_a_tool_with_a_method_of_no_kind_asks_nobody(rig: ToolRig, api: PlainServer) -> None:
    call = await rig.call_with(lambda: assistant(api.url, method="TRACE"))
    assert (await rig.run(call, "order", '{"order": "1"}')).outcome == "error"
    assert api.requests == []


async def test_a_private_address_is_refused_like_any_other(
    rig: ToolRig, api: PlainServer, settings: Any
) -> None:
    settings.EGRESS_ALLOW = []
    call = await rig.call_with(lambda: assistant(api.url))
    found = await rig.run(call, "order", '{"order": "1"}')
    assert "could not be reached" in found.output and api.requests == []


async def test_a_talk_shows_the_request_and_sends_none(rig: ToolRig, api: PlainServer) -> None:
    def make() -> Any:
        secret = {"key": "token", "value": "a-fixed-secret"}
        return factories.make_talk(assistant(api.url, parameters=[secret]).current_revision)

    talk = await in_database(make)
    ticket = await in_database(lambda: talk_ticket(talk=talk))
    effect = DispatchTool("a1", "order", '{"order": "A 1"}')
    result, shown = await talk_tool_run(talk=talk, plan=ticket.plan, effect=effect, turns=[])
    assert result.output == DRY_ANSWER and api.requests == []
    assert shown is not None and (shown.method, shown.body) == ("POST", {"order": "A 1"})
    assert shown.url.endswith("/orders/A%201?by=") and "X-Key" in shown.headers
