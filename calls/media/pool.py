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
    prepared = Prepared(await dial(endpoint))
    while True:
        text = await prepared.socket.receive()
        if text is None:
            return prepared
        prepared.said.append(text)
        kind = _kind(text, endpoint)
        if kind == "session.created" and not prepared.config_sent:
            prepared.config_sent = True
            await prepared.socket.send(config_text)
        elif kind in {"session.updated", "error"}:
            return prepared


def _kind(text: str, endpoint: Endpoint) -> str:
    try:
        return realtime.decode(text, endpoint.dialect)[0]
    except realtime.RealtimeWireError:
        return ""


class ModelSocketPool:
    """The prepared sockets of one process, by call_id; use it from its event loop only."""

    def __init__(self, unclaimed_seconds: float = UNCLAIMED_SECONDS) -> None:
        self._tasks: dict[str, asyncio.Task[Prepared]] = {}
        self._closers: dict[str, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unclaimed_seconds = unclaimed_seconds

    def open(self, call_id: str, endpoint: Endpoint, config_text: str) -> None:
        """Start preparing a socket for a call; returns at once, repeats are ignored."""
        if call_id in self._tasks:
            return
        self._tasks[call_id] = asyncio.create_task(
            prepare(endpoint, config_text), name=f"prepare-{call_id}"
        )
        self._closers[call_id] = asyncio.create_task(self._expire(call_id))

    async def claim(self, call_id: str) -> Prepared | None:
        """Return the call's socket, waiting until it is prepared; None if there is none."""
        task = self._tasks.pop(call_id, None)
        if task is None:
            return None
        self._closers.pop(call_id).cancel()
        try:
            return await task
        except RealtimeUnreachable:
            return None
        except asyncio.CancelledError:
            task.cancel()
            raise

    def discard(self, call_id: str) -> None:
        """Close the call's socket if nobody claimed it."""
        task = self._tasks.pop(call_id, None)
        if task is None:
            return
        closer = self._closers.pop(call_id, None)
        if closer is not None and closer is not asyncio.current_task():
            closer.cancel()
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
