"""Customers' tool servers as people have written them for Vapi answer a call without a change.

Each style reads the request as one of Vapi's pages or public examples does (vapi.md 4.3 to 4.6) and
answers as that one answers. The example of our own guide is run as a reader would run it.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from calls.bridge.effects import DispatchTool
from calls.media.database import in_database
from calls.services.call_plan import plan_for
from calls.services.tool_run import tool_run
from tests import factories
from tests.integration.tools.conftest import ToolRig
from tests.integration.tools.plain_server import Answer, plain_server
from tools.spec import ToolResult
from tools.switches import LEGACY

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "tool_server" / "tool_server.py"
SECRET = "secret-of-the-customer"
Message = dict[str, Any]


def booked(arguments: Any) -> str:
    """Do what a customer's function does; it wants an object."""
    return f"Booked for {arguments['when']}."


def results(pairs: list[tuple[str, str]], **more: Any) -> Answer:
    return 200, {"results": [{"toolCallId": key, "result": text, **more} for key, text in pairs]}


def current(message: Message) -> Answer:
    """Read ``toolCallList[].function``, as captures show it."""
    calls = message["toolCallList"]
    return results([(each["id"], booked(each["function"]["arguments"])) for each in calls])


def first_of_tool_calls(message: Message) -> Answer:
    """Read ``toolCalls[0].id``, as Vapi's own serverless examples do."""
    call = message["toolCalls"][0]
    return results([(call["id"], booked(call["function"]["arguments"]))])


def custom_tools_page(message: Message) -> Answer:
    """Read ``toolCallList[].{name, arguments}``, as the page on custom tools shows."""
    calls = message["toolCallList"]
    assert all(each["name"] == "book" for each in calls)
    return results([(each["id"], booked(each["arguments"])) for each in calls], name="book")


def events_page(message: Message) -> Answer:
    """Read ``toolCallList[].{name, parameters}``, as the page on server events shows."""
    calls = [(each["id"], booked(each["parameters"])) for each in message["toolCallList"]]
    return 201, {"results": [{"toolCallId": key, "result": text} for key, text in calls]}


def with_tool(message: Message) -> Answer:
    """Read ``toolWithToolCallList[].{name, toolCall}``."""
    pairs = []
    for each in message["toolWithToolCallList"]:
        assert each["name"] == each["function"]["name"] == "book"
        pairs.append((each["toolCall"]["id"], booked(each["toolCall"]["parameters"])))
    return results(pairs)


def text_or_object(message: Message) -> Answer:
    """Take arguments as text or as an object, as careful handlers do."""
    pairs = []
    for each in message["toolCallList"]:
        given = each["function"]["arguments"]
        arguments = json.loads(given) if isinstance(given, str) else given
        pairs.append((each["id"], booked(arguments)))
    return results(pairs)


def legacy(message: Message) -> Answer:
    """Read ``functionCall`` and answer 201 with ``result``, as Vapi's oldest examples do."""
    assert message["type"] == "function-call"
    call = message["functionCall"]
    assert call["name"] == "book" and "toolCallList" not in message
    return 201, {"result": booked(call["parameters"])}


def union(message: Message) -> Answer:
    """Serve both messages; sent both at once it would act twice."""
    if message["type"] == "function-call":
        return legacy(message)
    assert message["type"] == "tool-calls" and "functionCall" not in message
    return current(message)


async def run(rig: ToolRig, url: str, document: Message, count: int = 1) -> dict[str, str]:
    """Run ``count`` calls of ``book`` as one response of the model; return what the model reads."""
    columns: dict[str, Any] = {"name": "book", "server_url": url, "server_secret": SECRET}
    if document:
        columns["document"] = {
            "type": "function",
            "function": {"name": "book", "parameters": {}},
            "server": {"url": url, "secret": SECRET},
            **document,
        }
    call = await rig.call_with(
        lambda: factories.make_assistant(tools=[factories.make_tool(**columns)])
    )
    plan = await in_database(plan_for, call)
    days = ("mon", "tue", "wed")[:count]
    effects = [DispatchTool(f"call_{day}", "book", json.dumps({"when": day})) for day in days]
    found: dict[str, ToolResult] = {}
    await tool_run(plan=plan, calls=effects, finished=found.__setitem__)
    return {key: result.output for key, result in found.items()}


@pytest.mark.parametrize(
    ("style", "document", "count"),
    [
        (current, {}, 3),
        (first_of_tool_calls, {}, 1),
        (custom_tools_page, {}, 3),
        (events_page, {}, 3),
        (with_tool, {}, 3),
        (text_or_object, {}, 2),
        (text_or_object, {"voiceplatform": {"argumentsAsText": True}}, 2),
        (legacy, LEGACY, 1),
        (union, {}, 2),
        (union, LEGACY, 2),
    ],
)
async def test_a_handler_written_for_vapi_answers_without_a_change(
    rig: ToolRig, style: Callable[[Message], Answer], document: Message, count: int
) -> None:
    with plain_server(lambda body, _: style(body["message"])) as server:
        found = await run(rig, server.url, document, count)
    assert found == {f"call_{day}": f"Booked for {day}." for day in ("mon", "tue", "wed")[:count]}
    # One request for all calls of a response; the old message carries one call.
    assert len(server.bodies) == (count if document is LEGACY else 1)
    assert all(headers["x-vapi-secret"] == SECRET for _, headers, _ in server.requests)


@contextmanager
def running_example() -> Iterator[str]:
    """Run the example of the guide on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-I", EXAMPLE, str(port)],
        env={**os.environ, "SECRET": SECRET},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(10)


async def test_the_example_of_the_guide_serves_a_call(rig: ToolRig) -> None:
    with running_example() as url:
        tool = await in_database(
            lambda: factories.make_tool(
                name="book_appointment", server_url=url, server_secret=SECRET, parameters={}
            )
        )
        call = await rig.call_with(lambda: factories.make_assistant(tools=[tool]))
        arguments = '{"day": "Monday", "time": "10:00"}'
        found = await rig.run(call, "book_appointment", arguments)
        assert (found.output, found.outcome) == ("Booked for Monday at 10:00.", "ok")
        found = await rig.run(call, "book_appointment", '{"day": "Monday"}', "a2")
        assert found.outcome == "error" and "'time'" in found.output
        tool.server_secret = "another"
        await in_database(tool.save)
        found = await rig.run(call, "book_appointment", arguments, "a3")
        assert found.outcome == "error" and found.exchange is not None
        assert found.exchange.status == 401


def test_the_guide_shows_the_example_and_it_has_thirty_lines() -> None:
    code = EXAMPLE.read_text().split('"""', 2)[2].strip()
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    guide = (ROOT / "docs" / "tools.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert code in [block.strip() for block in blocks]
