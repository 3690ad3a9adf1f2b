"""A database that fails for a moment while calls begin and end: nothing is lost or lingers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone
from websockets.exceptions import InvalidStatus

from calls.media import consumer, live
from calls.media import database as database_module
from calls.models import Call
from calls.services import call_finish
from calls.services.call_finish import NEVER_CONNECTED_AFTER, stale_calls_close, stream_finish
from calls.telephony import views
from tests import factories
from tests.integration.calls.rig import Rig, stream_path

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

ROW = "DETAIL: Failing row contains (my card number is 4242)"


def _failing(work: Callable[..., Any], times: int) -> Callable[..., Any]:
    """Return ``work`` failing so many times first, under its own name."""
    left = [times]

    def fails(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OperationalError(ROW)
        return work(*args, **kwargs)

    fails.__name__ = work.__name__
    return fails


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "RETRY_PAUSES_SECONDS", (0.01, 0.01))


async def test_a_call_that_is_over_never_counts_as_live(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(consumer, "stream_finish", _failing(stream_finish, 99))
    answer = await rig.voice()
    await (await rig.media(stream_path(answer.body))).close()
    await rig.idle()
    assert live.active_count() == 0
    assert ROW not in caplog.text


async def test_begin_and_end_of_a_stream_are_stored_when_the_database_is_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stream_began", "stream_finish"):
        monkeypatch.setattr(consumer, name, _failing(getattr(consumer, name), 2))
    answer = await rig.voice()
    await (await rig.media(stream_path(answer.body))).close()
    await rig.idle()
    call = await rig.only_call()
    assert (call.status, call.started_at is not None) == ("in-progress", True)
    assert len(call.metrics["streams"]) == 1


def test_the_end_of_one_stream_told_twice_counts_once(transactional_db: None) -> None:
    call = factories.make_call(stream_count=1)
    for _ in range(2):
        stream_finish(
            call_id=str(call.pk),
            ended_reason="customer-ended-call",
            call_over=True,
            metrics={"spend_microusd": 1500},
            stream_number=1,
        )
    call.refresh_from_db()
    assert float(call.cost_usd) == 0.0015


def test_the_sweep_leaves_a_call_alone_whose_start_was_not_stored(transactional_db: None) -> None:
    now = timezone.now()
    call = factories.make_call(status="ringing", started_at=None, media_token_used_at=now)
    old = now - NEVER_CONNECTED_AFTER - timedelta(seconds=1)
    Call.objects.filter(pk=call.pk).update(created_at=old)
    assert stale_calls_close() == 0
    Call.objects.filter(pk=call.pk).update(
        media_token_used_at=now - call_finish.LONGEST_CALL - timedelta(seconds=1)
    )
    assert stale_calls_close() == 1


async def test_a_handshake_meanwhile_is_refused_without_a_traceback(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await rig.voice()
    monkeypatch.setattr(consumer, "media_open", _failing(consumer.media_open, 1))
    with pytest.raises(InvalidStatus) as refused:
        await rig.media(stream_path(answer.body))
    assert refused.value.response.status_code == 403
    assert not [each for each in caplog.records if each.exc_info]
    assert ROW not in caplog.text


async def test_a_webhook_meanwhile_is_503_so_that_twilio_asks_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(views, "call_start", _failing(views.call_start, 1))
    form = rig.form()
    assert (await rig.post("/twilio/voice", form)).status == 503
    assert not [each for each in caplog.records if each.exc_info or each.levelno > logging.ERROR]
    assert ROW not in caplog.text
    assert (await rig.post("/twilio/voice", form)).status == 200
