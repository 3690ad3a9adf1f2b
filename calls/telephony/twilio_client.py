"""Twilio's REST API through the official SDK: blocking, so always in a thread.

Every client has a timeout (trap T27) and ignores the SDK's environment variables. Nothing here can
delete a number.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from requests import ConnectTimeout, RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from calls.telephony.rest_rules import api_host

if TYPE_CHECKING:
    from calls.models import TwilioAccount

TIMEOUT_SECONDS = 4
# The call is over already: 20404 not found, 21220 not in progress (trap T16).
GONE_CODES = frozenset({20404, 21220})

# Not empty: the SDK takes an empty mapping for none and reads TWILIO_REGION and TWILIO_EDGE.
NO_ENVIRONMENT = {"": ""}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TwilioAccess:
    """What it takes to act for an account: its API key if it has one, else its token."""

    account_sid: str
    auth_token: str = field(repr=False)
    api_base_url: str = ""
    key_sid: str = ""
    key_secret: str = field(default="", repr=False)
    region: str = ""
    edge: str = ""

    @property
    def login(self) -> tuple[str, str]:
        """Return user and password."""
        if self.key_sid:
            return self.key_sid, self.key_secret
        return self.account_sid, self.auth_token

    @property
    def origin(self) -> str:
        """Return where the account's API is.

        Raises:
            ValueError: the region is none.
        """
        return self.api_base_url.rstrip("/") or f"https://{api_host(self.region, self.edge)}"


def access_of(account: TwilioAccount) -> TwilioAccess:
    """Return what it takes to act for a stored account."""
    return TwilioAccess(
        account.account_sid,
        account.auth_token,
        account.api_base_url,
        account.api_key_sid,
        account.api_key_secret,
        account.region,
        account.edge,
    )


def client_for(access: TwilioAccess, http_client: TwilioHttpClient | None = None) -> Client:
    """Return a client of the account, or of the stand-in its row points to.

    Args:
        http_client: in place of the usual one; it has a timeout of its own.

    Raises:
        TwilioException: the account's region is none; no token is sent to a made-up host.
    """
    try:
        origin = access.origin
    except ValueError as error:
        raise TwilioException(str(error)) from error
    client = Client(
        *access.login,
        access.account_sid,
        http_client=http_client or TwilioHttpClient(timeout=TIMEOUT_SECONDS, max_retries=1),
        environment=NO_ENVIRONMENT,
    )
    client.api.base_url = origin
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


class CarrierSilent(Exception):
    """Twilio gave no answer that can be used; ask later. The text says why, without secrets."""


@dataclass(frozen=True, slots=True)
class CarrierCall:
    """A call as Twilio lists it; ``status`` is Twilio's word (twilio.md 4.3)."""

    call_sid: str
    status: str
    direction: str
    to: str
    from_: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: int = 0


def calls_since(access: TwilioAccess, since: datetime, *, most: int) -> Iterator[CarrierCall]:
    """Yield the account's calls that began since then, newest first, as Twilio pages them.

    Args:
        since: an aware time. Twilio's filter is by day, so older ones of that day come too.
        most: how many at most.

    Raises:
        CarrierSilent: there is no list, or not all of it.
    """
    client = client_for(access)
    try:
        for call in client.calls.stream(start_time_after=since, limit=most, page_size=1000):
            yield _carrier_call(call)
    except TwilioRestException as error:
        raise CarrierSilent(f"Twilio answered {error.status}, code {error.code}") from error
    except (TwilioException, RequestException, ValueError) as error:
        raise CarrierSilent(f"Twilio was not reached ({type(error).__name__})") from error


def call_at_carrier(access: TwilioAccess, call_sid: str) -> CarrierCall | None:
    """Return a call as Twilio has it; None when Twilio knows of no such call.

    Raises:
        CarrierSilent: Twilio did not say.
    """
    try:
        return _carrier_call(client_for(access).calls(call_sid).fetch())
    except TwilioRestException as error:
        if error.status == 404:
            return None
        raise CarrierSilent(f"Twilio answered {error.status}, code {error.code}") from error
    except (TwilioException, RequestException, ValueError) as error:
        raise CarrierSilent(f"Twilio was not reached ({type(error).__name__})") from error


def fork_stop(access: TwilioAccess, call_sid: str, stream_sid: str) -> bool:
    """Stop a fork, which leaves the call as it is; True also when it had stopped before (2.5).

    Closing its socket would do as well, and be an error in the account's log (31921).
    """
    try:
        client_for(access).calls(call_sid).streams(stream_sid).update(status="stopped")
    except TwilioRestException as error:
        if error.code in GONE_CODES or error.status == 404:
            return True
        log.warning("fork_stop_refused", call_sid=call_sid, code=error.code, status=error.status)
        return False
    except (TwilioException, RequestException) as error:
        log.warning("fork_stop_failed", call_sid=call_sid, error=type(error).__name__)
        return False
    return True


def _carrier_call(call: Any) -> CarrierCall:
    # The SDK's class hides ``from`` behind ``_from``.
    return CarrierCall(
        call_sid=str(call.sid),
        status=str(call.status),
        direction=str(call.direction or ""),
        to=str(call.to or ""),
        from_=str(call._from or ""),
        started_at=_aware(call.start_time),
        ended_at=_aware(call.end_time),
        duration_seconds=int(call.duration or 0),
    )


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


async def hang_up(access: TwilioAccess, call_sid: str) -> None:
    """End a call without blocking the event loop. A failure is logged: the action URL hangs up."""
    await asyncio.to_thread(complete_call, access, call_sid)
