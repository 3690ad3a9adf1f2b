"""What comes after a stream: hand out the next one, or none."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from django.db import transaction

from calls.models import Call
from calls.services.call_finish import call_close, lost_reason
from calls.services.call_start import token_expiry
from calls.services.reports import call_forwarding_enqueue
from calls.telephony.next_step import Step, after_dial, next_step
from calls.wire.twilio_voice import TERMINAL_STATUSES

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallNext:
    """The step and the call as it stands after it."""

    step: Step
    call: Call


def call_next(*, call_id: str, call_sid: str, call_status: str) -> CallNext | None:
    """Decide and store what Twilio does next; None when the ids do not belong together."""
    with transaction.atomic():
        call = (
            Call.objects.select_for_update(of=("self",))
            .select_related("revision")
            .filter(pk=call_id, call_sid=call_sid)
            .first()
        )
        if call is None:
            return None
        step = next_step(
            stored=str(call.next_step.get("kind", "")),
            ended=call.status == Call.Status.ENDED or call_status in TERMINAL_STATUSES,
            stream_count=call.stream_count,
        )
        if step == "resume":
            _next_stream(call)
        elif step == "dial" and call.status != Call.Status.FORWARDING:
            call.status = Call.Status.FORWARDING
            call_forwarding_enqueue(call, str(call.next_step["to"]))
            call.save(update_fields=["status"])
    log.info("next_step", call_sid=call_sid, step=step, stream_count=call.stream_count)
    if step == "apologise":
        call_close(call_id=call_id, reason=lost_reason(call))
    return CallNext(step, call)


def _next_stream(call: Call) -> None:
    call.stream_count += 1
    call.media_token_used_at = None
    call.media_token_expires_at = token_expiry()
    call.save(update_fields=["stream_count", "media_token_used_at", "media_token_expires_at"])


def call_after_dial(*, call_id: str, call_sid: str, dial_status: str) -> CallNext | None:
    """Decide and store what follows a transfer; None when the ids do not belong together."""
    with transaction.atomic():
        call = (
            Call.objects.select_for_update(of=("self",))
            .filter(pk=call_id, call_sid=call_sid)
            .first()
        )
        if call is None:
            return None
        if call.status == Call.Status.ENDED:
            return CallNext("hangup", call)
        step, reason = after_dial(dial_status=dial_status, stream_count=call.stream_count)
        call.metrics = {**call.metrics, "transfer": dial_status[:20]}
        if step == "resume":
            call.next_step = {"kind": "resume", "why": "transfer-failed"}
            call.status = Call.Status.IN_PROGRESS
            _next_stream(call)
        call.save(update_fields=["metrics", "next_step", "status"])
    log.info("after_dial", call_sid=call_sid, dial_status=dial_status, step=step)
    if step != "resume":
        call_close(call_id=call_id, reason=reason)
    return CallNext(step, call)
