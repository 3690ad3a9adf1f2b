"""Carries an errand to the previous stack over the guarded client (ADR 0007).

Owns the sockets, the deadlines and the names of what goes wrong; what is sent and what an answer
means is ``calls.previous``'s. Every redirect passes the egress policy as the first request does.
"""

from __future__ import annotations

import asyncio
import ssl
import time

import structlog

from calls.previous.errand import Errand, Failure, Outcome, Step
from calls.previous.requests import Outgoing
from voiceplatform.base import http
from voiceplatform.base.egress import EgressRefused, destination, egress_client

log = structlog.get_logger(__name__)


def monotonic_ms() -> int:
    """Return the clock of errands: ms that never go back."""
    return int(time.monotonic() * 1000)


async def previous_asked(errand: Errand, *, client: http.AsyncClient | None = None) -> Outcome:
    """Carry an errand made with ``now_ms=monotonic_ms()`` out, within its time; never raises.

    Args:
        client: one that obeys the egress policy; without, one is made and closed.
    """
    if client is None:
        async with egress_client() as made:
            outcome = await _carried(made, errand)
    else:
        outcome = await _carried(client, errand)
    if not outcome.is_taken:
        log.warning(
            "previous_stack_lost",
            error_code=outcome.error_code,
            status=outcome.status,
            reached=outcome.reached,
            elapsed_ms=outcome.elapsed_ms,
        )
    return outcome


async def _carried(client: http.AsyncClient, errand: Errand) -> Outcome:
    step = errand.start(monotonic_ms())
    while isinstance(step, Outgoing):
        step = await _step(client, errand, step)
    return step


async def _step(client: http.AsyncClient, errand: Errand, asked: Outgoing) -> Step:
    try:
        async with asyncio.timeout(errand.left_ms(monotonic_ms()) / 1000):
            found = await _exchanged(client, errand, asked)
    except TimeoutError:
        return errand.failed("time", monotonic_ms())
    except (EgressRefused, http.HTTPError, http.InvalidURL, ValueError, OSError) as error:
        # The texts may quote the address, which may hold a token: only the kind goes on.
        return errand.failed(_failure(error), monotonic_ms())
    if found is None:
        return errand.failed("too_long", monotonic_ms())
    status, headers, body = found
    return errand.answered(status, headers, body, monotonic_ms())


async def _exchanged(
    client: http.AsyncClient, errand: Errand, asked: Outgoing
) -> tuple[int, list[tuple[str, str]], bytes] | None:
    """Return status, headers and body; None if the body is longer than it may be."""
    read_seconds, connect_seconds = errand.read_ms / 1000, errand.connect_ms / 1000
    request = http.Request(
        asked.method,
        destination(asked.url).url,
        headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in asked.headers],
        content=asked.body if asked.method == "POST" else None,
        extensions={
            # httpx would write path and query anew, and then the signature is for another URL.
            "target": asked.target,
            "timeout": {
                "connect": connect_seconds,
                "read": read_seconds,
                "write": read_seconds,
                "pool": connect_seconds,
            },
        },
    )
    response = await client.send(request, stream=True)
    try:
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in response.headers.raw
        ]
        limit = errand.most_bytes(response.status_code, response.headers.get("content-type", ""))
        body = bytearray()
        if limit:
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > limit:
                    return None
        return response.status_code, headers, bytes(body)
    finally:
        await response.aclose()


def _failure(error: BaseException) -> Failure:
    if isinstance(error, EgressRefused):
        return "refused"
    if isinstance(error, http.InvalidURL | http.LocalProtocolError | ValueError):
        return "url"
    if isinstance(error, http.ConnectTimeout | http.PoolTimeout):
        return "connect"
    if isinstance(error, http.ConnectError):
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLError):
                return "tls"
            if "does not resolve" in str(cause):  # what base.http says of a name without address
                return "name"
            cause = cause.__cause__ or cause.__context__
        return "connect"
    return "silent" if isinstance(error, http.TimeoutException) else "broken"
