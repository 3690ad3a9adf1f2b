"""One exchange with the previous stack, from Twilio's request to what Twilio is given: sans-I/O.

``start`` gives the first request; what came of it goes into ``answered`` or ``failed``, which give
the next one (a redirect, a repeat) or the outcome. Owns limits, the order of redirects, repeats and
cookies, and the words that are stored. It must not send, wait or look at a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urljoin

from calls.previous.addresses import Patience, host_of, leads_to
from calls.previous.answers import Answer, Unusable, most_bytes, usable
from calls.previous.cookies import Cookie, kept_cookies
from calls.previous.requests import Heard, Method, Outgoing, first_request, next_request

Purpose = Literal["voice", "status"]
Failure = Literal[
    "refused", "name", "connect", "tls", "silent", "broken", "too_long", "url", "time"
]
Reached = Literal["no", "maybe", "yes"]

MOST_REDIRECTS: Final = 10
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

# Twilio's code, whether the other side may have had the request, cause, fix (twilio.md 1.3).
_FAILURES: Final[dict[Failure, tuple[int, Reached, str, str]]] = {
    "refused": (
        11200,
        "no",
        "outgoing requests to it are not allowed",
        "use a public address, or name the host in EGRESS_ALLOW",
    ),
    "name": (11210, "no", "its name does not resolve", "correct the host in the previous URL"),
    "connect": (11205, "no", "it took no connection", "ask its operator whether it is up"),
    "tls": (11220, "no", "no encrypted connection came about", "ask its operator to renew its TLS"),
    "silent": (11200, "maybe", "it stayed silent too long", "ask its operator whether it is up"),
    "broken": (11200, "maybe", "the connection broke", "ask its operator whether it is up"),
    "too_long": (11750, "yes", "its answer is too long for Twilio", "shorten the TwiML"),
    "url": (11100, "no", "its address is no http or https URL", "correct the previous URL"),
    "time": (
        11200,
        "maybe",
        "its time was up before it had answered",
        "ask its operator, or give the number more time for the hand-over",
    ),
}
_RETRY_NAMES: Final[dict[Failure, str]] = {"connect": "ct", "name": "ct", "silent": "rt"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. Without ``answer`` somebody else has to answer Twilio.

    ``reached`` is whether the previous stack may have taken the call: not ``no`` and no answer
    means that both stacks may have been reached. ``error_code`` is Twilio's, 0 for none.
    """

    reason: str
    reached: Reached
    answer: Answer | None = None
    is_taken: bool = False
    error_code: int = 0
    status: int = 0
    host: str = ""
    requests: int = 0
    redirects: int = 0
    elapsed_ms: int = 0
    cookies: tuple[Cookie, ...] = field(default=(), repr=False)

    @property
    def both_reached(self) -> bool:
        """Tell whether another answer may be the second one for this call (ADR 0007)."""
        return not self.is_taken and self.reached != "no"

    def as_json(self) -> dict[str, Any]:
        """Return what is stored on the call: no address, no cookie, no content."""
        names = ("reason", "reached", "is_taken", "error_code", "status", "host", "requests")
        stored = {name: getattr(self, name) for name in (*names, "redirects", "elapsed_ms")}
        return stored | {"absolute_made": self.answer.absolute_made if self.answer else 0}


Step = Outgoing | Outcome


