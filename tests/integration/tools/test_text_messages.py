"""``sms`` tools of a call: who is written to, once, and what the model hears of a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.models import Call, ToolExchange, ToolInvocation
from calls.services.call_plan import plan_for
from calls.services.talk_plan import DRY_ANSWER, talk_ticket, talk_tool_run
from calls.services.tool_kinds import sms
from calls.services.tool_records import exchange_bodies
from calls.telephony.twilio_client import TextSent
from tests import factories
from tests.integration.tools.conftest import ToolRig
from tools.services import tool_store

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

CALLER = "+15550100009"
TEXT = json.dumps({"message": "Your table is booked."})


def assistant(**more: Any) -> Any:
    made = factories.make_assistant()
    document = {"type": "sms", "function": {"name": "send_text_tool"}, **more}
    tool = tool_store(organisation=made.organisation, document=document, actor="test")
    made.current_revision.tools.add(tool)
    return made


async def call_of(rig: ToolRig, *, caller: str = CALLER, **more: Any) -> Call:
    call = await rig.call_with(lambda: assistant(**more), caller=caller)

    def at_the_standin() -> None:
        carrier = rig.standins.carrier
        account = call.twilio_account
        account.account_sid, account.auth_token = carrier.account_sid, carrier.auth_token
        account.api_base_url = rig.standins.base_url
        account.save()
        number = call.number
        assert number is not None
        number.number_e164 = "+15005550006"  # a number that the stand-in may send from
        number.save()

    await in_database(at_the_standin)
    return call


def sent(rig: ToolRig) -> list[tuple[str, str, str]]:
    account = rig.standins.app.twilio.accounts[rig.standins.carrier.account_sid]
    return [(each["to"], each["from"], each["body"]) for each in account.messages.sent]


async def test_the_caller_gets_the_text_from_the_number_that_was_called(rig: ToolRig) -> None:
    call = await call_of(rig)
    plan = await in_database(plan_for, call)
    (spec,) = plan.tools
    assert spec.parameters["required"] == ["message"] and "text message" in spec.description
    found = await rig.run(call, "send_text_tool", TEXT)
    assert (found.output, found.outcome) == (sms.SENT, "ok")
    assert sent(rig) == [(CALLER, "+15005550006", "Your table is booked.")]

    def kept() -> tuple[Any, ...]:
        row = ToolExchange.objects.get(call_id=call.pk)
        bodies = exchange_bodies(row)
        assert ToolInvocation.objects.get(call_id=call.pk).exchange == row
        return row.status, row.error, json.loads(bodies.request)["Body"], bodies.response

    status, error, body, response = await in_database(kept)
    assert (status, error, body) == (201, "", "Your table is booked.")
    assert "SM" in response

    again = await rig.run(call, "send_text_tool", TEXT)
    assert again.output == sms.TWICE and len(sent(rig)) == 1


@pytest.mark.parametrize(
    ("caller", "arguments", "output"),
    [
        ("+15005550004", TEXT, sms.OPTED_OUT),
        ("+15005550009", TEXT, sms.NO_RECEIVER),
        ("anonymous", TEXT, sms.NO_RECEIVER),
        ("+19005550100", TEXT, sms.NO_RECEIVER),  # premium rate
        (CALLER, '{"message": " "}', "it has no text"),
        (CALLER, "{}", "message"),
        (CALLER, json.dumps({"message": "x" * 1601}), "longer than 1600"),
        (CALLER, '{"message": "Hi", "to": "+15550100077", "From": "+15550100078"}', sms.SENT),
    ],
)
async def test_what_became_of_a_message_is_said_in_words(
    rig: ToolRig, caller: str, arguments: str, output: str
) -> None:
    call = await call_of(rig, caller=caller)
    found = await rig.run(call, "send_text_tool", arguments)
    assert output in found.output
    # Whatever number the model writes: it goes to the caller.
    assert [to for to, *_ in sent(rig)] == ([CALLER] if output == sms.SENT else [])


async def test_the_tool_may_name_both_ends(rig: ToolRig) -> None:
    metadata = {"from": "+15550100042", "to": "{{customer.number}}"}
    call = await call_of(rig, metadata=metadata)
    found = await rig.run(call, "send_text_tool", TEXT)
    assert found.output == sms.NO_SENDER  # 21606: not a number of the account
    assert sent(rig) == []


@pytest.mark.parametrize(
    ("came", "output", "outcome"),
    [
        (TextSent(error="ReadTimeout", is_unknown=True), sms.UNKNOWN, "timeout"),
        (TextSent(error="ConnectTimeout"), sms.REFUSED, "error"),
        (TextSent(503, is_unknown=True), sms.UNKNOWN, "timeout"),
        (TextSent(400, 99999), sms.REFUSED, "error"),
    ],
)
async def test_an_answer_that_never_came_is_unknown_and_nothing_is_repeated(
    rig: ToolRig, monkeypatch: pytest.MonkeyPatch, came: TextSent, output: str, outcome: str
) -> None:
    call = await call_of(rig)
    monkeypatch.setattr(sms, "send_text", lambda *_: came)
    found = await rig.run(call, "send_text_tool", TEXT)
    assert (found.output, found.outcome) == (output, outcome)
    assert (await rig.run(call, "send_text_tool", TEXT)).output == sms.TWICE


async def test_a_talk_writes_to_nobody(rig: ToolRig) -> None:
    def make() -> Any:
        made = assistant(metadata={"to": CALLER, "from": "+15005550006"})
        return factories.make_talk(made.current_revision, calls_tools=True)

    talk = await in_database(make)
    ticket = await in_database(lambda: talk_ticket(talk=talk))
    effect = DispatchTool("a1", "send_text_tool", TEXT)
    result, _ = await talk_tool_run(talk=talk, plan=ticket.plan, effect=effect, turns=[])
    assert result.output == DRY_ANSWER and sent(rig) == []
