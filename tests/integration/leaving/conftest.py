"""Leaving Vapi over the Twilio stand-in's real HTTP, and a Vapi account that is a transport."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from assistants.vapi_api import VapiApi
from calls.services import move_bell
from calls.standins.server import RunningStandins
from tests.integration.moves.twilio import Twilio, account_on, running_twilio
from tests.vapi_account import VapiAccount


@pytest.fixture(scope="module")
def standins() -> Iterator[RunningStandins]:
    """One stand-in for the tests of a module; each has numbers of its own."""
    with running_twilio() as running:
        yield running


@pytest.fixture
def twilio(
    db: None, standins: RunningStandins, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Twilio]:
    """An account with nothing in it, and nobody who answers the doorbell."""
    monkeypatch.setattr(move_bell, "poke", lambda: None)
    yield Twilio(standins, account_on(standins))
    standins.carrier.numbers.resources.clear()
    standins.carrier.numbers.alarms.clear()
    standins.app.twilio.log.clear()
    standins.app.twilio.faults.orders.clear()


@pytest.fixture(autouse=True)
def _clients_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close every client of an account that a test has made."""
    made: list[VapiApi] = []
    make = VapiAccount.client

    def client(self: VapiAccount, **options: Any) -> VapiApi:
        made.append(make(self, **options))
        return made[-1]

    monkeypatch.setattr(VapiAccount, "client", client)
    yield
    for each in made:
        each.close()
