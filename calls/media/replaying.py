"""Carries a replay of a past call over the model's socket, in the time of the machine.

The shell around ``calls.parity.replay``: it dials, sends and receives, and looks at the clock.
There is no tool, no dispatcher and no caller in here, so nothing could be called for real. No
Django.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from calls.media.realtime_client import Endpoint, RealtimeSocket, RealtimeUnreachable, dial
from calls.parity.replay import Replay, Replayed

# A session lasts an hour at most (openai_realtime.md 1.4); a call that is longer is given up.
LONGEST_SECONDS: Final = 55 * 60


def _now_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)


async def carry(endpoint: Endpoint, make: Callable[[int], Replay]) -> Replayed:
    """Run one replay to its end and return what came of it; a socket that fails is part of that.

    Args:
        make: makes the machine, from the moment in ms.
    """
    replay = make(_now_ms())
    try:
        socket = await dial(endpoint)
    except RealtimeUnreachable as error:
        replay.closed(error.code, _now_ms())
        return replay.result
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await _converse(socket, replay)
    except TimeoutError:
        replay.closed(1001, _now_ms())
    finally:
        # It is billed until somebody closes it (trap O20).
        await socket.close()
    return replay.result


async def _converse(socket: RealtimeSocket, replay: Replay) -> None:
    while not replay.done:
        while replay.to_model:
            await socket.send(replay.to_model.popleft())
        if replay.done:
            return
        due_ms = replay.next_deadline_ms()
        wait = None if due_ms is None else max(due_ms - _now_ms(), 0) / 1000
        try:
            async with asyncio.timeout(wait):
                text = await socket.receive()
        except TimeoutError:
            replay.tick(_now_ms())
            continue
        if text is None:
            replay.closed(socket.close_code, _now_ms())
            return
        replay.receive(text, _now_ms())
        replay.tick(_now_ms())


def carry_now(endpoint: Endpoint, make: Callable[[int], Replay]) -> Replayed:
    """Run ``carry`` in a thread that has no event loop, such as that of a worker."""
    return asyncio.run(carry(endpoint, make))
