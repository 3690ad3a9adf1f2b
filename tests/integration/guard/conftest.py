"""Fixtures of guards and notices: those of the outbox, which carries every notice."""

from __future__ import annotations

from tests.integration.events.conftest import (
    _call_database_template,
    _database_in_a_file,
    receiver,
)

__all__ = ["_call_database_template", "_database_in_a_file", "receiver"]
