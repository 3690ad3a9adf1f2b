"""What can be wrong with an installation, asked the way Twilio and the model will ask.

Blocking; for the command and the admin page. Every check returns results and raises nothing. No
result shows a secret.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.core import checks as system_checks
from django.db import DatabaseError, connection
from django.db.models import Q
from django.utils import timezone
from twilio.request_validator import RequestValidator
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import connect

from assistants.speech_models import is_speech_model, why_no_speech_model
from calls.doctor.connection_test import connection_test
from calls.doctor.refused import fault_of_refusal
from calls.doctor.straight import connect_straight
from calls.media.realtime_client import Endpoint
from calls.models import (
    CallPolicy,
    NumberGuard,
    PhoneNumber,
    ProviderConnection,
    RefusedRequest,
    TwilioAccount,
)
from calls.services import watch_poke
from calls.services.call_plan import connection_for
from calls.services.contract import contract_problem
from calls.services.model_watch import model_warnings
from calls.services.refusals import refusals_since
from calls.telephony.addresses import public_url, stream_url
from calls.telephony.security import PROBE_SIGNATURE
from calls.wire.realtime import RealtimeWireError, decode
from voiceplatform.base import http

State = Literal["ok", "warning", "failed"]
CLOCK_SECONDS = 5.0
# A watcher looks every five seconds, and has a look at whatever is due.
_OVERDUE = timedelta(minutes=1)
_BROKEN_OFF = (TimeoutError, ConnectionClosed, RealtimeWireError)


@dataclass(frozen=True, slots=True)
class Result:
    """One finding. ``fix`` is a sentence for the person who reads it, '' when all is well."""

    check: str
    state: State
    detail: str
    fix: str = ""


def _configuration() -> Iterator[Result]:
    problems = [p for p in system_checks.run_checks() if p.level >= system_checks.WARNING]
    for problem in problems:
        state: State = "failed" if problem.level >= system_checks.ERROR else "warning"
        yield Result(f"configuration {problem.id}", state, problem.msg, problem.hint or "")
    if not problems:
        yield Result("configuration", "ok", "no system check complains")


def _database() -> Iterator[Result]:
    begun = time.monotonic()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        took_ms = (time.monotonic() - begun) * 1000
        yield Result("database", "ok", f"{connection.vendor} answers in {took_ms:.0f} ms")
    except DatabaseError as error:
        yield Result(
            "database", "failed", type(error).__name__, "Check DATABASE_URL and that it runs."
        )


def _watcher() -> Iterator[Result]:
    """Tell whether anybody looks at the guards, here or on another machine."""
    overdue = NumberGuard.objects.filter(next_at__lt=timezone.now() - _OVERDUE).count()
    fix = "Start the platform (`make serve` runs it); if it runs, look for `watcher` in its log."
    if overdue:
        words = f"{overdue} restores or notices of guards wait for more than a minute"
        yield Result("watcher", "failed", words, fix)
    elif watch_poke.is_heard():
        yield Result("watcher", "ok", "listens, and nothing of the guards is overdue")
    else:
        words = "none listens on this machine: unless another machine has one, no number goes home "
        yield Result("watcher", "warning", words + "by itself when its calls go bad", fix)


def _redis() -> Iterator[Result]:
    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1).ping()
        yield Result("redis", "ok", "answers")
    except (redis.RedisError, OSError) as error:
        yield Result(
            "redis",
            "failed",
            type(error).__name__,
            "Start the platform (`make serve` brings its own), or check REDIS_URL.",
        )


def _public_url() -> Iterator[Result]:
    parts = urlsplit(settings.PUBLIC_BASE_URL)
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if parts.scheme != "https":
        yield Result(
            "public URL",
            "warning" if loopback else "failed",
            f"{settings.PUBLIC_BASE_URL} is not https",
            "Twilio reaches only https. Set PUBLIC_BASE_URL to the address your proxy serves.",
        )
    begun = time.time()
    try:
        with http.client(connect_seconds=5, read_seconds=5) as client:
            response = client.get(public_url("/readyz"))
    except http.HTTPError as error:
        yield Result(
            "public URL",
            "failed",
            f"{settings.PUBLIC_BASE_URL} cannot be reached from here ({type(error).__name__})",
            "Check DNS, the certificate, the proxy and that the platform runs.",
        )
        return
    ready = response.status_code == 200
    yield Result(
        "public URL",
        "ok" if ready else "failed",
        f"/readyz answers {response.status_code}",
        "" if ready else "Open /readyz: it names the part that is not ready.",
    )
    yield from _clock(response.headers.get("date", ""), begun)


def _clock(date: str, begun: float) -> Iterator[Result]:
    try:
        told = parsedate_to_datetime(date)
    except ValueError:  # no date, or one that a proxy wrote its own way
        return
    if told.tzinfo is None:
        told = told.replace(tzinfo=UTC)
    off = abs((told - datetime.fromtimestamp(begun, UTC)).total_seconds())
    good = off <= CLOCK_SECONDS
    yield Result(
        "clock",
        "ok" if good else "warning",
        f"within {off:.0f} s of the proxy's",
        "" if good else "Synchronise the clock: tokens and signatures expire by it.",
    )


def _signatures(chosen: Sequence[TwilioAccount] | None = None) -> Iterator[Result]:
    """Send one signed and one unsigned callback for a call that does not exist."""
    accounts = list(TwilioAccount.objects.all()[:5] if chosen is None else chosen)
    if not accounts:
        yield Result("signature", "warning", "no Twilio account", "Add one under Connections.")
    url = public_url("/twilio/status")
    for account in accounts:
        form = {"CallSid": "CA" + secrets.token_hex(16), "AccountSid": account.account_sid}
        signature = RequestValidator(account.auth_token).compute_signature(url, form)
        try:
            with http.client(connect_seconds=5, read_seconds=5) as client:
                good = client.post(url, data=form, headers={"X-Twilio-Signature": signature})
                bad = client.post(url, data=form, headers={"X-Twilio-Signature": PROBE_SIGNATURE})
        except http.HTTPError as error:
            yield Result("signature", "failed", type(error).__name__, "Fix the public URL first.")
            return
        fine = (good.status_code, bad.status_code) == (404, 403)
        yield Result(
            f"signature {account.name}",
            "ok" if fine else "failed",
            f"signed request {good.status_code}, unsigned {bad.status_code}",
            ""
            if fine
            else "Twilio signs the public URL: the proxy must not change path, query or body, and "
            "PUBLIC_BASE_URL must be what Twilio is told.",
        )


def _refusals() -> Iterator[Result]:
    """Tell what was refused of each account in the last day, the newest of each kind."""
    seen: dict[tuple[str, str], tuple[RefusedRequest, int]] = {}
    for row in refusals_since(timezone.now() - timedelta(days=1))[:500]:
        key = (str(row.account or "of unknown accounts"), row.cause)
        newest, count = seen.get(key, (row, 0))
        seen[key] = (newest, count + row.count)
    for (account, cause), (row, count) in seen.items():
        fault = fault_of_refusal(cause, row.signed_url)
        # Only a signature of Twilio's own proves that a call was lost; the rest anybody can send.
        yield Result(
            f"refused requests {account}",
            "failed" if cause == RefusedRequest.Cause.OTHER_URL else "warning",
            f"{count} in the last day, the newest at {row.last_at:%H:%M} UTC; we hashed {row.url}. "
            f"{fault.cause}",
            fault.fix,
        )


def _upgrade() -> Iterator[Result]:
    """Ask for a media socket without proof: only our own refusal shows that upgrades arrive."""
    url = stream_url("/twilio/media/00000000-0000-4000-8000-000000000000/doctor")
    fix = "Let the proxy pass WebSocket upgrades for /twilio/media/ (HTTP/1.1, Upgrade headers)."
    try:
        connect(url, open_timeout=5, proxy=None).close()
    except InvalidStatus as error:
        refused = error.response.status_code == 403
        yield Result(
            "media socket",
            "ok" if refused else "failed",
            f"an upgrade without proof is answered {error.response.status_code}",
            "" if refused else fix,
        )
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI, EOFError) as error:
        yield Result("media socket", "failed", type(error).__name__, fix)
    else:
        yield Result("media socket", "failed", "an upgrade without proof was accepted", fix)


def _models() -> Iterator[Result]:
    connections = list(ProviderConnection.objects.all()[:10])
    if not connections:
        yield Result("model", "warning", "no provider connection", "Add one under Connections.")
    for row in connections:
        name = f"model {row.name}"
        if row.names_deployment:
            yield _deployment_result(name, row)
            continue
        header = {"Authorization": f"Bearer {row.api_key}"}
        try:
            with http.client(connect_seconds=5, read_seconds=10) as client:
                response = client.get(f"{row.rest_base_url}/models", headers=header)
                body = response.json() if response.status_code == 200 else {}
        except (http.HTTPError, ValueError) as error:
            yield Result(name, "failed", type(error).__name__, "Check the connection's addresses.")
            continue
        if response.status_code != 200:
            yield Result(name, "failed", f"answered {response.status_code}", "Check the key.")
            continue
        yield _model_result(name, row.model, body)


def _deployment_result(name: str, row: ProviderConnection) -> Result:
    """Dial the deployment: Azure lists models, which may be called otherwise. Costs nothing."""
    fix = (
        "Enter under Connections, as the model, the name that the deployment has at Azure; it need "
        "not be the model's name."
    )
    endpoint = Endpoint(
        url=row.realtime_url,
        dialect=row.dialect,  # type: ignore[arg-type]  # the column's choices are the dialects
        model=row.model,
        api_key=row.api_key,
    )
    try:
        with connect_straight(
            endpoint.address(), additional_headers=endpoint.headers(), open_timeout=5, proxy=None
        ) as socket:
            kind, event = decode(str(socket.recv(timeout=5)), endpoint.dialect)
    except InvalidStatus as error:
        status = error.response.status_code
        if status in (401, 403):
            return Result(name, "failed", f"answered {status}", "Check the key.")
        return Result(name, "failed", f"deployment {row.model} answered {status}", fix)
    except (OSError, InvalidHandshake, InvalidURI, EOFError, *_BROKEN_OFF) as error:
        return Result(name, "failed", type(error).__name__, "Check the connection's addresses.")
    if kind != "session.created":
        problem = event.get("error")
        code = problem.get("code") if isinstance(problem, dict) else kind
        return Result(name, "failed", f"deployment {row.model}: {str(code)[:80]}", fix)
    return Result(name, "ok", f"deployment {row.model} is there")


def _model_result(name: str, model: str, body: object) -> Result:
    rows = body.get("data") if isinstance(body, dict) else None
    known = {row.get("id"): row for row in rows or [] if isinstance(row, dict)}
    if model not in known:
        return Result(name, "failed", f"{model} is not offered", "Choose a model the key may use.")
    if model.startswith("gpt-") and not is_speech_model(model):
        why = why_no_speech_model(model)
        return Result(name, "failed", f"{model} {why}", "Choose a model such as gpt-realtime-2.1.")
    ends = known[model].get("shutdown_date")
    if ends:
        return Result(name, "warning", f"{model} is shut down on {ends}", "Plan its successor.")
    return Result(name, "ok", f"{model} is there")


def _sessions(chosen: Sequence[ProviderConnection] | None = None) -> Iterator[Result]:
    """Open a session on every connection as a call does; nothing is said, so nothing is paid."""
    for row in ProviderConnection.objects.all()[:10] if chosen is None else chosen:
        test = connection_test(row)
        yield Result(f"session {row.name}", "ok" if test.is_ok else "failed", test.words, test.fix)


def _retirements() -> Iterator[Result]:
    """Tell which configured models end soon or are gone, as far as is known today."""
    for warning in model_warnings():
        yield Result(
            f"retirement {warning.used_by}",
            "failed" if warning.is_urgent else "warning",
            f"{warning.model} {warning.words}",
            warning.fix,
        )


def _numbers() -> Iterator[Result]:
    live = PhoneNumber.objects.filter(route__in=("direct", "canary"))
    for number in live.filter(policy__reviewed_at__isnull=True)[:20]:
        yield Result(
            f"number {number.number_e164}",
            "failed",
            "its call policy has not been reviewed, so calls are declined",
            "Have it reviewed, then use “Mark as reviewed” in the list of call policies.",
        )
    for number in live.filter(Q(health_data=True) | Q(eu_data=True))[:200]:
        chosen = connection_for(number)
        forbidden = contract_problem(number, chosen) if chosen is not None else ""
        if forbidden:
            yield Result(
                f"number {number.number_e164}",
                "failed",
                f"calls are declined: {forbidden}",
                "Choose a connection whose contract allows it, or enter the contract there.",
            )
    unrendered = live.filter(policy__wordings__audio_mulaw__isnull=True)
    # Where callers are asked, Twilio's voice says the line anyway.
    unrendered = unrendered.exclude(policy__recording_consent=CallPolicy.Consent.ASK)
    for number in unrendered.distinct()[:20]:
        yield Result(
            f"number {number.number_e164}",
            "warning",
            "a policy line has no audio yet, so Twilio's voice reads it",
            "It is rendered within a minute; if not, the wording's page says why.",
        )


CHECKS: tuple[Callable[[], Iterator[Result]], ...] = (
    _configuration,
    _database,
    _redis,
    _watcher,
    _public_url,
    _signatures,
    _refusals,
    _upgrade,
    _models,
    _sessions,
    _retirements,
    _numbers,
)


def run_for(
    accounts: Sequence[TwilioAccount], connections: Sequence[ProviderConnection]
) -> list[Result]:
    """Run the checks that calls of these accounts, over these connections, depend on."""
    return [
        *_public_url(),
        *_signatures(accounts),
        *_upgrade(),
        *_sessions(connections),
    ]


def run_checks() -> list[Result]:
    """Run every check and return the results in order."""
    return [result for check in CHECKS for result in check()]
