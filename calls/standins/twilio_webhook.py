"""Twilio's requests to a platform: signed forms with time limits, retries, and the failure codes
of twilio.md 1.3. It must not know calls or TwiML verbs.

The overrides in an address's fragment hold: ``tt`` bounds all tries together, and ``rp`` says which
failures are repeated. Without ``rp`` every failure is, once: harder on a platform than Twilio's own
default, which repeats what nobody took the connection of.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import aiohttp
from yarl import URL

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0


def signature_of(url: str, form: Mapping[str, str], auth_token: str) -> str:
    """Return X-Twilio-Signature of a request (1.4): HMAC-SHA1 over the URL and the sorted form."""
    text = url + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(auth_token.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `error_code` is set if it counts as a failure."""

    status: int = 0
    body: str = ""
    content_type: str = ""
    error_code: int | None = None
    error_text: str = ""
    failure: str = ""  # ct, rt, 4xx or 5xx, as ``rp`` names them


@dataclass(slots=True)
class Webhooks:
    """Sends signed requests for one account. `reach` maps public origins to where they listen."""

    auth_token: str
    reach: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: float = CONNECT_SECONDS
    total_seconds: float = TOTAL_SECONDS
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    _session: aiohttp.ClientSession | None = None

    def sign(self, url: str, form: Mapping[str, str], *, stale: bool = False) -> str:
        """Return X-Twilio-Signature; `stale` signs with a token that was rotated away."""
        token = self.auth_token + ("-rotated" if stale else "")
        return signature_of(url, form, token)

    def reachable(self, url: str) -> str:
        """Return where a public URL is really served."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        target = self.reach.get(origin)
        if target is None and parts.scheme in ("ws", "wss"):
            http = self.reach.get(origin.replace("ws", "http", 1))
            target = http.replace("http", "ws", 1) if http is not None else None
        return target + url[len(origin) :] if target is not None else url

    async def fetch(
        self, url: str, method: str, form: Mapping[str, str], *, idempotency: str = ""
    ) -> Answer:
        """Request `url` with its `#rc=…&rt=…` overrides; a failure is tried once more (1.3).

        The repetition has a connection of its own: the kept ones may all end at a process that
        has just died.
        """
        parts = urlsplit(url)
        overrides = {name: values[0] for name, values in parse_qs(parts.fragment).items()}
        bare = urlunsplit(parts._replace(fragment=""))
        if self._session is None:
            self._session = _new_session()
        until = asyncio.get_running_loop().time() + self._seconds(overrides, "tt")
        answer = await self._once(
            self._session, bare, method.upper(), form, overrides, idempotency, until
        )
        for _ in range(int(overrides.get("rc", "1"))):
            left = until - asyncio.get_running_loop().time()
            if answer.error_code is None or not _repeats(overrides, answer) or left <= 0:
                break
            async with _new_session() as session:
                answer = await self._once(
                    session, bare, method.upper(), form, overrides, idempotency, until
                )
        return answer

    def _seconds(self, overrides: Mapping[str, str], name: str) -> float:
        default = self.connect_seconds if name == "ct" else self.total_seconds
        return float(overrides.get(name, default * 1000)) / 1000

    async def close(self) -> None:
        """Close the HTTP connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _once(
        self,
        session: aiohttp.ClientSession,
        url: str,
        method: str,
        form: Mapping[str, str],
        overrides: Mapping[str, str],
        idempotency: str,
        until: float,
    ) -> Answer:
        data: dict[str, str] | None = dict(form)
        if method == "GET":
            url += ("&" if urlsplit(url).query else "?") + urlencode(form)
            data = None
        headers = {
            "X-Twilio-Signature": self.sign(url, data or {}),
            "User-Agent": "TwilioProxy/1.1",
            "I-Twilio-Idempotency-Token": idempotency,
        }
        self.requests.append((method, url, dict(form)))
        try:
            # As signed: the client would spell %3A and %2F of a query in its own way.
            target = URL(self.reachable(url), encoded=True)
        except ValueError:
            return Answer(error_code=11100, error_text=f"invalid URL {url}")
        timeout = aiohttp.ClientTimeout(
            total=max(until - asyncio.get_running_loop().time(), 0.001),
            sock_connect=self._seconds(overrides, "ct"),
            sock_read=self._seconds(overrides, "rt"),
        )
        try:
            async with session.request(
                method, target, data=data, headers=headers, timeout=timeout
            ) as response:
                body = await response.text(errors="replace")
                kind = response.headers.get("content-type", "")
                if response.status >= 300:
                    text = f"HTTP {response.status} from {url}"
                    failure = "4xx" if response.status < 500 else "5xx"
                    return Answer(response.status, body, kind, 11200, text, failure)
                return Answer(response.status, body, kind)
        except aiohttp.ConnectionTimeoutError:
            text = f"no connection in time for {url}"
            return Answer(error_code=11205, error_text=text, failure="ct")
        except TimeoutError:
            return Answer(error_code=11200, error_text=f"time is up for {url}", failure="rt")
        except aiohttp.InvalidURL:
            return Answer(error_code=11100, error_text=f"invalid URL {url}")
        except aiohttp.ClientError as error:
            # One that broke too: a kept connection may end at a process that is gone.
            return Answer(error_code=11205, error_text=f"{url}: {error}", failure="ct")


def _repeats(overrides: Mapping[str, str], answer: Answer) -> bool:
    if "rp" not in overrides:
        return True
    named = set(overrides["rp"].split(","))
    return "all" in named or answer.failure in named


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
