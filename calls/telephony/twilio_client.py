"""Twilio's REST API through the official SDK: blocking, so always in a thread.

Every client has a timeout (trap T27) and ignores the SDK's environment variables. Nothing here can
delete a number.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from requests import ConnectTimeout, RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

TIMEOUT_SECONDS = 4
# The call is over already: 20404 not found, 21220 not in progress (trap T16).
GONE_CODES = frozenset({20404, 21220})

# Not empty: the SDK takes an empty mapping for none and reads TWILIO_REGION and TWILIO_EDGE.
NO_ENVIRONMENT = {"": ""}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TwilioAccess:
    """What it takes to act for an account."""

    account_sid: str
    auth_token: str = field(repr=False)
    api_base_url: str = ""


def client_for(access: TwilioAccess) -> Client:
    """Return a client of the account, or of the stand-in its row points to."""
    client = Client(
        access.account_sid,
        access.auth_token,
        http_client=TwilioHttpClient(timeout=TIMEOUT_SECONDS, max_retries=1),
        environment=NO_ENVIRONMENT,
    )
    if access.api_base_url:
        client.api.base_url = access.api_base_url
    return client


def complete_call(access: TwilioAccess, call_sid: str) -> bool:
    """End a call; True when it has ended, also when it had before."""
    try:
        client_for(access).calls(call_sid).update(status="completed")
    except TwilioRestException as error:
        if error.code in GONE_CODES or error.status == 404:
            return True
        log.error("hang_up_refused", call_sid=call_sid, code=error.code, status=error.status)
        return False
    except (TwilioException, RequestException) as error:
        log.error("hang_up_failed", call_sid=call_sid, error=type(error).__name__)
        return False
    return True


@dataclass(frozen=True, slots=True)
class TextSent:
    """What came of a text message; ``status`` 0: no answer. ``shown`` is the answer for records.

    ``is_unknown``: it may have been sent all the same.
    """

    status: int = 0
    code: int = 0
    shown: str = field(default="", repr=False)
    error: str = ""
    is_unknown: bool = False


def send_text(access: TwilioAccess, form: Mapping[str, str]) -> TextSent:
    """Send one text message, once: Twilio knows no idempotency key, so nothing is repeated here.

    Args:
        form: ``To``, ``From`` and ``Body``.
    """
    try:
        message = client_for(access).messages.create(
            to=form["To"], from_=form["From"], body=form["Body"]
        )
    except TwilioRestException as error:
        shown = json.dumps({"code": error.code, "message": str(error.msg)})
        return TextSent(error.status, error.code or 0, shown, is_unknown=error.status >= 500)
    except ConnectTimeout as error:
        return TextSent(error=type(error).__name__)
    except (TwilioException, RequestException) as error:
        return TextSent(error=type(error).__name__, is_unknown=True)
    return TextSent(201, shown=json.dumps({"sid": message.sid, "status": str(message.status)}))


async def hang_up(access: TwilioAccess, call_sid: str) -> None:
    """End a call without blocking the event loop. A failure is logged: the action URL hangs up."""
    await asyncio.to_thread(complete_call, access, call_sid)
