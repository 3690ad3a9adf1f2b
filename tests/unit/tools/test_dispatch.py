"""One POST and a result for whatever comes of it, on a transport without sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog

from tools import dispatch as module
from tools import servers
from tools.dispatch import ArgumentsRefused, ToolServer, checked_arguments, dispatch
from tools.spec import ToolResult, ToolSpec
from voiceplatform.base.egress import EgressRefused

pytestmark = pytest.mark.unit

SECRET = "hidden-shared-secret"
URL = "https://tools.example.com/hidden-path?token=hidden-token"
BOOK = ToolSpec(
    name="book_slot",
    parameters={
        "type": "object",
        "properties": {"day": {"type": "string"}},
        "required": ["day"],
    },
)
BODY = b'{"message":{"type":"tool-calls"}}'

Handler = Callable[[httpx.Request], Any]


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """Yield a body as it would come from a socket."""
    for piece in data:
        yield piece


def reply(status: int = 200, body: Any = None, **headers: str) -> httpx.Response:
    """Return an answer whose body is still to be read; ``body`` is bytes or JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, content=pieces(raw), headers=fields)


def answering(status: int = 200, body: Any = None) -> Handler:
    """Return a handler with one answer."""
    whole = {"results": [{"toolCallId": "a", "result": "Booked"}]} if body is None else body
    return lambda _: reply(status, whole)


async def run(
    handler: Handler,
    server: ToolServer | None = None,
    calls: dict[str, ToolSpec] | None = None,
) -> dict[str, ToolResult]:
    """Dispatch on a mock transport."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        return await dispatch(
            calls or {"a": BOOK},
            server or ToolServer(URL, SECRET),
            BODY,
            call_id="call-1",
            client=client,
        )


async def outcome(handler: Handler, server: ToolServer | None = None) -> ToolResult:
    """Dispatch one call and return its result."""
    return (await run(handler, server))["a"]


async def sent_headers(server: ToolServer) -> httpx.Headers:
    """Return the headers a server gets."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return reply()

    await run(handler, server)
    assert seen[0].method == "POST"
    assert seen[0].content == BODY
    return seen[0].headers


async def test_the_answer_reaches_the_model() -> None:
    found = await outcome(answering(201))
    assert (found.output, found.outcome) == ("Booked", "ok")
    assert found.duration_ms >= 0


async def test_v16_headers_are_vapi_s_and_our_mark() -> None:
    headers = await sent_headers(ToolServer(URL, SECRET))
    assert headers["content-type"] == "application/json"
    assert headers["x-vapi-secret"] == SECRET
    assert headers["x-voiceplatform-stack"] == "direct"
    assert headers["x-call-id"] == "call-1"
    assert "authorization" not in headers
    assert "x-vapi-secret" not in await sent_headers(ToolServer(URL))


async def test_v15_custom_headers_win_whatever_their_case() -> None:
    server = ToolServer(
        "https://me:pw@tools.example.com/",
        SECRET,
        {"authorization": "Bearer mine", "x-VAPI-secret": "other", "X-Extra": " kept "},
    )
    headers = await sent_headers(server)
    assert headers.get_list("authorization") == ["Bearer mine"]
    assert headers.get_list("x-vapi-secret") == ["other"]
    assert headers["x-extra"] == " kept "


async def test_custom_headers_neither_reframe_the_request_nor_hide_our_mark() -> None:
    server = ToolServer(
        URL,
        headers={
            "Content-Length": "1",
            "Transfer-Encoding": "chunked",
            "X-Voiceplatform-Stack": "",
        },
    )
    headers = await sent_headers(server)
    assert headers["content-length"] == str(len(BODY))
    assert "transfer-encoding" not in headers
    assert headers.get_list("x-voiceplatform-stack") == ["direct"]


async def test_credentials_in_the_url_become_a_header() -> None:
    headers = await sent_headers(ToolServer("https://me:pw@tools.example.com/"))
    assert headers["authorization"] == "Basic bWU6cHc="
    assert headers["host"] == "tools.example.com"


