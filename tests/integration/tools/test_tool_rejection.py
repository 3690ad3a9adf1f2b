"""Conditions in Liquid, judged with the variables of the call before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.models import Call
from calls.services import tool_rejection
from calls.services.call_plan import plan_for
from calls.services.tool_run import tool_run
from tests.factories import default_organisation, make_assistant
from tests.integration.tools.conftest import ToolRig
from tools.rejection import REJECTED, Said
from tools.services import tool_store
from tools.spec import ToolResult

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

SAID = (Said("assistant", "Hello."), Said("user", "Book it for Tuesday."))
UNLESS_TUESDAY = (
    "{% assign last = messages | where: 'role', 'user' | last %}"
    "{% if last.content contains 'Tuesday' %}false{% else %}true{% endif %}"
)


async def judged(rig: ToolRig, call: Call, *names: str) -> dict[str, ToolResult]:
    """Ask about a call of each tool as the media consumer does, and run those that may be made."""
    plan = await in_database(plan_for, call)
    calls = [DispatchTool(f"a{at}", name, "{}", SAID, judge=True) for at, name in enumerate(names)]
    leave: dict[str, ToolResult] = {}
    await tool_run(plan=plan, calls=calls, finished=leave.__setitem__)
    assert rig.requests == [], "a judgement sends nothing"
    allowed = [
        DispatchTool(each.tool_call_id, each.name, each.arguments_json)
        for each in calls
        if leave[each.tool_call_id] == ToolResult("") and each.name != "endCall"
    ]
    results = dict(leave)
    await tool_run(plan=plan, calls=allowed, finished=results.__setitem__)
    return results


def with_tools(rig: ToolRig, **conditions: str) -> Any:
    """Return how an assistant is made whose tools have one condition each."""

    def make() -> Any:
        organisation = default_organisation()
        return make_assistant(
            tools=[
                tool_store(
                    organisation=organisation,
                    actor=None,
                    document={
                        "type": "endCall" if name == "endCall" else "function",
                        "function": {"name": name},
                        "server": {"url": rig.url},
                        "rejectionPlan": {"conditions": [{"type": "liquid", "liquid": liquid}]},
                    },
                )
                for name, liquid in conditions.items()
            ]
        )

    return make


async def test_a_template_sees_the_conversation_and_the_variables_of_the_call(
    rig: ToolRig,
) -> None:
    make = with_tools(
        rig,
        book=UNLESS_TUESDAY,
        late="{% if messages.size > 1 and customer.number == '+15550100001' %}true{% endif %}",
        broken="{{ nothing",
    )
    call = await rig.call_with(make, caller="+15550100001")
    results = await judged(rig, call, "book", "late", "broken")
    assert results["a1"] == ToolResult(REJECTED, "refused")
    assert [results[each].outcome for each in ("a0", "a2")] == ["ok", "ok"]
    assert [each["function"]["name"] for each in rig.message["toolCalls"]] == ["book", "broken"]


async def test_a_call_that_the_bridge_carries_out_gets_leave_or_none(rig: ToolRig) -> None:
    call = await rig.call_with(with_tools(rig, endCall="true"))
    assert (await judged(rig, call, "endCall"))["a0"].outcome == "refused"
    call = await rig.call_with(with_tools(rig, endCall="false"))
    assert (await judged(rig, call, "endCall"))["a0"] == ToolResult("")
    assert rig.requests == []


async def test_what_cannot_be_judged_is_let_through_to_nobody(
    rig: ToolRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await rig.call_with(with_tools(rig, book="false"))

    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(tool_rejection, "variables_for", away)
    assert (await judged(rig, call, "book"))["a0"].outcome == "refused"
    assert rig.requests == []
