"""A whole call whose two tools are answered by the stand-in tool server."""

from __future__ import annotations

from typing import Any

import pytest

from calls.media.database import in_database
from calls.models import ToolInvocation
from tests.factories import make_revision, make_tool
from tests.integration.calls.conftest import _call_database_template, _database_in_a_file
from tests.integration.calls.rig import Rig, running_rig
from tools.dispatch import close_client

__all__ = ["_call_database_template", "_database_in_a_file"]  # fixtures that pytest finds here
pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


def give_tools(rig: Rig, url: str) -> None:
    """Publish a revision with the scenario's tools."""
    anything = {"type": "object", "properties": {}}
    tools = [
        make_tool(name=name, server_url=url, server_secret="hidden", parameters=anything)
        for name in ("check_availability", "book_appointment")
    ]
    tools.append(make_tool(name="endCall", type="endCall", server_url="", parameters=anything))
    make_revision(rig.number.assistant, tools=tools)


async def test_a_booking_is_made_through_the_tool_server(
    transactional_db: None, settings: Any
) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    async with running_rig() as rig:
        answers = {
            "check_availability": {"result": {"slots": ["10:00", "11:00"]}},
            "book_appointment": {"result": "Booked for {name}", "status": 201},
        }
        tools = f"{rig.standin_origin}/tools"
        async with rig.session.put(f"{tools}/answers", json=answers) as answered:
            assert answered.status == 200
        await in_database(give_tools, rig, f"{tools}/hook")
        report = await rig.call("booking")
        assert report.ok, report
        call = await rig.only_call()
        async with rig.session.get(f"{tools}/ledger") as answered:
            ledger = [entry for entry in await answered.json() if entry["names"]]
        await close_client()
    assert [entry["names"] for entry in ledger] == [
        ["check_availability"],
        ["book_appointment"],
    ]
    assert all(entry["headers"]["x-vapi-secret"] == "hidden" for entry in ledger)
    second = ledger[1]["body"]["message"]
    assert second["call"]["id"] == str(call.pk)
    roles = [message["role"] for message in second["artifact"]["messages"]]
    assert roles.count("tool_call_result") == 1
    rows = await in_database(
        lambda: list(ToolInvocation.objects.filter(call=call).values_list("name", "output"))
    )
    assert rows[:2] == [
        ("check_availability", '{"slots":["10:00","11:00"]}'),
        ("book_appointment", "Booked for Ada Park"),
    ]
