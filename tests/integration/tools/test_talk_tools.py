"""Tools in a talk: nothing leaves unless the person asked for it; what is shown is what is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.bridge.effects import DispatchTool, RecordTurn
from calls.media.database import in_database
from calls.models import Call, Talk, ToolInvocation
from calls.services.talk_plan import DRY_ANSWER, ToolRequest, talk_ticket, talk_tool_run
from calls.standins.tool_server import ToolReply
from tests import factories
from tests.integration.tools.conftest import ToolRig
from tools.spec import ToolResult

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

SECRET = "the-secret-of-the-tool"
TURN = RecordTurn(0, "user", "Book it, please.", "", "item_1", 100, 900, False, None)


async def talk_of(rig: ToolRig, **columns: Any) -> Talk:
    def make() -> Talk:
        tool = factories.make_tool(
            name="book_table",
            server_url=rig.url,
            server_secret=SECRET,
            server_headers={"X-Tenant": "42"},
        )
        assistant = factories.make_assistant(
            tools=[tool], first_message="Call {{call.type}} of {{customer.number}}."
        )
        made = factories.make_talk(assistant.current_revision, **columns)
        # As a socket finds it: rows of the database, not what was just made.
        found: Talk = Talk.objects.select_related(
            "organisation", "connection", "revision__assistant__organisation"
        ).get(pk=made.pk)
        return found

    return await in_database(make)


async def run(
    talk: Talk, arguments: str = '{"when": "mon"}', name: str = "book_table"
) -> tuple[ToolResult, ToolRequest | None]:
    ticket = await in_database(lambda: talk_ticket(talk=talk))
    effect = DispatchTool("a1", name, arguments)
    return await talk_tool_run(talk=talk, plan=ticket.plan, effect=effect, turns=[TURN])


def same(body: dict[str, Any]) -> dict[str, Any]:
    """Return a message without what differs between two of them: ids and times."""
    message = body["message"]
    kept = ("type", "toolCalls", "toolCallList", "customer", "phoneNumber")
    call = {name: message["call"][name] for name in ("type", "status", "assistantId")}
    said = [(each["role"], each.get("message")) for each in message["artifact"]["messages"]]
    return {name: message.get(name) for name in kept} | {"call": call, "said": said}


async def test_a_dry_call_sends_nothing_and_shows_the_very_request(rig: ToolRig) -> None:
    rig.answer({"book_table": ToolReply(result="Booked.")})
    dry = await talk_of(rig)
    result, shown = await run(dry)
    assert (result.output, result.outcome) == (DRY_ANSWER, "ok")
    assert rig.requests == []
    assert shown is not None and not shown.sent
    assert shown.url == rig.url.replace("hidden-query", "***")
    assert shown.headers == ("X-Tenant", "X-Vapi-Secret")
    assert SECRET not in json.dumps(shown.body)
    assert shown.body["message"]["call"]["type"] == "webCall"
    assert "phoneCallProviderId" not in shown.body["message"]["call"]
    assert "User: Book it, please." in shown.body["message"]["artifact"]["transcript"]

    dry.calls_tools = True
    result, sent = await run(dry)
    assert result.output == "Booked."
    assert sent is not None and sent.sent
    (request,) = rig.requests
    assert request.body == sent.body
    assert same(request.body) == same(shown.body)


async def test_a_talk_leaves_no_call_and_no_tool_call_behind(rig: ToolRig) -> None:
    await run(await talk_of(rig, calls_tools=True))
    counts = await in_database(lambda: (Call.objects.count(), ToolInvocation.objects.count()))
    assert counts == (0, 0)


async def test_what_cannot_be_sent_is_refused_dry_as_on_the_phone(rig: ToolRig) -> None:
    talk = await talk_of(rig)
    result, shown = await run(talk, arguments='{"when": 5}')
    assert result.outcome == "error"
    assert "not called" in result.output
    assert shown is None
    result, shown = await run(talk, name="sing")
    assert (result.outcome, shown) == ("error", None)


async def test_the_plan_has_the_assistants_words_and_ceilings_of_its_own(rig: ToolRig) -> None:
    talk = await talk_of(rig)
    plan = (await in_database(lambda: talk_ticket(talk=talk))).plan
    assert plan.greeting.text == "Call webCall of ."
    assert plan.policy_line is None
    assert plan.limits.max_duration_ms <= 900_000
    assert plan.limits.max_spend_microusd == 2_000_000
    assert plan.limits.max_tool_calls == 30
