"""A handoff whose server says in the call who takes over (vapi.md 5.2, 8.2)."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.services import assistant_publish
from calls.media.database import in_database
from calls.models import Call
from calls.services.tool_kinds.handoff import NOBODY
from calls.standins.tool_server import ToolReply
from tests.factories import default_organisation, make_call, make_number
from tests.integration.tools.conftest import ToolRig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

KIND = "handoff-destination-request"
SALES = {"type": "assistant", "assistantName": "Sales"}


def _publish(name: str, *tools: dict[str, Any]) -> Any:
    model = {"messages": [{"role": "system", "content": f"You are {name}."}], "tools": list(tools)}
    return assistant_publish(
        organisation=default_organisation(), document={"name": name, "model": model},
        source="import", actor=None,
    )  # fmt: skip


def _call(url: str) -> Call:
    _publish("Sales")
    place = {"type": "dynamic", "server": {"url": url, "secret": "s3cret"}}
    desk = _publish("Desk", {"type": "handoff", "destinations": [place]})
    return make_call(number=make_number(assistant=desk))


async def test_the_server_names_who_takes_over(rig: ToolRig) -> None:
    rig.answer({KIND: ToolReply({"destination": SALES, "result": "Over to Sales."})})
    call = await in_database(_call, rig.url)
    result = await rig.run(call, "handoff_to_dynamic", '{"why": "a quote"}')
    assert (result.outcome, result.output) == ("ok", "Over to Sales.")
    assert result.successor is not None
    assert result.successor["record"]["assistant_name"] == "Sales"
    (request,) = rig.requests
    assert request.headers["x-vapi-secret"] == "s3cret"
    assert rig.message["type"] == KIND
    assert rig.message["parameters"] == {"why": "a quote"}
    assert rig.message["call"]["id"] == str(call.pk)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, NOBODY),
        ({"destination": {"type": "number", "number": "+15550100042"}}, NOBODY),
        ({"destination": {"type": "dynamic", "server": {"url": "https://x.example"}}}, NOBODY),
        ({"error": "all are\nasleep"}, "The call was not handed over: all are asleep"),
        (
            {"destination": {"type": "assistant", "assistantName": "Nobody"}},
            "The call was not handed over: there is no assistant 'Nobody' to take it. Go on "
            "yourself, or offer the caller another way.",
        ),
    ],
)
async def test_what_names_nobody_leaves_the_call_where_it_is(
    rig: ToolRig, answer: dict[str, Any], words: str
) -> None:
    rig.answer({KIND: ToolReply(answer)})
    result = await rig.run(await in_database(_call, rig.url), "handoff_to_dynamic", "{}")
    assert (result.outcome, result.successor, result.output) == ("error", None, words)
