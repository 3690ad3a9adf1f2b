"""Refused requests of one process: what they were signed for, counted, stored from time to time.

Anybody may send such requests, as many as they like: nothing waits here, memory, guesses and writes
are bounded, and what does not fit is forgotten. It keeps no body, value, token or signature, and
it must never make a request valid.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import structlog
from django.db import DatabaseError

from calls.media.database import in_database
from calls.models import TwilioAccount
from calls.services.refusals import Refused, refusals_store
from calls.telephony.security import form_signature_valid

FIRST_SECONDS: Final = 1.0
STORE_EVERY_SECONDS: Final = 5.0
# Different ones between two writes; whoever makes up addresses fills this and no more.
KEPT: Final = 20
LONGEST_URL: Final = 300

_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,200}(:\d{1,5})?").fullmatch
_MEDIA: Final = re.compile(r"(/twilio/(?:media|shadow)/[^/]+/).*")

Store = Callable[[list[tuple[Refused, int]]], Awaitable[None]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Knock:
    """A request that proved nothing. ``hosts``: what it and its proxies call this server."""

    account_sid: str
    url: str
    signature: str
    form: Mapping[str, object]
    tokens: tuple[str, ...]
    is_known: bool
    call_id: str = ""
    hosts: tuple[str, ...] = ()


def stream_knock(account: TwilioAccount, url: str, signature: str, call_id: str) -> Knock:
    """Return a media handshake that proved nothing (twilio.md 1.7)."""
    return Knock(
        account_sid=account.account_sid,
        url=url,
        signature=signature,
        form={},
        tokens=(account.auth_token, account.auth_token_secondary),
        is_known=True,
        call_id=call_id,
    )


def shown_url(url: str) -> str:
    """Return an address without anything that is said in it: parameter values and stream tokens."""
    parts = urlsplit(url)
    path = _MEDIA.sub(r"\1…", parts.path)
    pieces = [piece.partition("=") for piece in parts.query.split("&") if piece]
    query = "&".join(f"{name}=…" if equals else "…" for name, equals, _ in pieces)
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))[:LONGEST_URL]


def other_urls(url: str, hosts: Iterable[str]) -> Iterator[str]:
    """Yield addresses under which Twilio may have been told the same place (twilio.md 1.4, 1.5)."""
    parts = urlsplit(url)
    schemes = ("wss", "https") if parts.scheme.startswith("ws") else ("https", "http")
    slashed = parts.path[:-1] if parts.path.endswith("/") else f"{parts.path}/"
    names = [parts.netloc, *(host for host in hosts if _HOST(host))]
    for netloc in dict.fromkeys(names):
        for scheme in schemes:
            for path in (parts.path, slashed):
                for query in dict.fromkeys((parts.query, "")):
                    other = urlunsplit((scheme, netloc, path, query, ""))
                    if other != url:
                        yield other


def judged(knock: Knock) -> Refused:
    """Say why a request proved nothing, and over which address it was signed if that is found."""
    url = shown_url(knock.url)
    if not knock.is_known:
        return Refused(knock.account_sid, "unknown-account", url)
    if not knock.signature:
        return Refused(knock.account_sid, "unsigned", url, call_id=knock.call_id)
    for other in other_urls(knock.url, knock.hosts):
        if form_signature_valid(knock.tokens, other, knock.form, knock.signature):
            signed = shown_url(other)
            return Refused(knock.account_sid, "other-url", url, signed, knock.call_id)
    return Refused(knock.account_sid, "wrong", url, call_id=knock.call_id)


class Refusals:
    """Counts of one process, by account, address and whether there was a signature.

    ``clock`` counts seconds and never goes back. ``writer`` is the task that stores, if any.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        *,
        first_seconds: float = FIRST_SECONDS,
        every_seconds: float = STORE_EVERY_SECONDS,
    ) -> None:
        self.writer: asyncio.Task[None] | None = None
        self._store = store
        self._clock = clock
        self._first_seconds, self._every_seconds = first_seconds, every_seconds
        self._counts: dict[tuple[str, str, bool], tuple[Refused, int]] = {}
        self._stored_at: float | None = None

    def count(self, knock: Knock) -> None:
        """Count a request and see to it that it is stored soon; use it from an event loop."""
        key = (knock.account_sid, shown_url(knock.url), bool(knock.signature))
        known = self._counts.get(key)
        if known is not None:
            self._counts[key] = (known[0], known[1] + 1)
        elif len(self._counts) < KEPT:
            self._counts[key] = (judged(knock), 1)
        else:
            return
        if self.writer is None or self.writer.done():
            self.writer = asyncio.create_task(self._store_later(), name="refusals")

    def forget(self) -> None:
        """Forget what has not been stored."""
        self._counts.clear()

    async def store_now(self) -> None:
        """Store what has been counted; a database that fails costs these counts."""
        counts, self._counts = list(self._counts.values()), {}
        self._stored_at = self._clock()
        if not counts:
            return
        try:
            await self._store(counts)
        except DatabaseError as error:
            log.error("refusals_not_stored", error=type(error).__name__)

    async def _store_later(self) -> None:
        while self._counts:
            pause = self._first_seconds
            if self._stored_at is not None:
                pause = max(pause, self._stored_at + self._every_seconds - self._clock())
            await asyncio.sleep(pause)
            await self.store_now()


async def _in_rows(counts: list[tuple[Refused, int]]) -> None:
    await in_database(refusals_store, counts=counts)


refusals = Refusals(_in_rows)
