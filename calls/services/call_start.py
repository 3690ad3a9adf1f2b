"""A call comes in: route it, insert its row, decide what Twilio is told.

Idempotent on CallSid (twilio.md 1.3): a repeat answers the same and starts nothing again.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from calls.models import Call, PhoneNumber, TwilioAccount
from calls.numbers.route import Answer, Decision, NumberFacts, decide
from calls.services.call_plan import (
    StreamTicket,
    connection_for,
    line_of,
    ticket_for,
    wording_for,
)
from calls.services.consent_question import asked_by
from calls.services.contract import contract_problem
from calls.services.handoffs import first_member, squad_begins
from calls.services.operators import (
    desk_of,
    dial_step,
    handover,
    line_hears_keys,
    reached,
)
from calls.services.reports import call_forwarding_enqueue
from calls.services.server_messages.targets import number_asks
from calls.wire.twilio_voice import VoiceRequest
from voiceplatform.base.phones import normalised

TOKEN_SECONDS = 60
SPOKEN_CHARACTERS_PER_SECOND = 8  # slow speech; half of the usual pace

log = structlog.get_logger(__name__)


# ``previous``: the old stack takes the call; ``dial``: a person does; ``say``: nobody does, and the
# caller is told so; ``await``: another request is asking who does.
StartAnswer = Answer | Literal["previous", "dial", "say", "await"]
IsLost = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class CallStart:
    """How to answer the webhook. ``ticket`` only in the request that inserted a direct call.

    ``hears_keys``: keys mean something while ``say_first`` is spoken.
    """

    answer: StartAnswer
    call: Call | None = None
    ticket: StreamTicket | None = None
    say_first: str = ""
    language: str = ""
    hears_keys: bool = False


def media_token(call: Call) -> str:
    """Return the token of the call's newest stream.

    Derived, not stored: a repeated webhook answers the same token, and the database holds nothing
    that opens a socket. It is used once, by a conditional UPDATE.
    """
    text = f"media:{call.pk}:{call.stream_count}".encode()
    digest = hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).digest()
    return urlsafe_b64encode(digest[:24]).decode()


def token_expiry(say_first: str = "") -> datetime:
    """Return when a token handed out now stops opening a socket.

    Twilio opens it only after it has spoken ``say_first``.
    """
    speaking_seconds = len(say_first) / SPOKEN_CHARACTERS_PER_SECOND
    return timezone.now() + timedelta(seconds=TOKEN_SECONDS + speaking_seconds)


def _facts(
    number: PhoneNumber | None, request: VoiceRequest, is_lost: IsLost
) -> NumberFacts | None:
    if number is None:
        return None
    policy, connection = number.policy, connection_for(number)
    revision = number.assistant.current_revision if number.assistant is not None else None
    lost = connection is not None and (
        is_lost(connection.realtime_url)
        or (revision is not None and is_lost(line_of(connection, revision)))
    )
    return NumberFacts(
        route=number.route,
        has_revision=revision is not None,
        has_connection=connection is not None,
        policy_reviewed=policy is not None and policy.reviewed_at is not None,
        # Without anybody else the model is asked all the same.
        model_lost=lost and _someone_else(number, request) is not None,
        contract_problem=contract_problem(number, connection) if connection is not None else "",
        asks=revision is None and number_asks(number),
    )


def _someone_else(number: PhoneNumber, request: VoiceRequest) -> Literal["previous", "dial"] | None:
    """Return who answers in the assistant's place: the old stack, else a person."""
    if request.call_status == "ringing" and previous_url(number):
        return "previous"  # it takes calls that ring, and no others (twilio.md 5.5)
    return "dial" if reached(desk_of(number)).reach == "dial" else None


def previous_url(number: PhoneNumber | None) -> str:
    """Return where the number's calls went before, '' if that is nowhere or ourselves."""
    url = number.previous_voice_url if number is not None else ""
    own = url.startswith(settings.PUBLIC_BASE_URL)
    return "" if own or not url.startswith(("https://", "http://")) else url


def call_start(
    *,
    request: VoiceRequest,
    account: TwilioAccount,
    live_calls: int,
    is_lost: IsLost = lambda url: False,
) -> CallStart:
    """Route an incoming call and store it; declined calls of unknown numbers leave no row.

    Args:
        is_lost: tells of a model's URL or line (``Endpoint``) whether it was out of reach lately.
    """
    known = _known(request.call_sid)
    if known is not None:
        return _answer_again(known, account)
    number = (
        PhoneNumber.objects.filter(number_e164=normalised(request.callee), twilio_account=account)
        .select_related("assistant__current_revision", "policy", "connection", "operator_desk")
        .select_related("squad")
        .first()
    )
    decision = decide(
        _facts(number, request, is_lost),
        live_calls=live_calls,
        max_calls=settings.MAX_CONCURRENT_CALLS,
    )
    log.info(
        "call_routed", call_sid=request.call_sid, answer=decision.answer, reason=decision.reason
    )
    if number is None or decision.answer not in {"direct", "fallback", "ask"}:
        return CallStart(decision.answer)
    try:
        if decision.answer == "fallback":
            return _fall_back(request, account, number, decision)
        call = _insert(request, account, number, decision)
    except IntegrityError:
        # The same webhook, twice at once: the other one inserted the row.
        known = _known(request.call_sid)
        if known is None:
            raise
        return _answer_again(known, account)
    if decision.answer == "ask":
        return CallStart("ask", call)
    return started(call)


