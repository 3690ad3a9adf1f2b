"""``/tool-shim/<token>``: a request of Vapi's goes on to the tool server, byte for byte, and back.

The tool server's answer always gets through: what is kept of it is written afterwards, and may
fail. Method, body and headers are those that came, secrets and signatures included. No redirect is
followed; the egress policy is obeyed.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import Any, Final

import structlog
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from calls.media.database import in_database
from calls.parity.logs.shim import (
    Header,
    answer_headers,
    exchange_kept,
    request_headers,
    target_of,
    with_query,
)
from calls.services.tool_shims import Passage, passage_of, request_note
from tools.exchange import shared_client
from voiceplatform.base import http
from voiceplatform.base.egress import EgressRefused, destination
from voiceplatform.base.fields import DecryptionError

# A body carries the whole conversation and the assistant; Vapi's are some hundred kB.
MOST_BYTES: Final = 16 * 2**20
# The longest that a tool may take at Vapi (vapi.md 4.5), and somewhat more.
TOTAL_SECONDS: Final = 305.0
_MOST_WAITING: Final = 200  # records that are not written yet; more are let go
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_writing: set[asyncio.Task[None]] = set()

log = structlog.get_logger(__name__)


@csrf_exempt
async def tool_shim(request: HttpRequest, token: str) -> HttpResponse:
    """Pass one request on and return what the tool server answered."""
    try:
        passage = await in_database(passage_of, token)
    except (DatabaseError, DecryptionError, RuntimeError):  # the last: this process ends
        return _refusal(503, "This address cannot be looked up at the moment.")
    if passage is None:
        return _refusal(404, "There is no such recording address.")
    if request.method not in _METHODS:
        return _refusal(405, "This method is not passed on.")
    # Not `body`: that is limited to what our own pages need.
    body = request.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        return _refusal(413, "The request body is too large.")
    received_at, begun = timezone.now(), time.monotonic()
    status, content = 0, b""
    headers: list[Header] = []
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            status, headers, content = await _exchanged(request, passage, body)
        response = _answer(status, headers, content)
    except TimeoutError:
        response = _refusal(504, "The tool server gave no answer in time.")
    except (
        *(EgressRefused, http.HTTPError, http.InvalidURL),
        # Its client was closed at this moment, since this process ends.
        *(OSError, ValueError, RuntimeError),
    ) as error:
        # The text may quote the address, which may hold a token.
        log.warning("shim_target_failed", error=type(error).__name__)
        response = _refusal(502, "The tool server could not be reached.")
    duration_ms = round((time.monotonic() - begun) * 1000)
    _write_later(passage, body, status, headers, content, received_at, duration_ms)
    return response


async def _exchanged(
    request: HttpRequest, passage: Passage, body: bytes
) -> tuple[int, list[Header], bytes]:
    assert isinstance(request, ASGIRequest)
    target = destination(with_query(passage.target_url, request.scope.get("query_string", b"")))
    headers = request_headers(request.scope["headers"])
    if target.authorization and not any(name.lower() == b"authorization" for name, _ in headers):
        headers.append((b"authorization", target.authorization.encode("latin-1")))
    client = await shared_client(apart="shims")
    asked = http.Request(
        request.method or "POST",
        target.url,
        headers=headers,
        content=body if body or request.method == "POST" else None,
        # httpx would write path and query anew, and a signature may be over them.
        extensions={"target": target_of(target.url)},
    )
    response = await client.send(asked, stream=True)
    try:
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > MOST_BYTES:
                raise ValueError("the answer is too large")
        return response.status_code, answer_headers(response.headers.raw), bytes(content)
    finally:
        await response.aclose()


def _answer(status: int, headers: list[Header], content: bytes) -> HttpResponse:
    response = HttpResponse(content, status=status)
    del response["Content-Type"]
    for name, value in headers:
        # Django keeps one of each name; a tool server's cookies mean nothing to Vapi.
        response[name.decode("latin-1")] = value.decode("latin-1")
    return response


def _refusal(status: int, words: str) -> JsonResponse:
    """Answer in Vapi's form of a failed tool (vapi.md 4.6)."""
    return JsonResponse({"error": words}, status=status)


def _write_later(passage: Passage, *exchange: Any) -> None:
    """Write down what came through, behind the answer; too many at once are let go."""
    if len(_writing) >= _MOST_WAITING:
        log.error("shim_record_dropped", waiting=len(_writing))
        return
    task = asyncio.get_running_loop().create_task(_write(passage, *exchange))
    _writing.add(task)
    task.add_done_callback(_writing.discard)


async def _write(
    passage: Passage,
    body: bytes,
    status: int,
    headers: list[Header],
    content: bytes,
    received_at: Any,
    duration_ms: int,
) -> None:
    def note() -> None:
        kept = None
        if passage.records(received_at):
            text = _opened(headers, content)
            kept = exchange_kept(
                body, status, text, received_at=received_at, duration_ms=duration_ms
            )
        request_note(passage, kept=kept, received_at=received_at, failed=status == 0)

    try:
        await in_database(note)
    except (DatabaseError, RuntimeError) as error:
        log.error("shim_record_lost", error=type(error).__name__)


def _opened(headers: list[Header], content: bytes) -> str:
    """Return an answer as text, unpacked where it says that it is packed."""
    coding = b"".join(value for name, value in headers if name.lower() == b"content-encoding")
    if coding.strip().lower() in {b"gzip", b"x-gzip", b"deflate"}:
        try:
            content = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(content, MOST_BYTES)
        except zlib.error:
            return ""
    return content.decode("utf-8", "replace")


async def written() -> None:
    """Wait until everything that came through is written; for a server that ends, and for tests."""
    while _writing:
        await asyncio.gather(*_writing, return_exceptions=True)
