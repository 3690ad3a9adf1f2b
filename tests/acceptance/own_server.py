"""A server in this process for browser tests, on a database in a file.

pytest-django's lasts a session and hands the connection of the database in memory to all of its
threads; once the settings name a file, one thread closes it while another one uses it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.integration.calls.conftest import _call_database_template, _database_in_a_file

__all__ = ["_call_database_template", "_database_in_a_file", "live_server"]


@pytest.fixture(scope="module")
def live_server(_database_in_a_file: None) -> Iterator[LiveServer]:
    """Serve this module's database; each thread has a connection of its own, as in production."""
    server = LiveServer("localhost")
    assert not server.thread.connections_override
    yield server
    server.stop()