class Errand:
    """The exchange. Times are of any clock in ms that never goes back."""

    def __init__(
        self,
        *,
        url: str,
        method: Method,
        heard: Heard,
        auth_token: str,
        patience: Patience,
        own_url: str,
        purpose: Purpose = "voice",
        cookies: Sequence[Cookie] = (),
        now_ms: int = 0,
    ) -> None:
        """Prepare it; ``own_url`` is PUBLIC_BASE_URL, which is never asked.

        Args:
            auth_token: the primary one of the account in ``AccountSid`` (twilio.md 1.5).
            cookies: what this call's earlier exchanges left.
        """
        self._url, self._method, self._heard = url, method, heard
        self._auth_token, self._patience, self._own_url = auth_token, patience, own_url
        self._purpose = purpose
        self._cookies = tuple(cookies)
        self._began_ms = now_ms
        self._asked: Outgoing | None = None
        self._requests = self._redirects = self._repeats = 0
        self._reached: Reached = "no"

    @property
    def connect_ms(self) -> int:
        """Return how long connecting may take."""
        return self._patience.connect_ms

    @property
    def read_ms(self) -> int:
        """Return how long each piece of an answer may take."""
        return self._patience.read_ms

    def left_ms(self, now_ms: int) -> int:
        """Return what is left of the time for all of it; with 0 it has failed by ``time``."""
        return max(0, self._began_ms + self._patience.total_ms - now_ms)

    def start(self, now_ms: int) -> Step:
        """Return the first request, or at once why there is none."""
        if not self._auth_token:
            return self._lost(
                0, now_ms, "no auth token of the account is stored, so nothing can be signed", ""
            )
        try:
            asked = first_request(
                self._url,
                self._method,
                self._heard,
                auth_token=self._auth_token,
                cookies=self._cookies,
            )
        except ValueError:
            return self.failed("url", now_ms)
        return self._send(asked, now_ms)

    def most_bytes(self, status: int, content_type: str) -> int:
        """Return how much of an answer's body is wanted: 0 where it does not matter."""
        is_read = self._purpose == "voice" and 200 <= status < 300
        return most_bytes(content_type) if is_read else 0

    def answered(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, now_ms: int
    ) -> Step:
        """Take an answer; of its body no more than ``most_bytes`` and one byte."""
        asked = self._asked
        assert asked is not None, "an answer to what was never asked"
        self._reached = "yes"
        self._cookies = kept_cookies(self._cookies, asked.url, _values(headers, "set-cookie"))
        locations = _values(headers, "location")
        if status in REDIRECTS and locations:
            return self._follow(status, locations[-1], now_ms)
        if 200 <= status < 300:
            if self._purpose == "status":
                return self._taken(None, status, now_ms)
            found = usable(
                body,
                content_type=_last(headers, "content-type"),
                content_coding=_last(headers, "content-encoding"),
                base_url=asked.url,
            )
            if isinstance(found, Answer):
                return self._taken(found, status, now_ms)
            return self._unusable(found, status, now_ms)
        if f"{status // 100}xx" in self._patience.retry_on and self._may_repeat(now_ms):
            return self._again(now_ms)
        return self._lost(
            11200,
            now_ms,
            f"it answered with status {status}",
            "look into its log; where it says 401 or 403, compare the account's auth token",
            status=status,
        )

    def failed(self, failure: Failure, now_ms: int) -> Step:
        """Take that a request had no whole answer."""
        code, reached, cause, fix = _FAILURES[failure]
        if reached != "no" and self._reached != "yes":
            self._reached = reached
        if (
            _RETRY_NAMES.get(failure, "never") in self._patience.retry_on
            and self._asked is not None
            and self._may_repeat(now_ms)
        ):
            return self._again(now_ms)
        return self._lost(code, now_ms, cause, fix)

    def _may_repeat(self, now_ms: int) -> bool:
        return self._repeats < self._patience.retries and self.left_ms(now_ms) > 0

    def _again(self, now_ms: int) -> Step:
        """Ask the same again, where the redirects had led; Twilio's idempotency token is in it."""
        assert self._asked is not None
        self._repeats += 1
        return self._send(self._asked, now_ms)

    def _follow(self, status: int, location: str, now_ms: int) -> Step:
        assert self._asked is not None
        if self._redirects >= MOST_REDIRECTS:
            return self._lost(
                11215,
                now_ms,
                f"it redirected more than {MOST_REDIRECTS} times",
                "ask its operator for the final address",
                status=status,
            )
        self._redirects += 1
        try:
            asked = next_request(
                urljoin(self._asked.url, location.strip()),
                status,
                self._asked,
                self._heard,
                auth_token=self._auth_token,
                cookies=self._cookies,
            )
        except ValueError:
            return self._lost(
                11100,
                now_ms,
                "it redirected to what is no http or https URL",
                "ask its operator for the final address",
                status=status,
            )
        return self._send(asked, now_ms)

    def _send(self, asked: Outgoing, now_ms: int) -> Step:
        self._asked = asked
        if leads_to(asked.url, self._own_url):
            return self._lost(
                0,
                now_ms,
                "the previous URL is our own webhook, which would ask itself",
                "enter where the calls went before",
            )
        if self.left_ms(now_ms) == 0:
            return self.failed("time", now_ms)
        self._requests += 1
        return asked

    def _taken(self, answer: Answer | None, status: int, now_ms: int) -> Outcome:
        what = "took the report" if answer is None else "answered the call"
        reason = f"the previous stack ({self._host()}) {what}"
        return self._outcome(
            reason, now_ms, answer=answer, is_taken=True, error_code=0, status=status
        )

    def _unusable(self, found: Unusable, status: int, now_ms: int) -> Outcome:
        fix = "look at what it answers to this number's calls"
        return self._lost(found.code, now_ms, f"its answer: {found.cause}", fix, status=status)

    def _lost(self, code: int, now_ms: int, cause: str, fix: str, *, status: int = 0) -> Outcome:
        where = f" ({self._host()})" if self._host() else ""
        reason = f"the previous stack{where} did not take it: {cause}"
        return self._outcome(
            f"{reason}. Fix: {fix}" if fix else reason,
            now_ms,
            answer=None,
            is_taken=False,
            error_code=code,
            status=status,
        )

    def _outcome(
        self,
        reason: str,
        now_ms: int,
        *,
        answer: Answer | None,
        is_taken: bool,
        error_code: int,
        status: int,
    ) -> Outcome:
        return Outcome(
            reason=reason,
            reached=self._reached,
            answer=answer,
            is_taken=is_taken,
            error_code=error_code,
            status=status,
            host=self._host(),
            requests=self._requests,
            redirects=self._redirects,
            elapsed_ms=now_ms - self._began_ms,
            cookies=self._cookies,
        )

    def _host(self) -> str:
        return host_of(self._asked.url if self._asked else self._url)


def _values(headers: Sequence[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]


def _last(headers: Sequence[tuple[str, str]], name: str) -> str:
    return (_values(headers, name) or [""])[-1]
