"""The call path in this process: one loop with our server, the stand-ins and the test."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.db import connections

from tests.integration.calls.rig import Rig, running_rig


@pytest.fixture(scope="session")
def _call_database_template(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path | None:
    connection = connections["default"]
    if connection.vendor != "sqlite":
        return None
    path = tmp_path_factory.mktemp("calls") / "template.sqlite3"
    with django_db_blocker.unblock():
        connection.ensure_connection()
        target = sqlite3.connect(path)
        connection.connection.backup(target)
        target.close()
    return path


@pytest.fixture(scope="module", autouse=True)
def _database_in_a_file(
    _call_database_template: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Use SQLite as production does: a file, a connection per thread, WAL and its lock waits.

    Django's test database lives in memory and locks whole tables between threads.
    """
    if _call_database_template is None:
        yield
        return
    path = tmp_path_factory.mktemp("calls") / "db.sqlite3"
    shutil.copy(_call_database_template, path)
    in_memory = connections["default"]
    settings_dict = in_memory.settings_dict
    name = settings_dict["NAME"]
    del connections["default"]
    settings_dict["NAME"] = str(path)
    ContentType.objects.clear_cache()  # other ids in each database
    yield
    connections["default"].close()
    # The one thread in which views run would go on reading this file, whatever comes next.
    asyncio.run(sync_to_async(connections.close_all)())
    settings_dict["NAME"] = name
    connections["default"] = in_memory
    ContentType.objects.clear_cache()


@pytest.fixture
async def rig(transactional_db: None) -> AsyncIterator[Rig]:
    """The platform's ASGI application on uvicorn, stand-ins, and a number that answers."""
    async with running_rig() as running:
        yield running
