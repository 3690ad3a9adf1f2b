"""A call comes in: route it, insert its row, decide what Twilio is told.

Idempotent on CallSid (twilio.md 1.3): a repeat answers the same and starts nothing again.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from calls.models import Call, CallPolicy, PhoneNumber, TwilioAccount
from calls.numbers.route import Answer, Decision, NumberFacts, decide
from calls.services.call_plan import StreamTicket, connection_for, ticket_for, wording_for
from calls.wire.twilio_voice import VoiceRequest
from voiceplatform.base.phones import normalised

TOKEN_SECONDS = 60
SPOKEN_CHARACTERS_PER_SECOND = 8  # slow speech; half of the usual pace

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallStart:
    """How to answer the webhook. ``ticket`` only in the request that inserted a direct call."""

    answer: Answer
    call: Call | None = None
    ticket: StreamTicket | None = None
    say_first: str = ""
    language: str = ""


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


def _facts(number: PhoneNumber | None) -> NumberFacts | None:
    if number is None:
        return None
    policy = number.policy
    return NumberFacts(
        route=number.route,
        has_revision=number.assistant is not None and number.assistant.current_revision is not None,
        has_connection=connection_for(number) is not None,
        policy_reviewed=policy is not None and policy.reviewed_at is not None,
        policy_asks=policy is not None and policy.recording_consent == CallPolicy.Consent.ASK,
    )


def call_start(*, request: VoiceRequest, account: TwilioAccount, live_calls: int) -> CallStart:
    """Route an incoming call and store it; declined calls of unknown numbers leave no row."""
    known = _known(request.call_sid)
    if known is not None:
        return _answer_again(known, account)
    number = (
        PhoneNumber.objects.filter(number_e164=normalised(request.callee), twilio_account=account)
        .select_related("assistant__current_revision", "policy", "connection")
        .first()
    )
    decision = decide(
        _facts(number), live_calls=live_calls, max_calls=settings.MAX_CONCURRENT_CALLS
    )
    log.info(
        "call_routed", call_sid=request.call_sid, answer=decision.answer, reason=decision.reason
    )
    if number is None or decision.answer != "direct":
        return CallStart(decision.answer)
    try:
        call = _insert(request, account, number, decision)
    except IntegrityError:
        # The same webhook, twice at once: the other one inserted the row.
        known = _known(request.call_sid)
        if known is None:
            raise
        return _answer_again(known, account)
    ticket = ticket_for(call)
    return _answer(call, ticket)


def _known(call_sid: str) -> Call | None:
    return (
        Call.objects.filter(call_sid=call_sid)
        .select_related("policy_wording", "twilio_account")
        .first()
    )


def _answer_again(call: Call, account: TwilioAccount) -> CallStart:
    # Whoever signs for another account must not be told the token of this call's stream.
    if call.twilio_account_id != account.pk:
        return CallStart("decline")
    return CallStart("decline", call) if call.status == Call.Status.ENDED else _answer(call, None)


def _answer(call: Call, ticket: StreamTicket | None) -> CallStart:
    """Bridge; let Twilio speak the policy line when it has not been rendered yet."""
    wording = call.policy_wording
    if wording is None or call.policy_played_at is None or call.stream_count > 1:
        return CallStart("direct", call, ticket)
    return CallStart("direct", call, ticket, wording.text, wording.language)


def _insert(
    request: VoiceRequest, account: TwilioAccount, number: PhoneNumber, decision: Decision
) -> Call:
    assistant, policy = number.assistant, number.policy
    if assistant is None or policy is None:
        raise ValueError("a direct number has an assistant and a policy")
    revision = assistant.current_revision
    wording = wording_for(policy, revision.language if revision else "en")
    spoken_by_twilio = wording is not None and not wording.audio_mulaw
    with transaction.atomic():
        return Call.objects.create(
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
            next_step={"kind": "resume"},
            policy_wording=wording,
            # Once Twilio has been told to speak the line, no stream plays it again.
            policy_played_at=timezone.now() if spoken_by_twilio else None,
        )
