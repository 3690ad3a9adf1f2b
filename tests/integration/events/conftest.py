"""Fixtures of the outbox: a database in a file, as threads of delivery need, and a receiver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.calls.conftest import _call_database_template, _database_in_a_file
from tests.integration.events.receiver import Receiver, running_receiver

__all__ = ["_call_database_template", "_database_in_a_file"]


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A receiver on loopback that we may reach."""
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    with running_receiver() as running:
        yield running
