"""Twilio's stand-in in a thread, with numbers that rows here stand for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from calls.models import PhoneNumber, TwilioAccount
from calls.standins.server import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, RunningStandins
from calls.standins.server import running_standins as serve
from tests import factories
from tests.factories.moves import OLD_URL
from voiceplatform.base.models import Organisation


class Twilio:
    """The stand-in as a test uses it."""

    def __init__(self, standins: RunningStandins) -> None:
        self.standins = standins
        self.base_url = standins.base_url

    @property
    def numbers(self) -> Any:
        """Return the numbers of the account."""
        return self.standins.carrier.numbers

    def writes(self) -> list[dict[str, str]]:
        """Return the forms of all updates, in order."""
        return [dict(form) for _, form in self.numbers.updates]

    def number(self, organisation: Organisation, **columns: Any) -> PhoneNumber:
        """Make a number that Twilio has too, answered by an old stack."""
        account = TwilioAccount.objects.filter(account_sid=DEFAULT_ACCOUNT_SID).first()
        account = account or factories.make_account(
            organisation,
            account_sid=DEFAULT_ACCOUNT_SID,
            auth_token=DEFAULT_AUTH_TOKEN,
            api_base_url=self.base_url,
        )
        defaults: dict[str, Any] = {"route": "vapi", "previous_voice_url": OLD_URL}
        number = factories.make_number(
            organisation, twilio_account=account, **{**defaults, **columns}
        )
        resource = self.numbers.add(number.number_e164, voice_url=OLD_URL, sms_url="https://sms")
        number.twilio_sid = resource["sid"]
        number.save()
        return number

    def live(self, number: PhoneNumber) -> dict[str, Any]:
        """Return what Twilio has of a number."""
        resource: dict[str, Any] = self.numbers.resources[number.twilio_sid]
        return resource


@pytest.fixture(scope="session")
def standins() -> Iterator[RunningStandins]:
    """Run the stand-ins in a thread of their own."""
    ready = threading.Event()
    found: list[tuple[RunningStandins, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        async with serve() as running:
            stop = asyncio.Event()
            found.append((running, asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(20)
    running, loop, stop = found[0]
    yield running
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)


@pytest.fixture
def twilio(standins: RunningStandins, settings: Any) -> Iterator[Twilio]:
    """Twilio's stand-in without numbers, and permission to reach it."""
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    settings.PUBLIC_BASE_URL = "https://voice.example.com"
    numbers = standins.carrier.numbers
    numbers.resources.clear()
    numbers.updates.clear()
    yield Twilio(standins)
