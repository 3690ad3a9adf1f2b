"""How calls end, whichever side says so first, and what comes after a stream (T15, T22, T24)."""

from __future__ import annotations

import asyncio
import itertools
import random
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from calls.bridge.reasons import EndCause
from calls.media.consumer import MediaConsumer
from calls.media.database import in_database
from calls.media.pool import pool
from calls.models import Call
from calls.services.call_finish import (
    LONGEST_CALL,
    NEVER_CONNECTED_AFTER,
    call_close,
    stale_calls_close,
    stream_finish,
)
from calls.services.call_next import call_next
from calls.tasks import sweep_stale_calls
from calls.telephony.next_step import MAX_STREAMS
from tests import factories
from tests.integration.calls.rig import PUBLIC, Rig, stream_path, until

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


def _report(rig: Rig, call: Call, status: str, sequence: int | None = None) -> dict[str, str]:
    form = rig.form(CallSid=call.call_sid, CallStatus=status)
    return form if sequence is None else form | {"SequenceNumber": str(sequence)}


async def _ringing(rig: Rig) -> Call:
    await rig.voice()
    return (await rig.rows())[-1]


async def _state(call: Call) -> tuple[str, str]:
    await in_database(call.refresh_from_db)
    return call.status, call.ended_reason


# ---- status callbacks (4.6) -------------------------------------------------------------------


async def test_t24_status_callbacks_in_any_order_and_twice_end_a_call_once(rig: Rig) -> None:
    events = [("initiated", 0), ("ringing", 1), ("in-progress", 2), ("completed", 3)]
    orders = list(itertools.permutations(events))
    for order in random.Random(7).sample(orders, 6):
        call = await _ringing(rig)
        ended_at = None
        for status, sequence in [*order, *order]:
            form = _report(rig, call, status, sequence) | {"CallDuration": "17"}
            assert (await rig.post("/twilio/status", form)).status == 204
            await in_database(call.refresh_from_db)
            # Terminal wins, and nothing that comes later moves the end.
            ended_at = ended_at or call.ended_at
            assert call.ended_at == ended_at
        assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
        assert (call.duration_seconds, call.twilio_sequence) == (17, 3)


async def test_t24_an_older_report_is_ignored(rig: Rig) -> None:
    call = await _ringing(rig)
    await rig.post("/twilio/status", _report(rig, call, "in-progress", 5))
    await rig.post("/twilio/status", _report(rig, call, "failed", 4))
    assert await _state(call) == ("ringing", "")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("completed", "customer-ended-call"),
        ("canceled", "customer-ended-call"),
        ("busy", "customer-busy"),
        ("no-answer", "customer-did-not-answer"),
        ("failed", "twilio-failed-to-connect-call"),
    ],
)
def test_each_terminal_status_has_its_reason(
    transactional_db: None, status: str, reason: str
) -> None:
    from calls.services.call_finish import status_apply
    from calls.wire.twilio_voice import status_report

    call = factories.make_call()
    assert status_apply(report=status_report({"CallSid": call.call_sid, "CallStatus": status}))
    call.refresh_from_db()
    assert (call.status, call.ended_reason, call.next_step) == ("ended", reason, {"kind": "hangup"})


async def test_reports_of_unknown_calls_are_404_and_errors_are_kept(rig: Rig) -> None:
    unknown = rig.form(CallStatus="completed")
    assert (await rig.post("/twilio/status", unknown)).status == 404
    assert (await rig.post("/twilio/stream-status", unknown)).status == 404
    call = await _ringing(rig)
    form = _report(rig, call, "completed", 1) | {"ErrorCode": "11200"}
    await rig.post("/twilio/status", form)
    await in_database(call.refresh_from_db)
    assert call.metrics["twilio_error"] == "11200"


async def test_stream_errors_are_kept_the_last_twenty(rig: Rig) -> None:
    call = await _ringing(rig)
    base = {"StreamSid": "MZ" + "b" * 32, "StreamEvent": "stream-error"}
    for number in range(25):
        form = rig.form(CallSid=call.call_sid, **base, StreamError=f"31920 try {number}")
        assert (await rig.post("/twilio/stream-status", form)).status == 204
    started = rig.form(CallSid=call.call_sid, **base | {"StreamEvent": "stream-started"})
    await rig.post("/twilio/stream-status", started)
    await in_database(call.refresh_from_db)
    assert call.metrics["stream_errors"] == [f"31920 try {n}" for n in range(5, 25)]
    assert call.stream_sid == "MZ" + "b" * 32
    assert call.status == "ringing"


