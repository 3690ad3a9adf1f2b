"""The server: drain and signals in a real process, time limits of half-sent requests (T4, T5)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.platform import ROOT, wait_until
from voiceplatform.serving import TIMED_OUT, TimedHttpProtocol, server_config
from voiceplatform.supervisor.parent_death import before_exec

pytestmark = pytest.mark.integration

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]


@pytest.fixture
def media() -> Iterator[Start]:
    """Start ``live_app`` on a socket that, as under the supervisor, stays open here."""
    processes: list[subprocess.Popen[bytes]] = []
    listeners: list[socket.socket] = []

    def start(drain_seconds: float = 30) -> tuple[subprocess.Popen[bytes], str]:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        read_end, write_end = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.wiring.live_app",
             "--fd", str(listener.fileno()), "--ready-fd", str(write_end),
             "--drain-seconds", str(drain_seconds)],
            cwd=ROOT, pass_fds=(listener.fileno(), write_end), preexec_fn=before_exec(),
        )  # fmt: skip
        processes.append(process)
        os.close(write_end)
        assert os.read(read_end, 1) == b"1"
        os.close(read_end)
        return process, f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for process in processes:
        process.kill()
        process.wait()
    for listener in listeners:
        listener.close()


async def _get(address: str) -> bytes:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def _until_draining(address: str) -> None:
    async with asyncio.timeout(10):
        while b"True" not in await _get(address):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.02)


async def test_t30_drain_keeps_the_live_call_and_http_and_refuses_new_calls(media: Start) -> None:
    process, address = media()
    async with connect(f"ws://{address}/a", compression=None) as call:
        await call.send("before")
        assert await call.recv() == "before"
        process.send_signal(signal.SIGTERM)
        await _until_draining(address)  # HTTP is answered while it drains
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{address}/b")
        assert refused.value.response.status_code == 403
        await call.send("during")
        assert await call.recv() == "during"
        assert process.poll() is None
    assert await asyncio.to_thread(process.wait, 10) == 0


async def test_t30_second_signal_ends_live_calls_at_once(media: Start) -> None:
    process, address = media()
    async with connect(f"ws://{address}/a") as call:
        process.send_signal(signal.SIGTERM)
        await _until_draining(address)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            await call.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4000  # the call's own end, not the server's 1012
    assert await asyncio.to_thread(process.wait, 10) == 0


async def test_media_that_has_a_successor_takes_nothing_new_and_keeps_its_calls(
    media: Start,
) -> None:
    process, address = media()
    host, port = address.split(":")
    asking = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    used, used_writer = await asyncio.open_connection(host, int(port))
    used_writer.write(asking)
    assert b"0 False" in await asyncio.wait_for(used.readuntil(b"0\r\n\r\n"), 10)
    unused, unused_writer = await asyncio.open_connection(host, int(port))
    async with connect(f"ws://{address}/a", compression=None) as call:
        process.send_signal(signal.SIGUSR1)
        assert await asyncio.wait_for(used.read(), 10) == b""
        unused_writer.write(asking)  # accepted before: answered as ever, and closed
        assert b"1 False" in await asyncio.wait_for(unused.read(), 10)
        waiting, waiting_writer = await asyncio.open_connection(host, int(port))
        waiting_writer.write(asking)
        await call.send("during")
        assert await call.recv() == "during"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting.read(1), 0.2)  # whoever listens next has it
    assert await asyncio.to_thread(process.wait, 10) == 0
    for writer in (used_writer, unused_writer, waiting_writer):
        writer.close()


async def test_t30_drain_time_over_ends_live_calls(media: Start) -> None:
    process, address = media(drain_seconds=0.2)
    async with connect(f"ws://{address}/a") as call:
        process.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(call.recv(), 10)
    assert await asyncio.to_thread(process.wait, 10) == 0


def test_exit_code_is_0_after_a_signal_while_idle(media: Start) -> None:
    process, _ = media()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


async def test_t5_no_compression_is_negotiated_and_frames_over_64_kib_close_1009(
    media: Start,
) -> None:
    _, address = media()
    async with connect(f"ws://{address}/a", compression="deflate") as call:
        assert "Sec-WebSocket-Extensions" not in call.response.headers
        await call.send("x" * 65_536)
        assert len(await call.recv()) == 65_536
        await call.send("x" * 65_537)
        with pytest.raises(ConnectionClosed) as closed:
            await call.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_t4_pong_may_take_60_seconds() -> None:
    config = server_config("nothing:here")
    assert (config.ws_ping_interval, config.ws_ping_timeout) == (20.0, 60.0)
    assert config.ws_max_size == 65_536
    assert config.proxy_headers is False
    assert config.server_header is False


async def _answer_ok(scope: Any, receive: Any, send: Any) -> None:
    total = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        total += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(total).encode()})


class Impatient(TimedHttpProtocol):
    """The same clock, run fast."""

    request_seconds = 0.4


@pytest.fixture
async def impatient() -> AsyncIterator[int]:
    """A server in this process that waits 0.4 s for each part of a request."""
    config = server_config(_answer_ok)
    config.http = Impatient
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag only
        await asyncio.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    await task


@contextlib.asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nhost: x\r\nx-half",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HT",  # the second request on a connection
    ],
)
async def test_half_sent_request_is_answered_408_and_closed(impatient: int, sent: bytes) -> None:
    async with _connected(impatient) as (reader, writer):
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.endswith(TIMED_OUT)


async def test_dripping_header_bytes_do_not_extend_the_limit(impatient: int) -> None:
    async with _connected(impatient) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
        answer = asyncio.create_task(_received(reader))
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                while not answer.done():
                    writer.write(b"x-a: 1\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.05)
        assert (await asyncio.wait_for(answer, 10)).endswith(TIMED_OUT)


async def _received(reader: asyncio.StreamReader) -> bytes:
    """Return all that comes, also when the other side has closed while we were still writing."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(1000):
            received += part
    return received


async def test_a_slow_body_that_keeps_coming_is_taken(impatient: int) -> None:
    async with _connected(impatient) as (reader, writer):
        writer.write(
            b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 8\r\n\r\n"
        )
        for _ in range(8):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\r\n8\r\n" in answer


async def test_an_answered_connection_is_not_timed(impatient: int) -> None:
    async with _connected(impatient) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readuntil(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.6)


def test_wait_until_is_bounded() -> None:
    with pytest.raises(AssertionError, match="never"):
        wait_until(lambda: False, what="never", seconds=0.05)
