"""Twilio's webhooks: check, hand to a service, answer TwiML or 204. No rule lives here.

Every one is idempotent, because Twilio repeats (twilio.md 1.3, 4.6), and fast: nothing waits for
the model or for a third party.
"""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

from django.http import HttpResponse

from calls.bridge.model import configuration
from calls.media import live
from calls.media.database import in_database
from calls.media.pool import pool
from calls.media.reach import reach
from calls.models import Call, TwilioAccount
from calls.services.assistant_request import assistant_awaited, assistant_requested
from calls.services.call_finish import stream_report_apply
from calls.services.call_keys import call_key
from calls.services.call_next import (
    CallNext,
    call_after_dial,
    call_next,
    caller_id_of,
)
from calls.services.call_start import CallStart, call_start, media_token
from calls.services.call_take_back import call_take_back
from calls.services.consent import consent_answered
from calls.services.consent_question import question_of
from calls.services.recordings import recording_report_apply
from calls.services.shadow_offers import shadow_reported
from calls.services.status_forward import status_taken
from calls.telephony.addresses import (
    after_dial_path,
    after_stream_path,
    consent_path,
    key_path,
    media_path,
    public_url,
    stream_url,
)
from calls.telephony.handover import handed_over, heard_of
from calls.telephony.shadow_fork import heard_along
from calls.telephony.signed import REQUEST_KEY, Form, refusal, signed, try_again
from calls.wire import twilio_voice

STREAM_COMES_SECONDS = 10.0  # from our TwiML to the handshake, with one that is tried again
STREAM_END_SECONDS = 2.0  # of silence for the caller at most
SPEECH_CHARACTERS = 500  # of what Twilio understood; the answer is one word of it
HAND_OVER_SECONDS = 0.4  # the server looks ten times a second whether it is to exit
NOT_IN_SERVICE = "We are sorry. This number is not in service at the moment. Goodbye."


def _twiml(text: str) -> HttpResponse:
    return HttpResponse(text, content_type="text/xml")


def _bridge_twiml(
    call: Call, say_first: str = "", language: str = "", *, hears_keys: bool = False
) -> HttpResponse:
    if call.consent_state == Call.Consent.PENDING:
        # The only door to a stream: until the caller has answered there is none (design.md 11).
        return _question_twiml(call)
    live.expect(str(call.pk), STREAM_COMES_SECONDS)
    return _twiml(
        twilio_voice.connect_stream(
            stream_url=stream_url(media_path(call.pk, media_token(call))),
            action_url=public_url(after_stream_path(call.pk)),
            status_url=public_url("/twilio/stream-status"),
            say_first=say_first,
            language=language,
            keys_url=public_url(key_path(call.pk)) if hears_keys else "",
        )
    )


def _question_twiml(call: Call) -> HttpResponse:
    asked = question_of(call)
    return _twiml(
        twilio_voice.ask_consent(
            line=asked.line,
            language=asked.language,
            question=asked.question,
            question_language=asked.question_language,
            answer_url=public_url(consent_path(call.pk)),
            speech_language=asked.speech_language,
        )
    )


@signed
async def voice(form: Form, account: TwilioAccount) -> HttpResponse:
    """Answer an incoming call."""
    request = twilio_voice.voice_request(form)
    if live.is_draining():
        # Twilio tries again, then asks the number's fallback: another instance or the old stack.
        return try_again("this instance is shutting down")
    start = await in_database(
        call_start,
        request=request,
        account=account,
        # Calls whose stream is on its way count: a burst must not pass the ceiling unseen.
        live_calls=live.active_count() + len(pool),
        is_lost=reach.is_lost,
    )
    if start.answer == "drill":
        # Twilio asks the number's net at once: what is answered is not repeated (net.Overrides).
        return refusal(503, "a drill: this call is not answered here, on purpose")
    if start.answer == "previous" and start.call is not None:
        answer = await handed_over(
            start.call,
            heard_of(form.request, form, own_field=REQUEST_KEY),
            question=start.question,
            arrived_ms=form.arrived_ms,
        )
        if answer is not None:
            answer = await heard_along(start.call, answer)
            return HttpResponse(answer.body, content_type=answer.content_type)
        outcome = await in_database(
            call_take_back, call_id=str(start.call.pk), call_sid=start.call.call_sid
        )
        if outcome is None:
            return refusal(404, "no such call")
        if isinstance(outcome, CallNext):
            return _next_twiml(outcome)
        start = outcome
    return await _start_twiml(start)


async def _start_twiml(start: CallStart) -> HttpResponse:
    """Answer what our own side does with a call that came in."""
    if start.call is not None and start.answer == "ask":
        start = await assistant_requested(str(start.call.pk))
    elif start.call is not None and start.answer == "await":
        start = await assistant_awaited(str(start.call.pk))
    if start.answer == "busy":
        return _twiml(twilio_voice.reject_busy())
    if start.answer == "say":
        return _twiml(twilio_voice.say_and_hang_up(start.say_first, start.language))
    if start.answer == "decline" or start.call is None:
        return _twiml(twilio_voice.say_and_hang_up(start.say_first or NOT_IN_SERVICE))
    if start.answer == "dial":
        return _dial_twiml(start.call)
    if start.ticket is not None:
        # The row is committed, and this request inserted it: have the model ready (ADR 0018).
        plan = start.ticket.plan
        pool.open(plan.call_id, start.ticket.endpoint, configuration(plan))
    return _bridge_twiml(start.call, start.say_first, start.language, hears_keys=start.hears_keys)


