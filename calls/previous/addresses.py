"""Addresses of the previous stack: how Twilio requests them, and how patient it is told to be.

Owns the wire form of a URL (what is sent is what is signed, twilio.md 1.4), the connection
overrides in its fragment (1.3) and the time a ringing caller is given to an exchange (design.md
2.7). Whether an address may be reached at all is ``voiceplatform.base.egress``'s to say. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

CONNECT_MS: Final = 1_000
# A ringing caller whom we can answer ourselves is answered in under 5 s when the other side hangs.
SPARED_TOTAL_MS: Final = 4_000
TOTAL_MS: Final = 10_000
# Vapi asks the customer's server who answers, which may take 7.5 s (design.md 2.7).
WITHOUT_ASSISTANT_MS: Final = 9_000
# Twilio waits 15 s for us (1.3); what we answer then must still reach it.
MOST_TOTAL_MS: Final = 13_000

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
# Every printable ASCII character: only what no request line can carry is written otherwise.
_ASCII: Final = "".join(chr(code) for code in range(0x21, 0x7F))
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "ct": (100, 10_000),
    "rt": (100, 15_000),
    "tt": (100, 15_000),
    "rc": (0, 5),
}
_POLICIES: Final = frozenset({"4xx", "5xx", "ct", "rt"})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an exchange may take and what is asked again; times in ms.

    ``read_ms`` bounds the wait for each piece, ``total_ms`` everything, repeats and redirects too.
    ``retry_on`` holds ``ct`` (no connection), ``rt`` (no answer in time), ``4xx`` and ``5xx``.
    """

    connect_ms: int = CONNECT_MS
    read_ms: int = TOTAL_MS
    total_ms: int = TOTAL_MS
    retries: int = 1
    retry_on: frozenset[str] = frozenset({"ct"})


def wire_url(url: str) -> str:
    """Return a URL as it is requested and signed: without fragment, in ASCII, with a path.

    Case of the host, ports, empty values and what is percent-encoded already stay as they are
    written, because only the literal text counts in a signature (twilio.md 1.4).

    Raises:
        ValueError: no http or https URL with a host.
    """
    if _FORBIDDEN.search(url):
        raise ValueError("it holds a space, a control character or a backslash")
    parts = urlsplit(url)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise ValueError("it is no http or https URL with a host")
    if parts.port == 0:
        raise ValueError("port 0 is none")
    user, at, place = parts.netloc.rpartition("@")
    if not place.isascii():
        host, colon, port = place.partition(":")
        place = f"{host.encode('idna').decode()}{colon}{port}"
    # A bare question mark goes: validators drop it from the URL that they check.
    query = f"?{parts.query}" if parts.query else ""
    rest = quote(f"{parts.path or '/'}{query}", safe=_ASCII)
    return f"{parts.scheme}://{quote(user, safe=_ASCII)}{at}{place}{rest}"


def host_of(url: str) -> str:
    """Return the host of a URL, '' if it has none; all that may be shown of it."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def leads_to(url: str, public_base_url: str) -> bool:
    """Tell whether a URL is one of our own webhooks: to ask it would ask it again, for ever."""
    ours, theirs = urlsplit(public_base_url), urlsplit(url)
    if (theirs.hostname or "").rstrip(".") != (ours.hostname or "").rstrip("."):
        return False
    # Whether http or https is no matter: a proxy in front of us may serve both.
    ports = {parts.port or {"http": 80, "https": 443}.get(parts.scheme) for parts in (ours, theirs)}
    return (len(ports) == 1 or ports == {80, 443}) and theirs.path.startswith("/twilio/")


def patience_for(
    url: str,
    *,
    total_ms: int | None = None,
    has_assistant: bool = True,
    can_answer: bool = False,
) -> Patience:
    """Return how patient to be with a URL, its own connection overrides included (twilio.md 1.3).

    Args:
        total_ms: the number's own setting, if any.
        has_assistant: the number has a fixed assistant there; without, it is never under 9 s.
        can_answer: we can answer ourselves when it does not.
    """
    wanted = total_ms or (SPARED_TOTAL_MS if can_answer else TOTAL_MS)
    if not has_assistant:
        wanted = max(wanted, WITHOUT_ASSISTANT_MS)
    found = _overrides(url)
    total = min(wanted, found.get("tt", MOST_TOTAL_MS), MOST_TOTAL_MS)
    return Patience(
        connect_ms=min(found.get("ct", CONNECT_MS), total),
        read_ms=min(found.get("rt", total), total),
        total_ms=total,
        retries=found.get("rc", 1),
        retry_on=_policies(url),
    )


def _settings(url: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in url.partition("#")[2].split("&"))
    return {name: value for name, _, value in pairs}


def _overrides(url: str) -> dict[str, int]:
    found = {}
    for name, text in _settings(url).items():
        if name in _RANGES and text.isascii() and text.isdigit() and len(text) < 7:
            least, most = _RANGES[name]
            found[name] = min(max(int(text), least), most)
    return found


def _policies(url: str) -> frozenset[str]:
    named = set(_settings(url).get("rp", "").split(","))
    return _POLICIES if "all" in named else frozenset(named & _POLICIES) or frozenset({"ct"})
