"""Model sockets opened ahead of their stream (ADR 0018).

The webhook that inserted the call's row opens one without waiting, in the process that will most
likely get the media socket; the configuration is sent, nothing else. The driver claims it with
everything the model has said so far. Unclaimed ones are closed. Pure asyncio.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from calls.media.realtime_client import Endpoint, RealtimeSocket, RealtimeUnreachable, dial
from calls.wire import realtime
from calls.wire.realtime import Dialect

UNCLAIMED_SECONDS = 8.0


@dataclass(slots=True)
class Prepared:
    """An open socket, what it has said, and whether the configuration has been sent."""

    socket: RealtimeSocket
    said: list[str] = field(default_factory=list)
    config_sent: bool = False


async def prepare(endpoint: Endpoint, config_text: str) -> Prepared:
    """Dial and configure.

    Returns once the configuration is confirmed, or with whatever the model said instead; the
    bridge reads it and decides.

    Raises:
        RealtimeUnreachable: the socket did not open.
    """
    return await configured(Prepared(await dial(endpoint)), config_text, endpoint.dialect)


async def configured(prepared: Prepared, config_text: str, dialect: Dialect) -> Prepared:
    """Configure an open socket; returns as ``prepare`` does."""
    try:
        while True:
            text = await prepared.socket.receive()
            if text is None:
                return prepared
            prepared.said.append(text)
            kind = _kind(text, dialect)
            if kind == "session.created" and not prepared.config_sent:
                prepared.config_sent = True
                await prepared.socket.send(config_text)
            elif kind in {"session.updated", "error"}:
                return prepared
    except asyncio.CancelledError:
        # Nobody else knows of this socket, and it is billed until somebody closes it (O20).
        prepared.socket.abort()
        raise


def _kind(text: str, dialect: Dialect) -> str:
    try:
        return realtime.decode(text, dialect)[0]
    except realtime.RealtimeWireError:
        return ""


class ModelSocketPool:
    """The prepared sockets of one process, by call_id; use it from its event loop only."""

    def __init__(self, unclaimed_seconds: float = UNCLAIMED_SECONDS) -> None:
        self._tasks: dict[str, asyncio.Task[Prepared]] = {}
        self._purposes: dict[str, tuple[Endpoint, str]] = {}
        self._closers: dict[str, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unclaimed_seconds = unclaimed_seconds

    def open(self, call_id: str, endpoint: Endpoint, config_text: str) -> None:
        """Start preparing a socket for a call; returns at once, repeats are ignored."""
        if call_id in self._tasks:
            return
        self._purposes[call_id] = (endpoint, config_text)
        self._tasks[call_id] = asyncio.create_task(
            prepare(endpoint, config_text), name=f"prepare-{call_id}"
        )
        self._closers[call_id] = asyncio.create_task(self._expire(call_id))

    async def claim(self, call_id: str, endpoint: Endpoint, config_text: str) -> Prepared | None:
        """Return the call's socket, waiting until it is prepared; None if there is none.

        One that was prepared for something else (an earlier stream, a connection that has been
        edited since) is closed: the bridge would believe in a configuration that was never sent.
        """
        if self._purposes.get(call_id) != (endpoint, config_text):
            self.discard(call_id)
            return None
        task = self._tasks.pop(call_id)
        del self._purposes[call_id]
        self._closers.pop(call_id).cancel()
        try:
            return await task
        except RealtimeUnreachable:
            return None
        except asyncio.CancelledError:
            self._spawn_close(task)  # it may have been prepared in this very moment
            raise

    def discard(self, call_id: str) -> None:
        """Close the call's socket if nobody claimed it."""
        task = self._tasks.pop(call_id, None)
        if task is None:
            return
        del self._purposes[call_id]
        closer = self._closers.pop(call_id, None)
        if closer is not None and closer is not asyncio.current_task():
            closer.cancel()
        self._spawn_close(task)

    def _spawn_close(self, task: asyncio.Task[Prepared]) -> None:
        closing = asyncio.create_task(self._close(task))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def __len__(self) -> int:
        return len(self._tasks)

    async def _expire(self, call_id: str) -> None:
        await asyncio.sleep(self._unclaimed_seconds)
        self.discard(call_id)

    async def _close(self, task: asyncio.Task[Prepared]) -> None:
        if not task.done():
            task.cancel()
        try:
            prepared = await task
        except (RealtimeUnreachable, asyncio.CancelledError):
            return
        await prepared.socket.close()


pool = ModelSocketPool()
