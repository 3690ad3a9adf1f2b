"""What comes after a stream: hand out the next one, or none."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from django.db import transaction

from calls.bridge.reasons import EndCause
from calls.models import Call, TwilioAccount
from calls.services.call_finish import (
    call_close,
    call_price,
    calls_of,
    lost_reason,
    reason_of_status,
)
from calls.services.call_start import token_expiry
from calls.services.reports import call_forwarding_enqueue
from calls.telephony.next_step import FORWARDED, Step, after_dial, next_step
from calls.wire.twilio_voice import TERMINAL_STATUSES

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallNext:
    """The step and the call as it stands after it."""

    step: Step
    call: Call


def call_next(
    *, call_id: str, call_sid: str, call_status: str, account: TwilioAccount | None = None
) -> CallNext | None:
    """Decide and store what Twilio does next; None when the ids do not belong together.

    A call that Twilio says is over is closed here too: its stream may have died with its process,
    and not every number has a status callback.
    """
    gone = call_status in TERMINAL_STATUSES
    with transaction.atomic():
        call = (
            calls_of(account)
            .select_for_update(of=("self",))
            .select_related("revision")
            .filter(pk=call_id, call_sid=call_sid)
            .first()
        )
        if call is None:
            return None
        step = next_step(
            stored=str(call.next_step.get("kind", "")),
            ended=call.status == Call.Status.ENDED or gone,
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
    elif gone:
        call_close(call_id=call_id, reason=reason_of_status(call, call_status))
    return CallNext(step, call)


def _next_stream(call: Call) -> None:
    call.stream_count += 1
    call.media_token_used_at = None
    call.media_token_expires_at = token_expiry()
    call.save(update_fields=["stream_count", "media_token_used_at", "media_token_expires_at"])


def call_after_dial(
    *,
    call_id: str,
    call_sid: str,
    dial_status: str,
    call_status: str = "",
    dial_seconds: int = 0,
    account: TwilioAccount | None = None,
) -> CallNext | None:
    """Decide and store what follows a transfer; None when the ids do not belong together.

    Args:
        dial_status: how the dialled leg fared (twilio.md 4.4).
        call_status: of the caller's leg; a caller who has hung up is not brought back.
        dial_seconds: how long the dialled leg was connected.
    """
    with transaction.atomic():
        call = (
            calls_of(account)
            .select_for_update(of=("self",))
            .filter(pk=call_id, call_sid=call_sid)
            .first()
        )
        if call is None:
            return None
        seconds = {"transfer_seconds": dial_seconds} if dial_seconds else {}
        call.metrics = {**call.metrics, "transfer": dial_status[:20], **seconds}
        if call.status == Call.Status.ENDED:
            call_price(call)
            call.save(update_fields=["metrics", "cost_usd"])
            return CallNext("hangup", call)
        step, reason = after_dial(dial_status=dial_status, stream_count=call.stream_count)
        if call_status in TERMINAL_STATUSES and reason != FORWARDED:
            step, reason = "hangup", EndCause.CALLER_HUNG_UP.ended_reason
        if step == "resume":
            call.next_step = {"kind": "resume", "why": "transfer-failed"}
            call.status = Call.Status.IN_PROGRESS
            _next_stream(call)
        call.save(update_fields=["metrics", "next_step", "status"])
    log.info("after_dial", call_sid=call_sid, dial_status=dial_status, step=step)
    if step != "resume":
        call_close(call_id=call_id, reason=reason)
    return CallNext(step, call)
