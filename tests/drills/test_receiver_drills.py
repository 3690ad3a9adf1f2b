"""A receiver that is down for three days, with the clock moved: the schedule, the end, one click.

The events, the worker's code and the receiver are real; only the days are not.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models import Min
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.events.delivery import drain
from calls.events.outbox import ORDER_HOLDS
from calls.events.retry import DELAYS_SECONDS, JITTER_SHARE
from calls.models import DeliveryAttempt, OutboxEvent
from calls.services import redelivery
from calls.services.call_finish import call_close
from tests import factories
from tests.drills.conftest import Tell
from tests.integration.events.receiver import running_receiver
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]

# From a try to the end of the drain that made it, all of it in real time.
SLACK_SECONDS = 30.0


def _drain_until_settled(time_machine: Any) -> None:
    """Move the clock from one due time to the next, as long as anything is pending."""
    pending = OutboxEvent.objects.filter(state="pending")
    while (due := pending.aggregate(at=Min("next_attempt_at"))["at"]) is not None:
        time_machine.move_to(max(due, timezone.now()) + timedelta(seconds=1))
        if not asyncio.run(drain()):
            # All that is due waits for an earlier event of its call.
            time_machine.shift(ORDER_HOLDS)


def _waits(at: list[datetime]) -> list[float]:
    return [(b - a).total_seconds() for a, b in zip(at, at[1:], strict=False)]


def test_a_receiver_that_is_down_for_three_days(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    time_machine: Any,
    client: Client,
    count: Callable[[int, int], int],
    tell: Tell,
) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    monkeypatch.setattr("calls.events.outbox.poke", lambda: None)
    poked: list[Any] = []
    monkeypatch.setattr(JobBell, "poke", lambda _, job_id: poked.append(job_id))
    number = factories.make_number()
    calls = count(150, 2)
    with running_receiver() as receiver:
        receiver.status = 503
        kinds = ["status-update", "call.ended"]
        factories.make_destination(url=receiver.url, kinds=kinds)
        begun = timezone.now()
        for _ in range(calls):
            call_close(
                call_id=str(factories.make_call(number=number).pk), reason="customer-ended-call"
            )
        _drain_until_settled(time_machine)
        assert set(OutboxEvent.objects.values_list("state", flat=True)) == {"dead"}
        at: dict[Any, list[datetime]] = defaultdict(list)
        for event_id, moment in DeliveryAttempt.objects.order_by("number").values_list(
            "event", "at"
        ):
            at[event_id].append(moment)
        events = 2 * calls
        assert len(at) == events
        for moments in at.values():
            assert len(moments) == len(DELAYS_SECONDS) + 1
            for wait, planned in zip(_waits(moments), DELAYS_SECONDS, strict=True):
                most = planned * (1 + JITTER_SHARE) + SLACK_SECONDS + ORDER_HOLDS.total_seconds()
                assert planned <= wait <= most
        days = (timezone.now() - begun).total_seconds() / 86_400
        assert days > 3

        receiver.status = 200
        refused = len(receiver.got)
        client.force_login(factories.make_superuser())
        home = client.get(reverse("admin:index")).content.decode()
        assert f"{events} events that nobody took" in home
        own = {"organisation": str(factories.default_organisation().pk), "states": ["dead"]}
        answer = client.post(reverse("admin:calls_outboxevent_redeliver"), own)
        assert answer.status_code == 302
        for job_id in poked:
            redelivery.redelivery_run(job_id)
        assert not Job.objects.exclude(state="done").exists()
        _drain_until_settled(time_machine)
        taken = [got.event_id for got in receiver.got[refused:]]
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {"delivered"}
    assert len(taken) == len(set(taken)) == events
    tell(
        "a receiver that is down for three days",
        f"{events} events of {calls} calls: {len(DELAYS_SECONDS) + 1} tries each in "
        f"{days:.1f} days of a moved clock, every wait within a fifth of Standard Webhooks' "
        f"schedule, then given up and on the first page; one click later all {events} were "
        "taken, each once",
    )
