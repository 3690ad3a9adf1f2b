"""Database work from the event loop: a small pool of threads of its own.

``sync_to_async`` would queue everything of a process behind one thread; a slow query of one call
must not delay the start of another.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog
from django.db import DEFAULT_DB_ALIAS, DatabaseError, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as Sqlite

THREADS = 8
# A restart of the database takes seconds, a fail-over half a minute; what a call must leave behind
# waits for it.
RETRY_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0)

log = structlog.get_logger(__name__)

# Python lets a busy thread go on for 5 ms before another one gets its turn; the loop carries audio,
# and several threads may be busy.
SWITCH_SECONDS = 0.001


def _make_way() -> None:
    sys.setswitchinterval(SWITCH_SECONDS)


_pool = ThreadPoolExecutor(
    max_workers=THREADS, thread_name_prefix="calls-db", initializer=_make_way
)
_mine = threading.local()
P = ParamSpec("P")
T = TypeVar("T")


async def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking database work in a thread and return its result."""

    def run() -> T:
        _begin()
        try:
            return work(*args, **kwargs)
        finally:
            _end()

    return await asyncio.get_running_loop().run_in_executor(_pool, run)


def _begin() -> None:
    """Drop a connection that failed, and one to a file that is no longer the database's."""
    connection, kept = connections[DEFAULT_DB_ALIAS], getattr(_mine, "file", "")
    _mine.file = _file_of(connection)
    if connection.connection is not None and kept and kept != _mine.file:
        connection.connection.close()
        connection.connection = None
    close_old_connections()


def _end() -> None:
    """Keep an SQLite file open for this thread's next work, and give any other connection back.

    Opening the file reads the whole schema: 2 ms of the core that carries audio, for what takes a
    quarter of that, several times a second for each call. PostgreSQL has a pool of its own.
    """
    if _mine.file:
        connection = connections[DEFAULT_DB_ALIAS]
        # Django takes every connection to SQLite for usable, whatever has failed on it.
        connection.close_at = 0.0 if connection.errors_occurred else None
    close_old_connections()


def _file_of(connection: BaseDatabaseWrapper) -> str:
    """Return the path of an SQLite database, '' of any other and of one in memory."""
    if not isinstance(connection, Sqlite) or connection.is_in_memory_db():
        return ""
    return str(connection.settings_dict["NAME"])


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
