"""How a request to a tool server proves who sends it (vapi.md 4.2).

Owns the headers of bearer, OAuth2 and HMAC credentials and the tokens of OAuth2, cached in this
process. An explicit header of the server wins over all of them (vapi.md traps 15 and 16), which is
the caller's to see to. No secret, token or signature reaches a log line or an error's text.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from tools.servers import Bearer, Credential, Hmac, OAuth2

# A token is renewed this long before it expires: the request takes time, and clocks differ.
_EARLY_SECONDS: Final = 30.0
# RFC 6749 only recommends expires_in; without it a token is used for a while and renewed on 401.
_UNSAID_SECONDS: Final = 300.0
_LONGEST_SECONDS: Final = 86_400.0
_MOST_TOKENS: Final = 1000
_FORM: Final = "application/x-www-form-urlencoded"

# Posts a form to a URL and returns status and body; raises what the transport raises.
Post = Callable[[str, dict[str, str], bytes], Awaitable[tuple[int, str]]]


class NotAuthorised(Exception):
    """No token could be had; the text says why, without any secret."""


@dataclass(frozen=True, slots=True)
class Signing:
    """What a signature is made over: the request as it will be sent, and when (epoch seconds)."""

    url: str
    body: bytes
    now_seconds: float
    message_id: str = ""
    method: str = "POST"


def signature_headers(credential: Hmac, signing: Signing) -> dict[str, str]:
    """Return the headers of an HMAC credential over the exact bytes of a request.

    Raises:
        NotAuthorised: the secret is said to be base64 and is not.
    """
    timestamp = str(int(signing.now_seconds))
    message_id = signing.message_id or f"msg_{uuid.uuid4().hex}"
    usual = "{timestamp}.{body}" if credential.include_timestamp else "{body}"
    payload = _filled(
        credential.payload_format or usual,
        {
            "timestamp": timestamp.encode(),
            "method": signing.method.encode(),
            "url": signing.url.encode(),
            "svix-id": message_id.encode(),
            "body": signing.body,
        },
    )
    digest = hmac.new(_key(credential), payload, getattr(hashlib, credential.algorithm)).digest()
    text = base64.b64encode(digest).decode() if credential.encoding == "base64" else digest.hex()
    headers = {credential.signature_header: credential.signature_prefix + text}
    if credential.include_timestamp:
        headers[credential.timestamp_header] = timestamp
    if credential.message_id_header:
        headers[credential.message_id_header] = message_id
    return headers


def _filled(form: str, values: dict[str, bytes]) -> bytes:
    """Fill the places of a payload format; what is filled in is not looked at again."""
    made, rest = b"", form
    while rest:
        at, name = min(
            ((rest.find(f"{{{name}}}"), name) for name in values if f"{{{name}}}" in rest),
            default=(len(rest), ""),
        )
        made += rest[:at].encode()
        rest = rest[at:]
        if name:
            made += values[name]
            rest = rest[len(name) + 2 :]
    return made


def _key(credential: Hmac) -> bytes:
    if not credential.secret_is_base64:
        return credential.secret_key.encode()
    try:
        # Svix writes its secrets with this prefix and means what follows it.
        return base64.b64decode(credential.secret_key.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise NotAuthorised("the signing secret is not base64") from None


async def credential_headers(
    credential: Credential, signing: Signing, post: Post
) -> dict[str, str]:
    """Return the headers that a credential adds to one request.

    Args:
        post: fetches an OAuth2 token where none is cached.

    Raises:
        NotAuthorised: no token could be had.
    """
    if isinstance(credential, Bearer):
        prefix = "Bearer " if credential.has_prefix else ""
        return {credential.header_name: prefix + credential.token}
    if isinstance(credential, Hmac):
        return signature_headers(credential, signing)
    return {"Authorization": f"Bearer {await _tokens().token(credential, post)}"}


def forget_token(credential: Credential | None, headers: Mapping[str, str]) -> bool:
    """Drop the cached token that ``headers`` carried; tell whether a new one could help."""
    if not isinstance(credential, OAuth2):
        return False
    _tokens().forget(credential, headers.get("Authorization", ""))
    return True


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    until: float


class _Tokens:
    """The OAuth2 tokens of one event loop, one request for each however many wait for it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[OAuth2, _Token] = OrderedDict()
        self._locks: OrderedDict[OAuth2, asyncio.Lock] = OrderedDict()

    async def token(self, credential: OAuth2, post: Post) -> str:
        loop = asyncio.get_running_loop()
        lock = self._locks.setdefault(credential, asyncio.Lock())
        async with lock:
            kept = self._kept.get(credential)
            if kept is None or loop.time() >= kept.until:
                kept = await _fetched(credential, post)
                self._kept[credential] = kept
                while len(self._kept) > _MOST_TOKENS:
                    gone, _ = self._kept.popitem(last=False)
                    self._locks.pop(gone, None)
        return kept.text

    def forget(self, credential: OAuth2, used: str) -> None:
        kept = self._kept.get(credential)
        # Another request may have renewed it meanwhile.
        if kept is not None and used == f"Bearer {kept.text}":
            del self._kept[credential]


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Tokens] = WeakKeyDictionary()


def _tokens() -> _Tokens:
    return _by_loop.setdefault(asyncio.get_running_loop(), _Tokens())


async def _fetched(credential: OAuth2, post: Post) -> _Token:
    """Ask for a token with the client's id and secret in the form (RFC 6749, 4.4 and 2.3.1)."""
    fields = {
        "grant_type": "client_credentials",
        "client_id": credential.client_id,
        "client_secret": credential.client_secret,
    }
    if credential.scope:
        fields["scope"] = credential.scope
    headers = {"Content-Type": _FORM, "Accept": "application/json"}
    status, text = await post(credential.url, headers, urlencode(fields).encode())
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not 200 <= status < 300 or not isinstance(token, str) or not token:
        raise NotAuthorised(f"the token server answered {status} and no token")
    seconds = answer.get("expires_in")
    if isinstance(seconds, str) and seconds.isdigit():
        seconds = int(seconds[:9])
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds != seconds:
        seconds = _UNSAID_SECONDS
    lasts = min(max(float(seconds), 0.0), _LONGEST_SECONDS)
    # One that lasts shorter than we renew early is good for half its time.
    lasts = lasts - _EARLY_SECONDS if lasts > 2 * _EARLY_SECONDS else lasts / 2
    return _Token(token, asyncio.get_running_loop().time() + lasts)
