"""A small platform for the carrier's tests: answers webhooks with prepared TwiML, checks signatures
with the official SDK, and bridges media to the Realtime stand-in by the pass-through bridge.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import uvicorn
import websockets
from twilio.request_validator import RequestValidator

from tests.unit.standins.helpers import PassThroughBridge, drained

Answers = dict[str, Callable[[dict[str, str]], tuple[int, str]]]


class Platform:
    """`answers` maps a path to (form) -> (status, TwiML); everything asked is kept in `asked`."""

    def __init__(self, auth_token: str) -> None:
        self.validator = RequestValidator(auth_token)
        self.answers: Answers = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.handshakes: list[dict[str, str]] = []
        self.bad_signatures = 0
        self.base_url = ""
        self.realtime_url = ""
        self.tools: dict[str, str] = {}
        self.on_tool: Callable[[str, str], Any] | None = None
        self.close_media_after_ms: int | None = None
        self.tokens_used: set[str] = set()
        self.content_type = "text/xml"

    @property
    def ws_url(self) -> str:
        return self.base_url.replace("http", "ws")

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._media(scope, receive, send)
        else:
            await self._webhook(scope, receive, send)

    async def _webhook(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        query = scope["query_string"].decode()
        url = self.base_url + scope["path"] + (f"?{query}" if query else "")
        raw = body.decode() if scope["method"] == "POST" else ""
        form = {k: v[0] for k, v in parse_qs(raw, keep_blank_values=True).items()}
        if not self.validator.validate(url, form, headers.get("x-twilio-signature", "")):
            self.bad_signatures += 1
        self.asked.append((scope["path"], form))
        answer = self.answers.get(scope["path"], lambda _: (204, ""))
        status, text = answer(form)
        content_type = self.content_type.encode()
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", content_type)],
            }
        )
        await send({"type": "http.response.body", "body": text.encode()})

    async def _media(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        self.handshakes.append(headers)
        url = self.ws_url + scope["path"]
        good = self.validator.validate(url, {}, headers.get("x-twilio-signature", ""))
        await receive()
        if not good or scope["path"] in self.tokens_used:
            await send({"type": "websocket.close", "code": 1000})
            return
        self.tokens_used.add(scope["path"])
        await send({"type": "websocket.accept"})
        bridge = PassThroughBridge(self.tools)
        async with websockets.connect(
            self.realtime_url + "?model=gpt-realtime-2.1",
            additional_headers={"Authorization": "Bearer k"},
            proxy=None,
        ) as model:
            await self._bridge(bridge, receive, send, model)

    async def _bridge(self, bridge: PassThroughBridge, receive: Any, send: Any, model: Any) -> None:
        began = time.monotonic()
        twilio = asyncio.ensure_future(receive())
        realtime = asyncio.ensure_future(model.recv())
        calls_seen = 0
        try:
            while True:
                await asyncio.wait(
                    {twilio, realtime}, timeout=0.1, return_when=asyncio.FIRST_COMPLETED
                )
                if twilio.done():
                    message = twilio.result()
                    if message["type"] == "websocket.disconnect":
                        return
                    bridge.from_twilio(message["text"], 0)
                    twilio = asyncio.ensure_future(receive())
                if realtime.done():
                    bridge.from_realtime(realtime.result(), 0)
                    realtime = asyncio.ensure_future(model.recv())
                for text in drained(bridge.to_twilio):
                    await send({"type": "websocket.send", "text": text})
                for text in drained(bridge.to_realtime):
                    await model.send(text)
                for name, arguments in bridge.calls[calls_seen:]:
                    if self.on_tool is not None:
                        self.on_tool(name, arguments)
                calls_seen = len(bridge.calls)
                limit = self.close_media_after_ms
                if limit is not None and (time.monotonic() - began) * 1000 > limit:
                    self.close_media_after_ms = None
                    await send({"type": "websocket.close", "code": 1011})
                    return
        finally:
            twilio.cancel()
            realtime.cancel()


def connect_twiml(url: str, *, action: str = "", callback: str = "") -> str:
    """Return TwiML that connects a bidirectional stream."""
    action = f' action="{action}"' if action else ""
    callback = f' statusCallback="{callback}"' if callback else ""
    return (
        f'<Response><Connect{action}><Stream url="{url}"{callback}>'
        '<Parameter name="tok" value="t"/></Stream></Connect></Response>'
    )


@asynccontextmanager
async def running_platform(auth_token: str) -> AsyncIterator[Platform]:
    """Serve a Platform on a free loopback port."""
    platform = Platform(auth_token)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(32)
    platform.base_url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    config = uvicorn.Config(
        platform,
        ws="websockets-sansio",
        lifespan="off",
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([sock]))
    try:
        yield platform
    finally:
        server.should_exit = True
        await task
        sock.close()
