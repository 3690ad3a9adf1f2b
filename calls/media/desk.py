"""Where commands of people reach the calls of this process: one task per event loop.

It asks the database four times a second while a call is on, in a thread of the pool, and never
otherwise; what it finds goes to the driver as one more input. A hung database delays commands and
nothing else. Must not know what a command means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

import structlog
from django.db import DatabaseError

from calls.media.database import in_database, in_database_at_last
from calls.services.live_control import (
    Taken,
    control_prepared,
    control_settle,
    controls_take,
)
from calls.wire.vapi_control import Control

LOOK_SECONDS: Final = 0.25
GONE: Final = "The call has just ended."
AWAY: Final = "The database does not answer. Fix: try again."

Carry = Callable[[Control], str]

log = structlog.get_logger(__name__)


class Desk:
    """The calls of one event loop that take commands."""

    def __init__(self) -> None:
        self._calls: dict[str, Carry] = {}
        self._task: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()

    def open(self, call_id: str, carry: Carry) -> None:
        """Bring a call's commands to ``carry``, which returns '' or why it refuses."""
        self._calls[call_id] = carry
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="control-desk")

    def close(self, call_id: str, carry: Carry) -> None:
        """Bring it no more; a later stream of the same call keeps its own place."""
        if self._calls.get(call_id) == carry:
            del self._calls[call_id]

    async def _run(self) -> None:
        while self._calls:
            try:
                taken = await in_database(controls_take, call_ids=frozenset(self._calls))
            except DatabaseError as error:
                log.warning("controls_not_read", error=type(error).__name__)
            else:
                for each in taken:
                    self._spawn(each)
            await asyncio.sleep(LOOK_SECONDS)

    def _spawn(self, taken: Taken) -> None:
        # A task of its own: a command that breaks its call must not take the desk with it.
        task = asyncio.create_task(self._carry_out(taken), name="control-desk")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _carry_out(self, taken: Taken) -> None:
        refusal = await self._refusal(taken)
        log.info("control", call_id=taken.call_id, kind=taken.control.kind, refused=bool(refusal))
        await in_database_at_last(control_settle, control_id=taken.control_id, refusal=refusal)

    async def _refusal(self, taken: Taken) -> str:
        """Give a command to its call; return '' or why it is refused."""
        control: Control | str = taken.control
        if taken.control.destination:
            try:
                control = await in_database(control_prepared, taken)
            except DatabaseError as error:
                log.warning("control_not_prepared", error=type(error).__name__)
                return AWAY
        if isinstance(control, str):
            return control
        carry = self._calls.get(taken.call_id)
        return carry(control) if carry is not None else GONE


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()


def desk() -> Desk:
    """Return the desk of the running loop."""
    return _desks.setdefault(asyncio.get_running_loop(), Desk())
