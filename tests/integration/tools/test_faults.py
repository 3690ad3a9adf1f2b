"""Faults of tool servers over real sockets, each with its stated outcome; no database.

A server here is a function that is given the request and writes whatever bytes it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.tools.test_egress_connections import NAME, certificate, tls
from tools import dispatch as module
from tools import exchange, servers
from tools.dispatch import ToolServer, close_client, dispatch
from tools.servers import Backoff, Passage
from tools.spec import ToolResult, ToolSpec
from voiceplatform.base import http
from voiceplatform.base.egress import EgressPolicy, egress_client

__all__ = ["certificate"]

pytestmark = pytest.mark.integration

Write = Callable[[asyncio.StreamWriter], Awaitable[None]]
RESULTS = json.dumps({"results": [{"toolCallId": "a", "result": "Booked"}]}).encode()
NOTHING = "No result returned."
MOST_GROWTH = 5 * 1024 * 1024


def answer(body: bytes, head: str = "200 OK", *fields: str, length: int | None = None) -> Write:
    """Return what writes one whole response."""

    async def write(writer: asyncio.StreamWriter) -> None:
        size = len(body) if length is None else length
        lines = [f"HTTP/1.1 {head}", f"content-length: {size}", "connection: close", *fields]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return write


async def endless(writer: asyncio.StreamWriter) -> None:
    """Write a gigabyte, until nobody listens."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")
    zeros = bytes(1 << 20)
    for _ in range(1024):
        writer.write(zeros)
        await writer.drain()


def bomb() -> Write:
    """Return what answers with few bytes that open to twenty million."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    zeros = bytes(1 << 20)
    body = b"".join(packer.compress(zeros) for _ in range(20)) + packer.flush()
    assert len(body) < exchange.MAX_ANSWER_BYTES
    return answer(body, "200 OK", "content-encoding: gzip")


async def reset(writer: asyncio.StreamWriter) -> None:
    """Cut the connection as a crashed server does."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def half(writer: asyncio.StreamWriter) -> None:
    """Promise more than is sent."""
    await answer(RESULTS, length=len(RESULTS) + 10)(writer)


async def silent(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(60)


async def gibberish(writer: asyncio.StreamWriter) -> None:
    """Speak another protocol."""
    writer.write(b"220 smtp.example.com ESMTP\r\n")
    await writer.drain()


@contextlib.asynccontextmanager
async def serving(write: Write, context: ssl.SSLContext | None = None) -> AsyncIterator[Any]:
    """Run a server that reads each request and lets ``write`` answer; yields (port, heads)."""
    heads: list[str] = []
    tasks: set[asyncio.Task[Any] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            heads.append(head)
            length = head.lower().partition("content-length: ")[2].partition("\r")[0]
            await reader.readexactly(int(length or 0))
            await write(writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1], heads
    finally:
        listening.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def allowed(settings: Any) -> AsyncIterator[None]:
    """Let requests reach loopback, and nothing else that is private."""
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    yield
    await close_client()


async def ask(port: int, **fields: Any) -> ToolResult:
    """Call one tool there."""
    server = ToolServer(f"http://127.0.0.1:{port}/hook", **fields)
    return (await dispatch({"a": ToolSpec(name="book")}, server, b"{}"))["a"]


@pytest.mark.parametrize(
    ("write", "output", "outcome", "status"),
    [
        (answer(RESULTS), "Booked", "ok", 200),
        (answer(RESULTS, "201 Created"), "Booked", "ok", 201),
        (answer(b"oops", "500 Internal Server Error"), NOTHING, "error", 500),
        (answer(b'{"error": "down"}', "500 Internal Server Error"), "down", "error", 500),
        (answer(b"<h1>Not Found</h1>", "404 Not Found"), NOTHING, "error", 404),
        (answer(b"<html><body>Booked</body></html>"), NOTHING, "error", 200),
        (answer(b'{"results": [{"toolCallId": "a"'), NOTHING, "error", 200),
        (answer(b""), NOTHING, "error", 200),
        (answer(RESULTS.replace(b'"a"', b'"z"')), "Booked", "ok", 200),
        (answer(gzip.compress(RESULTS), "200 OK", "content-encoding: gzip"), "Booked", "ok", 200),
        (answer(b"", "302 Found", "location: http://10.0.0.1/"), NOTHING, "error", 302),
        (answer(b"", "307 Moved", "location: http://169.254.169.254/"), NOTHING, "error", 307),
        (reset, module.UNREACHABLE, "error", 0),
        (half, module.UNREACHABLE, "error", 0),
        (gibberish, module.UNREACHABLE, "error", 0),
    ],
    ids=[
        *("ok", "created", "500", "500-error", "404", "html", "bad-json", "empty", "wrong-id"),
        *("gzip", "redirect", "redirect-metadata", "reset", "half", "gibberish"),
    ],
)
async def test_a_fault_has_its_stated_outcome(
    write: Write, output: str, outcome: str, status: int
) -> None:
    async with serving(write) as (port, heads):
        found = await ask(port)
    assert (found.output, found.outcome) == (output, outcome)
    assert found.exchange is not None
    assert (found.exchange.status, len(heads)) == (status, 1)


async def test_a_slow_server_is_a_timeout_of_its_own_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "TIMEOUT_SECONDS", (0.01, 300.0))
    async with serving(silent) as (port, _):
        found = await ask(port, timeout_seconds=0.05)
    assert found.outcome == "timeout"
    assert found.output == f"{NOTHING} The tool server did not answer within 0.05 seconds."


@pytest.mark.parametrize("write", [endless, bomb()], ids=["1gb", "bomb"])
async def test_a_huge_answer_is_given_up_without_being_held(write: Write) -> None:
    async with serving(write) as (port, _):
        await ask(port)  # whatever is made once is made
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            found = await ask(port)
            grown = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
    assert (found.output, found.outcome) == (module.TOO_LARGE, "error")
    assert grown < MOST_GROWTH


async def test_retries_reach_a_server_that_comes_back() -> None:
    writes = iter((reset, answer(b"", "503 Unavailable"), answer(RESULTS)))

    async def in_turn(writer: asyncio.StreamWriter) -> None:
        await next(writes)(writer)

    async with serving(in_turn) as (port, heads):
        found = await ask(port, backoff=Backoff("fixed", 5, 0.0))
    assert found.output == "Booked"
    assert len(heads) == 3
    assert len({head.partition("dempotency")[2] for head in heads}) == 1


async def test_a_certificate_of_nobody_we_know_is_an_answer(certificate: Path) -> None:
    async with serving(answer(RESULTS), tls(certificate, for_server=True)) as (port, heads):
        server = ToolServer(f"https://127.0.0.1:{port}/hook")
        found = (await dispatch({"a": ToolSpec(name="book")}, server, b"{}"))["a"]
    assert (found.output, found.outcome) == (module.UNREACHABLE, "error")
    assert heads == []


def parts_of(certificate: Path) -> tuple[str, str]:
    """Return certificate and key."""
    key, begin, rest = certificate.read_text().partition("-----BEGIN CERTIFICATE-----")
    return begin + rest, key


async def test_a_server_may_ask_for_our_certificate(certificate: Path) -> None:
    shown, key = parts_of(certificate)
    context = tls(certificate, for_server=True)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate)

    async def status(trusted: ssl.SSLContext, port: int) -> int:
        rules = EgressPolicy.of(["127.0.0.0/8"])
        async with egress_client(
            rules=rules, resolve=lambda *_: ["127.0.0.1"], ssl_context=trusted
        ) as client:
            return (await client.post(f"https://{NAME}:{port}/")).status_code

    async with serving(answer(RESULTS), context) as (port, _):
        ours = http.client_ssl_context(shown, key)
        ours.load_verify_locations(certificate)
        assert await status(ours, port) == 200
        with pytest.raises(http.HTTPError):
            await status(tls(certificate, for_server=False), port)
    for broken in (("", ""), (shown, ""), (shown, "no key")):
        with pytest.raises(OSError):
            http.client_ssl_context(*broken)


async def test_a_certificate_that_cannot_be_used_is_an_answer() -> None:
    found = await ask(9, passage=Passage("no certificate", "no key"))
    assert found.output == module.UNREACHABLE
    assert found.exchange is not None
    assert "client certificate" in found.exchange.error


async def test_requests_go_through_the_proxy_that_is_named(settings: Any) -> None:
    async with serving(answer(RESULTS)) as (port, heads):
        passage = Passage(proxy_url=f"http://me:pw@127.0.0.1:{port}")
        settings.EGRESS_ALLOW = ["127.0.0.0/8", "10.9.8.7"]
        server = ToolServer("http://10.9.8.7/hook?x=1", passage=passage)
        found = (await dispatch({"a": ToolSpec(name="book")}, server, b"{}"))["a"]
        assert found.output == "Booked"
        (head,) = heads
        assert head.startswith("POST http://10.9.8.7/hook?x=1 HTTP/1.1")
        assert "Basic bWU6cHc=" in head
        # What lies behind a proxy is judged all the same.
        await close_client()
        settings.EGRESS_ALLOW = ["127.0.0.0/8"]
        found = (await dispatch({"a": ToolSpec(name="book")}, server, b"{}"))["a"]
        assert found.output == module.UNREACHABLE
        assert len(heads) == 1


@pytest.mark.parametrize("proxy_url", ["ftp://127.0.0.1/", "not a url", "http://10.0.0.1:3128"])
async def test_a_proxy_that_may_not_be_used_is_an_answer(proxy_url: str) -> None:
    found = await ask(9, passage=Passage(proxy_url=proxy_url))
    assert (found.output, found.outcome) == (module.UNREACHABLE, "error")
