"""How calls end: one idempotent way, whichever side says so first.

The media process, the status callback and the sweep may all report an end, in any order and more
than once. The first one closes the row; a later report of the media process may still put in the
better reason and its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from calls.bridge.reasons import EndCause
from calls.models import Call, TwilioAccount
from calls.money.carrier import carrier_microusd
from calls.services.analysis import analysis_state
from calls.services.model_limits import limits_seen
from calls.services.privacy import variables_settle
from calls.services.reports import call_ended_enqueue
from calls.wire.twilio_voice import TERMINAL_STATUSES, StatusReport, StreamReport

log = structlog.get_logger(__name__)

_REASON_BY_STATUS = {
    "completed": EndCause.CALLER_HUNG_UP.ended_reason,
    "busy": "customer-busy",
    "no-answer": "customer-did-not-answer",
    "failed": "twilio-failed-to-connect-call",
    "canceled": EndCause.CALLER_HUNG_UP.ended_reason,
}
NEVER_CONNECTED_AFTER = timedelta(minutes=5)
LONGEST_CALL = timedelta(hours=4, minutes=15)


def stream_finish(
    *,
    call_id: str,
    ended_reason: str,
    call_over: bool,
    metrics: Mapping[str, Any],
    stream_number: int = 0,
) -> None:
    """Add what one stream measured; close the call if it is over.

    With a ``stream_number`` (from 1) a repeat changes nothing, so that it may be tried again.
    """
    with transaction.atomic():
        call = Call.objects.select_for_update().get(pk=call_id)
        streams = list(call.metrics.get("streams", []))
        if stream_number and any(each.get("number") == stream_number for each in streams):
            return
        number = {"number": stream_number} if stream_number else {}
        streams.append({**metrics, **number, "ended": ended_reason})
        call.metrics = {**call.metrics, "streams": streams}
        waiting = call.metrics.get("unreported", [])
        if waiting:
            others = [each for each in waiting if each["number"] != stream_number]
            call.metrics = {**call.metrics, "unreported": others}
        if call.first_word_ms is None:
            call.first_word_ms = metrics.get("first_word_ms")
        call.turn_latency_p50_ms = _worst(streams, "turn_latency_p50_ms")
        call.turn_latency_p95_ms = _worst(streams, "turn_latency_p95_ms")
        if call_over:
            _close(call, ended_reason, timezone.now())
        elif call.ended_reason == EndCause.STREAM_LOST.ended_reason:
            # The action URL gave up before this report came; the stream knows why it was lost.
            call.ended_reason = ended_reason
        call_price(call)
        if call.status == Call.Status.ENDED:
            call_ended_enqueue(call)
        call.save()
        _note_limits(call, metrics.get("rate_limits"))


def _note_limits(call: Call, said: Any) -> None:
    """Keep what the provider said of its limits; a failure of that is none of the call's."""
    if call.connection_id is None or not isinstance(said, dict):
        return
    note = partial(
        limits_seen,
        connection_id=call.connection_id,
        model=str(said.get("model") or ""),
        rate_limits=said,
    )
    transaction.on_commit(note, robust=True)


def call_price(call: Call) -> None:
    """Price what is known so far; the prices are those of today and are never applied again."""
    # Of a stream that was killed, or still goes on, counts what its journal said last.
    streams = [*call.metrics.get("streams", []), *call.metrics.get("unreported", [])]
    model = sum(stream.get("spend_microusd", 0) for stream in streams)
    carrier = carrier_microusd(
        call_seconds=call.duration_seconds,
        stream_seconds=[stream.get("stream_ms", 0) / 1000 for stream in streams],
        transfer_seconds=call.metrics.get("transfer_seconds", 0),
    )
    parts = {"model": model, "carrier": carrier}
    analysis = sum(part["cost_microusd"] for part in analysis_state(call).get("parts", []))
    if analysis:
        parts["analysis"] = analysis
    call.metrics = {
        **call.metrics,
        "cost_usd": {name: value / 1_000_000 for name, value in parts.items()},
    }
    call.cost_usd = Decimal(sum(parts.values())) / 1_000_000


def _worst(streams: list[dict[str, Any]], key: str) -> int | None:
    values = [stream[key] for stream in streams if stream.get(key) is not None]
    return max(values, default=None)


def _close(call: Call, reason: str, at: datetime) -> None:
    if call.status != Call.Status.ENDED:
        call.status = Call.Status.ENDED
        call.ended_at = at
        begun = call.started_at or call.created_at
        call.duration_seconds = max(0, round((at - begun).total_seconds()))
    if reason == EndCause.TRANSFERRED.ended_reason:
        # Nobody's assistant forwarded a call that its number's server sent on at once (vapi 5.3).
        reason = call.metrics.get("forwarded_reason", reason)
    call.ended_reason = reason
    call.next_step = {"kind": "hangup"}
    call_price(call)
    variables_settle(call)


def call_close(*, call_id: str, reason: str) -> bool:
    """Close a call that is not closed yet; tell whether this did it."""
    with transaction.atomic():
        call = Call.objects.select_for_update().get(pk=call_id)
        if call.status == Call.Status.ENDED:
            return False
        _close(call, reason, timezone.now())
        call_ended_enqueue(call)
        call.save()
        return True


