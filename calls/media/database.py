"""Database work from the event loop: a small pool of threads of its own.

``sync_to_async`` would queue everything of a process behind one thread; a slow query of one call
must not delay the start of another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

THREADS = 8

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