async def test_parallel_calls_share_one_post() -> None:
    posts = []

    def handler(request: httpx.Request) -> httpx.Response:
        posts.append(request)
        results = [{"toolCallId": "b", "error": "full"}, {"toolCallId": "a", "result": 1}]
        return reply(200, {"results": results})

    found = await run(handler, calls={"a": BOOK, "b": BOOK, "c": BOOK})
    assert len(posts) == 1
    assert {each: (result.output, result.outcome) for each, result in found.items()} == {
        "a": ("1", "ok"),
        "b": ("full", "error"),
        "c": ("No result returned.", "error"),
    }


def raising(error: Exception) -> Handler:
    """Return a handler that fails."""

    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("hidden"),
        httpx.ConnectTimeout("hidden"),
        httpx.ReadError("hidden"),
        httpx.RemoteProtocolError("hidden"),
        httpx.InvalidURL("hidden"),
        EgressRefused("tools.example.com", "it is a private address", "use another"),
        OSError("hidden"),
        UnicodeEncodeError("ascii", "hidden", 0, 1, "hidden"),
        RuntimeError("hidden"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_failure_escapes(error: Exception) -> None:
    found = await outcome(raising(error))
    assert found.outcome == "error"
    assert found.output.startswith("No result returned.")
    assert "hidden" not in found.output


@pytest.mark.parametrize(
    "server",
    [
        ToolServer("not a url", SECRET),
        ToolServer("ftp://tools.example.com/", SECRET),
        ToolServer(URL, SECRET, {"X-Bad name": "x"}),
        ToolServer(URL, SECRET, {"X-Emoji": "\U0001f600"}),
        ToolServer(URL, "secret-with-\u20ac"),
    ],
)
async def test_what_cannot_be_sent_is_an_answer_too(server: ToolServer) -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        return reply()

    found = await outcome(handler, server)
    assert found.outcome == "error"
    assert found.output.startswith("No result returned.")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    posts = []

    def handler(request: httpx.Request) -> httpx.Response:
        posts.append(request.url)
        return reply(status, b"", location="http://169.254.169.254/")

    found = await outcome(handler)
    assert (found.output, found.outcome) == ("No result returned.", "error")
    assert len(posts) == 1


async def test_the_deadline_is_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "TIMEOUT_SECONDS", (0.02, 300.0))

    async def trickle() -> Any:
        while True:
            await asyncio.sleep(0.005)
            yield b" "

    found = await outcome(
        lambda _: httpx.Response(200, content=trickle()), ToolServer(URL, timeout_seconds=0.05)
    )
    assert found.outcome == "timeout"
    assert found.output == "No result returned. The tool server did not answer within 0.05 seconds."


async def test_v14_the_deadline_stays_within_vapi_s_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    def timeout(seconds: float) -> Any:
        asked.append(seconds)
        return original(seconds)

    original = asyncio.timeout
    monkeypatch.setattr(module.asyncio, "timeout", timeout)
    for seconds in (0, 20, 9999):
        await outcome(answering(), ToolServer(URL, timeout_seconds=seconds))
    assert asked == [1.0, 20, 300.0]


