"""The Twilio stand-in's REST API on a thread of its own, with numbers of every kind, for tests that
block as workers do.

Owns the numbers that are moved and what is compared afterwards. It must not know the moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from calls.models import PhoneNumber, TwilioAccount
from calls.standins.server import (
    DEFAULT_ACCOUNT_SID,
    DEFAULT_AUTH_TOKEN,
    RunningStandins,
    running_standins,
)
from calls.standins.twilio_account import AccountRest
from calls.standins.twilio_faults import Fault
from calls.standins.twilio_numbers import VoiceConfig
from tests import factories

OLD = "https://api.vapi.example/twilio/inbound_call"
APP, TRUNK = "AP" + "3" * 32, "TK" + "4" * 32
SMS = {
    "sms_url": "https://api.vapi.example/sms?token=keep",
    "sms_method": "GET",
    "sms_fallback_url": "https://sms.example/down",
    "sms_application_sid": "AP" + "9" * 32,
}
# How numbers come: by address, app and trunk, with nothing, with '' and None, with text messages.
KINDS: tuple[dict[str, Any], ...] = (
    {"voice_url": OLD, "status_callback": "https://api.vapi.example/twilio/status", **SMS},
    {"voice_url": f"{OLD}?token=abc#rt=4000", "voice_method": "GET", "voice_fallback_url": OLD},
    {"voice_application_sid": APP, "voice_url": "https://left.example/over", "trunk_sid": ""},
    {"trunk_sid": TRUNK, "voice_url": "https://left.example/over", "voice_caller_id_lookup": True},
    {"voice_application_sid": "", "trunk_sid": None},
    {"voice_url": None, "voice_fallback_url": None, "status_callback": None, **SMS},
    {"voice_application_sid": APP, **SMS},
    {"voice_url": OLD, "status_callback_method": "GET", "voice_fallback_method": "GET"},
)
VOICE = (
    *("voice_url", "voice_method", "voice_fallback_url", "voice_fallback_method"),
    *("status_callback", "status_callback_method", "voice_application_sid", "trunk_sid"),
    *("voice_caller_id_lookup", "voice_receive_mode"),
)


@dataclass
class Twilio:
    """A running stand-in and the numbers that were made on it."""

    standins: RunningStandins
    account: TwilioAccount
    made: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def rest(self) -> AccountRest:
        """Return the account's side of the API."""
        return self.standins.app.twilio.accounts[self.account.account_sid]

    def number(self, kind: int = 0, *, can_call: bool = False, **fields: Any) -> PhoneNumber:
        """Own a number of one of ``KINDS``, here and at Twilio; it can be called from if told."""
        row: PhoneNumber = factories.make_number(
            self.account.organisation,
            twilio_account=self.account,
            route=PhoneNumber.Route.VAPI,
            twilio_sid="",
        )
        capabilities = {"voice": can_call, "sms": True, "mms": True, "fax": False}
        resource = self.rest.carrier.numbers.add(
            row.number_e164, **{**KINDS[kind % len(KINDS)], "capabilities": capabilities, **fields}
        )
        row.twilio_sid = resource["sid"]
        row.save(update_fields=["twilio_sid"])
        self.made[row.number_e164] = copy.deepcopy(resource)
        return row

    def resource(self, number: PhoneNumber) -> dict[str, Any]:
        """Return how the number is now."""
        found = self.rest.carrier.numbers.find(number.number_e164)
        assert found is not None
        return found

    def fault(self, **columns: Any) -> Fault:
        """Order something that goes wrong."""
        return self.standins.app.twilio.faults.add(Fault(**columns))

    def posts(self, number: PhoneNumber) -> list[dict[str, list[str]]]:
        """Return the writes to a number that were let in, whatever became of them."""
        sid = self.resource(number)["sid"]
        log = self.standins.app.twilio.log
        return [form for method, path, form in log if method == "POST" and sid in path]

    def changed(self) -> dict[str, dict[str, tuple[Any, Any]]]:
        """Return, for each number, the fields that are not as they were made.

        An empty text and null are the same to Twilio's calls and to the SDK (twilio.md 5.4).
        """
        found = {}
        for e164, before in self.made.items():
            now = self.rest.carrier.numbers.find(e164) or {}
            differs = {
                name: (value, now.get(name))
                for name, value in before.items()
                if (value or None) != (now.get(name) or None)
            }
            if differs:
                found[e164] = differs
        return found

    def assert_decent(self) -> None:
        """Nothing was asked that must never be: no DELETE, no field of text messages."""
        log = self.standins.app.twilio.log
        assert {method for method, _, _ in log} <= {"GET", "POST"}
        for method, path, form in log:
            if method == "POST":
                assert not [name for name in form if name.startswith("Sms")], path
        assert self.rest.carrier.numbers.alarms == []


@contextlib.contextmanager
def running_twilio(platform_url: str = "http://127.0.0.1:9") -> Iterator[RunningStandins]:
    """Run the stand-ins on a loop of their own, in a thread."""
    ready, stop = threading.Event(), threading.Event()
    found: list[RunningStandins] = []

    async def serve() -> None:
        async with running_standins(platform_url=platform_url) as standins:
            found.append(standins)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    try:
        assert ready.wait(20), "the stand-ins did not start"
        found[0].carrier.numbers.applications[APP] = VoiceConfig(
            voice_url="https://app.vapi.example/voice", source="application"
        )
        yield found[0]
    finally:
        stop.set()
        thread.join(20)


def account_on(standins: RunningStandins) -> TwilioAccount:
    """Make the row of the stand-in's account."""
    return factories.make_account(
        account_sid=DEFAULT_ACCOUNT_SID,
        auth_token=DEFAULT_AUTH_TOKEN,
        api_base_url=standins.base_url,
    )
