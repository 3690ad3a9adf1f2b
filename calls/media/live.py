"""The live calls of this process: who is on, whether we are draining, and how to end them all.

Owns one small registry per process, pure asyncio. The media consumer enters and leaves it, the
server's drain reads it, views ask it whether to take new calls. Must not know Django, sockets or
what a call is: an entry is only a way to ask that call to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LiveCall:
    """One entry of the registry; compare by identity, hold it until ``leave``."""

    __slots__ = ("_end_now", "name")

    def __init__(self, end_now: Callable[[], None] | None, name: str) -> None:
        self._end_now = end_now
        self.name = name

    def end_now(self) -> None:
        """Ask this call to end at once; nothing happens when it gave no way to."""
        if self._end_now is not None:
            self._end_now()


class LiveCalls:
    """A registry of live calls that can be drained; use it from the event loop's thread only.

    ``is_draining`` and ``active_count`` may be read from any thread.
    """

    def __init__(self) -> None:
        self._calls: set[LiveCall] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._expected: dict[str, asyncio.TimerHandle] = {}
        self._draining = False
        self._leaving = False
        self._ending = False

    def enter(self, end_now: Callable[[], None] | None = None, name: str = "") -> LiveCall:
        """Count one more live call and return its entry; ``name`` is for ``wait_until_left``.

        ``end_now`` is called at most once per ``end_all_now``, from the event loop, must not block
        and must not raise. Entering while draining is allowed: refusing is the consumer's choice.
        """
        call = LiveCall(end_now, name)
        self.expect_no_more(name)
        self._calls.add(call)
        return call

    def leave(self, call: LiveCall) -> None:
        """Count one less; a second call for the same entry does nothing."""
        self._calls.discard(call)
        self._wake()

    def expect(self, name: str, seconds: float) -> None:
        """Note that a call is on although it has no entry now; it is forgotten after ``seconds``.

        A call between two streams would otherwise be lost to a process that ends in that moment.
        """
        self.expect_no_more(name)
        loop = asyncio.get_running_loop()
        self._expected[name] = loop.call_later(seconds, self.expect_no_more, name)

    def expect_no_more(self, name: str) -> None:
        """Note that a call is over, or gone elsewhere."""
        timer = self._expected.pop(name, None)
        if timer is not None:
            timer.cancel()
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def active_count(self) -> int:
        """Return how many calls are live now."""
        return len(self._calls)

    def begin_drain(self) -> None:
        """Take no new calls from now on; final for this process, harmless when repeated."""
        self._draining = True

    def is_draining(self) -> bool:
        """Tell whether new calls are to be refused."""
        return self._draining

    def begin_leaving(self) -> None:
        """Note that a successor takes what is new: connections, requests, streams. Final."""
        self._leaving = True

    def is_leaving(self) -> bool:
        """Tell whether a successor takes what is new."""
        return self._leaving

    def is_ending(self) -> bool:
        """Tell whether every call has been asked to end, so that this process is about to exit."""
        return self._ending

    async def wait_until_idle(self) -> None:
        """Return once no call is live, at once when none is. Cancel it to stop waiting."""
        while self._calls:
            await self._next_leave()

    async def wait_until_drained(self) -> None:
        """Return once no call is live and none is expected. Cancel it to stop waiting."""
        while self._calls or self._expected:
            await self._next_leave()

    async def wait_until_left(self, name: str) -> None:
        """Return once no entry of this name is live. Cancel it to stop waiting."""
        while any(call.name == name for call in self._calls):
            await self._next_leave()

    async def _next_leave(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def end_all_now(self) -> None:
        """Ask every live call to end at once; they leave by themselves when they have."""
        self._ending = True
        for call in tuple(self._calls):
            call.end_now()


_process = LiveCalls()

enter = _process.enter
leave = _process.leave
active_count = _process.active_count
begin_drain = _process.begin_drain
is_draining = _process.is_draining
begin_leaving = _process.begin_leaving
is_leaving = _process.is_leaving
is_ending = _process.is_ending
wait_until_idle = _process.wait_until_idle
wait_until_left = _process.wait_until_left
wait_until_drained = _process.wait_until_drained
expect = _process.expect
expect_no_more = _process.expect_no_more
end_all_now = _process.end_all_now