async def test_cancellation_passes_through() -> None:
    async def handler(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(run(handler))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_answers_have_a_largest_size() -> None:
    limit = module.MAX_ANSWER_BYTES
    body = json.dumps({"results": [{"toolCallId": "a", "result": "x"}]}).encode()
    fits = body + b" " * (limit - len(body))
    assert (await outcome(lambda _: reply(200, fits))).output == "x"
    found = await outcome(lambda _: reply(201, fits + b" "))
    assert (found.outcome, found.output) == ("error", module.TOO_LARGE)
    assert found.exchange is not None and found.exchange.status == 201


async def test_an_endless_answer_is_given_up() -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 65_536

    found = await outcome(lambda _: httpx.Response(200, content=endless()))
    assert found.output == module.TOO_LARGE


async def test_compressed_answers_are_opened_within_the_limit() -> None:
    def packed(clear: bytes) -> Handler:
        def handler(request: httpx.Request) -> httpx.Response:
            assert request.headers["accept-encoding"] == "identity"
            return reply(200, gzip.compress(clear), content_encoding="gzip")

        return handler

    body = json.dumps({"results": [{"toolCallId": "a", "result": "x"}]}).encode()
    assert (await outcome(packed(body))).output == "x"
    assert (await outcome(packed(b" " * 50_000_000))).output == module.TOO_LARGE


async def test_broken_compression_and_broken_text_are_answers() -> None:
    broken = await outcome(lambda _: reply(200, b"no", content_encoding="gzip"))
    assert (broken.output, broken.outcome) == ("No result returned.", "error")
    assert broken.exchange is not None and broken.exchange.status == 200
    mislabelled = b'{"results": [{"toolCallId": "a", "result": "x"}]}'
    assert (await outcome(lambda _: reply(200, mislabelled, content_encoding="gzip"))).output == "x"
    raw = b'{"results": [{"toolCallId": "a", "result": "caf\xe9"}]}'
    assert (await outcome(lambda _: reply(200, raw))).output == "caf\ufffd"


async def test_a_tool_without_a_server_says_so() -> None:
    found = await dispatch({"a": BOOK}, None, b"")
    assert found == {"a": ToolResult(module.NO_SERVER, outcome="error")}
    assert await dispatch({"a": BOOK}, ToolServer(""), b"") == found


async def test_asynchronous_tools_are_answered_before_their_server_is() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def handler(_: httpx.Request) -> httpx.Response:
        asked.set()
        await may_answer.wait()
        return reply()

    client = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    spec = ToolSpec(name="note", is_async=True)
    found = await dispatch({"a": spec}, ToolServer(URL), BODY, client=client)
    assert found == {"a": ToolResult("Success.")}
    await asyncio.wait_for(asked.wait(), 5)
    assert module.background_count() == 1
    may_answer.set()
    await asyncio.wait_for(asyncio.gather(*module._background), 5)
    assert module.background_count() == 0
    await client.aclose()


async def test_asynchronous_tools_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BACKGROUND", 0)
    found = await dispatch({"a": ToolSpec(name="n", is_async=True)}, ToolServer(URL), BODY)
    assert found["a"].output == module.BUSY


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Everything logged through structlog."""
    with structlog.testing.capture_logs() as caught:
        yield caught


@pytest.mark.parametrize(
    "handler",
    [
        answering(),
        answering(500, {"error": "hidden-answer"}),
        raising(httpx.ConnectError(f"cannot reach {URL} with {SECRET}")),
        raising(httpx.LocalProtocolError(f"Illegal header value {SECRET!r}")),
    ],
)
async def test_secrets_never_reach_logs_or_the_model(
    handler: Handler, lines: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = ToolServer(URL, SECRET, {"Authorization": "Bearer hidden-bearer"})
    assert "hidden" not in repr(server)
    found = await outcome(handler, server)
    assert "hidden" not in found.output.replace("hidden-answer", "")
    assert lines
    assert "hidden" not in repr(lines)
    assert lines[-1]["host"] == "tools.example.com"
    ours = [record for record in caplog.records if record.name != "httpx"]  # quiet in production
    assert "hidden" not in "".join(record.getMessage() for record in ours)


async def test_a_refusal_is_logged_with_its_fix(lines: list[dict[str, Any]]) -> None:
    error = EgressRefused("tools.example.com", "it is a private address", "name it in EGRESS_ALLOW")
    await outcome(raising(error))
    assert "name it in EGRESS_ALLOW" in lines[-1]["error"]


def test_good_arguments_pass_with_static_ones_on_top() -> None:
    found = checked_arguments(BOOK, '{"day": "mon", "site": 1}', static={"site": 7, "x": None})
    assert found == {"day": "mon", "site": 7, "x": None}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"day": ', "not valid JSON"),
        ("[]", "not a JSON object"),
        ("", "'day' is a required property"),
        ('{"day": 3}', "day: 3 is not of type 'string'"),
        ('{"day": "' + "x" * 70_000 + '"}', "too long"),
    ],
)
def test_bad_arguments_come_back_with_what_to_mend(text: str, says: str) -> None:
    with pytest.raises(ArgumentsRefused, match="(?i)call it again") as refusal:
        checked_arguments(BOOK, text, static={})
    assert says in str(refusal.value)


def test_v12_static_parameters_do_not_stand_in_for_the_model_s() -> None:
    with pytest.raises(ArgumentsRefused):
        checked_arguments(BOOK, "{}", static={"day": "mon"})
