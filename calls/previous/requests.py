"""A request to the previous stack, made as Twilio would make it (twilio.md 1.1, 1.4).

Owns the form on its way (never decoded and written anew), the signature for the URL that is
asked, and which of Twilio's headers go along. It must not send anything. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, quote_from_bytes, unquote, urlencode, urlsplit

from calls.previous.addresses import wire_url
from calls.previous.cookies import Cookie, cookie_header

Method = Literal["GET", "POST"]

FORM_TYPE: Final = "application/x-www-form-urlencoded"
USER_AGENT: Final = "TwilioProxy/1.1"
SIGNATURE: Final = "X-Twilio-Signature"
# What Twilio says of itself. All else tells of us, of a proxy before us, or of this connection.
_CARRIED: Final = frozenset(
    {"user-agent", "accept", "accept-charset", "accept-language", "x-home-region"}
)
_CARRIED_PREFIXES: Final = ("i-twilio-", "x-twilio-")
# These are about the signature for our URL; the one for theirs is by the Auth Token (1.6).
_OURS: Final = frozenset({"x-twilio-signature", "x-twilio-webhooks-signature-settings"})
_MOST_CHARACTERS: Final = 1_024
_QUERY_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "#")


@dataclass(frozen=True, slots=True)
class Heard:
    """What Twilio asked us: its fields as they came, a POST's body or a GET's query string."""

    fields: bytes = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request. ``url`` is signed and goes on the wire letter for letter, but its user part."""

    method: Method
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def target(self) -> bytes:
        """Return the request line's target: path and query as they are signed."""
        parts = urlsplit(self.url)
        query = self.url.partition("?")[1] and "?" + self.url.partition("?")[2]
        return f"{parts.path}{query}".encode("ascii")


def signature(auth_token: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> str:
    """Return ``X-Twilio-Signature``: each distinct value of a name once, both sorted (1.4)."""
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    digest = hmac.new(auth_token.encode(), text.encode("utf-8", "replace"), hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")


def fields_of(encoded: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form in their order, blank ones too, as servers read them."""
    return parse_qsl(encoded.decode("utf-8", "replace"), keep_blank_values=True)


def with_error(heard: Heard, *, error_code: int, error_url: str) -> Heard:
    """Return what Twilio asks of a fallback URL: the same and why the first failed (1.1)."""
    added = urlencode({"ErrorCode": error_code, "ErrorUrl": error_url}).encode("ascii")
    return Heard(b"&".join(part for part in (heard.fields, added) if part), heard.headers)


def first_request(
    url: str, method: Method, heard: Heard, *, auth_token: str, cookies: Sequence[Cookie] = ()
) -> Outgoing:
    """Return Twilio's request for ``url``: a POST's fields in its body, a GET's in the query.

    Raises:
        ValueError: no http or https URL.
    """
    asked = wire_url(url)
    if method == "GET" and heard.fields:
        # The fields follow what the URL has of its own; a signature over a GET is of its URL alone.
        query = quote_from_bytes(heard.fields, safe=_QUERY_SAFE)
        asked = f"{asked}{'&' if '?' in asked else '?'}{query}"
    body = heard.fields if method == "POST" else b""
    return _request(asked, method, body, heard, auth_token, cookies)


def next_request(
    url: str,
    status: int,
    before: Outgoing,
    heard: Heard,
    *,
    auth_token: str,
    cookies: Sequence[Cookie] = (),
) -> Outgoing:
    """Return the request that follows a redirect of ``status`` to ``url``, signed for that URL.

    301, 302 and 303 are followed by a GET without the fields (twilio.md 1.2); 307 and 308 repeat
    method and body, as every browser does and Twilio says it does:
    https://www.twilio.com/docs/api/twiml/your_response, a stored copy read 2026-11-23.

    Raises:
        ValueError: no http or https URL.
    """
    repeats = status in {307, 308}
    method = before.method if repeats else "GET"
    body = before.body if repeats else b""
    return _request(wire_url(url), method, body, heard, auth_token, cookies)


def _request(
    url: str,
    method: Method,
    body: bytes,
    heard: Heard,
    auth_token: str,
    cookies: Sequence[Cookie],
) -> Outgoing:
    headers = {"Host": urlsplit(url).netloc.rpartition("@")[2]}
    headers |= {"User-Agent": USER_AGENT, "Accept": "*/*"} | _carried(heard.headers)
    # The size limit is then a limit on what arrives; an answer compressed anyway is opened.
    headers["Accept-Encoding"] = "identity"
    if method == "POST":
        headers["Content-Type"] = FORM_TYPE
    if authorization := _authorization(url):
        headers["Authorization"] = authorization
    if going := cookie_header(cookies, url):
        headers["Cookie"] = going
    signed = fields_of(body) if method == "POST" else ()
    headers[SIGNATURE] = signature(auth_token, url, signed)
    return Outgoing(method, url, tuple(headers.items()), body)


def _carried(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        low = name.lower()
        if low in _OURS or not (low in _CARRIED or low.startswith(_CARRIED_PREFIXES)):
            continue
        if len(value) <= _MOST_CHARACTERS and value.isascii() and value.isprintable():
            found["-".join(word.capitalize() for word in low.split("-"))] = value
    return found


def _authorization(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return ""
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
