"""Runs one ASGI process on a listening socket it inherited, and drains it when told to end.

``python -m voiceplatform.serving media --fd N`` and ``... web --fd N``, started by the supervisor.
Owns server options, the time limits of half-sent requests and what signals mean:

- media, first SIGTERM or SIGINT: not ready any more, no new call, while HTTP (status callbacks
  and next-step webhooks of the calls still on) and live sockets go on until the last call has
  ended or ``DRAIN_SECONDS`` have passed; then exit 0. Second signal: every call ends at once.
- media, SIGUSR1: a successor listens on the same socket. Every new connection is its; ours are
  closed when they have their answer, live sockets go on as above.
- web: the requests under way get five seconds, then exit 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
import uvicorn
from setproctitle import setproctitle
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from calls.media import listening_relay, live

APPLICATIONS = {
    "media": "voiceplatform.asgi_media:application",
    "web": "voiceplatform.asgi:application",
}
LEAVE_SIGNAL = signal.SIGUSR1
REQUEST_SECONDS = 20.0  # stack.md "limits": uvicorn itself waits for ever
KEEP_ALIVE_SECONDS = 15
FINISH_SECONDS = 5
END_NOW_SECONDS = 1.0
MAX_MESSAGE_BYTES = 65_536

TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 40\r\nconnection: close\r\n\r\nThe request did not arrive in its time.\n"
)

log = structlog.get_logger(__name__)


class TimedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a limit on how long a request may be on its way.

    The head must be complete within ``request_seconds`` of the connection or of its first byte;
    of the body some byte must come within each such span, unless we are the ones not reading.
    """

    request_seconds = REQUEST_SECONDS

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a client that says nothing is as slow as one that says half."""
        super().connection_made(transport)
        self._start_limit()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_limit()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._start_limit()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is in; the body has its own span."""
        self._start_limit()
        super().on_headers_complete()
        if live.is_leaving() and self.cycle is not None:
            self.cycle.keep_alive = False  # the next request is the successor's

    def on_body(self, body: bytes) -> None:
        """Some of the body is in."""
        self._start_limit()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is in."""
        self._stop_limit()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """The connection is a WebSocket's from now on, with its own pings."""
        self._stop_limit()
        super().handle_websocket_upgrade()

    def leave(self) -> None:
        """Close the connection once it has its answer; one that never asked may ask once."""
        if self.cycle is not None:
            self.shutdown()

    def _start_limit(self) -> None:
        self._stop_limit()
        self._limit = self.loop.call_later(self.request_seconds, self._too_slow)

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _too_slow(self) -> None:
        self._limit = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self._start_limit()
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if not (answering and self.cycle.response_started):
            self.transport.write(TIMED_OUT)
        self.transport.close()


class OwnSignals(uvicorn.Server):
    """A uvicorn server whose process exits 0 after a signal and says when it is listening."""

    def __init__(self, config: uvicorn.Config, *, ready_fd: int | None = None) -> None:
        super().__init__(config)
        self._ready_fd = ready_fd

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals and, unlike uvicorn, do not raise them again at the end."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then tell whoever waits on the other end of ``ready_fd``."""
        await super().startup(sockets)
        if self._ready_fd is not None:
            with contextlib.suppress(OSError):
                os.write(self._ready_fd, b"1")
            os.close(self._ready_fd)
            self._ready_fd = None


