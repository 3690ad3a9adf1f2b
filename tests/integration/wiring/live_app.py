"""A tiny media process for drain tests: echo sockets that count as live calls, no Django.

Run as ``python -m tests.integration.wiring.live_app --fd N --ready-fd N --drain-seconds S``.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from calls.media import live
from voiceplatform.serving import DrainingServer, server_config


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer HTTP with the state, echo on WebSockets until either side ends."""
    if scope["type"] == "http":
        body = f"{live.active_count()} {live.is_draining()}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
        return
    await receive()
    if live.is_draining():
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    ended = asyncio.Event()
    call = live.enter(ended.set)
    echo = asyncio.create_task(_echo(receive, send))
    end = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({echo, end}, return_when=asyncio.FIRST_COMPLETED)
        if not echo.done():
            await send({"type": "websocket.close", "code": 4000})
    finally:
        echo.cancel()
        end.cancel()
        live.leave(call)


async def _echo(
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message["text"]})


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser()
    for name, kind in (("--fd", int), ("--ready-fd", int), ("--drain-seconds", float)):
        parser.add_argument(name, type=kind)
    options = parser.parse_args()
    server = DrainingServer(
        server_config(application),
        drain_seconds=options.drain_seconds,
        ready_fd=options.ready_fd,
    )
    server.run(sockets=[socket.socket(fileno=options.fd)])
    sys.exit(0)


if __name__ == "__main__":
    main()
