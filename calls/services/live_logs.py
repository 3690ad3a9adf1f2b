"""The old stack's log of a call that a live run has made, fetched from Vapi's API.

Owns which log is looked for: that of one call of ours, in the minutes around it. Whatever else the
answer holds is not stored. Without a key in the settings nobody is asked; the log is then imported
by hand, as any other.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Final

from django.conf import settings

from assistants.vapi_api import VapiApi, VapiApiError, VapiCancelled
from calls.models import Call
from calls.parity.logs.loose import text_of
from calls.parity.logs.reading import NotACall, Nothing, NotOver, read_log
from calls.services.call_log_store import Store
from voiceplatform.base.rest import iso

# A call's log is made when the call comes in there, and its clock is another one.
_AROUND: Final = dt.timedelta(minutes=3)
# A rate limit or a failure is waited for at least so long, and never longer than a log is.
_LEAST_SECONDS: Final = 5.0


def can_fetch() -> bool:
    """Tell whether this installation has a key of Vapi's API (``VAPI_API_KEY``)."""
    return bool(settings.VAPI_API_KEY)


def log_fetch(call: Call, *, within_seconds: float) -> str:
    """Store the old stack's log of a call if Vapi has it; return what went wrong, else ''.

    The key may be another organisation's account: only a log that names this call by Twilio's id
    is stored, in the call's own organisation.
    """
    if not can_fetch():
        return ""
    until = time.monotonic() + max(within_seconds, _LEAST_SECONDS)
    window = {
        "createdAtGe": iso(call.created_at - _AROUND) or "",
        "createdAtLe": iso(call.created_at + _AROUND) or "",
    }
    try:
        with VapiApi(api_key=settings.VAPI_API_KEY, base_url=settings.VAPI_BASE_URL) as client:
            client.cancelled = lambda: time.monotonic() > until
            for document in client.objects("call", window):
                if _is_of(call, document):
                    _store(call, document)
                    return ""
                if client.cancelled():
                    break
    except VapiApiError as error:
        return f"{error}, in VAPI_API_KEY and VAPI_BASE_URL"
    except VapiCancelled:
        return "Vapi's API did not answer in time"
    return ""


def _is_of(call: Call, document: object) -> bool:
    return isinstance(document, dict) and call.call_sid in (
        text_of(document.get("phoneCallProviderId"), 80),
        *_transport_sids(document),
    )


def _transport_sids(document: dict[str, object]) -> tuple[str, ...]:
    transport = document.get("transport")
    return (text_of(transport.get("callSid"), 80),) if isinstance(transport, dict) else ()


def _store(call: Call, document: object) -> None:
    assert call.organisation is not None, "every call has an organisation"
    try:
        past = read_log(document)
    except (NotACall, NotOver, Nothing):
        return  # not over yet; it is asked for again
    Store(call.organisation).put(past)
