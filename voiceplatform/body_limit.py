"""A limit on request bodies where Django would have none; owns the counting and the 413.

Django writes a whole body to memory, then to disk, before a view can look at its size or its
signature, so anybody could fill the disk of the process that carries calls. ASGI in, ASGI out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[..., Awaitable[None]]

TOO_LARGE = b"The request body is too large.\n"


async def _refuse(receive: Receive, send: Send, *, patience_bytes: int) -> None:
    """Answer 413, after taking in the rest if it is small: else a reset may overtake the answer."""
    more = True
    while more and patience_bytes > 0:
        message = await receive()
        patience_bytes -= len(message.get("body", b""))
        more = bool(message.get("more_body", False))
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(TOO_LARGE)).encode("ascii")),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": TOO_LARGE})


def with_body_limit(inner: ASGIApp, *, prefix: str, limit_bytes: int) -> ASGIApp:
    """Return ``inner`` with bodies over ``limit_bytes`` answered 413 on paths under ``prefix``.

    Nothing of them is kept, and of what is far over the limit little is even read.
    """

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(prefix):
            await inner(scope, receive, send)
            return
        lengths = [value for name, value in scope["headers"] if name.lower() == b"content-length"]
        patience_bytes = 4 * limit_bytes
        if any(
            len(value) > 15 or not value.isdigit() or int(value) > limit_bytes for value in lengths
        ):
            await _refuse(receive, send, patience_bytes=patience_bytes)
            return
        read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes <= limit_bytes:
                return message
            left = patience_bytes if message.get("more_body", False) else 0
            await _refuse(receive, send, patience_bytes=left)
            # Django takes this for a client that is gone: it answers nothing and forgets the body.
            return {"type": "http.disconnect"}

        await inner(scope, counted, send)

    return application
