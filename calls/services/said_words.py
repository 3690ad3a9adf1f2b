"""Takes the words of erased turns out of the bytes of SQLite's index.

The index forgets them at once and finds them no more, but keeps their bytes until its pages are
merged; a trigger notes that there are some. Merging goes in steps of a few milliseconds beside live
calls. PostgreSQL does this by its own vacuum.
"""

from __future__ import annotations

import time
from typing import Final

from django.db import connection

BUDGET_SECONDS: Final = 10.0
# About that many pages of 4 KB are written in one transaction.
_STEP_PAGES: Final = 16


def words_left() -> bool:
    """Tell whether the index may hold bytes of words that are erased."""
    return connection.vendor == "sqlite" and _erased() is not None


def words_purge(budget_seconds: float | None = BUDGET_SECONDS) -> bool:
    """Merge the index until nothing erased is in it; return whether that is so.

    Does nothing within a transaction, which it would make long. A run that its budget ended, or
    that was stopped, is followed by another.

    Args:
        budget_seconds: None: until it is done.
    """
    if connection.vendor != "sqlite":
        return True
    # What is erased from here on is for the next run.
    erased = _erased()
    if erased is None:
        return True
    if connection.in_atomic_block:
        return False
    until = None if budget_seconds is None else time.monotonic() + budget_seconds
    pages = -_STEP_PAGES  # negative: begin to merge everything into one
    while _merge(pages):
        pages = _STEP_PAGES
        if until is not None and time.monotonic() > until:
            return False
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_wordsleft SET merged = %s", [erased])
    return True


def _erased() -> int | None:
    """Return the count of what was erased, None if no words of it are left."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT erased FROM calls_wordsleft WHERE erased > merged")
        row = cursor.fetchone()
    return row[0] if row else None


def _merge(pages: int) -> bool:
    """Merge so many pages; return whether there was anything to merge, as FTS5 tells it."""
    with connection.cursor() as cursor:
        before = connection.connection.total_changes
        cursor.execute(
            "INSERT INTO calls_saidwords(calls_saidwords, rank) VALUES ('merge', %s)", [pages]
        )
        changed: int = connection.connection.total_changes - before
    return changed >= 2
