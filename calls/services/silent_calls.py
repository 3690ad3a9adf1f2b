"""Calls whose media process has fallen silent: whether they are over, Twilio says.

A process that dies leaves calls that a successor resumes within seconds, and calls that ended
unseen. Nothing here can tell them apart by waiting, so it asks, and closes only what is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.utils import timezone

from calls.bridge.reasons import EndCause
from calls.models import Call
from calls.services.call_finish import call_close, carrier_says_over
from calls.services.tool_run import twilio_access_for
from calls.telephony.twilio_client import CarrierSilent, call_at_carrier
from calls.wire.twilio_voice import TERMINAL_STATUSES

# Three heartbeats that did not come.
SILENT_AFTER = timedelta(seconds=15)
# Twilio asked the action URL long ago, whatever it said; nobody will resume this call.
GIVEN_UP_AFTER = timedelta(minutes=15)
_MOST = 20  # questions of one sweep, at most 4 s each
_SLICE = 200  # rows of one transaction (design.md 9)
_OURS = (Call.Status.RINGING, Call.Status.IN_PROGRESS)

log = structlog.get_logger(__name__)


def calls_alive(call_ids: Sequence[str]) -> None:
    """Note that these calls are on."""
    for start in range(0, len(call_ids), _SLICE):
        Call.objects.filter(pk__in=call_ids[start : start + _SLICE]).exclude(
            status=Call.Status.ENDED
        ).update(alive_at=timezone.now())


def silent_calls_close() -> int:
    """Close the calls that are over and whose process never said so; return how many."""
    now = timezone.now()
    rows = Call.objects.filter(status__in=_OURS, alive_at__lt=now - SILENT_AFTER)
    closed = 0
    for call in rows.order_by("alive_at")[:_MOST]:
        assert call.alive_at is not None, "it was compared"
        try:
            at_carrier = call_at_carrier(twilio_access_for(call_id=str(call.pk)), call.call_sid)
        except CarrierSilent as silence:
            log.warning("silent_call_unknown", call_sid=call.call_sid, reason=str(silence))
            at_carrier = None
        if at_carrier is not None and at_carrier.status not in TERMINAL_STATUSES:
            # The caller is on the line: somebody will resume the call, or has. Ask again later.
            Call.objects.filter(pk=call.pk, alive_at=call.alive_at).update(alive_at=now)
        elif at_carrier is not None:
            done = carrier_says_over(
                call_id=str(call.pk),
                call_status=at_carrier.status,
                ended_at=at_carrier.ended_at,
                duration_seconds=at_carrier.duration_seconds,
            )
            closed += _noted(call, done)
        elif call.alive_at < now - GIVEN_UP_AFTER:
            done = call_close(call_id=str(call.pk), reason=EndCause.CRASHED.ended_reason)
            closed += _noted(call, done)
    return closed


def _noted(call: Call, done: bool) -> int:
    if done:
        log.warning("silent_call_closed", call_sid=call.call_sid)
    return int(done)
