"""A call comes in: route it, insert its row, decide what Twilio is told.

Idempotent on CallSid (twilio.md 1.3): a repeat answers the same and starts nothing again.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, assert_never

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from calls.models import Call, PhoneNumber, RunDial, TwilioAccount
from calls.numbers.route import Answer, Decision, decide
from calls.services.call_handover import Question, handed_over
from calls.services.call_plan import (
    StreamTicket,
    connection_for,
    ticket_for,
    wording_for,
)
from calls.services.consent_question import asked_by
from calls.services.contract import ContractForbids
from calls.services.handoffs import Target, first_member, squad_begins
from calls.services.live_dials import dial_came, dial_taken
from calls.services.net_flag import drill_takes
from calls.services.number_moves import webhook_seen
from calls.services.operators import (
    Handover,
    desk_of,
    dial_step,
    handover,
    line_hears_keys,
)
from calls.services.reports import call_forwarding_enqueue
from calls.services.route_facts import Facts, IsLost, facts_for, number_called
from calls.wire.twilio_voice import VoiceRequest
from voiceplatform.base.fields import DecryptionError

TOKEN_SECONDS = 60
SPOKEN_CHARACTERS_PER_SECOND = 8  # slow speech; half of the usual pace

BUSY: Final = "full"
# A call of a run's that its stack does not take is not answered either: it costs nothing.
_TURNED_AWAY: Final = frozenset({BUSY, "test-refused", "test-old"})
# Vapi's words for a call that never began (vapi.md 6.4), by the code of the route.
_REASONS: Final = {
    BUSY: "call.start.error-subscription-concurrency-limit-reached",
    "paused": "call.ringing.hook-executed-say",
    "no-assistant": "call-start-error-neither-assistant-nor-server-set",
    "unreadable": "call.start.error-get-assistant",
}
_NO_NUMBER: Final = "call.start.error-get-phone-number"

log = structlog.get_logger(__name__)


# ``previous``: the old stack is asked; ``dial``: a person takes the call; ``say``: nobody does, and
# the caller is told so; ``await``: another request is asking who does.
# ``drill``: nobody answers it, so that the number's net is seen to.
StartAnswer = Answer | Literal["previous", "dial", "say", "await", "drill"]


@dataclass(frozen=True, slots=True)
class CallStart:
    """How to answer the webhook. ``ticket`` only in the request that inserted a direct call.

    ``question``: what the old stack is asked, in the request that inserted the call it is given.
    ``hears_keys``: keys mean something while ``say_first`` is spoken.
    """

    answer: StartAnswer
    call: Call | None = None
    ticket: StreamTicket | None = None
    say_first: str = ""
    language: str = ""
    hears_keys: bool = False
    question: Question | None = None


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


def call_start(
    *,
    request: VoiceRequest,
    account: TwilioAccount,
    live_calls: int,
    is_lost: IsLost = lambda url: False,
) -> CallStart:
    """Route an incoming call and store it; calls of numbers that we do not know leave no row.

    Args:
        is_lost: tells of a model's URL or line (``Endpoint``) whether it was out of reach lately.
    """
    known = _known(request.call_sid)
    if known is not None:
        return _answer_again(known, account)
    number = number_called(request.callee, account)
    if number is not None and drill_takes(
        getattr(number, "net", None), call_sid=request.call_sid, caller=request.caller
    ):
        log.warning("drill_call_refused", call_sid=request.call_sid)
        return CallStart("drill")
    most = settings.MAX_CONCURRENT_CALLS
    if number is None:
        decision = decide(None, live_calls=live_calls, max_calls=most)
        _log_decision(request, decision)
        return CallStart(decision.answer)
    try:
        if getattr(number, "is_dialled", False):
            # What a run expects is taken in the transaction that stores the call, or not at all.
            with transaction.atomic():
                return _routed(request, account, number, live_calls, is_lost, may_be_placed=True)
        return _routed(request, account, number, live_calls, is_lost)
    except IntegrityError:
        # The same webhook, twice at once: the other one inserted the row.
        known = _known(request.call_sid)
        if known is None:
            raise
        return _answer_again(known, account)


def _routed(
    request: VoiceRequest,
    account: TwilioAccount,
    number: PhoneNumber,
    live_calls: int,
    is_lost: IsLost,
    *,
    may_be_placed: bool = False,
) -> CallStart:
    most = settings.MAX_CONCURRENT_CALLS
    dial = dial_taken(number, request.caller) if may_be_placed else None
    facts = facts_for(
        number,
        request,
        now=timezone.now(),
        is_lost=is_lost,
        is_full=live_calls >= most,
        placed_for=_stack_of(dial),
    )
    decision = decide(facts.number, live_calls=live_calls, max_calls=most, call=facts.call)
    _log_decision(request, decision)
    start = _carried_out(request, account, number, decision, facts)
    if dial is not None and start.call is not None:
        dial_came(dial, start.call)
    return start


def _stack_of(dial: RunDial | None) -> Literal["", "direct", "vapi"]:
    if dial is None:
        return ""
    return "vapi" if dial.stack == Call.Stack.VAPI else "direct"


def _log_decision(request: VoiceRequest, decision: Decision) -> None:
    log.info(
        "call_routed",
        call_sid=request.call_sid,
        answer=decision.answer,
        code=decision.code,
        reason=decision.reason,
    )


def _carried_out(
    request: VoiceRequest,
    account: TwilioAccount,
    number: PhoneNumber,
    decision: Decision,
    facts: Facts,
) -> CallStart:
    base: dict[str, Any] = {
        "organisation_id": number.organisation_id,
        "call_sid": request.call_sid,
        "twilio_account": account,
        "number": number,
        "route_reason": decision.reason,
        "route_code": decision.code,
        "caller": request.caller,
        "callee": request.callee,
    }
    if facts.call.placed_for:
        base["is_test"] = True
    match decision.answer:
        case "direct" | "ask":
            try:
                call = _insert(number, base, asks=decision.answer == "ask")
            except DecryptionError:  # of a squad's member, which the decision does not look at
                return _unreadable(number, base, facts)
            return CallStart("ask", call) if decision.answer == "ask" else started(call)
        case "previous":
            call, question = handed_over(number, account, base, decision, facts)
            return CallStart("previous", call, question=question)
        case "fallback":
            return _to_a_person(number, base, facts)
        case "busy" | "decline":
            return _declined(number, base, decision)
        case _:
            assert_never(decision.answer)


def _known(call_sid: str) -> Call | None:
    return (
        Call.objects.filter(call_sid=call_sid)
        .select_related("policy_wording", "number")
        .defer("variable_values")
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
        words = call.metrics.get("last_words")
        if isinstance(words, dict):
            return CallStart("say", call, say_first=words["say"], language=words["language"])
        if call.route_code in _TURNED_AWAY:
            return CallStart("busy", call)
        return CallStart("decline", call, say_first=_last_words(call.number, call.route_code))
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
    ticket = None
    try:
        ticket = None if again else ticket_for(call)
    except (ContractForbids, DecryptionError) as error:
        # What a tool needs, or what has ended meanwhile: the caller is not to wait for a stream.
        log.error("call_not_answerable", call_sid=call.call_sid, error=type(error).__name__)
        return _given_up(call)
    wording = call.policy_wording
    heard = call.policy_played_at is None or bool(call.consent)  # by the stream, or when asked
    if wording is None or heard or call.stream_count > 1:
        return CallStart("direct", call, ticket)
    keys = line_hears_keys(call)
    return CallStart("direct", call, ticket, wording.text, wording.language, keys)


def _to_a_person(number: PhoneNumber, base: dict[str, Any], facts: Facts) -> CallStart:
    """Store a call that neither stack can take and that rings at the number's desk."""
    revision = number.assistant.current_revision if number.assistant is not None else None
    language = revision.language if revision else "en"
    with transaction.atomic():
        call = Call.objects.create(
            **base,
            started_at=timezone.now(),
            status=Call.Status.FORWARDING,
            # Whoever is told of the call must not fail for what no key opens.
            revision=None if facts.number.unreadable else revision,
            connection=facts.connection,
            **_dialled(handover(desk_of(number), language=language)),
        )
        call_forwarding_enqueue(call, str(call.next_step["to"]))
        webhook_seen(number=number, call_sid=call.call_sid, caller=call.caller)
    log.warning("call_fell_back", call_sid=call.call_sid, code=call.route_code)
    return CallStart("dial", call)


