"""Outgoing HTTP: the only module that imports httpx. Owns clients with safe defaults, no policy.

Every client made here has a deadline for each step, follows no redirect (a redirect is a new
request that somebody must judge), and ignores proxy variables and ``.netrc`` of the environment.
Which addresses may be reached is ``base.egress``'s decision, not this module's. Callers use the
names re-exported here, so that replacing httpx touches one file.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import httpcore
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
    "client_ssl_context",
    "default_ssl_context",
    "pinned_transport",
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
        # One for all clients: each would read the authorities for 40 ms of one core.
        verify=default_ssl_context(),
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


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that somebody has chosen for a host name, and to nothing else.

    The choice happens below the connection pool, so the name stays in the Host header, in SNI and
    in the certificate's check, and connections are shared by name, never by address.
    """

    def __init__(self, choose: Callable[[str, int], Awaitable[Sequence[str]]]) -> None:
        self._choose = choose
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Try the chosen addresses in turn; ``timeout`` (seconds) covers the choice too."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._choose(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from error
        except OSError as error:
            raise httpcore.ConnectError("the name does not resolve") from error
        failure: Exception = httpcore.ConnectError("the name has no address")
        for index, address in enumerate(addresses):
            # An address that swallows packets must leave time for the next one.
            share = None
            if deadline is not None:
                share = max(deadline - loop.time(), 0.001) / (len(addresses) - index)
            try:
                return await self._inner.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: a chosen address is never a file."""
        raise httpcore.ConnectError("no unix sockets here")

    async def sleep(self, seconds: float) -> None:
        """Pause between the pool's own retries."""
        await asyncio.sleep(seconds)


# Below the 5 s after which Node's servers close: a request lost to that race is lost.
_KEPT_SECONDS = 3.0


class _PinnedTransport(httpx.AsyncHTTPTransport):
    def __init__(
        self, backend: _PinnedBackend, context: ssl.SSLContext, max_connections: int
    ) -> None:
        super().__init__(verify=context)
        # httpx has no argument for the backend; what it has just made holds no connection yet.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=backend,
        )


class _ProxiedTransport(httpx.AsyncHTTPTransport):
    """Goes through a proxy, which is connected to as ``choose`` says; so is each target judged.

    The proxy resolves the target's name again: whoever names a proxy trusts it with that.
    """

    def __init__(
        self,
        choose: Callable[[str, int], Awaitable[Sequence[str]]],
        context: ssl.SSLContext,
        max_connections: int,
        proxy: httpx.Proxy,
    ) -> None:
        super().__init__(verify=context)
        self._choose = choose
        self._pool = httpcore.AsyncHTTPProxy(
            proxy_url=httpcore.URL(str(proxy.url)),
            proxy_auth=proxy.raw_auth,
            ssl_context=context,
            proxy_ssl_context=default_ssl_context() if proxy.url.scheme == "https" else None,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=_PinnedBackend(choose),
        )

    async def handle_async_request(self, request: Request) -> Response:
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        connect_seconds = request.extensions.get("timeout", {}).get("connect")
        try:
            async with asyncio.timeout(connect_seconds):
                await self._choose(request.url.host, port)
        except TimeoutError as error:
            raise ConnectTimeout("the name was not resolved in time") from error
        except OSError as error:
            raise ConnectError("the name does not resolve") from error
        return await super().handle_async_request(request)


@lru_cache(maxsize=1)
def default_ssl_context() -> ssl.SSLContext:
    """Return the context that checks certificates against the usual authorities; made once.

    Making it reads files for tens of milliseconds: on a loop that carries audio, use a thread.
    """
    return httpx.create_ssl_context(trust_env=False)


def client_ssl_context(certificate_pem: str, key_pem: str) -> ssl.SSLContext:
    """Return a context like the default one that shows a client certificate.

    Args:
        certificate_pem: the certificate, and those between it and its authority.

    Raises:
        OSError: they are no certificate and its key, or the key has a passphrase.
    """
    context = httpx.create_ssl_context(trust_env=False)
    both = f"{certificate_pem.strip()}\n{key_pem.strip()}\n".encode()
    # OpenSSL reads files only; the key must not lie on a disk where there is another way.
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("client-certificate")
        name = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, name = tempfile.mkstemp()
    try:
        os.write(descriptor, both)
        # Without a callback OpenSSL asks for a passphrase at the terminal and waits.
        context.load_cert_chain(name, password=lambda: b"")
    finally:
        os.close(descriptor)
        if not name.startswith("/proc/"):
            os.unlink(name)
    return context


def pinned_transport(
    choose: Callable[[str, int], Awaitable[Sequence[str]]],
    *,
    max_connections: int = 100,
    ssl_context: ssl.SSLContext | None = None,
    proxy_url: str = "",
) -> AsyncBaseTransport:
    """Return a transport that asks ``choose(host, port)`` which IP addresses to connect to.

    What ``choose`` raises reaches the caller of the client, an OSError as a ConnectError.

    Args:
        proxy_url: an HTTP proxy that all requests go through; ``choose`` is asked for it as well.

    Raises:
        ValueError: ``proxy_url`` is none of a proxy.
    """
    context = ssl_context or default_ssl_context()
    if proxy_url:
        try:
            proxy = httpx.Proxy(proxy_url)
        except InvalidURL:
            raise ValueError("not a URL") from None
        if proxy.url.scheme not in {"http", "https"}:
            raise ValueError("not an HTTP proxy")
        return _ProxiedTransport(choose, context, max_connections, proxy)
    return _PinnedTransport(_PinnedBackend(choose), context, max_connections)
