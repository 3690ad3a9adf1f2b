"""The socket of somebody who listens to a call: ``WS /call/<id>/listen`` (vapi.md 6.6).

Owns the handshake and the socket; who may is ``calls.services.live_listen``, what is heard
``calls.media.listening``. Nothing the listener sends has a meaning.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import parse_qs

import structlog
from asgiref.typing import ASGIReceiveCallable, ASGISendCallable
from channels.consumer import AsyncConsumer
from django.conf import settings
from django.db import DatabaseError

from calls.media.database import in_database
from calls.media.listening import CLOSE_SECONDS, TRY_LATER, Send, attend, rooms
from calls.media.listening_relay import Line, find
from calls.services.live_listen import ListenRefused, listen_open

MOST_REASON_BYTES: Final = 123  # RFC 6455, 5.5: a control frame holds 125, two are the code
MOST_MESSAGES: Final = 100  # a listener has nothing to say; each costs time beside the audio
_NOT_HERE: Final = (
    "nobody carries the call now: it is between two streams, or has just ended; connect again"
)

log = structlog.get_logger(__name__)


class ListenConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """One listener, from the handshake to the end."""

    async def __call__(
        self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Run the socket."""
        message: Any = await receive()
        if message["type"] != "websocket.connect":
            return
        wire = _Wire(send, any_code=bool(scope.get("extensions")))
        call_id = str(scope["url_route"]["kwargs"]["call_id"])
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            await in_database(
                listen_open,
                call_id=call_id,
                token=query.get("token", [""])[0],
                authorization=headers.get(b"authorization", ""),
            )
        except ListenRefused as refusal:
            log.info("listen_refused", call_id=call_id, reason=str(refusal))
            await wire.refuse(refusal.code, str(refusal))
            return
        except DatabaseError as error:
            log.warning("listen_refused", call_id=call_id, reason=type(error).__name__)
            await wire.refuse(TRY_LATER, "the database does not answer: connect again")
            return
        channels = 2 if query.get("channels", [""])[0] == "2" else 1
        room = rooms.find(call_id)
        if room is not None and room.is_full:
            await wire.refuse(TRY_LATER, "too many listen to this call already")
            return
        line = await find(settings.RUN_DIR, call_id, channels) if room is None else None
        if room is None and line is None:
            await wire.refuse(4404, _NOT_HERE)
            return
        await wire.accept()
        log.info("listener_came", call_id=call_id, channels=channels, is_here=room is not None)
        code, reason = 0, ""
        try:
            if room is not None:
                code, reason = await attend(room, channels, wire.give, _gone(receive))
            elif line is not None:
                code, reason = await _relayed(line, wire.give, _gone(receive))
        except OSError:
            code = 0  # the client went away while something was sent to it
        if code:
            # A client that takes nothing does not take the close either.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await wire.close(code, reason)
        log.info("listener_left", call_id=call_id, code=code)


class _Wire:
    """Our end of the socket.

    daphne's library raises for codes below 3000 but 1000; it is the one server without extensions
    (``calls.media.consumer``).
    """

    def __init__(self, send: Any, *, any_code: bool) -> None:
        self._send = send
        self._any_code = any_code

    async def accept(self) -> None:
        await self._send({"type": "websocket.accept", "subprotocol": None, "headers": []})

    async def give(self, piece: bytes | str) -> None:
        kind = "text" if isinstance(piece, str) else "bytes"
        await self._send({"type": "websocket.send", kind: piece})

    async def close(self, code: int, reason: str) -> None:
        if code != 1000 and code < 3000 and not self._any_code:
            code += 3000
        reason = reason.encode()[:MOST_REASON_BYTES].decode(errors="ignore")
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def refuse(self, code: int, reason: str) -> None:
        """Say why nobody may listen; whoever proved nothing reads 403 and no reason."""
        if not code:
            await self._send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        await self.accept()
        await self.close(code, reason)


async def _relayed(line: Line, send: Send, gone: Coroutine[Any, Any, int]) -> tuple[int, str]:
    carry = asyncio.create_task(line.carry(send), name="listener")
    left = asyncio.create_task(gone, name="listener-gone")
    try:
        await asyncio.wait({carry, left}, return_when=asyncio.FIRST_COMPLETED)
        if left.done():
            return left.result(), "too much was sent"
        return carry.result()
    finally:
        for task in (carry, left):
            task.cancel()
        await asyncio.gather(carry, left, return_exceptions=True)
        await line.close()


async def _gone(receive: Any) -> int:
    """Return when the listener has left (0), or says too much (a close code)."""
    for _ in range(MOST_MESSAGES):
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return 0
    return 1008