def _unreadable(number: PhoneNumber, base: dict[str, Any], facts: Facts) -> CallStart:
    """Store a call that we were to answer, had its assistant not turned out unreadable."""
    log.error("number_unreadable", number_id=str(number.pk), what="a member of the squad")
    reason = "no key opens what is stored of the assistant that was to answer"
    found = handover(desk_of(number)).decision.reach == "dial" and not facts.call.placed_for
    decision = Decision("fallback" if found else "decline", reason, "unreadable")
    known = replace(facts, number=replace(facts.number, unreadable=reason))
    base |= {"route_reason": reason, "route_code": "unreadable"}
    return _to_a_person(number, base, known) if found else _declined(number, base, decision)


def _dialled(found: Handover) -> dict[str, Any]:
    """Return the columns of a call that rings on, unanswered, until a person picks up."""
    asked_by = {
        "asked_by": "unreachable",
        "reach": found.decision.reach,
        "reason": found.decision.reason,
    }
    return {
        "next_step": dial_step(replace(found, say=""), "unreachable"),  # nothing is said before
        "metrics": {"operator": asked_by},
    }


def _given_up(call: Call) -> CallStart:
    """Give a stored call that we cannot answer after all to a person, else to the last words."""
    found = handover(desk_of(call.number))
    call.stream_count = 0
    # No person is rung by a call that a run placed.
    if found.decision.reach == "dial" and not call.is_test:
        call.status, call.started_at = Call.Status.FORWARDING, timezone.now()
        columns = _dialled(found)
        call.next_step = columns["next_step"]
        call.metrics = {**call.metrics, **columns["metrics"]}
        call.save(update_fields=["stream_count", "status", "started_at", "next_step", "metrics"])
        return CallStart("dial", call)
    call.status, call.ended_at = Call.Status.ENDED, timezone.now()
    call.ended_reason, call.next_step = _REASONS["unreadable"], {"kind": "hangup"}
    call.save(update_fields=["stream_count", "status", "ended_at", "ended_reason", "next_step"])
    return CallStart("decline", call, say_first=_last_words(call.number, call.route_code))


