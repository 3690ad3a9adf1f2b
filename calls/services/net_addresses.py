"""Whether who is asked in our place answers: asked as Twilio would ask, or only knocked at.

Owns how each kind of address may be looked at. An operator's address is static TwiML, so it is
asked with a signed request that is about no call: nobody is dialled by it. What answered before the
move may start an assistant and bill for it, so its server is asked for its root and nothing else,
and any answer counts (twilio.md 5.5). It writes no row.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

from django.conf import settings

from calls.numbers.switch.net import is_same_site, without_overrides
from calls.previous.addresses import Patience
from calls.previous.errand import Errand
from calls.previous.requests import Heard, Method
from calls.telephony.previous_stack import monotonic_ms, previous_asked
from voiceplatform.base import http
from voiceplatform.base.egress import EgressRefused, destination, egress_client, encrypted

# No call of Twilio's has such an id: whoever looks it up finds nothing.
NO_CALL: Final = "CA" + "0" * 32
_PATIENCE: Final = Patience(connect_ms=2_000, read_ms=4_000, total_ms=6_000)
_KNOCK_SECONDS: Final = 5.0
_DIALS: Final = frozenset({"Dial", "Enqueue"})


@dataclass(frozen=True, slots=True)
class Checked:
    """What an address answered; ``words`` name the cause and the fix where it did not."""

    state: Literal["answers", "fails"]
    words: str
    dials: bool = False


def address_problem(url: str) -> str:
    """Return what is wrong with an address of the operator's, '' if it may be entered."""
    if not url:
        return ""
    try:
        encrypted(url)
    except EgressRefused as refused:
        return str(refused)
    if is_same_site(url, settings.PUBLIC_BASE_URL):
        return (
            "This address is on this site, which is what the net is for when it is dead. Fix: use "
            "one on other machines, for example a TwiML Bin."
        )
    return ""


def address_check(
    url: str, method: Method, *, account_sid: str, auth_token: str, number_e164: str
) -> Checked:
    """Ask the operator's address as Twilio would for a call that it could not bring to us.

    Blocking, for tasks; at most 6 s.

    Args:
        auth_token: of the account; the request is signed, for a TwiML Bin answers no other.
        number_e164: whose net it is.
    """
    if problem := address_problem(url):
        return Checked("fails", problem)
    fields = {
        "AccountSid": account_sid,
        "ApiVersion": "2010-04-01",
        "CallSid": NO_CALL,
        "CallStatus": "ringing",
        "Direction": "inbound",
        "ErrorCode": "11200",
        "ErrorUrl": f"{settings.PUBLIC_BASE_URL}/twilio/voice",
    }
    # Both ends are the number itself: a caller's would be somebody's.
    fields |= dict.fromkeys(("From", "To", "Caller", "Called"), number_e164)
    errand = Errand(
        url=without_overrides(url),
        method=method,
        heard=Heard(urlencode(fields).encode("ascii")),
        auth_token=auth_token,
        patience=_PATIENCE,
        own_url=settings.PUBLIC_BASE_URL,
        now_ms=monotonic_ms(),
    )
    outcome = asyncio.run(previous_asked(errand))
    if not outcome.is_taken or outcome.answer is None:
        return Checked("fails", f"It did not answer what Twilio needs: {outcome.reason}.")
    if not _dials(outcome.answer.body):
        words = "It answers TwiML, but nobody is dialled in it: callers will not reach a person."
        return Checked("answers", words)
    return Checked("answers", "It answers TwiML that dials somebody.", dials=True)


def server_check(url: str) -> Checked:
    """Knock at the server of an address without asking the address itself; at most 5 s."""
    try:
        parts = urlsplit(url)
        status = asyncio.run(_status_of(f"{parts.scheme}://{parts.netloc}/"))
    except TimeoutError:
        return Checked("fails", "Its server did not answer within 5 s. Fix: ask its operator.")
    except EgressRefused as refused:
        return Checked("fails", str(refused))
    except (http.HTTPError, http.InvalidURL, ValueError, OSError) as error:
        # The name alone: the text may quote the address.
        words = f"Its server was not reached ({type(error).__name__}). Fix: ask its operator."
        return Checked("fails", words)
    if status >= 500:
        return Checked("fails", f"Its server answers {status}. Fix: ask its operator.")
    return Checked("answers", "Its server answers. What it does with a call only a drill shows.")


async def _status_of(url: str) -> int:
    async with asyncio.timeout(_KNOCK_SECONDS), egress_client(connect_seconds=2.0) as client:
        request = http.Request("GET", destination(url).url)
        response = await client.send(request, stream=True)
        await response.aclose()
        return response.status_code


def _dials(body: bytes) -> bool:
    try:
        # The errand has refused documents with a type, so there are no entities.
        root = ElementTree.fromstring(body)  # noqa: S314
    except ElementTree.ParseError:
        return False
    return any(element.tag.rpartition("}")[2] in _DIALS for element in root.iter())
