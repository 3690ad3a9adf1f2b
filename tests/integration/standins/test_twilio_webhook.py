"""The stand-in's requests to a platform whose processes die (twilio.md 1.3)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from twilio.request_validator import RequestValidator

from calls.standins.twilio_webhook import Webhooks

pytestmark = pytest.mark.integration

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: 11\r\n\r\n<Response/>"


async def test_a_retry_does_not_meet_a_process_that_died_on_another_kept_connection() -> None:
    """kill -9 resets every kept connection; the listening socket is the successor's by then."""
    connections: list[asyncio.StreamWriter] = []
    both_open = asyncio.Event()
    died = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        its_process_dies = not died
        if len(connections) == 2:
            both_open.set()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if its_process_dies and died:
                    writer.transport.abort()
                    return
                await both_open.wait()
                writer.write(ANSWER)
                await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/voice"
        webhooks = Webhooks("token", total_seconds=5.0)
        try:
            first, second = await asyncio.gather(*(webhooks.fetch(url, "GET", {}) for _ in "ab"))
            assert (first.status, second.status, len(connections)) == (200, 200, 2)
            died = True
            answer = await webhooks.fetch(url, "POST", {"CallSid": "CA1"})
            assert (answer.status, answer.error_code) == (200, None), answer
            assert len(connections) == 3
        finally:
            await webhooks.close()
            for writer in connections:
                writer.close()


@contextlib.asynccontextmanager
async def hanging() -> AsyncIterator[tuple[str, list[str]]]:
    """Serve at an address that takes requests and never answers; yields it and its requests."""
    requests: list[str] = []
    handlers: set[asyncio.Task[None]] = set()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        requests.append("asked")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/voice", requests
        await asyncio.gather(*handlers)


@pytest.mark.parametrize(("repeated", "asked"), [("ct", 1), ("all", 2), ("rt", 2), ("5xx", 1)])
async def test_what_hangs_is_asked_again_only_where_the_address_says_so(
    repeated: str, asked: int
) -> None:
    """twilio.md 1.3: ``rp`` names what is repeated."""
    async with hanging() as (url, requests):
        webhooks = Webhooks("token")
        asked_url = f"{url}#ct=1000&rt=100&tt=5000&rc=1&rp={repeated}"
        answer = await webhooks.fetch(asked_url, "POST", {"CallSid": "CA1"})
        await webhooks.close()
    assert (answer.error_code, answer.failure, len(requests)) == (11200, "rt", asked)


async def test_the_time_for_all_tries_is_one() -> None:
    """With ``tt`` used up by the first try there is no second one."""
    async with hanging() as (url, requests):
        webhooks = Webhooks("token")
        answer = await webhooks.fetch(f"{url}#rt=15000&tt=100&rc=5&rp=all", "POST", {"A": "1"})
        await webhooks.close()
    assert (answer.error_code, len(requests)) == (11200, 1)


async def test_a_get_is_sent_as_it_was_signed() -> None:
    """Also with an address among its parameters: no other spelling of it on the wire."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        webhooks = Webhooks("token")
        form = {"ErrorUrl": "https://voice.example.com/a?b=c&d=e f", "From": "+15550100001"}
        await webhooks.fetch(f"{origin}/voice?x=%2Fy", "GET", form)
        await webhooks.close()
    target = heads[0].split(" ")[1]
    signature = next(
        line.split(": ")[1]
        for line in heads[0].splitlines()
        if line.lower().startswith("x-twilio-signature")
    )
    assert RequestValidator("token").validate(origin + target, {}, signature), target
