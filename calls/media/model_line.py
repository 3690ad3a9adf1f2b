"""One socket of a call to the model, from dialling to its end; the driver has one per session.

Owns the order of what is sent on it and whether it still takes anything. Knows no bridge: what is
heard goes to the functions it was given, in the order in which it came. No Django.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from calls.media.pool import Prepared, configured
from calls.media.realtime_client import RealtimeSocket, RealtimeUnreachable
from calls.wire.realtime import Dialect


class Ears(Protocol):
    """Who is told what a line hears; nothing here may raise."""

    async def opened(self, session: int, *, config_sent: bool, said: list[str]) -> None:
        """Note that the socket is open and what has been said on it so far."""

    async def says(self, session: int, text: str) -> None:
        """Take one frame."""

    async def closed(self, session: int, code: int) -> None:
        """Note that the socket is gone: a close code, or the status of a refused handshake."""


class ModelLine:
    """A socket that may still be dialled, open or gone."""

    def __init__(self, session: int, config_text: str, dialect: Dialect) -> None:
        self.session = session
        self.outbox: deque[str] = deque()
        self.busy_since: float | None = None
        self.task: asyncio.Task[None] | None = None
        self._config_text = config_text
        self._dialect = dialect
        self._socket: RealtimeSocket | None = None

    async def run(self, connect: Callable[[], Awaitable[Prepared]], ears: Ears) -> None:
        """Dial, configure if this line has something to say about that, then listen to the end."""
        try:
            prepared = await connect()
        except RealtimeUnreachable as error:
            await ears.closed(self.session, error.code)
            return
        socket = self._socket = prepared.socket
        if self._config_text and not prepared.config_sent:
            prepared = await configured(prepared, self._config_text, self._dialect)
        await ears.opened(self.session, config_sent=prepared.config_sent, said=prepared.said)
        while (text := await socket.receive()) is not None:
            await ears.says(self.session, text)
        await ears.closed(self.session, socket.close_code)

    async def flush(self) -> None:
        """Send what waits, in order; a second flush leaves it to the first."""
        if self.busy_since is not None or self._socket is None:
            return
        self.busy_since = asyncio.get_running_loop().time()
        try:
            while self.outbox:
                await self._socket.send(self.outbox.popleft())
        finally:
            self.busy_since = None

    def abort(self) -> None:
        """Drop the transport at once; the end is heard as any other."""
        if self._socket is not None:
            self._socket.abort()

    async def close(self) -> None:
        """Stop listening and close the socket, or give up dialling (trap O20); safe to repeat."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self.outbox.clear()
        socket, self._socket = self._socket, None
        if socket is None:
            return
        if self.busy_since is not None:
            # It takes nothing, and whoever waits for that has the caller's next words.
            socket.abort()
        await socket.close()
