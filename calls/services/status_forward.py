"""Passes Twilio's message of a call's end on to the stack that had the call (design.md 2 (7)).

Owns which messages are passed on, once each, and when one is tried again. Twilio has its answer
before anybody is asked: the message waits in the call's row, sealed, until a worker has sent it. A
message that may have arrived is not sent a second time.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from calls.models import Call, CallHandover, TwilioAccount
from calls.previous.addresses import patience_for
from calls.previous.errand import Errand, Outcome
from calls.previous.requests import Heard
from calls.services.call_finish import status_apply
from calls.services.call_handover import cookies_of
from calls.telephony.previous_stack import monotonic_ms, previous_asked
from calls.wire.twilio_voice import TERMINAL_STATUSES, StatusReport
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.job_bell import Doorbell, task_tell

TASK: Final = "calls.tasks.forward_status"
# Twilio's patience with a status callback (twilio.md 1.3); nobody rings meanwhile.
_TOTAL_MS: Final = 10_000
# Another worker may take a message whose worker died.
_LEASE: Final = dt.timedelta(seconds=60)
_PAUSES: Final = tuple(dt.timedelta(seconds=each) for each in (10, 60, 300, 1_800))
_BATCH: Final = 20

_doorbell = Doorbell("status-poke")
log = structlog.get_logger(__name__)


def status_taken(
    *, report: StatusReport, account: TwilioAccount | None, heard: Heard
) -> Call | None:
    """Apply a status callback, and keep it for the old stack if that had the call.

    Returns the call as it stands, None when ``account`` has no such call.
    """
    with transaction.atomic():
        call = status_apply(report=report, account=account)
        if call is None or report.call_status not in TERMINAL_STATUSES:
            return call
        rows = CallHandover.objects.filter(call=call)
        if call.status == Call.Status.ENDED:
            rows.exclude(answer=None).update(answer=None)  # nobody asks for it again
        wants = rows.exclude(status_url="").filter(status_asked=None, status_outcome__isnull=True)
        row = wants.only("attempt_ms", "ended_at", "is_taken", "both_reached").first()
        if row is None or not _concerns(row):
            return call
        # A caller who hangs up while the old stack is being asked: it may take the call all the
        # same, and is told after it has said so.
        waits_ms = row.attempt_ms if row.ended_at is None else 0
        wants.update(
            status_asked={
                "fields": base64.b64encode(heard.fields).decode(),
                "headers": [list(pair) for pair in heard.headers],
            },
            status_due_at=timezone.now() + dt.timedelta(milliseconds=waits_ms),
        )
        transaction.on_commit(poke)
    return call


def _concerns(row: CallHandover) -> bool:
    """Tell whether the old stack has had the call, or may yet: else it need not hear of its end."""
    return row.ended_at is None or row.is_taken or row.both_reached


def poke() -> None:
    """Tell a worker that there is a message; if that is lost, the beat comes round."""
    _doorbell.press(lambda: task_tell(TASK))


def statuses_forward() -> int:
    """Send what is due; return how many messages were settled."""
    settled = 0
    due = CallHandover.objects.filter(status_due_at__lte=timezone.now())
    for row_id in due.order_by("status_due_at").values_list("pk", flat=True)[:_BATCH]:
        settled += _forward(row_id)
    return settled


def _forward(row_id: int) -> bool:
    now = timezone.now()
    lease = now + _LEASE
    claimed = CallHandover.objects.filter(pk=row_id, status_due_at__lte=now)
    if not claimed.update(status_due_at=lease):
        return False
    mine = CallHandover.objects.filter(pk=row_id, status_due_at=lease)
    try:
        row = mine.select_related("call__twilio_account").first()
    except DecryptionError:
        # No key opens it: it cannot be sent, and must not hold up the others.
        log.error("status_unreadable", handover_id=row_id)
        mine.update(status_due_at=None, status_outcome={"reason": "it cannot be decrypted"})
        return False
    if row is None or not row.status_asked or not _concerns(row):
        mine.update(status_due_at=None, status_asked=None)
        return False
    outcome = asyncio.run(previous_asked(_errand(row)))
    attempts = row.status_attempts + 1
    again = outcome.reached == "no" and not outcome.is_taken and attempts <= len(_PAUSES)
    columns: dict[str, Any] = {"status_attempts": attempts, "status_outcome": outcome.as_json()}
    if again:
        columns["status_due_at"] = timezone.now() + _PAUSES[attempts - 1]
    else:
        columns |= {"status_due_at": None, "status_asked": None, "cookies": None}
    settled = mine.update(**columns)
    _log(row, outcome)
    return bool(settled) and not again


def _errand(row: CallHandover) -> Errand:
    asked = row.status_asked
    heard = Heard(
        base64.b64decode(asked["fields"]), tuple((name, value) for name, value in asked["headers"])
    )
    return Errand(
        url=row.status_url,
        method="GET" if row.status_method == "GET" else "POST",
        heard=heard,
        auth_token=row.call.account.auth_token,
        patience=patience_for(row.status_url, total_ms=_TOTAL_MS),
        own_url=settings.PUBLIC_BASE_URL,
        purpose="status",
        cookies=cookies_of(row),
        now_ms=monotonic_ms(),
    )


def _log(row: CallHandover, outcome: Outcome) -> None:
    log.info(
        "status_forwarded",
        call_id=str(row.call_id),
        is_taken=outcome.is_taken,
        status=outcome.status,
        error_code=outcome.error_code,
    )
