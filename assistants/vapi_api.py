"""The client of Vapi's REST API: lists read page by page, with patience and bounded memory.

Owns paging (vapi.md 1.5), rate limits, repeats after failures, and the words for what went wrong.
It obeys the egress policy, since the address may come from a form. It must not know what an object
means or what is stored; it only ever asks with GET.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urljoin

from voiceplatform.base.egress import EgressRefused, destination, egress_client
from voiceplatform.base.http import AsyncClient, HTTPError, InvalidURL

MAX_BYTES: Final = 10 * 1024 * 1024  # of one answer
PAGE: Final = 100  # Vapi's own default
LONGEST_PAGE: Final = 1000  # Vapi's most
_WAITS_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
_MOST_RATE_LIMITS: Final = 30  # in a row, for one request
_LONGEST_WAIT_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 120.0
_DOWNLOAD_SECONDS: Final = 600.0
_MOST_REDIRECTS: Final = 5
_KEY: Final = re.compile(r"[\x21-\x7e]+")


class VapiApiError(Exception):
    """Vapi's API could not be read; the text says why and what to do, and holds no key."""


class VapiCancelled(Exception):
    """Somebody asked to stop while the client waited."""


class _NotThere(Exception):
    """The route or the object does not exist."""


class _TooLarge(Exception):
    """An answer is larger than what is read at once."""


