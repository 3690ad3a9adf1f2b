"""The check of readiness with a slow Twilio: forty numbers in under three minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from calls.models import NumberReadiness
from calls.services import readiness
from calls.telephony.twilio_rest import TwilioRest
from tests.drills.conftest import Tell
from tests.integration.moves.twilio import Twilio, account_on, running_twilio
from voiceplatform.base import job_bell
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

LATENCY_SECONDS = 0.3
WITHIN_SECONDS = 180.0


class Slow(httpx.HTTPTransport):
    """A network on which every answer takes its time."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        time.sleep(LATENCY_SECONDS)
        return super().handle_request(request)

    def close(self) -> None:
        """Stay open: each request's client closes it, while those of other threads still ask."""

    def end(self) -> None:
        """Close what is left."""
        super().close()


@pytest.fixture
def twilio(monkeypatch: pytest.MonkeyPatch) -> Iterator[Twilio]:
    monkeypatch.setattr(job_bell, "task_tell", lambda *arguments: None)
    with running_twilio() as standins:
        yield Twilio(standins, account_on(standins))


def test_forty_numbers_are_checked_within_three_minutes(
    twilio: Twilio, drill_scale: float, tell: Tell
) -> None:
    count = max(4, round(40 * drill_scale))
    for kind in range(count):
        twilio.number(kind)
    job = readiness.readiness_begin(organisation=twilio.account.organisation, actor=None)
    network = Slow()
    begun = time.monotonic()
    readiness.readiness_run(
        job.pk,
        examine=lambda accounts, connections: [],
        rest=lambda account: TwilioRest(account, transport=network),
    )
    took = time.monotonic() - begun
    network.end()
    job.refresh_from_db()
    assert job.state == Job.State.DONE, job.message
    assert NumberReadiness.objects.count() == count
    assert NumberReadiness.objects.exclude(twilio_sid="").count() == count
    assert took < WITHIN_SECONDS
    twilio.assert_decent()
    figures = f"{count} numbers checked in {took:.0f} s (limit {WITHIN_SECONDS:.0f} s)"
    tell("readiness", f"{figures}, with a Twilio that takes {LATENCY_SECONDS:g} s to answer")
