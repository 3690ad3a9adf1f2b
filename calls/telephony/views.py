"""Twilio's webhooks: check, hand to a service, answer TwiML or 204. No rule lives here.

Every one is idempotent, because Twilio repeats (twilio.md 1.3, 4.6), and fast: nothing waits for
the model or for a third party.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

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
from calls.telephony.previous_stack import monotonic_ms
from calls.telephony.refusals import Knock, refusals
from calls.telephony.security import PROBE_SIGNATURE, form_signature_valid, json_signature_valid
from calls.telephony.shadow_fork import heard_along
from calls.wire import twilio_voice
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.redaction import redact_url

MAX_BODY_BYTES = 65_536
STREAM_COMES_SECONDS = 10.0  # from our TwiML to the handshake, with one that is tried again
STREAM_END_SECONDS = 2.0  # of silence for the caller at most
SPEECH_CHARACTERS = 500  # of what Twilio understood; the answer is one word of it
HAND_OVER_SECONDS = 0.4  # the server looks ten times a second whether it is to exit
NOT_IN_SERVICE = "We are sorry. This number is not in service at the moment. Goodbye."
# No field of Twilio's: the header under which a repeated request is known (twilio.md 1.1).
REQUEST_KEY = "I-Twilio-Idempotency-Token"
# Under which names a proxy may have been asked; to explain a refusal, never to accept (T6, T8).
HOST_HEADERS = ("Host", "X-Forwarded-Host", "X-Original-Host")

P = ParamSpec("P")


class Form(dict[str, str]):
    """The fields of a request as text, the request that brought them, and when."""

    def __init__(self, fields: Mapping[str, str], request: HttpRequest) -> None:
        super().__init__(fields)
        self.request = request
        self.arrived_ms = monotonic_ms()


SignedView = Callable[Concatenate[Form, TwilioAccount, P], Awaitable[HttpResponse]]
View = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponse]]

log = structlog.get_logger(__name__)


def _twiml(text: str) -> HttpResponse:
    return HttpResponse(text, content_type="text/xml")


def _refusal(status: int, reason: str) -> HttpResponse:
    return HttpResponse(reason, status=status, content_type="text/plain")


def _try_again(reason: str) -> HttpResponse:
    response = _refusal(503, reason)
    response["Retry-After"] = "1"
    return response


def _form_of(request: HttpRequest) -> Form | None:
    """Return the request's fields as text, None if the body is no form and no JSON object."""
    if request.method == "GET":
        return Form({key: str(value) for key, value in request.GET.items()}, request)
    if request.content_type == "application/json":
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(body, dict):
            return None
        texts = {str(key): value for key, value in body.items() if isinstance(value, str)}
        return Form(texts, request)
    return Form({key: str(value) for key, value in request.POST.items()}, request)


def _account(account_sid: str) -> TwilioAccount | None:
    if not twilio_voice.is_sid(account_sid, "AC"):
        return None
    return TwilioAccount.objects.defer("api_key_secret").filter(account_sid=account_sid).first()


def _signed_url(request: HttpRequest) -> str:
    return f"{settings.PUBLIC_BASE_URL}{request.get_full_path()}"


def _is_signed(request: HttpRequest, account: TwilioAccount) -> bool:
    url = _signed_url(request)
    signature = request.headers.get("X-Twilio-Signature", "")
    tokens = [account.auth_token, account.auth_token_secondary]
    if request.content_type == "application/json" and request.method == "POST":
        return json_signature_valid(tokens, url, request.body, signature)
    form = request.POST if request.method == "POST" else {}
    return form_signature_valid(tokens, url, form, signature)


def _note_refusal(request: HttpRequest, form: Form, account: TwilioAccount | None) -> None:
    """Tell of a request that proves nothing: now in the log, and soon where people look."""
    url = _signed_url(request)
    log.warning(
        "signature_refused",
        path=request.path.split("/")[2],
        # The address that we hashed: it must be what Twilio was told (twilio.md 1.5).
        # Without what a GET carries: a query of Twilio's names the caller.
        url=redact_url(url if request.method == "POST" else url.partition("?")[0])[:300],
        account_known=account is not None,
    )
    signature = request.headers.get("X-Twilio-Signature", "")
    if signature == PROBE_SIGNATURE:
        return
    is_form = request.method == "POST" and request.content_type != "application/json"
    sid = form.get("AccountSid", "")
    match = request.resolver_match
    refusals.count(
        Knock(
            account_sid=sid if twilio_voice.is_sid(sid, "AC") else "",
            url=url,
            signature=signature,
            form=request.POST if is_form else {},
            tokens=(account.auth_token, account.auth_token_secondary) if account else (),
            is_known=account is not None,
            call_id=str(match.kwargs.get("call_id", "")) if match is not None else "",
            hosts=tuple(request.headers.get(name, "") for name in HOST_HEADERS),
        )
    )


def signed(view: SignedView[P]) -> View[P]:
    """Let only requests through that Twilio signed for one of our accounts (twilio.md 1.4, 1.5)."""

    @csrf_exempt
    @wraps(view)
    async def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if request.method not in {"GET", "POST"}:
            return _refusal(405, "GET or POST")
        try:
            if len(request.body) > MAX_BODY_BYTES:
                return _refusal(413, "the body is over 64 KiB")
            form = _form_of(request)
        except (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent):
            return _refusal(413, "the request is over its limit")
        if form is None:
            return _refusal(400, "the body is neither a form nor a JSON object")
        try:
            account = await in_database(_account, form.get("AccountSid", ""))
            if account is None or not _is_signed(request, account):
                _note_refusal(request, form, account)
                return _refusal(403, "the request is not signed by Twilio")
            form[REQUEST_KEY] = request.headers.get(REQUEST_KEY, "")[:64]
            return await view(form, account, *args, **kwargs)
        except twilio_voice.VoiceFormError as error:
            return _refusal(400, str(error))
        except DatabaseError as error:
            # Twilio asks again, or the number's fallback. The name alone: texts quote rows.
            log.error("webhook_not_stored", error=type(error).__name__)
            return _try_again("the database does not answer")
        except DecryptionError:
            # Twilio asks the number's fallback, which a person or the old stack is behind.
            log.error("webhook_unreadable", path=request.path.split("/")[2])
            return _try_again("what is stored cannot be opened")

    return checked


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
        return _try_again("this instance is shutting down")
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
        return _refusal(503, "a drill: this call is not answered here, on purpose")
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
            return _refusal(404, "no such call")
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
        return _refusal(404, "no such call")
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
        return _refusal(404, "no such call")
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
        return _refusal(404, "no such call")
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
        return _refusal(404, "no such call")
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
