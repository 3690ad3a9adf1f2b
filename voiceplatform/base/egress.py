"""Which addresses outgoing requests may reach, and the one client that obeys it.

Owns the policy for URLs that other people write (tool servers, log receivers): http and https only,
public addresses only unless ``EGRESS_ALLOW`` names the host or the network. A name is resolved once
per connection and the very address that was checked is connected to, so a second answer of the name
server changes nothing. It must not know what is sent, nor follow a redirect: that is a new request.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from django.conf import settings

from voiceplatform.base.http import AsyncClient, async_client, pinned_transport

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Iterable[str]]

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_TRANSLATED: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")
# All public IPv6 addresses; what lies outside is nobody's, or a site's own (RFC 8215's NAT64).
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_DOCUMENTS: Final = ipaddress.IPv6Network("3fff::/20")
# Oracle's and Azure's metadata services answer where ``is_global`` sees the public internet.
_METADATA: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("168.63.129.16/32"),
)
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")
# A name server that hangs must not hold up other work of the process, so it has its own threads.
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="egress-dns")


class EgressRefused(Exception):
    """The policy forbids a request; the text names host, cause and fix, and no secret."""

    def __init__(self, host: str, cause: str, fix: str) -> None:
        super().__init__(f"{host or 'this URL'}: {cause}. Fix: {fix}.")
        self.host = host


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL that may be requested: without user part, which is in ``authorization``."""

    url: str
    host: str
    authorization: str = ""

    def __repr__(self) -> str:
        """Show the host alone: paths and query strings of webhooks are secrets."""
        return f"Destination(host={self.host!r})"


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Hosts and networks that are reachable although they are not public."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> EgressPolicy:
        """Read host names, addresses and networks as ``EGRESS_ALLOW`` holds them."""
        hosts: set[str] = set()
        networks: list[Network] = []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                hosts.add(_plain_host(entry))
        return cls(frozenset(hosts), tuple(networks))

    def allowed(self, host: str, addresses: Iterable[str]) -> list[str]:
        """Return those of a host's ``addresses`` that may be connected to, in their order.

        Raises:
            EgressRefused: there is none.
        """
        causes: list[str] = []
        good: list[str] = []
        for text in addresses:
            address = ipaddress.ip_address(text.partition("%")[0])
            cause = self._objection(host, address)
            if cause:
                causes.append(f"it is {cause} ({address})")
            else:
                good.append(text)
        if good or not causes:
            return good
        raise EgressRefused(
            host,
            causes[0],
            "use a public address, or name the host or its network in EGRESS_ALLOW if you trust it",
        )

    def _objection(self, host: str, address: Address) -> str:
        if _plain_host(host) in self.hosts:
            return ""
        for each in _meant(address):
            if any(each in network for network in self.networks):
                continue
            cause = _not_public(each)
            if cause:
                return cause
        return ""


def _plain_host(host: str) -> str:
    return host.lower().rstrip(".")


def _meant(address: Address) -> Iterator[Address]:
    """Yield the address a packet would go to: the IPv4 one inside an IPv6 one, if there is any."""
    inner: Address | None = None
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address.teredo is not None:
            inner = address.teredo[1]
        elif (
            address in _NAT64
            or address in _TRANSLATED
            or (address in _COMPATIBLE and int(address) > 0xFFFF)
        ):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    yield address if inner is None else inner


def _not_public(address: Address) -> str:
    """Return what kind of address it is when it is not a public one, else ''."""
    if address.is_unspecified:
        return "an unspecified address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address, where clouds keep their metadata"
    if any(address in network for network in _METADATA):
        return "a cloud's metadata address"
    if address.is_multicast:
        return "a multicast address"
    if address.version == 6 and (address not in _UNICAST or address in _DOCUMENTS):
        return "a private address"
    return "" if address.is_global else "a private address"


@lru_cache(maxsize=8)
def _policy(entries: tuple[str, ...]) -> EgressPolicy:
    return EgressPolicy.of(entries)


def policy() -> EgressPolicy:
    """Return the policy of the settings."""
    return _policy(tuple(settings.EGRESS_ALLOW))


def destination(url: str) -> Destination:
    """Return ``url`` ready to be requested; where it leads is checked when it is connected to.

    A user part becomes an ``authorization`` header value, as it does in Vapi's client.

    Raises:
        EgressRefused: no URL of http or https, or one without a host.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise EgressRefused("", "it is not a URL", "write https://host/path") from None
    if parts.scheme not in {"http", "https"}:
        raise EgressRefused(host, "it is neither http nor https", "write https://host/path")
    if not host or _CONTROL.search(url) or "\\" in parts.netloc:
        raise EgressRefused(host, "it is not a URL with a host", "write https://host/path")
    authorization = ""
    if parts.username or parts.password:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    place = f"[{host}]" if ":" in host else host
    if port is not None:
        place = f"{place}:{port}"
    return Destination(
        urlunsplit((parts.scheme, place, parts.path, parts.query, "")), host, authorization
    )


def encrypted(url: str) -> Destination:
    """Return ``url`` ready to be requested if it is https, or http to a host that is trusted.

    For addresses that somebody enters now. Imported ones may be http, as they are at Vapi.

    Raises:
        EgressRefused: anything else.
    """
    target = destination(url)
    if url.lower().startswith("https:"):
        return target
    trusted, host = policy(), _plain_host(target.host)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        named = host in trusted.hosts
    else:
        named = any(address in network for network in trusted.networks)
    if named:
        return target
    raise EgressRefused(
        target.host,
        "it is not encrypted",
        "write https://, or name the host in EGRESS_ALLOW if you trust the way to it",
    )


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def addresses_for(
    host: str, port: int, *, rules: EgressPolicy, resolve: Resolve = _look_up
) -> Sequence[str]:
    """Resolve ``host`` and return the addresses that ``rules`` let through.

    Raises:
        EgressRefused: every address is forbidden.
        OSError: the name does not resolve.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(_threads, partial(resolve, host, port))
    except UnicodeError as error:  # a label that no name may have
        raise OSError("not a host name") from error
    return rules.allowed(host, found)


def egress_client(
    *,
    connect_seconds: float = 5.0,
    read_seconds: float = 300.0,
    max_connections: int = 200,
    rules: EgressPolicy | None = None,
    resolve: Resolve = _look_up,
    ssl_context: ssl.SSLContext | None = None,
    proxy_url: str = "",
) -> AsyncClient:
    """Return a client for URLs of other people, under the policy of the settings unless told.

    It follows no redirect, keeps no cookie, reads no proxy or ``.netrc`` from the environment. The
    caller closes it and puts a deadline around each request.

    Requests may raise EgressRefused besides httpx's own errors.

    Args:
        proxy_url: an HTTP proxy to go through. It obeys the policy like the target behind it; a
            proxy in a private network has to be named in ``EGRESS_ALLOW``.

    Raises:
        ValueError: ``proxy_url`` is none of a proxy.
    """
    obeyed = rules or policy()

    async def choose(host: str, port: int) -> Sequence[str]:
        return await addresses_for(host, port, rules=obeyed, resolve=resolve)

    made = async_client(
        connect_seconds=connect_seconds,
        read_seconds=read_seconds,
        max_connections=max_connections,
        transport=pinned_transport(
            choose,
            max_connections=max_connections,
            ssl_context=ssl_context,
            proxy_url=proxy_url,
        ),
    )
    # One client serves many tenants: what one server sets must not be shown to another's request.
    made.cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return made
