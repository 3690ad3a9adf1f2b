"""A transferCall without destinations: its server says where to (vapi.md 3.5, 5.2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls.media.database import in_database
from calls.models import ToolInvocation
from calls.services.tool_kinds.transfer import FORBIDDEN, NOBODY, answer_of
from calls.standins.tool_server import ToolReply
from tests.factories import make_assistant, make_tool
from tests.integration.tools.conftest import ToolRig
from tools.spec import ToolResult

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

DESK = {"type": "number", "number": "+15550100042"}


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (None, ToolResult(NOBODY, "error")),
        ("", ToolResult(NOBODY, "error")),
        ({}, ToolResult(NOBODY, "error")),
        ({"destination": {"type": "assistant", "assistantName": "x"}}, ToolResult(NOBODY, "error")),
        ({"destination": {"number": "911"}}, ToolResult(FORBIDDEN, "error")),
        ({"error": "nobody\nis in"}, ToolResult("The call was not transferred: nobody is in",
                                                "error")),
        ({"destination": DESK, "message": "To the desk."},
         ToolResult("", transfer_to="+15550100042", transfer_message="To the desk.")),
        ({"destination": {"type": "sip", "sipUri": "sip:desk@example.com", "message": ""}},
         ToolResult("", transfer_to="sip:desk@example.com")),
    ],
)  # fmt: skip
def test_what_an_answer_comes_to(answer: Any, result: ToolResult) -> None:
    text = answer if answer is None or isinstance(answer, str) else json.dumps(answer)
    assert answer_of(text) == result


async def test_the_server_is_asked_with_the_call_and_its_answer_is_where_it_goes(
    rig: ToolRig,
) -> None:
    rig.answer({"transfer-destination-request": ToolReply({"destination": DESK, "message": "Hm."})})
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[
                make_tool(
                    name="person", type="transferCall", server_url=rig.url, server_secret="s3cret",
                    destinations=[],
                )
            ]
        )
    )  # fmt: skip
    result = await rig.run(call, "person", "{}")
    assert result == ToolResult("", transfer_to="+15550100042", transfer_message="Hm.")
    (request,) = rig.requests
    assert request.headers["x-vapi-secret"] == "s3cret"
    assert rig.message["type"] == "transfer-destination-request"
    assert rig.message["call"]["id"] == str(call.pk)
    calls = rig.message["artifact"]["messages"][-1]["toolCalls"]
    assert [each["function"]["name"] for each in calls] == ["person"]
    assert await in_database(ToolInvocation.objects.filter(call=call, name="person").exists)


async def test_an_assistant_that_does_not_want_to_be_asked_is_not(rig: ToolRig) -> None:
    call = await rig.call_with(
        lambda: make_assistant(
            tools=[make_tool(name="person", type="transferCall", server_url="", destinations=[])],
            server_url=rig.url,
            document={"serverMessages": ["hang"], "server": {"url": rig.url}},
        )
    )
    assert (await rig.run(call, "person", "{}")).output == NOBODY
    assert rig.requests == []