async def test_the_end_of_a_call_closes_its_prepared_model_socket(rig: Rig) -> None:
    call = await _ringing(rig)
    await until(lambda: rig.model_frames and rig.model_frames[0], what="the configuration")
    assert not rig.model_sessions[0].closed
    await rig.post("/twilio/status", _report(rig, call, "completed"))
    await until(lambda: rig.model_sessions[0].closed, what="a closed model socket", seconds=2)
    assert len(pool) == 0


# ---- either side first ------------------------------------------------------------------------


def _end_stream(call: Call, reason: str, *, call_over: bool) -> None:
    metrics = {"spend_microusd": 1500, "first_word_ms": 90, "turn_latency_p50_ms": 400}
    stream_finish(call_id=str(call.pk), ended_reason=reason, call_over=call_over, metrics=metrics)


def test_t22_stream_end_and_status_callback_in_either_order(transactional_db: None) -> None:
    from calls.services.call_finish import status_apply
    from calls.wire.twilio_voice import status_report

    for stream_first in (True, False):
        call = factories.make_call(stream_count=1)
        report = status_report({"CallSid": call.call_sid, "CallStatus": "completed"})
        steps = [
            lambda call=call: _end_stream(call, "assistant-ended-call", call_over=True),
            lambda report=report: status_apply(report=report),
        ]
        for step in steps if stream_first else reversed(steps):
            step()
        call.refresh_from_db()
        # The media process knows best why it ended, also when it comes second.
        assert (call.status, call.ended_reason) == ("ended", "assistant-ended-call")
        assert float(call.cost_usd) == 0.0015
        assert (call.first_word_ms, call.turn_latency_p50_ms) == (90, 400)


def test_a_stream_that_is_lost_leaves_the_call_open(transactional_db: None) -> None:
    call = factories.make_call(stream_count=1)
    _end_stream(call, EndCause.STREAM_LOST.ended_reason, call_over=False)
    call.refresh_from_db()
    assert (call.status, call.ended_reason) == ("in-progress", "")
    assert [each["ended"] for each in call.metrics["streams"]] == [
        EndCause.STREAM_LOST.ended_reason
    ]


def test_ends_at_the_same_time_from_many_threads_are_one_end(transactional_db: None) -> None:
    call = factories.make_call(stream_count=1)

    async def ends() -> list[bool]:
        work = (in_database(call_close, call_id=str(call.pk), reason=f"r{n}") for n in range(12))
        return await asyncio.gather(*work)

    assert sorted(asyncio.run(ends())) == [False] * 11 + [True]


# ---- what comes after a stream (2.3) ----------------------------------------------------------


def _next(call: Call, status: str = "in-progress") -> str | None:
    outcome = call_next(call_id=str(call.pk), call_sid=call.call_sid, call_status=status)
    return outcome.step if outcome else None


def test_a_lost_stream_resumes_up_to_the_ceiling_and_then_apologises(
    transactional_db: None,
) -> None:
    call = factories.make_call(stream_count=1, next_step={"kind": "resume"})
    assert [_next(call) for _ in range(MAX_STREAMS)] == [
        *["resume"] * (MAX_STREAMS - 1),
        "apologise",
    ]
    call.refresh_from_db()
    assert (call.status, call.stream_count) == ("ended", MAX_STREAMS)
    assert call.ended_reason == EndCause.STREAM_LOST.ended_reason
    assert _next(call) == "hangup"


def test_a_model_that_is_lost_for_good_lets_twilio_apologise_once(transactional_db: None) -> None:
    reason = EndCause.MODEL_QUOTA.ended_reason
    call = factories.make_call(stream_count=1, next_step={"kind": "apologise"})
    _end_stream(call, reason, call_over=False)
    assert _next(call) == "apologise"
    call.refresh_from_db()
    assert (call.status, call.ended_reason) == ("ended", reason)
    assert _next(call) == "hangup"


def test_after_the_last_try_the_streams_own_reason_is_kept_in_either_order(
    transactional_db: None,
) -> None:
    reason = EndCause.MODEL_SERVER.ended_reason
    for stream_first in (True, False):
        earlier = [{"ended": EndCause.SHUTDOWN.ended_reason}] * (MAX_STREAMS - 1)
        call = factories.make_call(
            stream_count=MAX_STREAMS, next_step={"kind": "resume"}, metrics={"streams": earlier}
        )
        if stream_first:
            _end_stream(call, reason, call_over=False)
        assert _next(call) == "apologise"
        if not stream_first:
            _end_stream(call, reason, call_over=False)
        call.refresh_from_db()
        assert (call.status, call.ended_reason) == ("ended", reason)


