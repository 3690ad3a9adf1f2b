"""Carries a shadow: the fork's socket and two sessions of the model, in the machine's time.

The shell around ``calls.parity.shadow``: it reads, sends, dials and looks at the clock. It never
sends to Twilio, and no slow session holds up the reading of the fork: what a session does not take
is given up. There is no tool and no dispatcher in here. No Django.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from calls.media.realtime_client import Endpoint, RealtimeSocket, RealtimeUnreachable, dial
from calls.parity.past import PastTool
from calls.parity.shadow import Shadow
from calls.parity.shadow_lines import SIDES, Side

# Both are asked for this often: whether it goes on, and what the old stack's tools answered.
WATCH_SECONDS: Final = 2.0
RESULTS_SECONDS: Final = 0.5
# Half a minute of sound that a session did not take.
MOST_WAITING: Final = 1_500

Going = Literal["", "person", "stop"]


class Fork(Protocol):
    """The fork's socket, to be read only."""

    async def receive(self) -> str | bytes | None:
        """Return the next frame, None once the socket is closed."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What a shadow asks of the outside.

    ``going``: whether it is to go on, or a person was put through. ``results``: what the old
    stack's tools answered so far; None where nobody records them.
    """

    going: Callable[[], Awaitable[Going]]
    results: Callable[[], Awaitable[Sequence[PastTool]]] | None
    connect: Callable[[Endpoint], Awaitable[RealtimeSocket]] = dial


class Shadowing:
    """One shadow on its sockets."""

    def __init__(self, fork: Fork, endpoint: Endpoint, shadow: Shadow, ports: Ports) -> None:
        self._fork, self._endpoint, self._shadow, self._ports = fork, endpoint, shadow, ports
        self._changed = asyncio.Event()
        self._sockets: dict[Side, RealtimeSocket] = {}
        self._wakes: dict[Side, asyncio.Event] = {side: asyncio.Event() for side in SIDES}

    async def run(self) -> None:
        """Hear along until the machine is done; sockets are closed then, the fork's is not."""
        tasks = [asyncio.create_task(work, name="shadow") for work in self._works()]
        for task in tasks:
            task.add_done_callback(lambda _: self._changed.set())
        try:
            while not self._shadow.done:
                await self._wait()
                _raise_from(tasks)
                self._shadow.tick(now_ms())
                self._pump()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # They are billed until somebody closes them (trap O20).
            await asyncio.gather(*(socket.close() for socket in self._sockets.values()))

    def _works(self) -> list[Coroutine[Any, Any, None]]:
        works: list[Coroutine[Any, Any, None]] = [self._read_fork(), self._watch()]
        works += [self._listen(side) for side in SIDES]
        return works + ([self._look()] if self._ports.results is not None else [])

    async def _wait(self) -> None:
        due_ms = self._shadow.next_deadline_ms()
        wait = None if due_ms is None else max(due_ms - now_ms(), 0) / 1000
        try:
            async with asyncio.timeout(wait):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def _pump(self) -> None:
        """Wake whoever sends; a session that takes nothing is given up, not waited for."""
        for side in SIDES:
            waiting = len(self._shadow.outgoing(side))
            if waiting > MOST_WAITING:
                self._shadow.closed(side, 1013, now_ms())
            elif waiting:
                self._wakes[side].set()
        if self._shadow.done:
            self._changed.set()

    async def _read_fork(self) -> None:
        while (frame := await self._fork.receive()) is not None:
            if isinstance(frame, str):
                self._shadow.receive_twilio(frame, now_ms())
            self._pump()
        self._shadow.hung_up(now_ms())
        self._changed.set()

    async def _listen(self, side: Side) -> None:
        try:
            socket = await self._ports.connect(self._endpoint)
        except RealtimeUnreachable as error:
            self._shadow.closed(side, error.code, now_ms())
            self._changed.set()
            return
        self._sockets[side] = socket
        sender = asyncio.create_task(self._send(side, socket), name=f"shadow-{side}")
        try:
            while (text := await socket.receive()) is not None:
                self._shadow.receive(side, text, now_ms())
                self._pump()
                self._changed.set()
            self._shadow.closed(side, socket.close_code, now_ms())
            self._changed.set()
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, side: Side, socket: RealtimeSocket) -> None:
        outgoing, wake = self._shadow.outgoing(side), self._wakes[side]
        while True:
            while outgoing:
                await socket.send(outgoing.popleft())
            wake.clear()
            await wake.wait()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            going = await self._ports.going()
            if going == "person":
                self._shadow.person_came(now_ms())
            elif going == "stop":
                self._shadow.give_up("it was cancelled, switched off or not worth more", now_ms())
            self._changed.set()

    async def _look(self) -> None:
        assert self._ports.results is not None, "begun where there are some"
        turns = 0
        while True:
            await asyncio.sleep(RESULTS_SECONDS)
            turns += 1
            # What is not waited for is looked up at times, so that it stands in the conversation.
            if self._shadow.wants_results or turns % 4 == 0:
                self._shadow.known(await self._ports.results(), now_ms())
                self._pump()
                self._changed.set()


def _raise_from(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Raise what a task died of: a defect, which must not leave a shadow that hears nothing."""
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


def now_ms() -> int:
    """Return the clock of shadows: ms that never go back."""
    return round(asyncio.get_running_loop().time() * 1000)