class VapiApi:
    """One Vapi account; close it, or use it in a ``with`` statement.

    ``cancelled`` is asked while it waits, so that a rate limit does not hold up a cancellation.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        make_client: Callable[[], AsyncClient] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare a client; nothing is asked yet.

        Args:
            make_client: returns the HTTP client, for tests; the egress policy's by default.

        Raises:
            VapiApiError: no key, one that cannot be sent, no URL, or one with a user part or
                parameters, which would be stored and shown with the job.
        """
        self._key = api_key.strip()
        if not _KEY.fullmatch(self._key):
            raise VapiApiError("there is no usable Vapi key. Fix: give the private key of Vapi's")
        base_url = base_url.strip()
        try:
            self._base = destination(base_url).url.rstrip("/")
        except EgressRefused as error:
            raise VapiApiError(str(error)) from error
        if set("?#;@") & set(base_url):
            # Paths are put behind it, and the one Authorization header is the key's.
            raise VapiApiError(
                "the base URL holds more than an address. Fix: leave out user, password and "
                "parameters, e.g. https://api.vapi.ai; the key has a field of its own"
            )
        self.cancelled: Callable[[], bool] = lambda: False
        self._make_client = make_client or (lambda: egress_client(read_seconds=30.0))
        self._sleep = sleep
        self._runner: asyncio.Runner | None = None
        self._client: AsyncClient | None = None

    def __repr__(self) -> str:
        """Show the address alone."""
        return f"VapiApi({self._base!r})"

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close connections; using it again opens new ones."""
        runner, self._runner = self._runner, None
        client, self._client = self._client, None
        if runner is not None:
            if client is not None:
                runner.run(client.aclose())
            runner.close()

    def objects(
        self, route: str, filters: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield every object of a list route once, newest first; nothing when there is no route.

        Both forms are read: bare arrays, paged backwards by ``createdAt``, and page envelopes.

        Args:
            filters: more of the route's query, e.g. ``createdAtGe`` (vapi.md 1.5).

        Raises:
            VapiApiError: the list cannot be read, or not to its end.
        """
        seen: set[str] = set()
        params: dict[str, str] = {}
        limit = PAGE
        while True:
            asked = {**(filters or {}), **params, "limit": str(limit)}
            try:
                answer = self._ask(route, asked)
            except _NotThere:
                return
            except _TooLarge:
                if limit == 1:
                    raise VapiApiError(
                        f"one object of /{route} is over {MAX_BYTES // 2**20} MiB. Fix: export it "
                        "to a file without what makes it so large"
                    ) from None
                # Page numbers mean something else for another size; what was seen is skipped.
                limit = max(1, limit // 4)
                params.pop("page", None)
                continue
            page = _rows(answer, route)
            known = len(seen)
            for row in page:
                if str(row.get("id")) not in seen:
                    seen.add(str(row.get("id")))
                    yield row
            if len(page) < limit:
                return
            has_new = len(seen) > known
            if isinstance(answer, dict):
                number = int(params.get("page", "1"))
                if not has_new and number * limit >= len(seen):
                    return
                params = {"page": str(number + 1)}
            elif not has_new and limit == PAGE:
                limit = LONGEST_PAGE  # over a hundred objects of one moment
            else:
                following = _earlier(page, has_new=has_new)
                if following is None or following == params:
                    return
                params = following

    def get(self, route: str, object_id: str) -> dict[str, Any] | None:
        """Return one object, None when there is none.

        Raises:
            VapiApiError: it cannot be read.
        """
        try:
            answer = self._ask(f"{route}/{quote(object_id, safe='')}", {})
        except _NotThere:
            return None
        except _TooLarge:
            raise VapiApiError(f"/{route}/{object_id} is over {MAX_BYTES // 2**20} MiB") from None
        if not isinstance(answer, dict):
            raise VapiApiError(f"/{route}/{object_id} answered no object")
        return answer

    def newest(self, route: str, count: int) -> list[dict[str, Any]] | None:
        """Return the first ``count`` objects of a list, None when there is no such route.

        Raises:
            VapiApiError: the list cannot be read.
        """
        try:
            return _rows(self._ask(route, {"limit": str(count)}), route)
        except (_NotThere, _TooLarge):
            return None

    def download(self, url: str, take: Callable[[bytes], object], *, most_bytes: int) -> None:
        """Hand a file that Vapi names, e.g. a recording, to ``take``, a piece at a time.

        The key goes to Vapi's API alone, and never to where that redirects; an attempt that fails
        is not repeated, since ``take`` has had a part of it.

        Raises:
            VapiApiError: it cannot be read, or is larger than ``most_bytes``.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            self._runner.run(self._load(url, take, most_bytes))
        except (HTTPError, InvalidURL, TimeoutError, OSError) as error:
            raise VapiApiError(f"the connection failed ({type(error).__name__})") from error
        except EgressRefused as error:
            raise VapiApiError(str(error)) from error

    async def _load(self, url: str, take: Callable[[bytes], object], most_bytes: int) -> None:
        if self._client is None:
            self._client = self._make_client()
        size = 0
        async with asyncio.timeout(_DOWNLOAD_SECONDS):
            for _ in range(_MOST_REDIRECTS):
                is_ours = url.startswith(f"{self._base}/")
                headers = {"Authorization": f"Bearer {self._key}"} if is_ours else {}
                async with self._client.stream("GET", url, headers=headers) as response:
                    if 300 <= response.status_code < 400:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    if response.status_code != 200:
                        raise VapiApiError(f"status {response.status_code}")
                    async for chunk in response.aiter_bytes():
                        size += len(chunk)
                        if size > most_bytes:
                            raise VapiApiError(f"it is over {most_bytes // 2**20} MiB")
                        take(chunk)
                    return
        raise VapiApiError("it redirects without end")

    def call_file(self, call_id: str, name: str) -> str:
        """Return the address at the API of a file of a call, e.g. ``mono-recording``."""
        return f"{self._base}/call/{quote(call_id, safe='')}/{name}"

    def _ask(self, path: str, params: Mapping[str, str]) -> Any:
        failures = limits = 0
        while True:
            try:
                status, headers, body = self._once(path, params)
            except (HTTPError, OSError) as error:
                words = f"the connection failed ({type(error).__name__})"
                failures = self._wait_after_failure(failures, words, path)
                continue
            if status == 429:
                limits += 1
                if limits > _MOST_RATE_LIMITS:
                    raise VapiApiError("Vapi keeps limiting requests. Fix: try again later")
                self._wait(_retry_after(headers) or _WAITS_SECONDS[min(limits, 5) - 1])
                continue
            if status >= 500 or status == 408:
                failures = self._wait_after_failure(failures, f"status {status}", path)
                continue
            return _answer(status, body, path)

    def _wait_after_failure(self, failures: int, words: str, path: str) -> int:
        if failures == len(_WAITS_SECONDS):
            raise VapiApiError(
                f"/{path} could not be read after {failures + 1} attempts: {words}. Fix: try again "
                "later; what was imported stays and costs nothing the next time"
            )
        self._wait(_WAITS_SECONDS[failures])
        return failures + 1

    def _wait(self, seconds: float) -> None:
        left = seconds
        while left > 0:
            if self.cancelled():
                raise VapiCancelled
            self._sleep(min(left, 0.5))
            left -= 0.5

    def _once(self, path: str, params: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            return self._runner.run(self._fetch(f"{self._base}/{path}", params))
        except TimeoutError as error:
            raise OSError("no complete answer in time") from error
        except EgressRefused as error:
            raise VapiApiError(str(error)) from error
        except InvalidURL as error:
            raise VapiApiError("the base URL cannot be requested. Fix: correct it") from error

    async def _fetch(
        self, url: str, params: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._client is None:
            self._client = self._make_client()
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        request = self._client.stream("GET", url, params=dict(params), headers=headers)
        async with asyncio.timeout(_ANSWER_SECONDS), request as response:
            chunks: list[bytes] = []
            size = 0
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > MAX_BYTES:
                    raise _TooLarge
                chunks.append(chunk)
            return response.status_code, dict(response.headers), b"".join(chunks)


def _answer(status: int, body: bytes, path: str) -> Any:
    if status == 404:
        raise _NotThere
    if status in (401, 403):
        raise VapiApiError(
            f"Vapi refuses this key (status {status}). Fix: give the private key of the "
            "organisation, from Vapi's dashboard under API keys; the public one cannot read"
        )
    if 300 <= status < 400:
        raise VapiApiError("the base URL redirects. Fix: give the address that it leads to")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise VapiApiError(
            f"/{path} answered no JSON (status {status}), so this is not Vapi's API. Fix: correct "
            "the base URL, e.g. https://api.vapi.ai"
        ) from None
    if status >= 400:
        raise VapiApiError(f"/{path} was refused (status {status}): {_message(value)}")
    return value


def _message(value: Any) -> str:
    message = value.get("message") if isinstance(value, dict) else None
    text = "; ".join(map(str, message)) if isinstance(message, list) else str(message or "no words")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _rows(answer: Any, route: str) -> list[dict[str, Any]]:
    rows = answer.get("results") if isinstance(answer, dict) else answer
    if not isinstance(rows, list):
        raise VapiApiError(
            f"/{route} answered neither a list nor a page, so this is not Vapi's API. Fix: correct "
            "the base URL, e.g. https://api.vapi.ai"
        )
    return [row for row in rows if isinstance(row, dict)]


def _earlier(page: list[dict[str, Any]], *, has_new: bool) -> dict[str, str] | None:
    """Return the query of the page before ``page``, None when its rows have no times.

    At or before the oldest, so that a neighbour of the same moment is not skipped; when a whole
    page of one moment brought nothing new, strictly before it.
    """
    times = [row["createdAt"] for row in page if isinstance(row.get("createdAt"), str)]
    if not times:
        return None
    return {"createdAtLe" if has_new else "createdAtLt": min(times)}


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that the answer asks to wait, 0 when it does not say."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,3})?", text):
        return min(max(float(text), 0.1), _LONGEST_WAIT_SECONDS)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    now = dt.datetime.now(tz=dt.UTC)
    seconds = (until if until.tzinfo else until.replace(tzinfo=dt.UTC)) - now
    return min(max(seconds.total_seconds(), 0.1), _LONGEST_WAIT_SECONDS)
