"""No byte of the database's files is a secret that was entered, imported or used (SQLite).

What the tables hold is ``tests/integration/admin/test_privacy.py``; a file holds more: freed pages
and the write-ahead log.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from tests import factories
from tests.integration.admin.planted import call_once, echo, plant, use_everywhere, whole_database
from tests.integration.admin.rows import make_world
from tests.integration.tools.plain_server import plain_server

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

SECRET = "planted-on-disk-0xC0FFEE"


def on_disk() -> bytes:
    """Return every byte that the database has written, of PostgreSQL every value."""
    if connection.vendor != "sqlite":
        return whole_database().encode()
    path = Path(connection.settings_dict["NAME"])
    files = sorted(path.parent.glob(f"{path.name}*"))
    assert len(files) > 1, "the write-ahead log is there"
    return b"".join(file.read_bytes() for file in files)


def test_no_byte_of_the_files_is_a_secret(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    world = make_world(factories.make_organisation())
    tool = world["tools.tool"]
    with plain_server(echo) as server:
        plant(tool, server.url, SECRET)
        call_once(world["calls.call"], tool)
        plant(tool, server.url, f"{SECRET}-new")
    kept = use_everywhere(client, world, SECRET)
    number = {"provider": "twilio", "number": "+15550100001", "twilioAuthToken": SECRET}
    desk = {"name": "Desk", "serverUrl": f"https://u:{SECRET}@h.example", "serverUrlSecret": SECRET}
    for name, document in {"number": number, "desk": desk}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    with contextlib.suppress(CommandError):  # whatever it has to complain of
        call_command("import_vapi", str(tmp_path), json=True)
    written = on_disk()
    assert b"planted_hmac" in written and b"Desk" in written
    assert SECRET not in kept
    assert SECRET.encode() not in written
