"""Fixtures of the acceptance tier: the whole platform as a subprocess."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.platform import Platform, platforms


@pytest.fixture
def start_platform() -> Iterator[Callable[..., Platform]]:
    """Start instances: ``start_platform(standins=True, DRAIN_SECONDS="5")``; all end afterwards."""
    with platforms() as start:
        yield start


@pytest.fixture
def running_platform(start_platform: Callable[..., Platform]) -> Platform:
    """One ready instance without stand-ins."""
    return start_platform()
