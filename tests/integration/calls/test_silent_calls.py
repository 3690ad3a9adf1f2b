"""Calls whose media process died: closed when Twilio says so, and never while they are on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from calls.media import heartbeat as heartbeat_module
from calls.media.heartbeat import Heartbeat
from calls.models import Call, OutboxEvent
from calls.services import silent_calls
from calls.services.silent_calls import (
    GIVEN_UP_AFTER,
    SILENT_AFTER,
    calls_alive,
    silent_calls_close,
)
from calls.telephony.twilio_client import CarrierCall, CarrierSilent, TwilioAccess
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

Answers = dict[str, CarrierCall | None]


@pytest.fixture
def twilio(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What Twilio says of a call, by its SID; of others it says nothing."""
    answers: Answers = {}

    def say(access: TwilioAccess, call_sid: str) -> CarrierCall | None:
        if call_sid not in answers:
            raise CarrierSilent("Twilio was not reached")
        return answers[call_sid]

    monkeypatch.setattr(silent_calls, "call_at_carrier", say)
    return answers


def _silent(seconds: float = 0, **columns: Any) -> Call:
    alive_at = timezone.now() - SILENT_AFTER - timedelta(seconds=1 + seconds)
    columns = {"alive_at": alive_at, "stream_count": 1, "media_token_used_at": alive_at, **columns}
    return factories.make_call(**columns)


def _at_twilio(call: Call, status: str) -> CarrierCall:
    over = timezone.now() - timedelta(seconds=9)
    return CarrierCall(
        call.call_sid, status, "inbound", call.callee, call.caller,
        ended_at=over if status == "completed" else None, duration_seconds=17,
    )  # fmt: skip


def test_a_call_that_twilio_says_is_over_is_closed_with_its_events(twilio: Answers) -> None:
    factories.make_destination()
    call = _silent()
    at_twilio = twilio[call.call_sid] = _at_twilio(call, "completed")
    assert silent_calls_close() == 1
    call.refresh_from_db()
    assert (call.status, call.duration_seconds, call.ended_at) == ("ended", 17, at_twilio.ended_at)
    assert call.ended_reason != "customer-ended-call"  # nobody saw how it ended
    assert silent_calls_close() == 0


def test_a_call_that_is_on_is_left_to_whoever_resumes_it(twilio: Answers) -> None:
    call = _silent()
    twilio[call.call_sid] = _at_twilio(call, "in-progress")
    assert silent_calls_close() == 0
    call.refresh_from_db()
    assert call.status == "in-progress"
    assert call.alive_at is not None and call.alive_at > timezone.now() - SILENT_AFTER


@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_closed_on_twilios_silence_until_nobody_can_resume_it(
    twilio: Answers, known: bool
) -> None:
    fresh, old = _silent(), _silent(seconds=GIVEN_UP_AFTER.total_seconds())
    if known:  # as the SID of nobody's
        twilio[fresh.call_sid] = twilio[old.call_sid] = None
    assert silent_calls_close() == 1
    fresh.refresh_from_db()
    old.refresh_from_db()
    assert (fresh.status, old.status) == ("in-progress", "ended")


def test_calls_that_say_they_are_on_or_are_with_somebody_else_are_not_asked_about(
    twilio: Answers,
) -> None:
    calls = [
        _silent(status="forwarding"),
        _silent(status="ended"),
        _silent(alive_at=None),
        beating := _silent(),
    ]
    calls_alive([str(call.pk) for call in (beating, calls[1])])
    for call in calls:
        twilio[call.call_sid] = _at_twilio(call, "completed")
    assert silent_calls_close() == 0
    assert OutboxEvent.objects.count() == 0


def test_a_death_is_noticed_within_30_seconds() -> None:
    from voiceplatform.celery import app

    sweep = app.conf.beat_schedule["close silent calls"]["schedule"]
    assert heartbeat_module.BEAT_SECONDS * 3 <= SILENT_AFTER.total_seconds()
    assert SILENT_AFTER.total_seconds() + sweep < 30


async def test_the_heartbeat_names_the_calls_that_are_on_and_outlives_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[list[str]] = []

    async def note(work: Any, names: list[str]) -> None:
        said.append(names)
        if len(said) == 1:
            raise OperationalError("away")

    monkeypatch.setattr(heartbeat_module, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat_module, "in_database", note)
    beats = Heartbeat()
    for name in ("a", "b", "a"):  # the next stream of "a" begins before the last one is put away
        beats.join(name)
    beats.leave("a")
    async with asyncio.timeout(5):
        while len(said) < 2:  # noqa: ASYNC110 - a beat is no event to wait for
            await asyncio.sleep(0.005)
    assert said[:2] == [["a", "b"], ["a", "b"]]
    beats.leave("a")
    beats.leave("b")
    count = len(said)
    await asyncio.sleep(0.05)
    assert len(said) <= count + 1