def _known(call_sid: str) -> Call | None:
    return (
        Call.objects.filter(call_sid=call_sid)
        .select_related("policy_wording", "twilio_account", "number")
        .first()
    )


def _answer_again(call: Call, account: TwilioAccount) -> CallStart:
    # Whoever signs for another account must not be told the token of this call's stream.
    if call.twilio_account_id != account.pk:
        return CallStart("decline")
    if call.status != Call.Status.ENDED and call.stack == Call.Stack.VAPI:
        return CallStart("previous", call)
    return answer_again(call)


def answer_again(call: Call) -> CallStart:
    """Return how to answer a webhook for a call that we have answered before."""
    if call.status == Call.Status.ENDED:
        return CallStart("decline", call)
    if call.status == Call.Status.FORWARDING and not call.stream_count:
        return CallStart("dial", call)
    if call.next_step.get("kind") == "ask":
        return CallStart("await", call)
    return started(call, again=True)


def started(call: Call, *, again: bool = False) -> CallStart:
    """Bridge; let Twilio speak the policy line when it has not been rendered yet.

    Nothing is prepared for a caller who is still to be asked, nor for a webhook that comes
    ``again``.
    """
    if call.consent_state == Call.Consent.PENDING:
        return CallStart("direct", call)
    ticket = None if again else ticket_for(call)
    wording = call.policy_wording
    heard = call.policy_played_at is None or bool(call.consent)  # by the stream, or when asked
    if wording is None or heard or call.stream_count > 1:
        return CallStart("direct", call, ticket)
    keys = line_hears_keys(call)
    return CallStart("direct", call, ticket, wording.text, wording.language, keys)


def _fall_back(
    request: VoiceRequest, account: TwilioAccount, number: PhoneNumber, decision: Decision
) -> CallStart:
    """Store a call that somebody else answers because the model is out of reach."""
    revision = number.assistant.current_revision if number.assistant is not None else None
    answer = _someone_else(number, request) or "dial"
    columns: dict[str, Any] = {"stack": Call.Stack.VAPI, "status": Call.Status.RINGING}
    if answer == "dial":
        found = handover(desk_of(number), language=revision.language if revision else "en")
        # It rings on, unanswered, until a person picks up: nothing is said before.
        step = dial_step(replace(found, say=""), "unreachable")
        columns = {
            "stack": Call.Stack.DIRECT,
            "status": Call.Status.FORWARDING,
            "revision": revision,
            "connection": connection_for(number),
            "next_step": step,
            "metrics": {
                "operator": {
                    "asked_by": "unreachable",
                    "reach": found.decision.reach,
                    "reason": found.decision.reason,
                }
            },
        }
    with transaction.atomic():
        call = Call.objects.create(
            organisation_id=number.organisation_id,
            call_sid=request.call_sid,
            twilio_account=account,
            number=number,
            route_reason=f"{decision.reason}: {answer}",
            caller=request.caller,
            callee=request.callee,
            started_at=timezone.now(),
            **columns,
        )
        if answer == "dial":
            call_forwarding_enqueue(call, str(call.next_step["to"]))
    log.warning("call_fell_back", call_sid=request.call_sid, answer=answer)
    return CallStart(answer, call)


def _insert(
    request: VoiceRequest, account: TwilioAccount, number: PhoneNumber, decision: Decision
) -> Call:
    assistant, policy = number.assistant, number.policy
    asks = decision.answer == "ask"
    if policy is None or (assistant is None and not asks):
        raise ValueError("a direct number has an assistant and a policy")
    member = first_member(number.squad) if number.squad is not None else None
    own = assistant.current_revision if assistant is not None else None
    revision = member.revision if member is not None else own
    # In which language the line is spoken depends on who answers.
    wording = None if asks else wording_for(policy, revision.language if revision else "en")
    consent = None if asks else asked_by(policy)
    spoken_by_twilio = wording is not None and not wording.audio_mulaw and not consent
    with transaction.atomic():
        call: Call = Call.objects.create(
            organisation_id=number.organisation_id,
            call_sid=request.call_sid,
            twilio_account=account,
            number=number,
            revision=revision,
            connection=connection_for(number),
            route_reason=decision.reason,
            caller=request.caller,
            callee=request.callee,
            stream_count=1,
            media_token_expires_at=token_expiry(
                wording.text if wording is not None and spoken_by_twilio else ""
            ),
            next_step={"kind": "ask" if asks else "resume"},
            policy_wording=wording,
            consent=consent,
            # Once Twilio has been told to speak the line, no stream plays it again.
            policy_played_at=timezone.now() if spoken_by_twilio else None,
        )
        if member is not None:
            squad_begins(call, member)
        return call
