"""Twilio's webhooks for our own leg of a call that a run placed: what it does, how it fares.

Signed like the others; the path names the row that was written before the call was ordered.
"""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse

from calls.media.database import in_database
from calls.models import TwilioAccount
from calls.services.live_lines import line_next, line_reported
from calls.telephony.addresses import public_url, stream_url
from calls.telephony.signed import Form, signed
from calls.wire import twilio_voice


@signed
async def run_caller(form: Form, account: TwilioAccount, dial_id: UUID) -> HttpResponse:
    """Answer what our leg does: when it is answered, and after each of its streams."""
    request = twilio_voice.voice_request(form)
    found = await in_database(
        line_next,
        dial_id=str(dial_id),
        account=account,
        caller_sid=request.call_sid,
        is_over=request.call_status in twilio_voice.TERMINAL_STATUSES,
    )
    if found is None:
        return HttpResponse("no such call", status=404, content_type="text/plain")
    if found.kind == "hangup":
        return HttpResponse(twilio_voice.hang_up(), content_type="text/xml")
    twiml = twilio_voice.press_and_connect(
        stream_url=stream_url(found.stream_path),
        action_url=public_url(found.action_path),
        digits=found.digits,
    )
    return HttpResponse(twiml, content_type="text/xml")


@signed
async def run_caller_status(form: Form, account: TwilioAccount, dial_id: UUID) -> HttpResponse:
    """Take a status callback of our leg."""
    report = twilio_voice.status_report(form)
    known = await in_database(
        line_reported,
        dial_id=str(dial_id),
        account=account,
        caller_sid=report.call_sid,
        status=report.call_status,
        seconds=report.duration_seconds,
    )
    return HttpResponse(status=204 if known else 404)
