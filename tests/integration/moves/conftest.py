"""Moves of numbers over the Twilio stand-in's real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from calls.standins.server import RunningStandins
from tests.integration.moves.twilio import Twilio, account_on, running_twilio


@pytest.fixture(scope="session")
def standins() -> Iterator[RunningStandins]:
    """One stand-in for all tests; each has numbers of its own."""
    with running_twilio() as running:
        yield running


@pytest.fixture
def twilio(db: None, standins: RunningStandins) -> Iterator[Twilio]:
    """An account with nothing in it."""
    app = standins.app.twilio
    yield Twilio(standins, account_on(standins))
    standins.carrier.numbers.resources.clear()
    standins.carrier.numbers.alarms.clear()
    app.log.clear()
    app.faults.orders.clear()
