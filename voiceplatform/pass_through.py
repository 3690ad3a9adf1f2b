"""Streams HTTP requests of the media process to the web process (design decision 11).

An ASGI application that forwards method, path, query, headers and body byte for byte and streams
the answer back. Owns framing, limits and what a caller reads while the web process is away; knows
no route and no business rule. The supervisor holds the web socket open, so during a restart of
the web process requests simply wait in its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import structlog

from voiceplatform.base.http import (
    AsyncBaseTransport,
    ConnectError,
    ConnectTimeout,
    LocalProtocolError,
    Response,
    TransportError,
    raw_request,
)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_BODY_BYTES = 64 * 1024 * 1024
CONNECT_PATIENCE_SECONDS = (
    3.0  # the web process boots in 1.4 s (stack.md, crash of the web process)
)
CONNECT_PAUSE_SECONDS = 0.05
WRITE_SECONDS = 30.0
# Until the first byte of the answer; what streams after it may take its time. Longer than the 305 s
# that a recording address waits for a tool server, whose answer somebody's call depends on.
ANSWER_SECONDS = 310.0

# RFC 9110 7.6.1: they speak of one connection only.
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade expect".split()
)
# What a client claims about itself here would be believed as the word of a proxy.
CLAIMS = frozenset(
    b"x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-real-ip "
    b"forwarded".split()
)

log = structlog.get_logger(__name__)


class _ClientGone(Exception):
    """The client hung up in the middle of its body; nobody is left to answer."""


class _BodyTooLarge(Exception):
    """More body bytes came than the limit allows; answer 413."""


class _Body:
    """The request body as a stream, and after its end the watch for the client's hanging up."""

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._read_bytes = 0
        self._at_end = asyncio.Event()

    def skip(self) -> None:
        """Say that no body will be read."""
        self._at_end.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body's pieces as they come."""
        more = True
        try:
            while more:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise _ClientGone
                chunk = message.get("body", b"")
                self._read_bytes += len(chunk)
                if self._read_bytes > self._limit_bytes:
                    raise _BodyTooLarge
                more = message.get("more_body", False)
                if chunk:
                    yield chunk
        finally:
            self._at_end.set()

    async def client_gone(self) -> None:
        """Return when the client hangs up after its body was read."""
        await self._at_end.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _without_hop_by_hop(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Drop what speaks of one connection only, the names listed in ``Connection`` included."""
    kept = [(name.lower(), value) for name, value in headers]
    listed = {
        token.strip().lower()
        for name, value in kept
        if name == b"connection"
        for token in value.split(b",")
    }
    # `Connection: host` must not make us forget whom the request is for.
    dropped = HOP_BY_HOP | (listed - {b"host", b"content-length"})
    return [(name, value) for name, value in kept if name not in dropped]


class PassThrough:
    """An ASGI application in front of the HTTP server that ``transport`` reaches."""

    def __init__(
        self,
        transport: AsyncBaseTransport,
        *,
        public_is_https: bool = False,
        max_body_bytes: int = MAX_BODY_BYTES,
        patience_seconds: float = CONNECT_PATIENCE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._transport = transport
        self._public_is_https = public_is_https
        self._max_body_bytes = max_body_bytes
        self._patience_seconds = patience_seconds
        self._answer_seconds = answer_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; stop the upstream work when the client hangs up."""
        body = _Body(receive, self._max_body_bytes)
        answer = _Answer(send)
        exchange = asyncio.create_task(self._exchange(scope, body, answer))
        gone = asyncio.create_task(body.client_gone())
        try:
            await asyncio.wait({exchange, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answer.finished or not gone.done():
                await exchange
        finally:
            exchange.cancel()
            gone.cancel()
            await asyncio.gather(exchange, gone, return_exceptions=True)

    async def _exchange(self, scope: Scope, body: _Body, answer: _Answer) -> None:
        lengths = [value for name, value in scope["headers"] if name.lower() == b"content-length"]
        # The server's parser let nothing but digits through.
        if any(int(value) > self._max_body_bytes for value in lengths):
            await answer.refuse(413, "The request body is too large.")
            return
        try:
            response = await self._ask(scope, body)
        except _ClientGone:
            return
        except _BodyTooLarge:
            await answer.refuse(413, "The request body is too large.")
        except (ConnectError, ConnectTimeout):
            log.warning("web process not reachable")
            await answer.refuse(503, "The web process is not running; try again in a moment.")
        except TimeoutError:
            log.warning("web process did not answer in time")
            await answer.refuse(504, "The web process did not answer in time.")
        except LocalProtocolError:
            await answer.refuse(400, "The request is malformed.")
        except TransportError as error:
            log.warning("web process broke the request off", error_type=type(error).__name__)
            await answer.refuse(502, "The web process ended while it answered; try again.")
        else:
            await answer.relay(response)

    async def _ask(self, scope: Scope, body: _Body) -> Response:
        """Send the request and return the answer once its headers are in."""
        names = {name.lower() for name, _ in scope["headers"]}
        has_body = bool(names & {b"content-length", b"transfer-encoding"})
        if not has_body:
            body.skip()
        target = scope["raw_path"] or b"/"
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        headers = self._headers(scope)
        deadline = asyncio.get_running_loop().time() + self._patience_seconds
        async with asyncio.timeout(self._answer_seconds) as budget:
            while True:
                request = raw_request(
                    scope["method"],
                    target=target,
                    headers=headers,
                    body=body.chunks() if has_body else None,
                    connect_seconds=self._patience_seconds,
                    write_seconds=WRITE_SECONDS,
                )
                try:
                    # No byte of the body is taken before the connection stands, so a refused
                    # connection can be tried again.
                    response = await self._transport.handle_async_request(request)
                except ConnectError:
                    if asyncio.get_running_loop().time() >= deadline:
                        raise
                    await asyncio.sleep(CONNECT_PAUSE_SECONDS)
                else:
                    budget.reschedule(None)
                    return response

    def _headers(self, scope: Scope) -> Headers:
        headers = [
            (name, value)
            for name, value in _without_hop_by_hop(scope["headers"])
            if name not in CLAIMS
        ]
        client = scope.get("client")
        if client:
            headers.append((b"x-forwarded-for", str(client[0]).encode("latin-1")))
        # A terminator in front of us speaks plain HTTP to us, so our own scheme says nothing then.
        scheme = "https" if self._public_is_https else scope.get("scheme", "http")
        headers.append((b"x-forwarded-proto", scheme.encode("ascii")))
        return headers


class _Answer:
    """The one answer to a request: an error sentence of ours, or the web process's stream."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.finished = False  # the last piece is on its way: hanging up now is no news

    async def refuse(self, status: int, sentence: str) -> None:
        """Answer with a plain sentence and close the connection, whose body may be half read."""
        content = sentence.encode("utf-8") + b"\n"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(content)).encode("ascii")),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self.finished = True
        await self._send({"type": "http.response.body", "body": content})

    async def relay(self, response: Response) -> None:
        """Stream ``response`` on as it comes, undecoded.

        When the web process dies in the middle, the answer is left unfinished: the server then
        cuts the client's connection, the only honest way to say that the rest is missing.
        """
        try:
            headers = _without_hop_by_hop(response.headers.raw)
            if response.status_code in {204, 304}:
                # They carry no body, so a length would promise bytes that never come.
                headers = [header for header in headers if header[0] != b"content-length"]
            await self._send(
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": headers,
                }
            )
            async for chunk in response.aiter_raw():
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TransportError as error:
            log.warning("web process ended mid-answer", error_type=type(error).__name__)
            return
        finally:
            await response.aclose()
        self.finished = True
        await self._send({"type": "http.response.body", "body": b""})
