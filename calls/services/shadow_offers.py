"""Whether a call that the old stack has answered is heard along, decided while Twilio waits.

Owns the rows that reserve a place, and the TwiML with its one more element. It must not fail: any
doubt, any error of the database leaves the old stack's answer as it is, byte for byte.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from calls.models import Call, ParityRun, ShadowCall, ShadowSwitch, TwilioAccount
from calls.numbers.canary import DRAWS, place
from calls.parity.shadow_rules import MOST_PERCENT, Moment, most_everywhere, why_never, why_not_now
from calls.previous.answers import Answer
from calls.previous.forks import NotForked, forked
from calls.services.call_plan import connection_for, line_of
from calls.services.shadow_money import left_for_another, open_shadows
from calls.services.shadow_switches import standing_of
from calls.telephony.addresses import public_url, shadow_path, shadow_status_path, stream_url
from calls.wire.twilio_voice import StreamReport, fork_start

TOKEN_SECONDS: Final = 60
_TAKEN: Final = ("offered", "hearing", "done")

log = structlog.get_logger(__name__)


def shadow_token(shadow_id: object) -> str:
    """Return the token of a fork's socket; derived, so that a repeat of the webhook gets it too."""
    digest = hmac.new(settings.SECRET_KEY.encode(), f"shadow:{shadow_id}".encode(), hashlib.sha256)
    return urlsafe_b64encode(digest.digest()[:24]).decode()


def shadow_offered(
    call_id: str, answer: Answer, *, live_calls: int, is_lost: Callable[[str], bool]
) -> Answer:
    """Return the answer that Twilio is given: the old stack's, or that with a fork before it.

    Args:
        live_calls: of this process.
        is_lost: tells of a model's URL or line whether it was out of reach lately.
    """
    switch = (
        ShadowSwitch.objects.filter(number__calls__pk=call_id, is_on=True)
        .select_related(
            *("number__policy", "number__connection", "number__organisation"),
            "number__assistant__current_revision",
        )
        .first()
    )
    if switch is None:
        return answer
    if isinstance(found := forked(answer, _start("")), NotForked):
        log.info("shadow_not_taken", call_id=call_id, reason=found.reason)
        return answer
    row = ShadowCall.objects.filter(call__pk=call_id).first()
    if row is None:
        row = _reserved(call_id, switch, live_calls=live_calls, is_lost=is_lost)
    elif row.state != ShadowCall.State.OFFERED:
        row = None  # the webhook came again, and the fork is on already
    if row is None:
        return answer
    made = forked(answer, _start(str(row.pk)))
    return answer if isinstance(made, NotForked) else made


def shadow_reported(*, shadow_id: str, report: StreamReport, account: TwilioAccount) -> bool:
    """Take what Twilio says of a fork: one that could not begin frees its place. False: unknown."""
    row = ShadowCall.objects.filter(
        pk=shadow_id, call__call_sid=report.call_sid, call__twilio_account=account
    ).first()
    if row is None:
        return False
    if report.event == "stream-error":
        log.warning("shadow_fork_failed", shadow_id=shadow_id, error=report.error)
        ShadowCall.objects.filter(pk=row.pk, state=ShadowCall.State.OFFERED).update(
            state=ShadowCall.State.NOTHING,
            problem=f"the fork did not begin: {report.error}"[:300],
            ended_at=timezone.now(),
        )
    return True


def _start(shadow_id: str) -> str:
    shown = shadow_id or "0" * 36
    return fork_start(
        stream_url=stream_url(shadow_path(shown, shadow_token(shadow_id))),
        name=f"shadow-{shown}",
        status_url=public_url(shadow_status_path(shown)),
    )


def _reserved(
    call_id: str,
    switch: ShadowSwitch,
    *,
    live_calls: int,
    is_lost: Callable[[str], bool],
) -> ShadowCall | None:
    """Reserve a call's place in the run that collects its number's, None where there is none."""
    number, now = switch.number, timezone.now()
    columns = ("pk", "stack", "organisation_id", "call_sid", "consent", "is_test")
    call = Call.objects.only(*columns).get(pk=call_id)
    never = why_never(standing_of(number, switch.notice))
    # A call of our own, such as a live run's, is no caller's.
    if never or call.stack != Call.Stack.VAPI or call.consent_state or call.is_test:
        log.info("shadow_not_taken", call_id=call_id, reason=never or "not for this call")
        return None
    connection = connection_for(number)
    assert number.assistant is not None and connection is not None, "why_never has looked"
    revision = number.assistant.current_revision
    assert revision is not None, "why_never has looked"
    try:
        with transaction.atomic():
            run = (
                ParityRun.objects.select_for_update()
                .filter(
                    kind=ParityRun.Kind.SHADOW,
                    state=ParityRun.State.RUNNING,
                    number=number,
                    revision=revision,
                )
                .order_by("created_at")
                .first()
            )
            moment = _moment(call, switch, run, live_calls=live_calls, now=now)
            lost = is_lost(connection.realtime_url) or is_lost(line_of(connection, revision))
            reason = why_not_now(replace(moment, is_lost=lost))
            if reason or run is None:
                log.info("shadow_not_taken", call_id=call_id, reason=reason)
                return None
            last = run.shadows.aggregate(last=Max("position"))["last"]
            row: ShadowCall = ShadowCall.objects.create(
                organisation_id=call.organisation_id,
                run=run,
                call=call,
                position=0 if last is None else last + 1,
                token_expires_at=now + dt.timedelta(seconds=TOKEN_SECONDS),
                alive_at=now,
            )
    except IntegrityError:
        # The same webhook, twice at once: the other one has reserved it.
        return ShadowCall.objects.filter(call__pk=call_id).first()
    return row


def _moment(
    call: Call, switch: ShadowSwitch, run: ParityRun | None, *, live_calls: int, now: dt.datetime
) -> Moment:
    open_rows = ShadowCall.objects.filter(open_shadows(now))
    everywhere = list(open_rows.values_list("run__number", flat=True)[: 2 * _ceiling()])
    return Moment(
        is_on=switch.is_on,
        percent=switch.percent,
        most_here=switch.most_at_once,
        run_is_open=run is not None and left_for_another(run, now) > 0,
        wanted=run.wanted if run is not None else 0,
        taken=run.shadows.filter(state__in=_TAKEN).count() if run is not None else 0,
        drawn=MOST_PERCENT * place("shadow", str(switch.pk), call.call_sid) / DRAWS,
        here=sum(each == switch.number_id for each in everywhere),
        everywhere=len(everywhere),
        live_calls=live_calls,
        most_calls=settings.MAX_CONCURRENT_CALLS,
    )


def _ceiling() -> int:
    return most_everywhere(settings.MAX_CONCURRENT_CALLS)
