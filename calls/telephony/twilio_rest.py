"""The one wrapper around Twilio's REST API for numbers: as whom, where, how often, how patiently.

Blocking, so in threads, tasks and commands only. Owns one request and its repetition under
``rest_rules``; a request that may never be made does not leave (no DELETE, no field of text
messages). It must not decide what a number should be: that is ``calls.numbers.switch``. Everything
else that Twilio is asked (calls, recordings, texts) goes through ``twilio_client`` under the same
rules of login and host.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import structlog

from calls.telephony.rest_rules import (
    Answer,
    Login,
    Silence,
    answer_of,
    api_host,
    login_for,
    next_try,
    why_never,
)
from calls.telephony.twilio_client import TIMEOUT_SECONDS
from voiceplatform.base import http

if TYPE_CHECKING:
    from calls.models import TwilioAccount

API: Final = "/2010-04-01/Accounts"
CONNECT_SECONDS: Final = 2.0
# Of one call of this wrapper, with every repetition. A person waits for some of them.
WITHIN_SECONDS: Final = 20.0
# Longer than any account's list: 200 pages of 1000.
_MOST_PAGES: Final = 200
_PAGE_SIZE: Final = 1000

Product = Literal["api", "routes"]

log = structlog.get_logger(__name__)

# By account SID, until when (monotonic) Twilio asked this process to ask less.
_BUSY: Final[dict[str, float]] = {}
_BUSY_SECONDS: Final = 2.0


def is_busy(account_sid: str) -> bool:
    """Tell whether Twilio has just turned a request of this account away as one too many (20429).

    Who asks for many numbers at once then asks for one at a time.
    """
    return time.monotonic() < _BUSY.get(account_sid, 0.0)


class NeverSent(ValueError):
    """The request must never be made (``rest_rules.why_never``); it did not leave."""


class TwilioSilent(Exception):
    """Twilio gave no answer that can be used; ask later. The text says why, without secrets.

    Args:
        status: the HTTP status, 0 if there was no answer.
        is_unclear: a write may have been carried out all the same: look before it is repeated.
        retry_after_seconds: what Twilio asked for, None if nothing.
    """

    def __init__(
        self,
        words: str,
        *,
        status: int = 0,
        is_unclear: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(words)
        self.status = status
        self.is_unclear = is_unclear
        self.retry_after_seconds = retry_after_seconds


class TwilioRefused(Exception):
    """Twilio said no: asking again says the same.

    Args:
        status: the HTTP status.
        code: Twilio's error code, 0 if it named none.
        words: Twilio's own; they may name a phone number, so they are shown and never logged.
    """

    def __init__(self, status: int, code: int, words: str) -> None:
        super().__init__(f"Twilio refused with {status}, code {code}: {words}")
        self.status, self.code, self.words = status, code, words

    @property
    def is_gone(self) -> bool:
        """Tell whether there is nothing of that name (20404)."""
        return self.status == 404

    @property
    def is_login(self) -> bool:
        """Tell whether the token or key is not taken, or may not do this."""
        return self.status in (401, 403)


@dataclass(frozen=True, slots=True)
class _Answered:
    answer: Answer
    status: int = 0
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    retry_after_seconds: float | None = None
    why: str = ""


class TwilioRest:
    """An account's REST API. As a context manager it keeps one connection for several requests.

    Args:
        account: whose token or key, region and edge are used; its ``api_base_url`` in place of
            Twilio's hosts, if it has one.
        within_seconds: how long one request may take with its repetitions. 0: asked once.
        clock, sleep, jitter: handed in by tests.

    Raises:
        ValueError: the account has no login, or its region is no region; nothing was sent.
    """

    def __init__(
        self,
        account: TwilioAccount,
        *,
        within_seconds: float = WITHIN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        transport: http.BaseTransport | None = None,
    ) -> None:
        self._login: Login = login_for(
            account.account_sid,
            auth_token=account.auth_token,
            key_sid=account.api_key_sid,
            key_secret=account.api_key_secret,
        )
        self._base = account.api_base_url.rstrip("/")
        self._host = api_host(account.region, account.edge)
        self._within_seconds = within_seconds
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._transport = transport
        self._client: http.Client | None = None

    def __enter__(self) -> Self:
        """Keep one connection until the end of the block."""
        self._client = self._new_client()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # ---- requests -----------------------------------------------------------------------------

    def get(
        self, path: str, params: Mapping[str, str] | None = None, *, product: Product = "api"
    ) -> dict[str, Any]:
        """Return a resource, asked again for ``within_seconds`` while Twilio does not answer.

        Args:
            path: below the account (``IncomingPhoneNumbers.json``), or from the root if it begins
                with a slash.

        Raises:
            TwilioRefused, TwilioSilent: as they say.
        """
        return self._ask("GET", path, params or {}, product)

    def post(self, path: str, form: Mapping[str, str | list[str]]) -> dict[str, Any]:
        """Make one write. Repeated only where Twilio is known not to have read it (429, unsent).

        Args:
            form: ``''`` clears a field; Twilio tells it from one that is not sent (T25). A list is
                sent as that field several times.

        Raises:
            NeverSent: it may not be made.
            TwilioRefused, TwilioSilent: as they say; ``is_unclear`` then means: look first.
        """
        return self._ask("POST", path, form, "api")

    def pages(self, path: str, params: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of a list, page by page as Twilio leads (twilio.md 5.1).

        Raises:
            TwilioRefused, TwilioSilent: the list is not whole.
        """
        asked: Mapping[str, str] = {"PageSize": str(_PAGE_SIZE), **(params or {})}
        for _ in range(_MOST_PAGES):
            page = self.get(path, asked)
            rows = next((value for value in page.values() if isinstance(value, list)), [])
            yield from (row for row in rows if isinstance(row, dict))
            path, asked = str(page.get("next_page_uri") or ""), {}
            if not path:
                return
            if not path.startswith(f"{API}/{self._login.account_sid}/"):
                raise TwilioSilent("Twilio's list leads to another account")
        raise TwilioSilent("Twilio's list has no end")

    # ---- what is asked often ------------------------------------------------------------------

    def numbers(self) -> Iterator[dict[str, Any]]:
        """Yield every number of the account."""
        return self.pages("IncomingPhoneNumbers.json")

    def number(self, sid: str) -> dict[str, Any]:
        """Return a number by its SID."""
        return self.get(f"IncomingPhoneNumbers/{sid}.json")

    def number_by_e164(self, number_e164: str) -> dict[str, Any] | None:
        """Return a number, None if the account has none of that name."""
        # Twilio's filter is by part of a number.
        for row in self.pages("IncomingPhoneNumbers.json", {"PhoneNumber": number_e164}):
            if row.get("phone_number") == number_e164:
                return row
        return None

    def application(self, sid: str) -> dict[str, Any]:
        """Return a TwiML app."""
        return self.get(f"Applications/{sid}.json")

    def account(self) -> dict[str, Any]:
        """Return the account itself."""
        return self.get(f"{API}/{self._login.account_sid}.json")

    def voice_region(self, number_e164: str) -> str:
        """Return the region whose record of the number decides (twilio.md 5.6), '' if not known.

        Raises:
            TwilioSilent: Twilio did not say; that it may not be asked reads as ''.
        """
        try:
            route = self.get(f"/v2/PhoneNumbers/{number_e164}", product="routes")
        except TwilioRefused:
            return ""
        return str(route.get("voice_region") or "").lower()

    # ---- one request --------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, fields: Mapping[str, str | list[str]], product: Product
    ) -> dict[str, Any]:
        if not path.startswith("/"):
            path = f"{API}/{self._login.account_sid}/{path}"
        if why := why_never(method, path, fields):
            raise NeverSent(why)
        until = self._clock() + self._within_seconds
        attempts = 0
        while True:
            made = self._once(method, path, fields, product)
            attempts += 1
            if made.status == 429:
                wait = max(_BUSY_SECONDS, min(made.retry_after_seconds or 0.0, WITHIN_SECONDS))
                _BUSY[self._login.account_sid] = time.monotonic() + wait
            if made.answer == "done":
                return dict(made.body)
            following = next_try(
                method,
                made.answer,
                attempts=attempts,
                jitter=self._jitter(),
                left_seconds=until - self._clock(),
                retry_after_seconds=made.retry_after_seconds,
            )
            if following.kind != "again":
                raise _error_of(made, method)
            self._sleep(following.wait_seconds)

    def _once(
        self, method: str, path: str, fields: Mapping[str, str | list[str]], product: Product
    ) -> _Answered:
        client = self._client or self._new_client()
        try:
            response = client.request(
                method,
                self._origin(product) + path,
                params=dict(fields) if method == "GET" and fields else None,
                data=dict(fields) if method == "POST" else None,
                auth=(self._login.user, self._login.password),
            )
            return _read(response)
        except (http.HTTPError, http.InvalidURL) as error:
            log.info("twilio_silent", method=method, error=type(error).__name__)
            never_left = (http.ConnectError, http.ConnectTimeout, http.PoolTimeout, http.InvalidURL)
            silence: Silence = "unsent" if isinstance(error, never_left) else "lost"
            why = f"Twilio was not reached ({type(error).__name__})"
            return _Answered(answer_of(0, silence=silence), why=why)
        finally:
            if client is not self._client:
                client.close()

    def _origin(self, product: Product) -> str:
        if self._base:
            return self._base
        # The routes of numbers are of no region: they name it.
        return "https://routes.twilio.com" if product == "routes" else f"https://{self._host}"

    def _new_client(self) -> http.Client:
        return http.client(
            connect_seconds=CONNECT_SECONDS, read_seconds=TIMEOUT_SECONDS, transport=self._transport
        )


def _read(response: http.Response) -> _Answered:
    status = response.status_code
    try:
        body = response.json()
    except ValueError:
        body = None
    answer = answer_of(status)
    if answer == "done" and not isinstance(body, dict):
        # Something between Twilio and us answered; of a write nobody knows.
        return _Answered("unclear", status, why="Twilio's answer is no JSON")
    named = body if isinstance(body, dict) else {}
    return _Answered(answer, status, named, _seconds(response.headers.get("retry-after", "")))


def _seconds(text: str) -> float | None:
    # A date is possible by HTTP and not used by Twilio.
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _error_of(made: _Answered, method: str) -> TwilioRefused | TwilioSilent:
    code = made.body.get("code")
    number = code if isinstance(code, int) else 0
    if made.answer in ("refused", "gone"):
        return TwilioRefused(made.status, number, str(made.body.get("message") or "no reason"))
    return TwilioSilent(
        made.why or f"Twilio answered {made.status}, code {number}",
        status=made.status,
        is_unclear=method == "POST" and made.answer == "unclear",
        retry_after_seconds=made.retry_after_seconds,
    )