def test_hang_up_is_answered_when_stored_ended_or_completed(transactional_db: None) -> None:
    told = factories.make_call(stream_count=1, next_step={"kind": "hangup"})
    assert _next(told) == "hangup"
    ended = factories.make_call(stream_count=1, status="ended")
    assert _next(ended) == "hangup"
    gone = factories.make_call(stream_count=1, next_step={"kind": "resume"})
    assert _next(gone, "completed") == "hangup"
    gone.refresh_from_db()
    assert gone.stream_count == 1


def test_ids_that_do_not_belong_together_are_unknown(transactional_db: None) -> None:
    call, other = factories.make_call(), factories.make_call()
    assert call_next(call_id=str(call.pk), call_sid=other.call_sid, call_status="") is None


async def test_t15_the_action_url_answers_twiml_for_each_step(rig: Rig) -> None:
    call = await _ringing(rig)
    path = f"/twilio/after-stream/{call.pk}"
    form = rig.form(CallSid=call.call_sid, CallStatus="in-progress")
    bodies = [(await rig.post(path, form)).body for _ in range(MAX_STREAMS + 1)]
    assert [("<Stream" in body, "<Say" in body, "<Hangup" in body) for body in bodies] == [
        (True, False, False),
        (True, False, False),
        (False, True, True),
        (False, False, True),
    ]
    # Each stream has a token of its own, and always an action: a lost stream never hangs up.
    assert len({stream_path(body) for body in bodies[:2]}) == 2
    assert all(f'action="{PUBLIC}{path}"' in body for body in bodies[:2])
    foreign = rig.form(CallStatus="in-progress")
    assert (await rig.post(path, foreign)).status == 404


async def test_a_resumed_streams_token_replaces_the_earlier_one(rig: Rig) -> None:
    answer = await rig.voice()
    call = await rig.only_call()
    path = f"/twilio/after-stream/{call.pk}"
    again = await rig.post(path, rig.form(CallSid=call.call_sid, CallStatus="in-progress"))
    with pytest.raises(Exception, match="403"):
        await rig.media(stream_path(answer.body))
    await (await rig.media(stream_path(again.body))).close()


async def test_the_next_stream_is_handed_out_after_the_last_one_is_stored(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise both would number their turns alike, and the later write would win."""
    stored = asyncio.Event()

    async def slowly(self: MediaConsumer, *args: Any) -> None:
        await stored.wait()
        await store_end(self, *args)

    store_end = MediaConsumer._store_end
    monkeypatch.setattr(MediaConsumer, "_store_end", slowly)
    answer = await rig.voice()
    call = await rig.only_call()
    await (await rig.media(stream_path(answer.body))).close()
    form = rig.form(CallSid=call.call_sid, CallStatus="in-progress")
    asking = asyncio.create_task(rig.post(f"/twilio/after-stream/{call.pk}", form))
    done, _ = await asyncio.wait({asking}, timeout=0.3)
    assert not done
    stored.set()
    assert "<Stream" in (await asking).body
    await in_database(call.refresh_from_db)
    assert len(call.metrics["streams"]) == 1


# ---- calls nobody closed ----------------------------------------------------------------------


def test_the_sweep_closes_what_cannot_be_alive(transactional_db: None) -> None:
    now = timezone.now()
    never = factories.make_call(status="ringing", started_at=None)
    fresh = factories.make_call(status="ringing", started_at=None)
    endless = factories.make_call(
        started_at=now - LONGEST_CALL - timedelta(seconds=1), stream_count=1
    )
    alive = factories.make_call(started_at=now - timedelta(hours=1))
    Call.objects.filter(pk=never.pk).update(
        created_at=now - NEVER_CONNECTED_AFTER - timedelta(seconds=1)
    )
    assert stale_calls_close() == 2
    rows = {call.pk: call for call in Call.objects.all()}
    assert rows[never.pk].ended_reason == EndCause.STREAM_NEVER_STARTED.ended_reason
    assert rows[endless.pk].ended_reason == EndCause.CRASHED.ended_reason
    assert rows[fresh.pk].status == "ringing"
    assert rows[alive.pk].status == "in-progress"
    assert sweep_stale_calls() == 0
