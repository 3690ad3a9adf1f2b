"""The answer of a caller who was asked for consent: evidence first, then what follows from it.

Twilio asks and tells us (``<Gather>``), before there is a stream: until the answer is stored the
caller's voice reaches neither the model nor a listener nor a record, because none of them exists
(docs/adr: consent is asked before the stream). What was answered is stored with the call, so that a
repeated request is answered the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import transaction
from django.utils import timezone

from calls.models import Call, CallPolicy, TwilioAccount
from calls.numbers.consent import NO_KEY, YES_KEY, verdict
from calls.services.call_finish import locked_call
from calls.services.call_next import CallNext, call_next
from calls.services.call_plan import StreamTicket, ticket_for
from calls.services.call_start import token_expiry
from calls.services.consent_question import question_of
from calls.services.contract import ContractForbids
from calls.services.operators import desk_of, reached
from calls.wire.twilio_voice import TERMINAL_STATUSES

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """What comes next, and the ticket of a stream that may be made ready now."""

    next: CallNext
    ticket: StreamTicket | None = None


def consent_answered(
    *,
    call_id: str,
    call_sid: str,
    digits: str,
    speech: str,
    call_status: str,
    account: TwilioAccount | None = None,
    request_key: str = "",
) -> Answered | None:
    """Store a caller's answer and decide what follows; None when the ids do not belong together.

    Args:
        digits: the key that was pressed, '' if none.
        speech: what Twilio understood, '' if nothing; it is judged and never stored.
        request_key: Twilio's idempotency token; the same one again counts no second silence.
    """
    with transaction.atomic():
        call = locked_call(account, call_id=call_id, call_sid=call_sid)
        if call is None:
            return None
        gone = call_status in TERMINAL_STATUSES or call.status == Call.Status.ENDED
        is_open = not gone and call.status != Call.Status.FORWARDING
        waits = is_open and call.consent_state == Call.Consent.PENDING
        streams = is_open and not _ends_here(call)
        if waits:
            streams = _taken(call, digits, speech, request_key)
    if not streams:
        following = call_next(
            call_id=call_id,
            call_sid=call_sid,
            call_status=call_status,
            account=account,
            request_key=request_key,
        )
        return None if following is None else Answered(following)
    decided = waits and call.consent_state != Call.Consent.PENDING
    return Answered(CallNext("resume", call), _ticket(call) if decided else None)


def _ends_here(call: Call) -> bool:
    return bool(call.next_step.get("kind") != "resume")


def _taken(call: Call, digits: str, speech: str, request_key: str) -> bool:
    """Take an answer on a locked call; tell whether the question or a stream follows."""
    now = timezone.now()
    call.policy_played_at = call.policy_played_at or now  # no key stops it: it was heard to its end
    evidence = dict(call.consent or {})
    if request_key and evidence.get("request") == request_key:
        return True
    evidence["request"] = request_key
    desk = desk_of(call.number)
    wording = call.policy_wording
    refusal_key = wording.policy.refusal_key if wording is not None else ""
    is_answer = digits in {"", YES_KEY, NO_KEY, refusal_key}  # before what else the key means
    wants_person = not is_answer and desk is not None and digits == desk.key
    if wants_person and reached(desk).reach != "nothing":
        # Nothing is answered yet: whom that person does not take is asked when they come back.
        call.consent, call.next_step = evidence, {"kind": "operator"}
        call.save(update_fields=["consent", "next_step", "policy_played_at"])
        return False
    questions = int(evidence.get("questions", 0)) + 1
    found = verdict(
        digits=digits,
        speech=speech,
        questions=questions,
        language=wording.language if wording is not None else "en",
        refusal_key=refusal_key,
    )
    evidence |= {"questions": questions, "question": question_of(call).question}
    if found.outcome != "again":
        evidence |= {"state": found.outcome, "at": now.isoformat()}
        evidence |= {"kind": found.kind, "answer": found.value}
    call.consent = evidence
    log.info(
        "consent_answered", call_sid=call.call_sid, outcome=found.outcome, answer_kind=found.kind
    )
    goes_on = found.outcome != "refused" or _refused(call, now)
    call.media_token_expires_at = token_expiry() if goes_on else None
    call.save(
        update_fields=[
            *("consent", "media_token_expires_at", "next_step"),
            *("policy_played_at", "policy_refused_at"),
        ]
    )
    return goes_on


def _refused(call: Call, now: datetime) -> bool:
    """Store what the policy does of a refusal; tell whether the assistant goes on, unrecorded."""
    call.policy_refused_at = now
    wording, number = call.policy_wording, call.number
    policy = wording.policy if wording is not None else number and number.policy
    wanted = str(policy.on_refusal) if policy else CallPolicy.Refusal.END.value
    if wanted == CallPolicy.Refusal.UNRECORDED:
        return True
    nobody = reached(desk_of(number)).reach == "nothing"
    # Without a person the assistant is no substitute: the caller did not agree to be heard.
    person = wanted == CallPolicy.Refusal.HUMAN.value and not nobody
    call.next_step = {"kind": "operator" if person else "message"}
    return False


def _ticket(call: Call) -> StreamTicket | None:
    try:
        return ticket_for(call)
    except ContractForbids as error:
        # The socket's door refuses it too, and the call then ends with the last words.
        log.warning("consent_without_model", call_sid=call.call_sid, error=str(error))
        return None