class DrainingServer(OwnSignals):
    """The media server: the first signal drains it, the second ends its calls.

    With ``LEAVE_SIGNAL`` it drains too, but has a successor for everything that is new.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain_seconds: float,
        ready_fd: int | None = None,
        run_dir: Path | None = None,
        beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        super().__init__(config, ready_fd=ready_fd)
        self._drain_seconds = drain_seconds
        self._run_dir = run_dir
        self._signals = 0
        self._seen = 0
        self._told_to_leave = False
        self._ending: asyncio.Task[None] | None = None
        self._relay: asyncio.Task[None] | None = None
        self._beside = beside
        self._working: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and begin the work beside."""
        await super().startup(sockets)
        if self._beside is not None:
            self._working = asyncio.create_task(self._beside(), name="beside")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the one more signal that media knows."""
        before = signal.signal(LEAVE_SIGNAL, self._leave_soon)
        try:
            with super().capture_signals():
                yield
        finally:
            signal.signal(LEAVE_SIGNAL, before)

    def _leave_soon(self, sig: int, frame: FrameType | None) -> None:
        self._told_to_leave = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Count the signal; the loop acts on it at its next tick, within 100 ms."""
        self._signals += 1

    async def on_tick(self, counter: int) -> bool:
        """Act on signals that came since the last tick."""
        if self._signals > self._seen:
            self._seen = min(self._signals, 2)
            self._signals = self._seen
            if self._ending is not None:
                self._ending.cancel()
            live.begin_drain()
            work = self._drain() if self._seen == 1 else self._end_now()
            self._ending = asyncio.create_task(work)
        elif self._told_to_leave and not live.is_leaving():
            self._leave()
            if self._ending is None:
                self._ending = asyncio.create_task(self._drain())
        return await super().on_tick(counter)

    def _leave(self) -> None:
        log.info("leaving to a successor", live_calls=live.active_count())
        live.begin_leaving()
        for listener in self.servers:
            listener.close()
        for connection in tuple(self.server_state.connections):
            if isinstance(connection, TimedHttpProtocol):
                connection.leave()
        # The successor takes the connections of new listeners, and finds our calls there.
        if self._run_dir is not None:
            self._relay = asyncio.create_task(listening_relay.serve(self._run_dir))
        setproctitle("voiceplatform: leaving media")

    async def _drain(self) -> None:
        log.info("draining", live_calls=live.active_count(), seconds=self._drain_seconds)
        try:
            async with asyncio.timeout(self._drain_seconds):
                await live.wait_until_drained()
        except TimeoutError:
            log.warning("drain time is over", live_calls=live.active_count())
            await self._end_now()
        else:
            self.should_exit = True

    async def _end_now(self) -> None:
        log.warning("ending every call now", live_calls=live.active_count())
        live.end_all_now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_NOW_SECONDS):
                await live.wait_until_idle()
        self.should_exit = True


def server_config(application: Any, *, date_header: bool = True) -> uvicorn.Config:
    """Return the options every process of ours is served with."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http=TimedHttpProtocol,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=20.0,
        ws_ping_timeout=60.0,  # T4: a late pong is a slow proxy more often than a dead peer
        ws_per_message_deflate=False,  # T5: costs CPU and delay per frame
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=date_header,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )


async def _empty_spools() -> None:
    """Store what earlier processes had to leave on disk; Django is set up by now."""
    from calls.media.spooling import empty_spools

    await empty_spools()


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to end; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m voiceplatform.serving")
    parser.add_argument("part", choices=sorted(APPLICATIONS))
    parser.add_argument("--fd", type=int, required=True, help="inherited listening socket")
    parser.add_argument("--ready-fd", type=int, help="gets one byte once the process listens")
    options = parser.parse_args(arguments)

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")
    from django.conf import settings

    from voiceplatform.logconf import set_process

    set_process(options.part)
    # What web answers passes through media, which dates every answer itself.
    config = server_config(APPLICATIONS[options.part], date_header=options.part == "media")
    server: OwnSignals
    if options.part == "media":
        server = DrainingServer(
            config,
            drain_seconds=settings.DRAIN_SECONDS,
            ready_fd=options.ready_fd,
            run_dir=settings.RUN_DIR,
            beside=_empty_spools,
        )
    else:
        server = OwnSignals(config, ready_fd=options.ready_fd)
    listener = socket.socket(fileno=options.fd)
    listener.setblocking(False)
    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
