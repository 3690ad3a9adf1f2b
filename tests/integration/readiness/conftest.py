"""Checks of readiness over the Twilio stand-in's real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from calls.doctor.checks import Result
from calls.models import CallPolicy, NumberReadiness, PhoneNumber, ProviderConnection
from calls.services import readiness
from calls.standins.server import RunningStandins
from calls.telephony.twilio_rest import TwilioRest
from tests import factories
from tests.integration.moves.twilio import Twilio, account_on, running_twilio
from voiceplatform.base import job_bell
from voiceplatform.base.models import Job

WELL = (Result("public URL", "ok", "/readyz answers 200"),)
# Without a sound and a voice of its own callers would hear other ones, and a check says so.
DOCUMENT = {
    "firstMessage": "Hello, how can I help?",
    "backgroundSound": "off",
    "voice": {"provider": "openai", "voiceId": "marin"},
    "model": {
        "provider": "openai",
        "model": "gpt-realtime-2.1",
        "messages": [{"role": "system", "content": "You are a receptionist."}],
    },
}
NUMBER_FIELDS = {"fallback_message": "Please call again tomorrow."}


def policy(**columns: Any) -> CallPolicy:
    """Make a call policy with a line, reviewed unless told."""
    return factories.make_policy(wordings={"en": "This call is recorded."}, **columns)


@dataclass
class Office:
    """An organisation whose Twilio account is the stand-in's; what is made in it is ready."""

    twilio: Twilio
    connection: ProviderConnection
    said_by_doctor: tuple[Result, ...] = WELL

    def number(self, kind: int = 0, resource: Any = None, **columns: Any) -> PhoneNumber:
        """Make a number that is ready: here, at Twilio, with everything that it needs."""
        row = self.twilio.number(kind, **(resource or {}))
        given = {"connection": self.connection, "policy": policy(), **NUMBER_FIELDS}
        if "assistant" not in columns:
            given["assistant"] = factories.make_assistant(document=DOCUMENT)
        for name, value in (given | columns).items():
            setattr(row, name, value)
        row.save()
        return row

    def check(self, **given: Any) -> Job:
        """Check all numbers, as a worker does."""
        job = readiness.readiness_begin(organisation=self.twilio.account.organisation, actor=None)
        readiness.readiness_run(
            job.pk,
            examine=lambda accounts, connections: list(self.said_by_doctor),
            rest=lambda account: TwilioRest(account, sleep=lambda seconds: None, **given),
        )
        job.refresh_from_db()
        return job

    def found(self) -> dict[str, NumberReadiness]:
        """Return what was found, by number."""
        return {row.number_e164: row for row in NumberReadiness.objects.all()}


@pytest.fixture(scope="session")
def standins() -> Iterator[RunningStandins]:
    """One stand-in for all tests; each has numbers of its own."""
    with running_twilio() as running:
        yield running


@pytest.fixture
def office(
    db: None, standins: RunningStandins, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    """An organisation that is ready to move; nobody answers its doorbell."""
    monkeypatch.setattr(job_bell, "task_tell", lambda *arguments: None)
    twilio = Twilio(standins, account_on(standins))
    connection = factories.make_connection(is_default=True, region="us")
    factories.make_model_limit(connection)
    factories.make_account_facts(twilio.account, profile="business")
    yield Office(twilio, connection)
    standins.carrier.numbers.resources.clear()
    standins.carrier.numbers.voice_regions.clear()
    standins.app.twilio.log.clear()
    standins.app.twilio.faults.orders.clear()
