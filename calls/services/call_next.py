"""What comes after a stream or a dial: the next stream, a person, a message, or nothing.

What was answered is stored with the call, so that a repeated request is answered the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog
from django.db import transaction
from django.utils import timezone

from calls.bridge.reasons import EndCause
from calls.models import Call, TwilioAccount
from calls.numbers.phrases import sentence
from calls.services.call_finish import (
    call_close,
    call_price,
    locked_call,
    lost_reason,
    reason_of_status,
)
from calls.services.call_history import lost_stream_close
from calls.services.call_start import token_expiry
from calls.services.operators import (
    Handover,
    assistant_goes_on,
    back_words,
    desk_of,
    dial_step,
    fallback_words,
    handover,
    message_hears_key,
    no_answer_words,
    second_step,
)
from calls.services.reports import call_forwarding_enqueue
from calls.telephony.next_step import (
    FORWARDED,
    MAX_STREAMS,
    Step,
    after_dial,
    next_step,
)
from calls.wire.twilio_voice import TERMINAL_STATUSES
from voiceplatform.base.phones import is_e164

# What became of the dialled leg, in words for the call's page (twilio.md 4.4).
DIAL_RESULTS = {
    "completed": "answered",
    "answered": "answered",
    "busy": "busy",
    "no-answer": "no-answer",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallNext:
    """The step and the call as it stands after it.

    ``say`` is spoken for a ``message``, or before a stream; ``hears_keys``: keys count meanwhile.
    """

    step: Step
    call: Call
    say: str = ""
    language: str = ""
    hears_keys: bool = False


def call_language(call: Call) -> str:
    """Return the language in which the call's assistant speaks."""
    return call.revision.language if call.revision is not None else "en"


def caller_id_of(call: Call) -> str:
    """Return whose number the dialled person is shown.

    The caller's own is allowed on an inbound call only, and only if it is a number (twilio.md 4.4).
    """
    own = call.next_step.get("shows_caller") and call.direction == "inbound"
    return call.caller if own and is_e164(call.caller) else call.callee


def last_words(call: Call, request_key: str = "") -> CallNext | None:
    """Return the message with which a closed call ended, so that a repeat says it again.

    An apology is said again only to the same request (``request_key``).
    """
    words = call.metrics.get("last_words")
    if not isinstance(words, dict):
        return None
    if words["step"] == "apologise" and not (request_key and words["asked"] == request_key):
        return None
    again = CallNext(words["step"], call, words["say"], words["language"])
    return _with_keys(again)


def _with_keys(outcome: CallNext) -> CallNext:
    """Let the caller press keys while something is said to them."""
    if outcome.step != "message":
        return outcome
    return replace(outcome, hears_keys=message_hears_key(outcome.call))


def call_next(
    *,
    call_id: str,
    call_sid: str,
    call_status: str,
    account: TwilioAccount | None = None,
    request_key: str = "",
) -> CallNext | None:
    """Decide and store what Twilio does next; None when the ids do not belong together.

    A call that Twilio says is over is closed here too: its stream may have died with its process,
    and not every number has a status callback.

    Args:
        request_key: Twilio's idempotency token; a request that is repeated with the same one gets
            the same stream.
    """
    gone = call_status in TERMINAL_STATUSES
    with transaction.atomic():
        call = locked_call(account, call_id=call_id, call_sid=call_sid)
        if call is None:
            return None
        ended = call.status == Call.Status.ENDED
        if ended and not gone and (again := last_words(call, request_key)) is not None:
            return again
        stored = str(call.next_step.get("kind", ""))
        if not gone and request_key and call.metrics.get("asked") == request_key:
            # The stream handed out before waits still: its token is derived, so it is the same.
            return CallNext("resume", call)
        lost_stream_close(call)
        if call.next_step.get("handed_over"):
            # No attempt that failed: a deploy must not use up the caller's patience with us.
            call.metrics = {**call.metrics, "handed_over": call.metrics.get("handed_over", 0) + 1}
            call.next_step = {"kind": stored}
        found = _person_for(call, stored)
        step = next_step(
            stored=stored,
            ended=ended or gone,
            stream_count=_attempts(call),
            person=found.decision.reach if found is not None else "nothing",
        )
        outcome = _carried_out(call, step, stored, found, request_key)
    log.info("next_step", call_sid=call_sid, step=step, stream_count=call.stream_count)
    if step == "apologise":
        call_close(call_id=call_id, reason=lost_reason(call))
    elif step == "message":
        call_close(call_id=call_id, reason=_message_reason(stored))
    elif gone:
        call_close(call_id=call_id, reason=reason_of_status(call, call_status))
    return outcome


def _attempts(call: Call) -> int:
    """Return how many streams count against the limit: those that were not handed over."""
    return call.stream_count - int(call.metrics.get("handed_over", 0))


def _message_reason(stored: str) -> str:
    if stored == "message":
        return EndCause.ASSISTANT_SAID_GOODBYE.ended_reason
    # A person was asked for, and nobody is there at this time.
    return after_dial(dial_status="no-answer", stream_count=MAX_STREAMS, operator=True)[1]


def _person_for(call: Call, stored: str) -> Handover | None:
    """Look whom the caller reaches, where the step may depend on it."""
    given_up = stored not in {"hangup", "dial", "message"} and _attempts(call) >= MAX_STREAMS
    if stored not in {"operator", "apologise"} and not given_up:
        return None
    return handover(desk_of(call.number), language=call_language(call))


