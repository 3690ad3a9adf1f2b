"""Database work from the event loop: a small pool of threads of its own.

``sync_to_async`` would queue everything of a process behind one thread; a slow query of one call
must not delay the start of another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog
from django.db import DatabaseError, close_old_connections

THREADS = 8
# A restart of the database takes seconds; what a call must leave behind waits for it.
RETRY_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)

log = structlog.get_logger(__name__)

_pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="calls-db")
P = ParamSpec("P")
T = TypeVar("T")


async def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking database work in a thread and return its result."""

    def run() -> T:
        close_old_connections()
        try:
            return work(*args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(_pool, run)


async def in_database_at_last(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Run idempotent database work, again while the database fails; None when it never took it."""
    for pause_seconds in (*RETRY_PAUSES_SECONDS, None):
        try:
            return await in_database(work, *args, **kwargs)
        except DatabaseError as error:
            # The name alone: PostgreSQL quotes the row, and a row may hold what was said.
            log.error("database_refused", work=work.__name__, error=type(error).__name__)
        if pause_seconds is not None:
            await asyncio.sleep(pause_seconds)
    return None
