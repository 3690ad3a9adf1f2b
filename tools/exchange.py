"""One request to a tool server and its answer, within a size limit, over the guarded client.

Owns the headers of vapi.md 4.2, the clients of each event loop and the opening of compressed
answers. It must not know tools, retries or what an answer means, and raises what goes wrong.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import AsyncGenerator, Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from tools.servers import Passage, ToolServer
from voiceplatform.base.egress import Destination, EgressRefused, egress_client
from voiceplatform.base.http import (
    AsyncClient,
    HTTPError,
    InvalidURL,
    LocalProtocolError,
    PoolTimeout,
    TransportError,
    client_ssl_context,
    default_ssl_context,
)
from voiceplatform.base.redaction import redact_url

MAX_ANSWER_BYTES: Final = 256 * 1024
_MOST_PASSAGES: Final = 50

# A custom header of these names would change where the request or its body ends.
_FRAMING: Final = frozenset(
    {"content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)

_BODILESS: Final = frozenset({"GET", "DELETE"})

# What may go wrong on the way. Their texts may quote a header or the URL. RuntimeError: the client
# was closed meanwhile; ValueError: a header that no request can carry.
FAILURES: Final = (HTTPError, InvalidURL, OSError, ValueError, RuntimeError)


# Those of them that tell of a host which gives no answer, and those where nothing was asked.
SILENCE: Final = (TransportError, OSError)
NEVER_SENT: Final = (LocalProtocolError, PoolTimeout, InvalidURL, ValueError)


class AnswerTooLarge(Exception):
    """The answer, of this status, exceeds MAX_ANSWER_BYTES; give up on it."""

    def __init__(self, status: int = 0) -> None:
        super().__init__(status)
        self.status = status


def request_headers(
    server: ToolServer,
    target: Destination,
    *,
    call_id: str,
    idempotency_key: str = "",
    authentication: Mapping[str, str] | None = None,
) -> list[tuple[bytes, bytes]]:
    """Return the headers of vapi.md 4.2; a custom one wins over ours (traps 15 and 16).

    Raises:
        ValueError: a name or value that no header can carry.
    """
    ours = {
        "Content-Type": "application/json" if server.method not in _BODILESS else "",
        "Accept": "application/json, text/plain, */*",
        # The size limit is then a limit on what arrives; an answer compressed anyway is opened.
        "Accept-Encoding": "identity",
        "User-Agent": "voiceplatform",
        "X-Call-Id": call_id if server.is_ours_told else "",
        "Idempotency-Key": idempotency_key,
        "X-Vapi-Secret": server.secret,
        "Authorization": target.authorization,
    }
    merged = {name.lower(): (name, value) for name, value in ours.items() if value}
    for added in (authentication or {}, server.headers):
        for name, value in added.items():
            if name.lower() not in _FRAMING:
                merged[name.lower()] = (name, value)
    if server.is_ours_told:
        merged["x-voiceplatform-stack"] = ("X-Voiceplatform-Stack", "direct")
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in merged.values()]


async def post(
    client: AsyncClient,
    target: Destination,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    *,
    method: str = "POST",
) -> tuple[int, str]:
    """Send one request, a POST unless told, and return status and text; follow no redirect.

    Raises:
        AnswerTooLarge: more than MAX_ANSWER_BYTES came, packed or opened.
        EgressRefused: the policy forbids the address.
    """
    content = body if method not in _BODILESS else None
    async with client.stream(method, target.url, content=content, headers=headers) as response:
        received = bytearray()
        async for piece in response.aiter_raw():
            received += piece
            if len(received) > MAX_ANSWER_BYTES:
                raise AnswerTooLarge(response.status_code)
        coding = response.headers.get("content-encoding", "")
        try:
            clear = _opened(bytes(received), coding)
        except zlib.error:
            clear = bytes(received)  # mislabelled, or broken: then nobody can read it
        if len(clear) > MAX_ANSWER_BYTES:
            raise AnswerTooLarge(response.status_code)
        return response.status_code, clear.decode("utf-8", "replace")


def _opened(received: bytes, coding: str) -> bytes:
    """Undo gzip or deflate, up to a byte more than the limit; other codings stay unreadable.

    Raises:
        zlib.error: it is not what it says.
    """
    if coding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
        return received
    window = zlib.MAX_WBITS | 32  # gzip or zlib, whichever its first bytes say
    return zlib.decompressobj(window).decompress(received, MAX_ANSWER_BYTES + 1)


def shown_url(url: str) -> str:
    """Return a URL without user, query and fragment, secrets in its path masked."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    place = f"[{host}]" if ":" in host else host
    if port is not None:
        place = f"{place}:{port}"
    return redact_url(urlunsplit((parts.scheme, place, parts.path, "", "")))


# Clients per event loop, because connections belong to the loop they were made on.
_Way = tuple[Passage | None, str]  # how requests leave, and whose connections they are
_Clients = dict[_Way, tuple[AsyncClient, AsyncGenerator[AsyncClient]]]
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = WeakKeyDictionary()


async def shared_client(passage: Passage | None = None, *, apart: str = "") -> AsyncClient:
    """Return the running loop's client for requests that leave this way.

    Args:
        apart: a name for connections of their own, which take none from live calls' tools.

    Raises:
        EgressRefused: the proxy or the certificate of ``passage`` cannot be used.
    """
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    way = (passage, apart)
    if way not in clients:
        # Reading certificates takes tens of milliseconds: not on a loop that carries audio.
        context = await asyncio.to_thread(_context, passage)
        if way not in clients:
            if len(clients) > _MOST_PASSAGES:
                oldest = next(each for each in clients if each[0] is not None)
                await clients.pop(oldest)[1].aclose()
            # A loop closes its asynchronous generators when it shuts down; this one its client.
            life = _client_life(way, context)
            clients[way] = (await anext(life), life)
    return clients[way][0]


def _context(passage: Passage | None) -> ssl.SSLContext:
    if passage is None or not passage.certificate_pem:
        return default_ssl_context()
    try:
        return client_ssl_context(passage.certificate_pem, passage.key_pem)
    except OSError:
        raise EgressRefused(
            "", "its client certificate cannot be used", "enter certificate and key again, as PEM"
        ) from None


async def _client_life(way: _Way, context: ssl.SSLContext) -> AsyncGenerator[AsyncClient]:
    proxy_url = way[0].proxy_url if way[0] else ""
    try:
        client = egress_client(ssl_context=context, proxy_url=proxy_url)
    except ValueError:
        raise EgressRefused(
            "", "its proxy has no usable address", "write http://host:port"
        ) from None
    try:
        yield client
    finally:
        _clients.get(asyncio.get_running_loop(), {}).pop(way, None)
        await client.aclose()


async def close_client() -> None:
    """Close the running loop's clients and their connections; the next request makes new ones."""
    clients = _clients.pop(asyncio.get_running_loop(), {})
    for _, life in clients.values():
        await life.aclose()
