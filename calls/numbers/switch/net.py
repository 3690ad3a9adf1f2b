"""The safety net of a number that answers here: how soon Twilio gives up on us, and whom it asks
then.

Owns the connection overrides in the fragment of an address (twilio.md 1.3), the time after which
the fallback is asked, and the choice of the fallback. Pure; nothing here knows whether the
fallback works, which only a drill shows (twilio.md 5.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, urldefrag, urlsplit

from calls.numbers.switch.voice import Target

# The promise: a caller is with somebody else within that time.
NET_MS: Final = 6_000
# Twilio's ranges and defaults (twilio.md 1.3).
_RANGES: Final = {"ct": (100, 10_000), "rt": (100, 15_000), "tt": (100, 15_000), "rc": (0, 5)}
_DEFAULTS: Final = {"ct": 5_000, "rt": 15_000, "tt": 15_000, "rc": 1}
# Ours. Half a second of NET_MS is left to connect to the fallback.
_CONNECT_MS: Final = 1_500
_READ_MS: Final = 5_000
# Between the slowest answer we give and Twilio's patience.
_MARGIN_MS: Final = 1_000
# Of a try that connects at the last moment, ``_CONNECT_MS`` late, the slowest answer is left.
_TOTAL_MARGIN_MS: Final = 500


@dataclass(frozen=True, slots=True)
class Overrides:
    """How Twilio asks an address; ``retries_reads``: it also repeats what was not answered."""

    connect_ms: int = _DEFAULTS["ct"]
    read_ms: int = _DEFAULTS["rt"]
    total_ms: int = _DEFAULTS["tt"]
    retries: int = _DEFAULTS["rc"]
    retries_reads: bool = False

    @property
    def dead_ms(self) -> int:
        """Return after how long at most the fallback is asked when nothing takes the connection."""
        return min(self.total_ms, self.connect_ms * (1 + self.retries))

    @property
    def hanging_ms(self) -> int:
        """Return after how long at most it is asked when the connection is taken, without a word.

        The tries that repeat a connection may come before the one that hangs.
        """
        reads = 1 + self.retries if self.retries_reads else 1
        tries = self.connect_ms * (1 + self.retries) + self.read_ms * reads
        return min(self.total_ms, tries)

    def fragment(self) -> str:
        """Return them as the part of an address behind ``#``."""
        # Connections alone are repeated: a webhook that hangs would hang again, and the caller
        # waits. What is repeated finds its call's row (twilio.md 1.3, rule 2).
        return (
            f"ct={self.connect_ms}&rt={self.read_ms}&tt={self.total_ms}&rc={self.retries}"
            f"&rp={'all' if self.retries_reads else 'ct'}"
        )


def overrides_for(slowest_answer_ms: int = 1_000) -> Overrides:
    """Return how patient Twilio has to be with a webhook that answers within that time.

    A number is told one of two, whatever its route is or will be, because a route changes without
    a word to Twilio: quick (4 s), or 9 s where a server is asked who answers. Twilio must not give
    up on a call that is about to be taken.

    Raises:
        ValueError: no override allows that long.
    """
    if slowest_answer_ms < 0:
        raise ValueError("an answer takes no negative time")
    read_ms = max(_READ_MS, slowest_answer_ms + _MARGIN_MS)
    total_ms = read_ms + _TOTAL_MARGIN_MS
    if total_ms > _RANGES["tt"][1]:
        most = _RANGES["tt"][1] - _TOTAL_MARGIN_MS - _MARGIN_MS
        raise ValueError(
            f"Twilio waits 15 s in all, so the previous stack can be given {most} ms at most, not "
            f"{slowest_answer_ms}"
        )
    return Overrides(_CONNECT_MS, read_ms, total_ms, 1)


def with_overrides(url: str, overrides: Overrides) -> str:
    """Return the address as Twilio is told it: overrides in its fragment, in place of any other.

    Raises:
        ValueError: it is no absolute http or https address (error 11100).
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("Twilio needs an absolute http or https address")
    return f"{without_overrides(url)}#{overrides.fragment()}"


def without_overrides(url: str) -> str:
    """Return the address that is requested and signed: the fragment is no part of it (1.3)."""
    return urldefrag(url).url


def overrides_in(url: str) -> Overrides:
    """Return how Twilio asks this address. What is missing or out of range is Twilio's default."""
    given = dict(parse_qsl(urldefrag(url).fragment))
    numbers = {name: _number(name, given.get(name, "")) for name in _RANGES}
    repeated = set(given.get("rp", "ct").replace("%2C", ",").split(","))
    return Overrides(
        connect_ms=numbers["ct"],
        read_ms=numbers["rt"],
        total_ms=numbers["tt"],
        retries=numbers["rc"],
        retries_reads=bool(repeated & {"rt", "all"}),
    )


def _number(name: str, text: str) -> int:
    least, most = _RANGES[name]
    if text.isascii() and text.isdigit() and len(text) <= 5 and least <= int(text) <= most:
        return int(text)
    return _DEFAULTS[name]


@dataclass(frozen=True, slots=True)
class Net:
    """Whom Twilio asks when we do not answer; '' as address: nobody."""

    source: Literal["previous", "address", "none"]
    url: str = field(default="", repr=False)
    method: str = "POST"


def net_for(before: Target, *, our_url: str, address: str = "", method: str = "POST") -> Net:
    """Choose the net: the operator's address if there is one, else what answered before the move.

    Args:
        before: what answered the number's calls; of a trunk there is no address.
        our_url: any address of ours; what is ours is no net for us (twilio.md 1.3, rule 3).
        address: static TwiML of the operator's that dials a person, '' if none.
        method: how that address is asked.
    """
    if address:
        return Net("address", address, method)
    if before.url and not is_same_site(before.url, our_url):
        # With its own fragment, if it has one: it is what worked before.
        return Net("previous", before.url, before.method)
    return Net("none")


def is_same_site(one: str, other: str) -> bool:
    """Tell whether two addresses lie on the same scheme, host and port."""
    site = _site(one)
    return site is not None and site == _site(other)


def _site(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.scheme, parts.hostname.rstrip("."), port
