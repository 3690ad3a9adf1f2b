"""Hands a ringing call to the stack that had its number before, by proxy (ADR 0007).

Twilio's own request goes on to the previous URL, signed for that URL, and its answer comes back.
A ``<Redirect>`` would not do: what it asks is told that the call is in progress (twilio.md 1.1),
and the previous stack takes ringing calls only (5.5). Nothing here decides who answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import structlog
from twilio.request_validator import RequestValidator

from voiceplatform.base import egress, http

CONNECT_SECONDS: Final = 1.0
TOTAL_SECONDS: Final = 10.0
MAX_TWIML_BYTES: Final = 64_000
# Where TwiML holds addresses (twilio.md 2.2, 4.4, 4.5).
_ADDRESS_SUFFIXES: Final = ("url", "action", "callback")
_ADDRESS_VERBS: Final = frozenset({"Redirect", "Play"})

log = structlog.get_logger(__name__)


def absolute(twiml: str, base_url: str) -> str:
    """Return TwiML with relative addresses made absolute; verbatim when it holds none.

    Raises:
        ValueError: it is no TwiML.
    """
    if "<!" in twiml:
        raise ValueError("a document type has no place in TwiML")
    try:
        root = ElementTree.fromstring(twiml)  # noqa: S314 - no document type, so no entities
    except ElementTree.ParseError as error:
        raise ValueError("it is no XML") from error
    if root.tag != "Response":
        raise ValueError("the root is not Response")
    changed = False
    for element in root.iter():
        for name, value in element.attrib.items():
            if name.lower().endswith(_ADDRESS_SUFFIXES) and _is_relative(value):
                element.set(name, urljoin(base_url, value))
                changed = True
        text = (element.text or "").strip()
        if element.tag in _ADDRESS_VERBS and _is_relative(text):
            element.text = urljoin(base_url, text)
            changed = True
    return ElementTree.tostring(root, encoding="unicode") if changed else twiml


def _is_relative(address: str) -> bool:
    return bool(address.strip()) and not urlsplit(address.strip()).scheme


async def hand_over(url: str, form: Mapping[str, str], auth_token: str) -> str | None:
    """Return what the previous stack answers, None if it gave nothing that Twilio could run.

    At most ``TOTAL_SECONDS``; the previous stack may have taken the call although it answered late.
    """
    signature = RequestValidator(auth_token).compute_signature(url, dict(form))
    try:
        target = egress.destination(url)
        headers = {"X-Twilio-Signature": signature}
        if target.authorization:
            headers["Authorization"] = target.authorization
        async with (
            asyncio.timeout(TOTAL_SECONDS),
            egress.egress_client(connect_seconds=CONNECT_SECONDS) as client,
        ):
            response = await client.post(target.url, data=dict(form), headers=headers)
        if response.status_code != 200 or len(response.content) > MAX_TWIML_BYTES:
            log.warning("previous_stack_refused", status=response.status_code)
            return None
        return absolute(response.text, url)
    except (TimeoutError, egress.EgressRefused, http.HTTPError, http.InvalidURL, ValueError) as why:
        # The name alone: texts quote addresses, and an address may carry a token.
        log.warning("previous_stack_lost", error=type(why).__name__)
        return None
