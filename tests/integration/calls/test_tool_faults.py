"""Tool servers that misbehave while a call is on: no frame of its audio suffers, nothing grows.

What each fault leads to is ``tests/integration/tools/test_faults.py``; here a whole call runs over
sockets beside it, in one process. Order is asserted by what waits for what, not by the clock.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from calls.media.database import in_database
from calls.models import Call, OutboxEvent, ToolInvocation
from calls.services.tool_records import exchange_bodies
from calls.standins.peer import Output, Send
from calls.standins.scenario import Scenario, parse_scenario
from calls.standins.twilio_media import TwilioMediaPeer
from tests.factories import make_revision, make_tool
from tests.integration.calls.rig import CALLER, Rig, until
from tests.integration.tools.test_faults import MOST_GROWTH, answer, bomb, serving
from tools.dispatch import TOO_LARGE, close_client

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

ANYTHING = {"type": "object", "properties": {}}
MEANWHILE = 25  # frames of the caller that have to pass while an answer is on its way
PIECE = bytes(256 * 1024)


async def give_tools(rig: Rig, urls: dict[str, str]) -> None:
    """Let the assistant of the number have these tools."""

    def store() -> None:
        tools = [
            make_tool(name=name, server_url=url, parameters=ANYTHING) for name, url in urls.items()
        ]
        make_revision(rig.number.assistant, tools=tools)

    await in_database(store)


def scenario(*tools: str, closing: str) -> Scenario:
    """Return a call in which these tools run at once and the caller waits for the closing words."""
    return parse_scenario(
        {
            "name": "tool-faults",
            "caller": [
                {"say": "Please do it.", "after": "greeting"},
                {"hang_up": {"heard": closing}},
            ],
            "brain": {
                "rules": [
                    {
                        "when": "do it",
                        "tool": [{"name": name, "arguments": {}} for name in tools],
                        "after_tool": closing,
                    }
                ]
            },
        }
    )


def heard_by_model(rig: Rig) -> bytes:
    """Return the caller's audio as the model has it."""
    frames = (frame for session in rig.model_frames for frame in session)
    return b"".join(
        base64.b64decode(frame["audio"])
        for frame in frames
        if frame["type"] == "input_audio_buffer.append"
    )


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """Every byte of the caller's audio, as Twilio sends it."""
    sent = bytearray()
    plain = TwilioMediaPeer.drain

    def drain(self: TwilioMediaPeer) -> list[Output]:
        out = plain(self)
        for each in out:
            if isinstance(each, Send) and isinstance(each.data, str):
                message = json.loads(each.data)
                if message["event"] == "media":
                    sent.extend(base64.b64decode(message["media"]["payload"]))
        return out

    monkeypatch.setattr(TwilioMediaPeer, "drain", drain)
    return sent


async def test_neither_a_gigabyte_nor_a_bomb_delays_a_frame_or_fills_the_memory(
    rig: Rig, settings: Any, spoken: bytearray
) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    burst = bomb()
    both = asyncio.Barrier(2)

    async def meanwhile() -> None:
        """Wait until the caller's audio has gone on beside both answers."""
        await both.wait()
        goal = len(heard_by_model(rig)) + MEANWHILE * 160
        await until(lambda: len(heard_by_model(rig)) >= goal, what="audio beside a slow answer")
        await both.wait()
        if not tracemalloc.is_tracing():
            tracemalloc.start()

    async def gigabyte(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")
        writer.write(PIECE[: 64 * 1024])
        await writer.drain()
        await meanwhile()
        for _ in range(4096):
            writer.write(PIECE)
            await writer.drain()

    async def packed(writer: asyncio.StreamWriter) -> None:
        await meanwhile()
        await burst(writer)

    closing = "Neither of them worked."
    try:
        async with serving(gigabyte) as (one, _), serving(packed) as (other, _):
            urls = {"flood": one, "bomb": other}
            await give_tools(
                rig, {name: f"http://127.0.0.1:{port}/" for name, port in urls.items()}
            )
            report = await rig.call(scenario(*urls, closing=closing))
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        await close_client()
    assert report.failures == [], report
    rows = await in_database(lambda: list(ToolInvocation.objects.values_list("state", "output")))
    assert rows == [("error", TOO_LARGE)] * 2
    # All that was begun since: both answers, and what the rest of the call has needed.
    assert 0 < grown < MOST_GROWTH
    model = heard_by_model(rig)
    assert len(model) > MEANWHILE * 160
    assert spoken.startswith(model), "a frame was lost, altered or came out of its order"
    (stream,) = (await rig.only_call()).metrics["streams"]
    assert stream["caller_bytes"] == stream["caller_bytes_forwarded"] == len(model)


async def test_an_answer_after_the_hang_up_is_recorded_and_harms_nobody(
    rig: Rig, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    asked, released = asyncio.Event(), asyncio.Event()
    booked: Callable[[asyncio.StreamWriter], Awaitable[None]] = answer(
        b'{"results": [{"toolCallId": "any", "result": "Booked."}]}', "201 Created"
    )

    async def late(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await released.wait()
        await booked(writer)

    def known(call: Call) -> tuple[Any, ...]:
        row = call.tool_invocations.select_related("exchange").get()
        return row.state, row.output, row.exchange

    try:
        async with serving(late) as (port, heads):
            await give_tools(rig, {"book": f"http://127.0.0.1:{port}/"})
            call, task = rig.carrier.start_call(
                rig.number.number_e164,
                CALLER,
                scenario=scenario("book", closing="It is done."),
                listener=None,
            )
            await asked.wait()
            call.hang_up()
            await task
            await rig.idle()
            stored = await rig.only_call()
            assert stored.ended_reason == "customer-ended-call"
            assert await in_database(known, stored) == (
                "error",
                "The call ended before the result.",
                None,
            )
            told = await in_database(OutboxEvent.objects.count)
            sent = sum(map(len, rig.model_frames))
            released.set()
            async with asyncio.timeout(10):
                while (await in_database(known, stored))[2] is None:  # noqa: ASYNC110 - a row
                    await asyncio.sleep(0.01)
    finally:
        await close_client()
    state, output, exchange = await in_database(known, stored)
    # What the model knew is what the conversation says; what came of it stands beside it.
    assert (state, output) == ("error", "The call ended before the result.")
    assert (exchange.status, exchange.attempts, len(heads)) == (201, 1, 1)
    assert '"Booked."' in exchange_bodies(exchange).response
    assert sum(map(len, rig.model_frames)) == sent
    assert await in_database(OutboxEvent.objects.count) == told
    again = await rig.only_call()
    assert (again.ended_at, again.ended_reason) == (stored.ended_at, stored.ended_reason)
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []
