"""The pass-through over real sockets: bytes, streams, limits, a web process that dies."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from voiceplatform.base.http import unix_transport
from voiceplatform.pass_through import PassThrough
from voiceplatform.serving import server_config

pytestmark = pytest.mark.integration

App = Callable[..., Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(application: App, listener: socket.socket) -> AsyncIterator[uvicorn.Server]:
    """Serve an application in this process on a listening socket."""
    server = uvicorn.Server(server_config(application, date_header=False))
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag only
        await asyncio.sleep(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def front(path: Path, **options: Any) -> AsyncIterator[int]:
    """Serve a pass-through to the unix socket ``path`` and yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    application = PassThrough(unix_transport(path), **options)
    async with serving(application, listener):
        yield listener.getsockname()[1]


def unix_listener(path: Path) -> socket.socket:
    """Return a listening socket on ``path``."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the web process listens."""
    return tmp_path_factory.mktemp("w") / "web.sock"


async def exchange(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Send one request with ``connection: close`` and return head and raw body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


class Recorder:
    """A web process that remembers the last request and answers what it is told."""

    def __init__(
        self, headers: list[tuple[bytes, bytes]] | None = None, body: bytes = b"ok"
    ) -> None:
        self.scope: dict[str, Any] = {}
        self.body = b""
        self.status = 200
        self.headers = headers or []
        self.answer = body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.answer})


async def test_target_headers_and_body_arrive_byte_for_byte(path: Path) -> None:
    web = Recorder()
    async with serving(web, unix_listener(path)), front(path) as port:
        head, _ = await exchange(
            port,
            b"PUT /a%2Fb/../c//d;e=%zz?q=%20+a&q=&x HTTP/1.1\r\nHost: Voice.Example.com:81\r\n"
            b"X-Twice: one\r\nX-Twice: two\r\nConnection: close, X-Mine\r\nX-Mine: dropped\r\n"
            b"TE: trailers\r\nContent-Length: 5\r\n\r\nab\x00\xffc",
        )
    assert head.startswith(b"HTTP/1.1 200")
    assert web.scope["method"] == "PUT"
    assert web.scope["raw_path"] == b"/a%2Fb/../c//d;e=%zz"
    assert web.scope["query_string"] == b"q=%20+a&q=&x"
    assert web.body == b"ab\x00\xffc"
    headers = web.scope["headers"]
    assert (b"host", b"Voice.Example.com:81") in headers
    assert [value for name, value in headers if name == b"x-twice"] == [b"one", b"two"]
    names = {name for name, _ in headers}
    assert not names & {b"x-mine", b"te", b"accept", b"accept-encoding", b"user-agent"}


async def test_a_clients_claims_about_itself_are_overwritten(path: Path) -> None:
    web = Recorder()
    request = (
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nX-Forwarded-For: 1.2.3.4\r\n"
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=1.2.3.4\r\n\r\n"
    )
    async with serving(web, unix_listener(path)), front(path) as port:
        await exchange(port, request)
    ours = {k: v for k, v in web.scope["headers"] if b"forwarded" in k}
    assert ours == {b"x-forwarded-for": b"127.0.0.1", b"x-forwarded-proto": b"http"}


async def test_behind_tls_the_scheme_is_https_whatever_we_see(path: Path) -> None:
    web = Recorder()
    async with serving(web, unix_listener(path)), front(path, public_is_https=True) as port:
        await exchange(port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert (b"x-forwarded-proto", b"https") in web.scope["headers"]


async def test_chunked_request_bodies_stay_chunked(path: Path) -> None:
    web = Recorder()
    async with serving(web, unix_listener(path)), front(path) as port:
        await exchange(
            port,
            b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        )
    assert web.body == b"abcde"
    assert (b"transfer-encoding", b"chunked") in web.scope["headers"]


async def test_compressed_answers_are_not_decoded(path: Path) -> None:
    packed = gzip.compress(b"text" * 100)
    length = str(len(packed)).encode()
    web = Recorder([(b"content-encoding", b"gzip"), (b"content-length", length)], packed)
    async with serving(web, unix_listener(path)), front(path) as port:
        head, body = await exchange(port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b"content-encoding: gzip" in head
    assert body == packed


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("DELETE", 204)])
async def test_answers_without_a_body_keep_the_connection_whole(
    path: Path, method: str, status: int
) -> None:
    web = Recorder([(b"content-length", b"9")] if method == "HEAD" else [], b"")
    web.status = status
    if method == "HEAD":
        web.answer = b"nine byte"
    async with serving(web, unix_listener(path)), front(path) as port:
        head, body = await exchange(
            port, f"{method} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
        )
    assert head.startswith(f"HTTP/1.1 {status}".encode())
    assert body == b""


async def test_events_arrive_one_by_one_and_a_client_that_leaves_stops_the_web_process(
    path: Path,
) -> None:
    go_on = asyncio.Event()
    stopped = asyncio.Event()

    async def web(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        stopped.set()

    async with serving(web, unix_listener(path)), front(path) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 10)
        go_on.set()
        await asyncio.wait_for(reader.readuntil(b"data: 2\n\n"), 10)
        writer.close()
        assert await asyncio.wait_for(stopped.wait(), 10)


async def test_a_client_that_leaves_before_the_answer_stops_the_web_process(path: Path) -> None:
    asked, stopped = asyncio.Event(), asyncio.Event()

    async def web(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        stopped.set()

    async with serving(web, unix_listener(path)), front(path) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(asked.wait(), 10)
        writer.close()
        assert await asyncio.wait_for(stopped.wait(), 10)


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 1001\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
    ],
)
async def test_bodies_over_the_limit_are_answered_413(path: Path, head: bytes) -> None:
    web = Recorder()
    async with serving(web, unix_listener(path)), front(path, max_body_bytes=1000) as port:
        answer, body = await exchange(port, b"POST / HTTP/1.1\r\nhost: x\r\n" + head)
    assert answer.startswith(b"HTTP/1.1 413")
    assert body == b"The request body is too large.\n"


async def test_no_web_process_is_a_sentence_after_some_patience(path: Path) -> None:
    async with front(path, patience_seconds=0.3) as port:
        head, body = await exchange(port, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in head
    assert body == b"The web process is not running; try again in a moment.\n"


async def test_a_web_process_that_comes_within_the_patience_answers(path: Path) -> None:
    web = Recorder()
    async with front(path, patience_seconds=10) as port:
        asking = asyncio.create_task(
            exchange(port, b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                     b"content-length: 4\r\n\r\nbody")
        )  # fmt: skip
        await asyncio.sleep(0.2)
        async with serving(web, unix_listener(path)):
            head, _ = await asking
    assert head.startswith(b"HTTP/1.1 200")
    assert web.body == b"body"


async def test_requests_wait_in_the_held_socket_while_the_web_process_restarts(path: Path) -> None:
    web = Recorder()
    held = unix_listener(path)
    async with front(path) as port:
        async with serving(web, held.dup()):
            pass
        asking = asyncio.create_task(
            exchange(port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        )
        await asyncio.sleep(0.2)
        assert not asking.done()
        async with serving(web, held.dup()):
            head, _ = await asking
    held.close()
    assert head.startswith(b"HTTP/1.1 200")


async def _dying_server(path: Path, answer: bytes) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.transport.abort()

    return await asyncio.start_unix_server(serve, str(path))


async def test_a_web_process_that_dies_before_its_answer_is_a_502(path: Path) -> None:
    async with await _dying_server(path, b""), front(path) as port:
        head, body = await exchange(port, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502")
    assert b"try again" in body


async def test_an_answer_that_breaks_off_is_not_passed_as_complete(path: Path) -> None:
    half = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf-\r\n"
    async with await _dying_server(path, half), front(path) as port:
        head, body = await exchange(port, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert not body.endswith(b"0\r\n\r\n")


async def test_a_web_process_that_never_answers_is_a_504(path: Path) -> None:
    async def web(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(web, unix_listener(path)), front(path, answer_seconds=0.3) as port:
        head, _ = await exchange(port, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 504")


async def test_a_large_body_flows_both_ways(path: Path) -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        total, more = 0, True
        while more:
            message = await receive()
            total += len(message.get("body", b""))
            more = message.get("more_body", False)
        for _ in range(64):
            await send({"type": "http.response.body", "body": b"y" * 65_536, "more_body": True})
        await send({"type": "http.response.body", "body": str(total).encode()})

    size = 8 * 1024 * 1024
    async with serving(echo, unix_listener(path)), front(path) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {size}"
        writer.write(head.encode() + b"\r\n\r\n")

        async def upload() -> None:
            for _ in range(size // 65_536):
                writer.write(b"x" * 65_536)
                await writer.drain()

        sending = asyncio.create_task(upload())
        answer = await asyncio.wait_for(reader.read(), 30)
        await sending
        writer.close()
    assert answer.count(b"y") == 64 * 65_536
    assert f"{size}".encode() in answer[-60:]