def _declined(number: PhoneNumber, base: dict[str, Any], decision: Decision) -> CallStart:
    """Store a call that nobody takes, over as soon as it came; nobody is told of it."""
    now = timezone.now()
    with transaction.atomic():
        call = Call.objects.create(
            **base,
            status=Call.Status.ENDED,
            ended_at=now,
            ended_reason=_REASONS.get(decision.code, _NO_NUMBER),
            next_step={"kind": "hangup"},
        )
        webhook_seen(number=number, call_sid=call.call_sid, caller=call.caller)
    if decision.answer == "busy":
        return CallStart("busy", call)
    return CallStart("decline", call, say_first=_last_words(number, decision.code))


def _last_words(number: PhoneNumber | None, code: str) -> str:
    """Return what a caller of whom nobody takes care is told, '' for the usual words."""
    return number.fallback_message if number is not None and code != "paused" else ""


def _insert(number: PhoneNumber, base: dict[str, Any], *, asks: bool) -> Call:
    columns, member = columns_of_ours(number, asks=asks)
    with transaction.atomic():
        call: Call = Call.objects.create(**base, **columns)
        if member is not None:
            squad_begins(call, member)
        webhook_seen(number=number, call_sid=call.call_sid, caller=call.caller)
        return call


def columns_of_ours(number: PhoneNumber, *, asks: bool) -> tuple[dict[str, Any], Target | None]:
    """Return the columns of a call that we answer, and the member of a squad that does.

    Args:
        asks: a server is still to say who answers.
    """
    assistant, policy = number.assistant, number.policy
    if policy is None or (assistant is None and not asks):
        raise ValueError("a direct number has an assistant and a policy")
    member = first_member(number.squad) if number.squad is not None else None
    own = assistant.current_revision if assistant is not None else None
    revision = member.revision if member is not None else own
    # In which language the line is spoken depends on who answers.
    wording = None if asks else wording_for(policy, revision.language if revision else "en")
    consent = None if asks else asked_by(policy)
    spoken_by_twilio = wording is not None and not wording.audio_mulaw and not consent
    columns = {
        "revision": revision,
        "connection": connection_for(number),
        "stream_count": 1,
        "media_token_expires_at": token_expiry(
            wording.text if wording is not None and spoken_by_twilio else ""
        ),
        "next_step": {"kind": "ask" if asks else "resume"},
        "policy_wording": wording,
        "consent": consent,
        # Once Twilio has been told to speak the line, no stream plays it again.
        "policy_played_at": timezone.now() if spoken_by_twilio else None,
    }
    return columns, member