def lost_reason(call: Call) -> str:
    """Return why a call that is given up was lost, as far as its last stream has reported."""
    streams = call.metrics.get("streams", [])
    if not call.stream_count:
        # The model was out of reach before there was a stream, or the old stack was.
        return str(call.metrics.get("lost_reason", EndCause.MODEL_SERVER.ended_reason))
    if len(streams) < call.stream_count:
        return EndCause.STREAM_LOST.ended_reason
    return str(streams[-1]["ended"])


def calls_of(account: TwilioAccount | None) -> QuerySet[Call]:
    """Return the calls that a webhook signed for ``account`` may speak of; None: every call."""
    calls: QuerySet[Call] = Call.objects.all()
    return calls if account is None else calls.filter(twilio_account=account)


def locked_call(account: TwilioAccount | None, *, call_id: str, call_sid: str) -> Call | None:
    """Lock a call that a webhook asks about and return it with all that an answer is made of.

    None when the ids do not belong together, or to the account.
    """
    return (
        calls_of(account)
        .select_for_update(of=("self",))
        .select_related("revision", "number__operator_desk", "policy_wording__policy")
        .filter(pk=call_id, call_sid=call_sid)
        .first()
    )


def reason_of_status(call: Call, call_status: str) -> str:
    """Return why a call ended of which only Twilio's terminal status is known."""
    if call.status == Call.Status.FORWARDING:
        # The leg ended while, or after, somebody else had the caller.
        return EndCause.TRANSFERRED.ended_reason
    return _REASON_BY_STATUS[call_status]


def status_apply(*, report: StatusReport, account: TwilioAccount | None = None) -> Call | None:
    """Apply a status callback: terminal wins, older ones are ignored, nothing reopens (T24).

    Returns the call as it stands, None when ``account`` has no such call.
    """
    with transaction.atomic():
        call: Call | None = (
            calls_of(account).select_for_update().filter(call_sid=report.call_sid).first()
        )
        if call is None:
            return None
        if report.sequence_number >= 0:
            if report.sequence_number <= call.twilio_sequence:
                return call
            call.twilio_sequence = report.sequence_number
        if report.error_code:
            call.metrics = {**call.metrics, "twilio_error": report.error_code}
        if report.call_status in TERMINAL_STATUSES and call.status != Call.Status.ENDED:
            _close(call, reason_of_status(call, report.call_status), timezone.now())
            if report.duration_seconds:
                call.duration_seconds = report.duration_seconds
                call_price(call)
            call_ended_enqueue(call)
        call.save()
        return call


def carrier_says_over(
    *, call_id: str, call_status: str, ended_at: datetime | None, duration_seconds: int = 0
) -> bool:
    """Close a call of which Twilio, asked by us, says that it is over; tell whether this did it.

    Args:
        call_status: one of Twilio's terminal words.
        ended_at: when it ended, as Twilio says; now unless given.
    """
    with transaction.atomic():
        call = Call.objects.select_for_update().get(pk=call_id)
        if call.status == Call.Status.ENDED or call_status not in TERMINAL_STATUSES:
            return False
        reason = reason_of_status(call, call_status)
        if call_status == "completed" and call.status != Call.Status.FORWARDING:
            streams = call.metrics.get("streams", [])
            if len(streams) < call.stream_count:
                # It ended while nobody here could see how: its process was gone.
                reason = lost_reason(call)
        _close(call, reason, ended_at or timezone.now())
        if duration_seconds:
            call.duration_seconds = duration_seconds
            call_price(call)
        call_ended_enqueue(call)
        call.save()
        return True


def stream_report_apply(*, report: StreamReport, account: TwilioAccount | None = None) -> bool:
    """Keep what Twilio says of a stream: the only record of a failed handshake (2.4)."""
    with transaction.atomic():
        call: Call | None = (
            calls_of(account).select_for_update().filter(call_sid=report.call_sid).first()
        )
        if call is None:
            return False
        if report.event == "stream-started" and not call.stream_sid:
            call.stream_sid = report.stream_sid
        elif report.event == "stream-error":
            errors = [*call.metrics.get("stream_errors", []), report.error][-20:]
            call.metrics = {**call.metrics, "stream_errors": errors}
            log.warning("stream_error", call_sid=report.call_sid, error=report.error)
        call.save(update_fields=["stream_sid", "metrics"])
        return True


def stale_calls() -> list[Call]:
    """Return open calls that cannot be alive any more."""
    now = timezone.now()
    open_calls = Call.objects.exclude(status=Call.Status.ENDED)
    # A used token is a stream that was let in: that call is on, even if its start was not stored.
    never = open_calls.filter(
        started_at__isnull=True,
        media_token_used_at__isnull=True,
        created_at__lt=now - NEVER_CONNECTED_AFTER,
    )
    endless = open_calls.filter(
        Q(started_at__lt=now - LONGEST_CALL)
        | Q(media_token_used_at__lt=now - LONGEST_CALL, started_at__isnull=True)
    )
    return [*never[:100], *endless[:100]]


def stale_calls_close() -> int:
    """Close calls that nobody closed; return how many."""
    closed = 0
    for call in stale_calls():
        was_on = call.started_at or call.media_token_used_at
        cause = EndCause.CRASHED if was_on else EndCause.STREAM_NEVER_STARTED
        if not call.stream_count and was_on:
            # Somebody else answered; no callback has told us of its end.
            cause = EndCause.CALLER_HUNG_UP
        if call_close(call_id=str(call.pk), reason=cause.ended_reason):
            log.warning("stale_call_closed", call_sid=call.call_sid, reason=cause.ended_reason)
            closed += 1
    return closed
