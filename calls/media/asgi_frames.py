"""Twilio's socket as ASGI gives it to a consumer: frames in, frames out, closed once.

Owns what the servers do differently. Knows no call and no Django.
"""

from __future__ import annotations

from typing import Any

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable


class AsgiFrames:
    """Twilio's socket as ASGI gives it; after the disconnect it swallows what is sent."""

    def __init__(
        self, receive: ASGIReceiveCallable, send: ASGISendCallable, *, any_code: bool
    ) -> None:
        self._receive = receive
        self._send = send
        self._any_code = any_code
        self._open = True

    @property
    def is_closed(self) -> bool:
        """Tell whether the socket is gone."""
        return not self._open

    async def receive(self) -> str | bytes | None:
        """Return the next frame, None once the socket is closed."""
        if not self._open:
            return None
        message: Any = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._open = False
            return None
        text: str | None = message.get("text")
        return text if text is not None else bytes(message.get("bytes") or b"")

    async def send(self, text: str) -> None:
        """Send a text frame."""
        if self._open:
            try:
                await self._send({"type": "websocket.send", "text": text, "bytes": None})
            except OSError:
                # uvicorn says ClientDisconnected, daphne nothing: the reader will see the end.
                self._open = False

    async def close(self, code: int) -> None:
        """Close the socket."""
        if self._open:
            self._open = False
            if code != 1000 and not self._any_code:
                code += 3000
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": ""})
            except OSError:
                return
