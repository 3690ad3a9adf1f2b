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

MOST_MESSAGES: Final = 100  # a listener has nothing to say; each costs time beside the audio
_NOT_HERE: Final = (
    "no media process of this instance carries the call now: it is between two streams, or has "
    "just ended; connect again while its status is in-progress"
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
        wire: Any = send
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
            await _refuse(wire, refusal.code, str(refusal))
            return
        except DatabaseError as error:
            log.warning("listen_refused", call_id=call_id, reason=type(error).__name__)
            await _refuse(wire, TRY_LATER, "the database does not answer: connect again")
            return
        channels = 2 if query.get("channels", [""])[0] == "2" else 1
        room = rooms.find(call_id)
        if room is not None and room.is_full:
            await _refuse(wire, TRY_LATER, "too many listen to this call already")
            return
        line = await find(settings.RUN_DIR, call_id, channels) if room is None else None
        if room is None and line is None:
            await _refuse(wire, 4404, _NOT_HERE)
            return
        await wire(_ACCEPT)
        log.info("listener_came", call_id=call_id, channels=channels, is_here=room is not None)
        code, reason = 0, ""
        try:
            if room is not None:
                code, reason = await attend(room, channels, _sender(wire), _gone(receive))
            elif line is not None:
                code, reason = await _relayed(line, _sender(wire), _gone(receive))
        except OSError:
            code = 0  # the client went away while something was sent to it
        if code:
            # A client that takes nothing does not take the close either.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await wire({"type": "websocket.close", "code": code, "reason": reason})
        log.info("listener_left", call_id=call_id, code=code)


def _sender(send: Any) -> Send:
    async def give(piece: bytes | str) -> None:
        kind = "text" if isinstance(piece, str) else "bytes"
        await send({"type": "websocket.send", kind: piece})

    return give


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


_ACCEPT: Final[dict[str, Any]] = {"type": "websocket.accept", "subprotocol": None, "headers": []}


async def _gone(receive: Any) -> int:
    """Return when the listener has left (0), or says too much (a close code)."""
    for _ in range(MOST_MESSAGES):
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return 0
    return 1008


async def _refuse(send: Any, code: int, reason: str) -> None:
    """Say why nobody may listen; whoever proved nothing reads 403 and no reason."""
    if code:
        await send(_ACCEPT)
    await send({"type": "websocket.close", "code": code or 1008, "reason": reason if code else ""})
