"""Fixtures of whole instances, for the acceptance tier and the drills that repeat it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.platform import Platform, platforms, wait_until

PARTS = ("valkey", "standins", "media", "web", "worker", "beat", "watcher")


@pytest.fixture
def start_platform() -> Iterator[Callable[..., Platform]]:
    """Start instances: ``start_platform(standins=True, DRAIN_SECONDS="5")``; all end afterwards."""
    with platforms() as start:
        yield start


@pytest.fixture(scope="session")
def _lasting_platform() -> Iterator[Platform]:
    with platforms() as start:
        # A receiver or a stand-in of Vapi's API that a test runs listens on this machine.
        yield start(standins=True, EGRESS_ALLOW="127.0.0.0/8")


@pytest.fixture
def shared_platform(_lasting_platform: Platform) -> Iterator[Platform]:
    """One ready instance with stand-ins that outlives the test.

    All modules that use it run in one process (``TOGETHER`` in tests/conftest.py). A test
    may kill any part of it but the supervisor: each leaves it whole again.
    """
    _lasting_platform.forget_output()
    yield _lasting_platform
    for part in PARTS:
        _lasting_platform.pid_of(part)
    wait_until(lambda: _lasting_platform.get("/readyz")[0] == 200, what="readiness", seconds=40)
