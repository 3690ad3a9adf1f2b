"""The disk beside the event loop: one thread for spools, and the task that empties them.

Owns when files of ``services.spool`` are replayed: as a media process begins, and every few seconds
while there are any. What is on them belongs to calls whose database was away, in this process or in
one that is dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog
from django.db import DatabaseError

from calls.media.database import in_database
from calls.services.spool import has_spools, spools_replay

LOOK_SECONDS = 2.0

log = structlog.get_logger(__name__)

# Not one of the database's: all of those wait while it is away.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="calls-spool")
P = ParamSpec("P")
T = TypeVar("T")


async def on_disk(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work on spools in their thread and return its result."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, lambda: work(*args, **kwargs))


async def empty_spools() -> None:
    """Replay what lies on disk, until cancelled."""
    while True:
        if await on_disk(has_spools):
            try:
                await in_database(spools_replay)
            except DatabaseError as error:
                log.warning("spools_wait", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)
