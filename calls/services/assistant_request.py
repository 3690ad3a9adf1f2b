"""Asks a number's server who answers an incoming call, and does what it says (vapi.md 5.3).

Owns the limit of 7.5 s, the forms of an answer and what follows where none can be used: the
number's fallback destination, else a sentence and the end. The row is there before anybody is
asked, and no transaction is open meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from assistants.derived import derived_revision, inline_assistant
from assistants.models import AssistantRevision
from assistants.overrides import VARIABLES, overridden
from assistants.selectors import assistant_list, squad_list
from assistants.services import revision_document
from calls.media.database import in_database
from calls.models import Call
from calls.numbers.destinations import destination_of
from calls.services.call_finish import call_close
from calls.services.call_plan import wording_for
from calls.services.call_start import CallStart, answer_again, started, token_expiry
from calls.services.consent_question import asked_by
from calls.services.handoffs import Target, first_member, squad_begins
from calls.services.reports import call_forwarding_enqueue
from calls.services.server_messages.asking import Question, ask, question_of
from calls.services.server_messages.targets import number_document, request_destination
from calls.services.vapi_objects import envelope_for
from calls.wire.twilio_voice import DIAL_SECONDS
from tools.loose_json import as_object, as_text
from tools.wire import vapi_server
from tools.wire.vapi_requests import (
    AssistantAnswer,
    NamedDestination,
    read_assistant_answer,
    read_destination,
)
from voiceplatform.base.selectors import uuids_in

# End to end, and the carrier gives up at about 15 s (vapi.md 5.3, trap 19).
LIMIT_SECONDS: Final = 7.5
# A webhook that Twilio repeats waits for the one that asks.
_LOOK_AGAIN_SECONDS: Final = 0.25
ASKING: Final = "ask"

FAILED: Final = "assistant-request-failed"
ERROR: Final = "assistant-request-returned-error"
UNSPEAKABLE: Final = "assistant-request-returned-unspeakable-error"
INVALID: Final = "assistant-request-returned-invalid-assistant"
NO_ASSISTANT: Final = "assistant-request-returned-no-assistant"
FORWARDED: Final = "assistant-request-returned-forwarding-phone-number"

_SORRY: Final = "We are sorry, we cannot take your call at the moment. Please try again later."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    """No assistant: ``reason`` is the ended reason, ``say`` what the caller is told."""

    reason: str
    say: str = _SORRY


async def assistant_requested(call_id: str) -> CallStart:
    """Return how to answer a call of a number that has a server and no assistant.

    Asked for again while the first request is under way, it waits and answers the same.
    """
    began = time.monotonic()
    question = await in_database(_question_for, call_id)
    text = None
    if question is not None:
        left = LIMIT_SECONDS - (time.monotonic() - began)
        server = replace(question.server, timeout_seconds=left, backoff=None)
        text = await ask(replace(question, server=server))
    return await in_database(request_apply, call_id=call_id, text=text)


async def assistant_awaited(call_id: str) -> CallStart:
    """Return how to answer a repeated webhook once the request that asks has its answer."""
    until = time.monotonic() + LIMIT_SECONDS + 1
    while time.monotonic() < until:
        start = await in_database(_answered, call_id)
        if start is not None:
            return start
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    return CallStart("decline")


def _answered(call_id: str) -> CallStart | None:
    call = _call(call_id)
    return None if call.next_step.get("kind") == ASKING else answer_again(call)


def _call(call_id: str) -> Call:
    rows = Call.objects.select_related(
        *("organisation", "twilio_account", "number__twilio_account", "number__policy"),
        *("policy_wording__policy", "connection", "revision__assistant"),
    )
    row: Call = rows.get(pk=call_id)
    return row


def _question_for(call_id: str) -> Question | None:
    call = _call(call_id)
    destination = request_destination(call)
    if destination is None:
        return None
    envelope = envelope_for(call, timestamp_ms=time.time_ns() // 1_000_000)
    body = vapi_server.server_message(envelope, "assistant-request", {})
    return question_of(
        destination, organisation_id=call.organisation_id, body=body, call_id=call_id
    )


def request_apply(*, call_id: str, text: str | None) -> CallStart:
    """Do what a server has answered, and return how to answer Twilio.

    Args:
        text: the body of its answer; None where there was none in time.
    """
    call = _call(call_id)
    if call.next_step.get("kind") != ASKING:
        return answer_again(call)
    if call.status == Call.Status.ENDED:  # hung up meanwhile
        return CallStart("decline", call)
    answer = read_assistant_answer(text) if text is not None else None
    try:
        return _carried_out(call, answer)
    except _Refused as refusal:
        log.warning("assistant_request_refused", call_sid=call.call_sid, reason=refusal.reason)
        return _without_assistant(call, refusal)


def _carried_out(call: Call, answer: AssistantAnswer | None) -> CallStart:
    if answer is None:
        raise _Refused(FAILED)
    if answer.kind == "error":
        raise _Refused(ERROR, answer.error) if answer.error else _Refused(UNSPEAKABLE)
    if answer.destination is not None:
        return _forwarded(call, answer.destination)
    if answer.kind == "assistant":
        return _begun(call, _revision_of(call, answer))
    if answer.kind == "squad":
        target = _squad_of(call, answer)
        return _begun(call, target.revision, target)
    raise _Refused(NO_ASSISTANT)


def _without_assistant(call: Call, refusal: _Refused) -> CallStart:
    """Hand the caller to the number's fallback destination, or say why nobody answers."""
    number = call.number
    spoken = refusal.reason == ERROR  # its own words are what it wants said (vapi.md 5.3)
    fallback = read_destination(
        number_document(number).get("fallbackDestination") if number is not None else None
    )
    if fallback is not None and not spoken and destination_of(fallback.to):
        return _forwarded(call, fallback, reason="")
    words = {"step": "apologise", "say": refusal.say, "language": "en", "asked": ""}
    Call.objects.filter(pk=call.pk).update(
        next_step={"kind": "hangup"}, metrics={**call.metrics, "last_words": words}
    )
    call_close(call_id=str(call.pk), reason=refusal.reason)
    return CallStart("say", call, say_first=refusal.say)


