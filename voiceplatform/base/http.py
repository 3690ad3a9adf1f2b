"""Outgoing HTTP: the only module that imports httpx. Owns clients with safe defaults, no policy.

Every client made here has a deadline for each step, follows no redirect (a redirect is a new
request that somebody must judge), and ignores proxy variables and ``.netrc`` of the environment.
Which addresses may be reached is ``base.egress``'s decision, not this module's. Callers use the
names re-exported here, so that replacing httpx touches one file.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from pathlib import Path

import httpx
from httpx import (
    AsyncBaseTransport,
    AsyncClient,
    BaseTransport,
    Client,
    ConnectError,
    ConnectTimeout,
    HTTPError,
    InvalidURL,
    LocalProtocolError,
    PoolTimeout,
    ReadTimeout,
    Request,
    Response,
    TimeoutException,
    TransportError,
)

__all__ = [
    "AsyncBaseTransport",
    "AsyncClient",
    "BaseTransport",
    "Client",
    "ConnectError",
    "ConnectTimeout",
    "HTTPError",
    "InvalidURL",
    "LocalProtocolError",
    "PoolTimeout",
    "ReadTimeout",
    "Request",
    "Response",
    "TimeoutException",
    "TransportError",
    "async_client",
    "client",
    "raw_request",
    "unix_transport",
]


def _timeout(connect_seconds: float, read_seconds: float) -> httpx.Timeout:
    return httpx.Timeout(read_seconds, connect=connect_seconds)


def async_client(
    *,
    connect_seconds: float = 2.0,
    read_seconds: float = 10.0,
    max_connections: int = 100,
    transport: AsyncBaseTransport | None = None,
) -> AsyncClient:
    """Return a client for the event loop; the caller closes it.

    ``read_seconds`` bounds the wait for each next piece, not the whole answer: callers with a
    total budget put ``asyncio.timeout`` around the call.
    """
    return httpx.AsyncClient(
        timeout=_timeout(connect_seconds, read_seconds),
        limits=httpx.Limits(max_connections=max_connections),
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )


def client(
    *,
    connect_seconds: float = 2.0,
    read_seconds: float = 10.0,
    transport: BaseTransport | None = None,
) -> Client:
    """Return a client for threads and commands; the caller closes it."""
    return httpx.Client(
        timeout=_timeout(connect_seconds, read_seconds),
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )


def unix_transport(socket_path: Path) -> AsyncBaseTransport:
    """Return a transport to the HTTP server on ``socket_path``, one connection per request.

    No connection is kept: on a unix socket a new one costs microseconds, while a kept one may
    have been closed by a server that just restarted, and a request lost to that cannot be repeated.
    """
    return httpx.AsyncHTTPTransport(
        uds=str(socket_path),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )


def raw_request(
    method: str,
    *,
    target: bytes,
    headers: list[tuple[bytes, bytes]],
    body: AsyncIterable[bytes] | None,
    connect_seconds: float,
    write_seconds: float,
) -> Request:
    """Return a request whose target and headers go on the wire exactly as given.

    httpx would normalise the path (dot segments, escapes) and add headers of its own; httpcore's
    ``target`` extension and a bare transport do not. Reading has no deadline here.
    """
    return httpx.Request(
        method,
        "http://web/",
        headers=headers,
        content=body,
        extensions={
            "target": target,
            "timeout": {
                "connect": connect_seconds,
                "write": write_seconds,
                "read": None,
                "pool": connect_seconds,
            },
        },
    )
