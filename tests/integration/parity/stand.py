"""The model's stand-in on a real socket, in a thread of its own, for runs that play in workers.

It also keeps who was connected to: every socket of the process, whichever library opened it.
"""

from __future__ import annotations

import asyncio
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from calls.standins.book import StandinBook
from calls.standins.realtime_brain import Brain
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.server import StandinApp, make_server
from calls.standins.twilio_carrier import Carrier
from tests import factories
from tests.integration.calls.rig import serving

_connected: list[tuple[str, int]] | None = None


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _connected is not None and event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple):
            _connected.append((str(address[0]), int(address[1])))
    elif _connected is not None and event == "socket.getaddrinfo":
        _connected.append((str(arguments[0]), int(arguments[1] or 0)))


sys.addaudithook(_hear)


@contextmanager
def connections() -> Iterator[list[tuple[str, int]]]:
    """Collect every (host, port) that this process looks up or connects to."""
    global _connected
    _connected = []
    try:
        yield _connected
    finally:
        _connected = None


@contextmanager
def listening(answer: bytes = b"") -> Iterator[tuple[int, list[str]]]:
    """Listen on a port of every loopback address; yields it and the first line of each request.

    Args:
        answer: sent to whoever asks, before the connection is closed.
    """
    asked: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode("latin-1").strip())
            self.wfile.write(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join(10)


def redirect_to(url: str) -> bytes:
    """Return the answer of a server that sends whoever asks somewhere else."""
    return f"HTTP/1.1 307 Elsewhere\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode()


class OneBrain(StandinBook):
    """A book whose every session thinks with a brain of ``make``."""

    def __init__(self, make: Any, profile: RealtimeProfile | None = None) -> None:
        super().__init__(profile)
        self._make = make

    def brain_for(self, heard: str) -> Brain | None:
        """Return a fresh brain, whatever was heard."""
        brain: Brain = self._make()
        return brain


@contextmanager
def model(make: Any, profile: RealtimeProfile | None = None) -> Iterator[tuple[OneBrain, str, int]]:
    """Serve the stand-in from a thread; yields its book, its Realtime address and its port."""
    book = OneBrain(make, profile)
    app = StandinApp(book, Carrier("https://unused.example", "t", factories.sid("AC"), book=book))
    ready, over = threading.Event(), threading.Event()
    ports: list[int] = []

    async def serve() -> None:
        async with serving(make_server(app)) as (port,):
            ports.append(port)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10), "the stand-in did not start"
    try:
        yield book, f"ws://127.0.0.1:{ports[0]}/v1/realtime", ports[0]
    finally:
        over.set()
        thread.join(10)
