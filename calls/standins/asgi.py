"""The few ASGI moves the stand-ins' applications share: read a body, answer, stream lines. It must
not know any vendor.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 1024 * 1024


class BodyTooLarge(Exception):
    """The request body exceeds MAX_BODY_BYTES; answer 413."""


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the request headers, names in lower case."""
    return {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in scope["headers"]}


async def read_body(receive: Receive) -> bytes:
    """Return the whole request body; raises BodyTooLarge."""
    body = b""
    while True:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        if not message.get("more_body"):
            return body


async def respond(
    send: Send,
    status: int,
    body: bytes,
    content_type: str,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send a whole response."""
    fields = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    await start(send, status, fields)
    await send({"type": "http.response.body", "body": body})


async def respond_json(send: Send, status: int, value: object) -> None:
    """Send a JSON response."""
    await respond(send, status, json.dumps(value).encode(), "application/json")


async def start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """Send the head of a response; the caller sends the body."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
