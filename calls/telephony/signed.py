"""Twilio's signature in front of a webhook: what is let through, and what becomes of the rest.

Owns the form that views are given, and the answers to requests that prove nothing, are too large or
come while the database is away. It must not know what any webhook means.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from calls.media.database import in_database
from calls.models import TwilioAccount
from calls.telephony.previous_stack import monotonic_ms
from calls.telephony.refusals import Knock, refusals
from calls.telephony.security import PROBE_SIGNATURE, form_signature_valid, json_signature_valid
from calls.wire import twilio_voice
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.redaction import redact_url

MAX_BODY_BYTES = 65_536
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


def refusal(status: int, reason: str) -> HttpResponse:
    """Return an answer that says why there is no other."""
    return HttpResponse(reason, status=status, content_type="text/plain")


def try_again(reason: str) -> HttpResponse:
    """Return an answer after which Twilio asks again, or the number's fallback."""
    response = refusal(503, reason)
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


def _noterefusal(request: HttpRequest, form: Form, account: TwilioAccount | None) -> None:
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
            return refusal(405, "GET or POST")
        try:
            if len(request.body) > MAX_BODY_BYTES:
                return refusal(413, "the body is over 64 KiB")
            form = _form_of(request)
        except (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent):
            return refusal(413, "the request is over its limit")
        if form is None:
            return refusal(400, "the body is neither a form nor a JSON object")
        try:
            account = await in_database(_account, form.get("AccountSid", ""))
            if account is None or not _is_signed(request, account):
                _noterefusal(request, form, account)
                return refusal(403, "the request is not signed by Twilio")
            form[REQUEST_KEY] = request.headers.get(REQUEST_KEY, "")[:64]
            return await view(form, account, *args, **kwargs)
        except twilio_voice.VoiceFormError as error:
            return refusal(400, str(error))
        except DatabaseError as error:
            # Twilio asks again, or the number's fallback. The name alone: texts quote rows.
            log.error("webhook_not_stored", error=type(error).__name__)
            return try_again("the database does not answer")
        except DecryptionError:
            # Twilio asks the number's fallback, which a person or the old stack is behind.
            log.error("webhook_unreadable", path=request.path.split("/")[2])
            return try_again("what is stored cannot be opened")

    return checked