@signed
async def after_stream(form: Form, account: TwilioAccount, call_id: UUID) -> HttpResponse:
    """Answer what comes after a stream, for whatever reason it ended (twilio.md 2.3)."""
    request = twilio_voice.voice_request(form)
    if live.is_ending():
        # This process still listens for a moment; the stream we hand out must not find it but its
        # successor. A request under way is answered after the listening socket is closed.
        await live.wait_until_idle()
        await asyncio.sleep(HAND_OVER_SECONDS)
    # The next stream begins with what this one leaves behind: its last turns and what it cost.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STREAM_END_SECONDS):
            await live.wait_until_left(str(call_id))
    outcome = await in_database(
        call_next,
        call_id=str(call_id),
        call_sid=request.call_sid,
        call_status=request.call_status,
        account=account,
        request_key=form[REQUEST_KEY],
    )
    if outcome is None:
        return refusal(404, "no such call")
    return _next_twiml(outcome)


@signed
async def after_dial(form: Form, account: TwilioAccount, call_id: UUID) -> HttpResponse:
    """Answer what comes after a transfer (twilio.md 4.4)."""
    request = twilio_voice.voice_request(form)
    outcome = await in_database(
        call_after_dial,
        call_id=str(call_id),
        call_sid=request.call_sid,
        dial_status=form.get("DialCallStatus", ""),
        call_status=request.call_status,
        dial_seconds=twilio_voice.seconds_of(form, "DialCallDuration"),
        account=account,
        request_key=form[REQUEST_KEY],
    )
    if outcome is None:
        return refusal(404, "no such call")
    return _next_twiml(outcome)


@signed
async def key(form: Form, account: TwilioAccount, call_id: UUID) -> HttpResponse:
    """Answer what a key brings about that is pressed while Twilio speaks."""
    request = twilio_voice.voice_request(form)
    outcome = await in_database(
        call_key,
        call_id=str(call_id),
        call_sid=request.call_sid,
        digits=form.get("Digits", "")[:1],
        call_status=request.call_status,
        account=account,
        request_key=form[REQUEST_KEY],
    )
    if outcome is None:
        return refusal(404, "no such call")
    if outcome.step != "resume":
        pool.discard(str(call_id))  # prepared for a stream that will not come (trap T23)
    return _next_twiml(outcome)


@signed
async def consent(form: Form, account: TwilioAccount, call_id: UUID) -> HttpResponse:
    """Answer what follows the answer of a caller who was asked, or none."""
    request = twilio_voice.voice_request(form)
    answered = await in_database(
        consent_answered,
        call_id=str(call_id),
        call_sid=request.call_sid,
        digits=form.get("Digits", "")[:1],
        speech=form.get("SpeechResult", "")[:SPEECH_CHARACTERS],
        call_status=request.call_status,
        account=account,
        request_key=form[REQUEST_KEY],
    )
    if answered is None:
        return refusal(404, "no such call")
    if answered.ticket is not None:
        plan = answered.ticket.plan
        pool.open(plan.call_id, answered.ticket.endpoint, configuration(plan))
    return _next_twiml(answered.next)


def _dial_twiml(call: Call) -> HttpResponse:
    step = call.next_step
    return _twiml(
        twilio_voice.dial(
            to=str(step["to"]),
            caller_id=caller_id_of(call),
            action_url=public_url(after_dial_path(call.pk)),
            ring_seconds=int(step.get("ring_seconds", twilio_voice.DIAL_SECONDS)),
            say_first=str(step.get("say", "")),
            language=str(step.get("language", "")),
        )
    )


def _next_twiml(outcome: CallNext) -> HttpResponse:
    call = outcome.call
    live.expect_no_more(str(call.pk))
    if outcome.step == "resume":
        return _bridge_twiml(call, outcome.say, outcome.language, hears_keys=outcome.hears_keys)
    if outcome.step == "dial":
        return _dial_twiml(call)
    if outcome.step in {"apologise", "message"}:
        keys_url = public_url(key_path(call.pk)) if outcome.hears_keys else ""
        return _twiml(twilio_voice.say_and_hang_up(outcome.say, outcome.language, keys_url))
    return _twiml(twilio_voice.hang_up())


@signed
async def status(form: Form, account: TwilioAccount) -> HttpResponse:
    """Take a call status callback."""
    report = twilio_voice.status_report(form)
    heard = heard_of(form.request, form, own_field=REQUEST_KEY)
    call = await in_database(status_taken, report=report, account=account, heard=heard)
    if call is None:
        return HttpResponse(status=404)
    if call.status == Call.Status.ENDED:
        live.expect_no_more(str(call.pk))
        pool.discard(str(call.pk))  # prepared for a stream that will never come (trap T23)
    return HttpResponse(status=204)


@signed
async def stream_status(form: Form, account: TwilioAccount) -> HttpResponse:
    """Take a stream status callback."""
    report = twilio_voice.stream_report(form)
    known = await in_database(stream_report_apply, report=report, account=account)
    return HttpResponse(status=204 if known else 404)


@signed
async def shadow_status(form: Form, account: TwilioAccount, shadow_id: UUID) -> HttpResponse:
    """Take what became of a fork; the call itself is not touched by it."""
    report = twilio_voice.stream_report(form)
    known = await in_database(
        shadow_reported, shadow_id=str(shadow_id), report=report, account=account
    )
    return HttpResponse(status=204 if known else 404)


@signed
async def recording(form: Form, account: TwilioAccount) -> HttpResponse:
    """Take a recording status callback."""
    report = twilio_voice.recording_report(form)
    known = await in_database(recording_report_apply, report=report, account=account)
    return HttpResponse(status=204 if known else 404)
