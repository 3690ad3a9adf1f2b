"""A key that the caller presses while Twilio itself speaks, before a stream or instead of one.

No stream hears it, so ``<Gather>`` asks here. What was answered is stored with the call, so that a
repeated request is answered the same.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from calls.models import Call, CallPolicy, TwilioAccount
from calls.services.call_finish import locked_call
from calls.services.call_next import CallNext, call_language, call_next, last_words
from calls.services.call_start import token_expiry
from calls.services.operators import (
    desk_of,
    dial_step,
    handover,
    message_hears_key,
    person_plan,
    reached,
    spoken_line,
)

log = structlog.get_logger(__name__)


def call_key(
    *,
    call_id: str,
    call_sid: str,
    digits: str,
    call_status: str,
    account: TwilioAccount | None = None,
    request_key: str = "",
) -> CallNext | None:
    """Decide and store what a key brings about; None when the ids do not belong together.

    The operator's key and, at the policy line, the key that refuses do what they do in a stream.
    Any other goes on; a line that it cut off is said again, and this time no key stops it.
    """
    with transaction.atomic():
        call = locked_call(account, call_id=call_id, call_sid=call_sid)
        if call is None:
            return None
        if call.next_step.get("kind") == "dial" and (
            call.status == Call.Status.FORWARDING or _is_repeat(call, request_key)
        ):
            return CallNext("dial", call)
        if call.status == Call.Status.ENDED:
            return _in_message(call, digits, request_key)
        goes_on = _in_line(call, digits)
    log.info("key_pressed", call_sid=call_sid, goes_on=goes_on is not None)
    if goes_on is not None:
        return goes_on
    return call_next(
        call_id=call_id,
        call_sid=call_sid,
        call_status=call_status,
        account=account,
        request_key=request_key,
    )


def _is_repeat(call: Call, request_key: str) -> bool:
    return bool(request_key) and call.metrics.get("asked") == request_key


def _in_line(call: Call, digits: str) -> CallNext | None:
    """Take a key before a stream; None when the next step has been stored, else the stream."""
    number = call.number
    plan = person_plan(call, number.max_call_seconds if number is not None else 0)
    is_line = spoken_line(call) is not None
    if digits and digits == plan.refusal_key and is_line:
        call.policy_refused_at = timezone.now()
        step = {CallPolicy.Refusal.HUMAN: "operator", CallPolicy.Refusal.END: "message"}.get(
            CallPolicy.Refusal(plan.on_refusal)
        )
        if step is None:
            return _the_stream(call, "", "")
        call.next_step = {"kind": step}
    elif digits and digits == plan.operator_key and reached(desk_of(number)).reach != "nothing":
        call.next_step = {"kind": "operator"}
        if is_line:
            call.policy_played_at = None  # not to its end; the assistant may not go on without it
    else:
        # Whoever has refused it, and goes on unrecorded, need not hear it out.
        again = spoken_line(call) if call.policy_refused_at is None else None
        return _the_stream(call, *(again or ("", "")))
    call.save(update_fields=["policy_refused_at", "policy_played_at", "next_step"])
    return None


def _the_stream(call: Call, say: str, language: str) -> CallNext:
    """Return the stream that waits still; its token holds until it has been spoken to."""
    call.media_token_expires_at = token_expiry(say)
    call.save(update_fields=["policy_refused_at", "media_token_expires_at"])
    return CallNext("resume", call, say, language)


def _in_message(call: Call, digits: str, request_key: str) -> CallNext:
    """Take a key during the last words: the person is called once more, the call stays ended."""
    words: Any = call.metrics.get("last_words")
    desk = desk_of(call.number)
    repeats = isinstance(words, dict) and request_key and words.get("asked") == request_key
    if repeats or desk is None or digits != desk.key or not message_hears_key(call):
        return last_words(call, request_key) or CallNext("hangup", call)
    found = handover(desk, language=call_language(call))
    call.next_step = dial_step(found, "message")
    decision = found.decision
    call.metrics = {
        **call.metrics,
        "asked": request_key,
        "last_words": {**words, "again": True},
        "operator": {"asked_by": "message", "reach": decision.reach, "reason": decision.reason},
    }
    call.save(update_fields=["metrics", "next_step"])
    return CallNext("dial", call)
