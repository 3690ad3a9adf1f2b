"""Carries a shadow: the fork's socket and two sessions of the model, in the machine's time.

The shell around ``calls.parity.shadow``: it reads, sends, dials and looks at the clock. Whatever
the machine is told of the call goes through ``calls.parity.shadow_delay`` first, and Twilio is
asked meanwhile whether somebody was put through. Nothing is sent on the fork, and no slow session
holds up its reading: what a session does not take is given up. There is no tool and no
dispatcher in here. No Django.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, Protocol

from calls.media.realtime_client import Endpoint, RealtimeSocket, RealtimeUnreachable, dial
from calls.parity.past import PastTool
from calls.parity.shadow import Shadow
from calls.parity.shadow_delay import END_WORDS, DelayLine, Legs, Pace
from calls.parity.shadow_lines import SIDES, Side
from calls.wire import twilio_media

# Both are asked for this often: whether it goes on, and what the old stack's tools answered.
WATCH_SECONDS: Final = 2.0
RESULTS_SECONDS: Final = 1.0
PACE: Final = Pace()
# What is due is released this often at most: a frame of sound.
RELEASE_SECONDS: Final = 0.02
LOOK_SECONDS: Final = 0.25
# Half a minute of sound that a session did not take.
MOST_WAITING: Final = 1_500
# All else on a fork is held until Twilio has said that nobody was dialled by then.
_NO_SOUND: Final = frozenset({"connected", "start", "stop"})

Going = Literal["", "stop"]


class Fork(Protocol):
    """The fork's socket, to be read only."""

    async def receive(self) -> str | bytes | None:
        """Return the next frame, None once the socket is closed."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What a shadow asks of the outside.

    ``going``: whether it is to go on. ``legs``: whether Twilio has dialled somebody for the call,
    None where it does not say. ``leave``: have Twilio stop the fork of this stream. ``results``:
    what the old stack's tools answered so far; None where nobody records them.
    """

    going: Callable[[], Awaitable[Going]]
    legs: Callable[[], Awaitable[Legs | None]]
    leave: Callable[[str], Awaitable[None]]
    results: Callable[[], Awaitable[Sequence[PastTool]]] | None
    connect: Callable[[Endpoint], Awaitable[RealtimeSocket]] = dial


class Shadowing:
    """One shadow on its sockets."""

    def __init__(self, fork: Fork, endpoint: Endpoint, shadow: Shadow, ports: Ports) -> None:
        self._fork, self._endpoint, self._shadow, self._ports = fork, endpoint, shadow, ports
        self._pace = PACE
        self._line: DelayLine[Callable[[int], None]] = DelayLine(self._pace)
        self._came = asyncio.Event()
        # The stream's at Twilio, to stop it by; known before the machine hears of it.
        self.stream_sid = ""
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
            self._line.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # They are billed until somebody closes them (trap O20).
            await asyncio.gather(*(socket.close() for socket in self._sockets.values()))

    def _works(self) -> list[Coroutine[Any, Any, None]]:
        works: list[Coroutine[Any, Any, None]] = [self._read_fork(), self._watch()]
        works += [self._ask(), self._release()]
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
                self._take(frame)
        self._line.closed()
        self._line.put(self._shadow.hung_up, now_ms(), "fork")
        self._came.set()

    def _take(self, frame: str) -> None:
        try:
            event, message = twilio_media.decode(frame)
        except twilio_media.TwilioWireError:
            event, message = "", {}
        if event == "start":
            self.stream_sid = str(message.get("streamSid") or "")
        elif event == "stop":
            self._line.closed()
        given = partial(self._shadow.receive_twilio, frame)
        self._line.put(given, now_ms(), "fork" if event in _NO_SOUND else "sound", len(frame))
        self._came.set()

    async def _release(self) -> None:
        """Give the machine what is due, as long as it may be given anything."""
        while True:
            due_ms = self._line.due_ms()
            if due_ms is None and not self._line.end:
                self._came.clear()
                await self._came.wait()
                continue
            if due_ms is not None:
                wait = (due_ms - now_ms()) / 1000
                await asyncio.sleep(min(max(wait, RELEASE_SECONDS), LOOK_SECONDS))
            now = now_ms()
            for given in self._line.take(now):
                given(now)
            if self._line.end:
                self._end_line(now)
            elif self._line.is_person_due(now) and self._line.dialled_by_ms is not None:
                self._shadow.person_came(now, self._line.dialled_by_ms + self._pace.hold_ms)
            self._pump()
            self._changed.set()
            if self._line.end:
                return

    def _end_line(self, now: int) -> None:
        words = END_WORDS[self._line.end]
        if self._line.end == "late":
            self._shadow.void(words, now)
        else:
            self._shadow.give_up(words, now)

    async def _ask(self) -> None:
        """Ask Twilio whether somebody was dialled, while anything waits for its word."""
        while self._line.asks:
            asked_ms = now_ms()
            try:
                async with asyncio.timeout(self._pace.patience_ms / 1000):
                    legs = await self._ports.legs()
            except TimeoutError:
                legs = None
            self._line.told(legs, asked_ms, now_ms())
            self._came.set()
            if self._line.asks:
                wait_ms = asked_ms + self._pace.ask_ms - now_ms()
                await asyncio.sleep(max(wait_ms, 0) / 1000)
        if self.stream_sid and (self._line.end or self._line.person_ms is not None):
            # At once: what it goes on to bring is let fall, and is nobody's to have.
            await self._ports.leave(self.stream_sid)

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
            if await self._ports.going() == "stop":
                self._shadow.give_up("it was cancelled, switched off or not worth more", now_ms())
            self._changed.set()

    async def _look(self) -> None:
        """Look what the old stack's tools answered; it is told as late as the words around it."""
        assert self._ports.results is not None, "begun where there are some"
        found: Sequence[PastTool] = ()
        told = 0
        while True:
            await asyncio.sleep(RESULTS_SECONDS)
            # One look late: the old stack may take a turn for over sooner than our model does, and
            # a result that is known before its turn would be booked to the exchange before.
            if len(found) > told:
                told = len(found)
                self._line.put(partial(self._shadow.known, found), now_ms(), "word")
                self._came.set()
            found = await self._ports.results()


def _raise_from(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Raise what a task died of: a defect, which must not leave a shadow that hears nothing."""
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


def now_ms() -> int:
    """Return the clock of shadows: ms that never go back."""
    return round(asyncio.get_running_loop().time() * 1000)
