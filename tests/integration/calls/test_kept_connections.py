"""Database work of a call: a thread opens the file once, and the next one when the file is another.

Opening reads the whole schema: two milliseconds of the core that carries audio, several times a
second for each call.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, connections
from django.db.backends.signals import connection_created

from calls.media.database import SWITCH_SECONDS, THREADS, in_database
from calls.models import Call
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The databases that were opened, in order."""
    names: list[str] = []

    def note(sender: object, connection: object, **kwargs: object) -> None:
        names.append(str(connections["default"].settings_dict["NAME"]))

    connection_created.connect(note)
    yield names
    connection_created.disconnect(note)


async def in_every_thread() -> set[int]:
    """Return what the threads count, each asked at least once."""
    return set(await asyncio.gather(*(in_database(Call.objects.count) for _ in range(8 * THREADS))))


async def test_threads_make_way_for_the_loop_that_carries_audio() -> None:
    await in_every_thread()
    assert sys.getswitchinterval() == SWITCH_SECONDS < 0.005


async def test_a_thread_opens_the_file_once(opened: list[str]) -> None:
    await in_every_thread()
    # PostgreSQL has a pool of its own, which lends the same connections again.
    assert connection.vendor != "sqlite" or len(opened) <= THREADS


async def test_a_database_that_has_moved_is_opened_where_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "sqlite":
        return
    assert await in_every_thread() == {0}
    moved = tmp_path / "moved.sqlite3"
    with sqlite3.connect(connection.settings_dict["NAME"]) as source:
        source.execute("VACUUM INTO ?", (str(moved),))
    source.close()
    monkeypatch.setitem(connection.settings_dict, "NAME", str(moved))
    await in_database(factories.make_call)
    assert await in_every_thread() == {1}
    monkeypatch.undo()
    assert await in_every_thread() == {0}


async def test_a_connection_that_failed_is_opened_again(opened: list[str]) -> None:
    if connection.vendor != "sqlite":
        return

    def break_it() -> None:
        connection.ensure_connection()
        connection.connection.close()
        with pytest.raises(DatabaseError):
            Call.objects.count()

    await asyncio.gather(*(in_database(break_it) for _ in range(8 * THREADS)))
    assert await in_every_thread() == {0}
