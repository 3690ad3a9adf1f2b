"""Keeps SQLite's index of what was said: puts in what is due, and takes erased bytes out.

Triggers note every turn whose words are to go in, in the transaction that wrote it, so nothing is
forgotten; putting them in is too slow for the journal of a call. What was erased is found no more
at once, but its bytes stay until the index is merged; triggers count that too. All of it goes in
transactions of some milliseconds beside live calls. PostgreSQL does both by itself.
"""

from __future__ import annotations

import time
from typing import Final

from django.db import connection, transaction

BUDGET_SECONDS: Final = 10.0
STEP: Final = 50
# About that many pages of 4 KB are written in one transaction.
_STEP_PAGES: Final = 16


def words_due() -> int:
    """Return how many turns are not found yet."""
    if connection.vendor != "sqlite":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM calls_wordsdue")
        count: int = cursor.fetchone()[0]
    return count


def words_index(budget_seconds: float = BUDGET_SECONDS) -> int:
    """Put what is due into the index, oldest first; return how many turns.

    Two who do it at once do each turn once: a transaction of SQLite that writes is alone.
    """
    count = 0
    until = time.monotonic() + budget_seconds
    while connection.vendor == "sqlite" and time.monotonic() < until:
        with transaction.atomic():
            some = _index_some()
        if not some:
            break
        count += some
        if not connection.in_atomic_block:
            _merge(_STEP_PAGES)
    return count


def _index_some() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM calls_wordsdue ORDER BY id LIMIT %s", [STEP])
        ids = [row[0] for row in cursor.fetchall()]
        if not ids:
            return 0
        bounds = [ids[0], ids[-1]]
        cursor.execute(
            "INSERT INTO calls_saidwords(rowid, words) "
            "SELECT id, replace(replace(text, 'ß', 'ss'), 'ẞ', 'SS') FROM calls_turn "
            "WHERE id IN (SELECT id FROM calls_wordsdue WHERE id BETWEEN %s AND %s) "
            "AND text != '' AND id NOT IN "
            "(SELECT id FROM calls_saidwords_docsize WHERE id BETWEEN %s AND %s)",
            [*bounds, *bounds],
        )
        cursor.execute("DELETE FROM calls_wordsdue WHERE id BETWEEN %s AND %s", bounds)
    return len(ids)


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