def _carried_out(
    call: Call, step: Step, stored: str, found: Handover | None, request_key: str
) -> CallNext:
    """Store a step on a locked call and return its answer."""
    if step == "resume":
        call.metrics = {**call.metrics, "asked": request_key}
        if stored == "operator":
            call.next_step = {"kind": "resume", "why": "transfer-failed"}
        _next_stream(call)
        return CallNext(step, call)
    if step == "dial":
        if found is not None:
            call.next_step = dial_step(found, stored)
            _note_person(call, stored, found)
        if call.status != Call.Status.FORWARDING:
            call.status = Call.Status.FORWARDING
            call_forwarding_enqueue(call, str(call.next_step["to"]))
        call.save(update_fields=["status", "next_step", "metrics"])
        return CallNext(step, call)
    if step not in {"message", "apologise"}:
        return CallNext(step, call)
    if step == "apologise":
        say, language = fallback_words(call.number, call_language(call))
    elif found is not None:
        say, language = found.say, found.language
        _note_person(call, stored, found)
    else:
        say, language = _refusal_words(call)
    outcome = _with_keys(CallNext(step, call, say, language))
    _keep_words(outcome, request_key)
    call.save(update_fields=["metrics"])
    return outcome


def _refusal_words(call: Call) -> tuple[str, str]:
    wording, language = call.policy_wording, call_language(call)
    own = wording.policy.refusal_message if wording is not None else ""
    return (own, language) if own else sentence("refused", language)


def _note_person(call: Call, why: str, found: Handover) -> None:
    decision = found.decision
    call.metrics = {
        **call.metrics,
        "operator": {"asked_by": why, "reach": decision.reach, "reason": decision.reason},
    }


def _keep_words(outcome: CallNext, request_key: str) -> None:
    call = outcome.call
    call.metrics = {
        **call.metrics,
        "last_words": {
            "step": outcome.step,
            "say": outcome.say,
            "language": outcome.language,
            "asked": request_key,
        },
    }


def _next_stream(call: Call, say: str = "") -> None:
    call_price(call)  # the ceiling is what earlier streams have left, killed ones included
    call.stream_count += 1
    call.media_token_used_at = None
    call.media_token_expires_at = token_expiry(say)
    call.save(
        update_fields=[
            *("stream_count", "media_token_used_at", "media_token_expires_at"),
            *("next_step", "metrics", "cost_usd"),
        ]
    )


def call_after_dial(
    *,
    call_id: str,
    call_sid: str,
    dial_status: str,
    call_status: str = "",
    dial_seconds: int = 0,
    account: TwilioAccount | None = None,
    request_key: str = "",
) -> CallNext | None:
    """Decide and store what follows a transfer; None when the ids do not belong together.

    Args:
        dial_status: how the dialled leg fared (twilio.md 4.4).
        call_status: of the caller's leg; a caller who has hung up is not brought back.
        dial_seconds: how long the dialled leg was connected.
        request_key: Twilio's idempotency token, as for ``call_next``.
    """
    with transaction.atomic():
        call = locked_call(account, call_id=call_id, call_sid=call_sid)
        if call is None:
            return None
        if request_key and call.metrics.get("asked") == request_key:
            if call.next_step.get("kind") == "dial":
                return CallNext("dial", call)
            return CallNext("resume", call, *call.metrics.get("back_words", ("", "")))
        _note_dial(call, dial_status, dial_seconds)
        if call.status == Call.Status.ENDED:
            call_price(call)
            call.save(update_fields=["metrics", "cost_usd"])
            return last_words(call, request_key) or CallNext("hangup", call)
        operator = bool(call.next_step.get("operator"))
        desk = desk_of(call.number) if operator else None
        step, reason = after_dial(
            dial_status=dial_status,
            stream_count=_attempts(call),
            operator=operator,
            comes_back=assistant_goes_on(call, desk),
        )
        second = second_step(desk, call.next_step) if operator and reason != FORWARDED else None
        if call_status in TERMINAL_STATUSES and reason != FORWARDED:
            step, reason = "hangup", EndCause.CALLER_HUNG_UP.ended_reason
        elif second is not None:
            step = "dial"
            call.next_step = second
            call.metrics = {**call.metrics, "asked": request_key}
        say = language = ""
        if step == "resume":
            say, language = back_words(call)
            call.next_step = {"kind": "resume", "why": "transfer-failed"}
            call.status = Call.Status.IN_PROGRESS
            call.metrics = {**call.metrics, "asked": request_key, "back_words": [say, language]}
            wording = call.policy_wording
            if wording is not None and call.policy_played_at is None and say == wording.text:
                call.policy_played_at = timezone.now()  # told now, to the end: no key stops it
            _next_stream(call, say)
        elif step == "message":
            say, language = no_answer_words(desk, call_language(call))
        elif step == "apologise":
            say, language = fallback_words(call.number, call_language(call))
        outcome = CallNext(step, call, say, language)
        if step == "message":
            outcome = _with_keys(outcome)
        if say and step != "resume":
            _keep_words(outcome, request_key)
        call.save(update_fields=["metrics", "next_step", "status", "policy_played_at"])
    log.info("after_dial", call_sid=call_sid, dial_status=dial_status, step=step)
    if step not in {"resume", "dial"}:
        call_close(call_id=call_id, reason=reason)
    return outcome


def _note_dial(call: Call, dial_status: str, dial_seconds: int) -> None:
    seconds = {"transfer_seconds": dial_seconds} if dial_seconds else {}
    metrics = {**call.metrics, "transfer": dial_status[:20], **seconds}
    if call.next_step.get("operator"):
        known = metrics.get("operator", {})
        metrics["operator"] = {**known, "result": DIAL_RESULTS.get(dial_status, "failed")}
    call.metrics = metrics
