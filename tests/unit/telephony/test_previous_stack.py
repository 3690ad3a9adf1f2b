"""The shell around an errand: what goes on the wire, and what every failure is called."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpcore
import httpx
import pytest
from twilio.request_validator import RequestValidator

from calls.previous.addresses import Patience
from calls.previous.errand import Errand, Outcome
from calls.previous.requests import Heard
from calls.telephony.previous_stack import monotonic_ms, previous_asked
from voiceplatform.base.egress import EgressPolicy, egress_client

pytestmark = pytest.mark.unit

TOKEN = "0123456789abcdef0123456789abcdef"
URL = "https://previous.example.com/in"
FORM = b"CallSid=CA1&From=%2B15550100001&CallerName="


async def asked(answer: Callable[[httpx.Request], Any], url: str = URL, **changes: Any) -> Outcome:
    async def handler(request: httpx.Request) -> httpx.Response:
        found = answer(request)
        return await found if asyncio.iscoroutine(found) else found

    given: dict[str, Any] = {
        "url": url,
        "method": "POST",
        "heard": Heard(FORM),
        "auth_token": TOKEN,
        "patience": Patience(retries=0),
        "own_url": "https://voice.example.com",
        "now_ms": monotonic_ms(),
    }
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        return await previous_asked(Errand(**(given | changes)), client=client)


class Wire(httpcore.AsyncMockStream):
    """A peer that keeps what it is sent and answers one document."""

    def __init__(self, sent: bytearray) -> None:
        body = b"<Response/>"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        super().__init__([head.encode() + body])
        self._sent = sent

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Keep it."""
        self._sent += buffer


class WireBackend(httpcore.AsyncMockBackend):
    """Connects to nobody."""

    def __init__(self) -> None:
        super().__init__([])
        self.sent = bytearray()

    async def connect_tcp(self, *_: Any, **__: Any) -> Wire:
        """Return the peer."""
        return Wire(self.sent)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_wire_carries_letter_for_letter_what_was_signed(method: str) -> None:
    backend = WireBackend()
    transport = httpx.AsyncHTTPTransport()
    transport._pool = httpcore.AsyncConnectionPool(network_backend=backend)
    errand = Errand(
        url="http://us:pw@Previous.Example.com:80/a/../b//c?x=%2b&y=ü",
        method="GET" if method == "GET" else "POST",
        heard=Heard(FORM),
        auth_token=TOKEN,
        patience=Patience(),
        own_url="https://voice.example.com",
        now_ms=monotonic_ms(),
    )
    async with httpx.AsyncClient(transport=transport) as client:
        found = await previous_asked(errand, client=client)
    assert found.answer is not None and found.answer.body == b"<Response/>"
    head, _, body = bytes(backend.sent).partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    own_query = "/a/../b//c?x=%2b&y=%C3%BC"
    target = own_query if method == "POST" else f"{own_query}&{FORM.decode()}"
    assert first == f"{method} {target} HTTP/1.1"
    assert body == (FORM if method == "POST" else b"")
    assert headers["Host"] == "Previous.Example.com:80"
    assert headers["Authorization"] == "Basic dXM6cHc="
    assert headers.get("Content-Length") == (str(len(FORM)) if method == "POST" else None)
    # Twilio signs the URL as it is configured, with its user part (twilio.md 1.5).
    url = f"http://us:pw@{headers['Host']}{target}"
    form = {"CallSid": "CA1", "From": "+15550100001", "CallerName": ""}
    signed = form if method == "POST" else {}
    assert RequestValidator(TOKEN).validate(url, signed, headers["X-Twilio-Signature"])


async def test_a_redirect_to_a_file_is_not_followed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": "unix:///run/secret"})

    found = await asked(answer)
    assert found.error_code == 11100 and found.requests == 1


async def test_a_redirect_is_followed_once_by_us_and_never_by_the_client() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url.host}")
        if len(seen) == 1:
            return httpx.Response(303, headers={"Location": "https://b.example/x"})
        stream = httpx.ByteStream(b"sound")
        return httpx.Response(200, stream=stream, headers={"Content-Type": "audio/basic"})

    found = await asked(answer)
    assert seen == ["POST previous.example.com", "GET b.example"]
    assert found.answer is not None and found.answer.body == b"sound"


def _tls() -> Exception:
    error = httpx.ConnectError("no")
    error.__cause__ = ssl.SSLError("certificate verify failed")
    return error


@pytest.mark.parametrize(
    ("error", "code", "reached"),
    [
        (httpx.ConnectTimeout("t"), 11205, "no"),
        (httpx.ConnectError("refused"), 11205, "no"),
        (httpx.ConnectError("the name does not resolve"), 11210, "no"),
        (_tls(), 11220, "no"),
        (httpx.ReadTimeout("t"), 11200, "maybe"),
        (httpx.RemoteProtocolError("gone"), 11200, "maybe"),
        (httpx.LocalProtocolError("illegal"), 11100, "no"),
        (OSError("gone"), 11200, "maybe"),
    ],
)
async def test_what_goes_wrong_has_its_name(error: Exception, code: int, reached: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    found = await asked(answer)
    assert (found.error_code, found.reached, found.is_taken) == (code, reached, False)


@pytest.mark.parametrize("where", ["http://169.254.169.254/x", "http://127.0.0.1:8000/admin/"])
async def test_neither_url_nor_redirect_leads_into_a_private_network(where: str) -> None:
    """The way that the server takes: names and addresses are judged where they are connected to."""
    errand = Errand(
        url=where,
        method="POST",
        heard=Heard(FORM),
        auth_token=TOKEN,
        patience=Patience(),
        own_url="https://voice.example.com",
        now_ms=monotonic_ms(),
    )
    async with egress_client(rules=EgressPolicy(), resolve=lambda host, _: [host]) as client:
        found = await previous_asked(errand, client=client)
    assert (found.reached, found.is_taken) == ("no", False)
    assert "EGRESS_ALLOW" in found.reason


async def test_a_hanging_stack_is_left_when_the_time_is_up() -> None:
    async def hang() -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    found = await asked(lambda _: hang(), patience=Patience(total_ms=20, retries=0))
    assert "its time was up" in found.reason and found.both_reached


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b" " * 16_384

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=endless(), headers={"Content-Type": "text/xml"})

    found = await asked(answer)
    assert found.error_code == 11750 and given == 5