def _forwarded(call: Call, destination: NamedDestination, *, reason: str = FORWARDED) -> CallStart:
    """Let Twilio dial a destination at once; nobody of ours speaks."""
    to = destination_of(destination.to)
    if not to:
        raise _Refused(INVALID)
    step = {
        "kind": "dial",
        "to": to,
        "operator": "request",
        "say": destination.message,
        "language": "en",
        "ring_seconds": DIAL_SECONDS,
        "shows_caller": True,  # whose number is shown on an inbound call (vapi.md 3.6)
    }
    with transaction.atomic():
        call = Call.objects.select_for_update(of=("self",)).select_related("number").get(pk=call.pk)
        if call.status == Call.Status.ENDED:
            return CallStart("decline", call)
        call.next_step, call.status = step, Call.Status.FORWARDING
        call.stream_count, call.started_at = 0, timezone.now()
        if reason:
            call.metrics = {**call.metrics, "forwarded_reason": reason}
        call_forwarding_enqueue(call, to)
        call.save(update_fields=["next_step", "status", "stream_count", "started_at", "metrics"])
    return CallStart("dial", call)


def _begun(call: Call, revision: AssistantRevision, member: Target | None = None) -> CallStart:
    """Let a revision answer the call, of the ``member`` of a squad if it is one."""
    number = call.number
    assert number is not None and number.policy is not None, "as the route has seen"
    wording = wording_for(number.policy, revision.language)
    consent = asked_by(number.policy)
    spoken_by_twilio = wording is not None and not wording.audio_mulaw and not consent
    with transaction.atomic():
        changed = (
            Call.objects.filter(pk=call.pk, next_step__kind=ASKING)
            .exclude(status=Call.Status.ENDED)
            .update(
                revision=revision,
                policy_wording=wording,
                consent=consent,
                policy_played_at=timezone.now() if spoken_by_twilio else None,
                next_step={"kind": "resume"},
                media_token_expires_at=token_expiry(
                    wording.text if wording is not None and spoken_by_twilio else ""
                ),
            )
        )
        if changed and member is not None:
            squad_begins(call, member)
    call = _call(str(call.pk))
    return started(call) if changed else answer_again(call)


def _revision_of(call: Call, answer: AssistantAnswer) -> AssistantRevision:
    """Return the revision that an answer means; one is made for an assistant that it brings."""
    saved = None
    base: dict[str, Any] = dict(answer.assistant)
    if answer.assistant_id:
        ids = uuids_in([answer.assistant_id])
        row = assistant_list(call.organisation).filter(pk__in=ids).first() if ids else None
        saved = row.current_revision if row is not None else None
        if row is None or saved is None:
            raise _Refused(INVALID)
        if not answer.overrides:
            return saved
        base = revision_document(saved)
    document, variables = overridden(base, [answer.overrides])
    if variables:
        document[VARIABLES] = {**as_object(document.get(VARIABLES)), **variables}
    if not isinstance(document.get("model"), dict):
        raise _Refused(INVALID)
    if saved is not None:
        return derived_revision(saved.assistant, document, note="As its number's server answered")
    name = as_text(document.get("name")) or "assistant"
    assert call.number_id is not None, "a number's server was asked"
    # In no list; the same document again is the same revision.
    return inline_assistant(call.organisation, call.number_id, name, document)


def _squad_of(call: Call, answer: AssistantAnswer) -> Target:
    """Return the first member of a saved squad; one that is written into an answer is refused."""
    ids = uuids_in([answer.squad_id]) if answer.squad_id else []
    squad = squad_list(call.organisation).filter(pk__in=ids).first() if ids else None
    target = first_member(squad) if squad is not None else None
    if target is None or answer.squad_overrides or answer.overrides:
        raise _Refused(INVALID)
    return target
