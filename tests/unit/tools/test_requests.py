"""Retries, credentials, the circuit breaker and what is told of an exchange; no sockets."""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog

from tests.unit.tools.test_dispatch import (
    BODY,
    BOOK,
    SECRET,
    URL,
    Handler,
    answering,
    outcome,
    reply,
    run,
    sent_headers,
)
from tools import dispatch as module
from tools import hosts
from tools.dispatch import ToolServer, dispatch
from tools.hosts import OPENS_AFTER
from tools.servers import Backoff, Bearer, Hmac, OAuth2
from tools.spec import Exchange

pytestmark = pytest.mark.unit


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Everything logged through structlog."""
    with structlog.testing.capture_logs() as caught:
        yield caught


async def test_the_exchange_tells_what_went_over_the_wire_without_the_query() -> None:
    told: list[Exchange] = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(answering(201))) as client:
        found = await dispatch(
            {"a": BOOK}, ToolServer(URL), BODY, client=client, exchanged=told.append
        )
    (exchange,) = told
    assert found["a"].exchange == exchange
    assert (exchange.host, exchange.status, exchange.attempts) == ("tools.example.com", 201, 1)
    assert exchange.url == "https://tools.example.com/hidden-path"
    assert exchange.request_body == BODY
    assert json.loads(exchange.response_text)["results"][0]["result"] == "Booked"


async def test_what_a_server_says_beside_its_result_comes_along() -> None:
    entry = {"toolCallId": "x", "result": 1, "message": "Done", "metadata": {"k": 1}}
    found = await outcome(answering(200, {"results": [entry]}))
    assert found.messages == ({"type": "request-complete", "content": "Done"},)
    assert found.metadata == {"k": 1}
    assert found.warning == "toolCallId does not match"


async def test_every_request_carries_a_key_for_each_of_its_calls() -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["idempotency-key"])
        return reply()

    await run(handler, calls={"a": BOOK, "b": BOOK})
    own = ToolServer(URL, headers={"Idempotency-Key": "mine"})
    await run(handler, own)
    assert seen == ["call-1:a, call-1:b", "mine"]


def counting(*statuses: int | Exception) -> tuple[list[httpx.Request], Handler]:
    """Return the requests seen and a handler that answers them in turn, the last for ever."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        answer = statuses[min(len(seen), len(statuses) - 1)]
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return reply(answer, {"results": [{"toolCallId": "a", "result": f"n{len(seen)}"}]})

    return seen, handler


@pytest.mark.parametrize(
    ("statuses", "excluded", "requests", "output"),
    [
        ((200,), (), 1, "n1"),
        ((500, 500, 200), (), 3, "n3"),
        ((404, 200), (), 2, "n2"),
        ((404, 200), (404,), 1, "n1"),
        ((httpx.ConnectError("x"), 200), (), 2, "n2"),
        ((503,), (), 3, "n3"),
    ],
)
async def test_v45_a_backoff_plan_repeats_the_same_bytes(
    statuses: tuple[int | Exception, ...], excluded: tuple[int, ...], requests: int, output: str
) -> None:
    seen, handler = counting(*statuses)
    plan = Backoff("fixed", 2, 0.0, frozenset(excluded))
    found = await outcome(handler, ToolServer(URL, backoff=plan))
    assert found.output == output
    assert found.exchange is not None
    assert len(seen) == found.exchange.attempts == requests
    assert len({(each.content, each.headers["idempotency-key"]) for each in seen}) == 1


async def test_without_a_plan_nothing_is_repeated() -> None:
    seen, handler = counting(500)
    await outcome(handler)
    assert len(seen) == 1


async def test_a_plan_of_retries_ends_with_the_longest_wait_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", 0.5)
    seen, handler = counting(500)
    await outcome(handler, ToolServer(URL, backoff=Backoff("exponential", 10, 1.0)))
    assert len(seen) == 1


def test_exponential_waits_double_and_fixed_ones_do_not() -> None:
    assert [Backoff("exponential", 3, 0.5).delay_seconds(n) for n in (1, 2, 3)] == [0.5, 1, 2]
    assert [Backoff("fixed", 3, 0.5).delay_seconds(n) for n in (1, 2, 3)] == [0.5] * 3


async def test_a_host_that_never_answers_is_left_alone_and_the_model_told() -> None:
    seen, handler = counting(httpx.ConnectError("x"))
    found = [await outcome(handler) for _ in range(OPENS_AFTER + 2)]
    assert len(seen) == OPENS_AFTER
    assert [each.output for each in found[-2:]] == [module.LEFT_ALONE] * 2
    assert found[-1].outcome == "error"
    elsewhere = ToolServer("https://other.example.com/")
    assert (await outcome(answering(), elsewhere)).output == "Booked"


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_host_that_answers_badly_is_asked_again_every_time(status: int) -> None:
    seen, handler = counting(status)
    for _ in range(OPENS_AFTER + 2):
        await outcome(handler)
    assert len(seen) == OPENS_AFTER + 2


async def test_what_cannot_be_sent_says_nothing_about_the_host() -> None:
    bad = ToolServer(URL, headers={"X-Emoji": "\U0001f600"})
    for _ in range(OPENS_AFTER + 1):
        await outcome(answering(), bad)
    assert (await outcome(answering())).output == "Booked"


async def test_v15_an_explicit_header_wins_over_the_credential() -> None:
    credential = Bearer("hidden-token")
    plain = await sent_headers(ToolServer(URL, SECRET, credential=credential))
    assert plain["authorization"] == "Bearer hidden-token"
    assert plain["x-vapi-secret"] == SECRET
    own = ToolServer(URL, headers={"authorization": "mine"}, credential=credential)
    assert (await sent_headers(own)).get_list("authorization") == ["mine"]


async def test_a_signature_is_over_the_bytes_that_arrive() -> None:
    headers = await sent_headers(ToolServer(URL, credential=Hmac("hidden-key")))
    payload = headers["x-timestamp"].encode() + b"." + BODY
    expected = hmac.new(b"hidden-key", payload, "sha256").hexdigest()
    assert headers["x-signature"] == expected


@pytest.mark.parametrize(("own", "posts"), [({}, 2), ({"Authorization": "mine"}, 1)])
async def test_a_refused_oauth2_token_is_renewed_once(own: dict[str, str], posts: int) -> None:
    seen: list[str] = []
    tokens = iter(("one", "two", "three"))

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example.com":
            return reply(200, {"access_token": next(tokens), "expires_in": 60})
        seen.append(request.headers["authorization"])
        return reply(401, {})

    credential = OAuth2("https://auth.example.com/token", "me", "hidden-secret")
    found = await outcome(handler, ToolServer(URL, headers=own, credential=credential))
    assert found.outcome == "error"
    assert seen == (["Bearer one", "Bearer two"] if not own else ["mine"])
    assert len(seen) == posts


async def test_without_a_token_the_tool_server_is_not_asked(lines: list[dict[str, Any]]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "auth.example.com"
        return reply(500, {"error": "hidden-answer"})

    credential = OAuth2("https://auth.example.com/token", "me", "hidden-secret")
    found = await outcome(handler, ToolServer(URL, credential=credential))
    assert found.output == module.UNREACHABLE
    assert "token server answered 500" in lines[-1]["error"]
    assert "hidden" not in repr(lines)


async def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open the circuit of the host, with the time for a probe come."""
    monkeypatch.setattr(hosts, "OPEN_SECONDS", 0.0)
    _, handler = counting(httpx.ConnectError("x"))
    for _ in range(OPENS_AFTER):
        await outcome(handler)
    (host,) = hosts.open_hosts()
    assert (host.host, host.failures) == ("https://tools.example.com", OPENS_AFTER)


async def test_a_probe_that_is_cancelled_leaves_room_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await opened(monkeypatch)
    asked = asyncio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(run(never))
    await asyncio.wait_for(asked.wait(), 5)
    assert (await outcome(answering())).output == module.LEFT_ALONE
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await outcome(answering())).output == "Booked"
    assert hosts.open_hosts() == []


async def test_a_probe_that_was_never_sent_closes_no_circuit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await opened(monkeypatch)
    await outcome(answering(), ToolServer(URL, headers={"X-Emoji": "\U0001f600"}))
    assert len(hosts.open_hosts()) == 1


async def test_a_token_that_a_server_repeats_is_not_kept() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example.com":
            return reply(200, {"access_token": "hidden-access-token"})
        entry = {"toolCallId": "a", "result": f"You are {request.headers['authorization']}"}
        return reply(200, {"results": [entry]})

    credential = OAuth2("https://auth.example.com/token", "me", "hidden-secret")
    found = await outcome(handler, ToolServer(URL, credential=credential))
    assert found.output == "You are Bearer ***"
    assert found.exchange is not None
    assert "hidden" not in found.exchange.response_text
    assert "You are Bearer " in found.exchange.response_text


PLANTED = ("hidden-shared", "hidden-query", "hidden-header", "hidden-bearer", "hidden-argument")


async def test_a_secret_that_a_server_repeats_is_neither_kept_nor_passed_on() -> None:
    """Result, message and metadata of an answer, and the error of another one."""
    everything = ", ".join(PLANTED)

    def handler(request: httpx.Request) -> httpx.Response:
        entry = {
            "toolCallId": "a",
            "result": {"saw": everything, "ok": True},
            "message": {"type": "request-complete", "content": f"I know {everything}"},
            "metadata": {"debug": [{everything: everything}]},
        }
        return reply(200, {"results": [entry, {"toolCallId": "b", "error": everything}]})

    server = ToolServer(
        "https://tools.example.com/?token=hidden-query",
        "hidden-shared",
        {"X-Api-Key": "hidden-header", "X-Tenant": "tenant-42"},
        credential=Bearer("hidden-bearer", "X-Auth"),
    )
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        found = await dispatch(
            {"a": BOOK, "b": BOOK}, server, b"{}", client=client, secrets=["hidden-argument"]
        )
    masks = ", ".join("***" for _ in PLANTED)
    assert json.loads(found["a"].output) == {"saw": masks, "ok": True}
    assert found["a"].messages[0]["content"] == f"I know {masks}"
    assert found["a"].metadata == {"debug": [{masks: masks}]}
    assert (found["b"].output, found["b"].outcome) == (masks, "error")
    assert "hidden" not in repr([dataclasses.asdict(each) for each in found.values()])


async def test_a_short_secret_or_the_time_does_not_spoil_an_answer() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        time_sent = request.headers["x-timestamp"]
        result = f"at {time_sent}: the bedroom is free, not room"
        return reply(200, {"results": [{"toolCallId": "a", "result": result}]})

    server = ToolServer(URL, "room", credential=Hmac("hidden-key"))
    found = await outcome(handler, server)
    assert found.output.endswith("the bedroom is free, not ***")
    assert "at ***" not in found.output


@pytest.mark.parametrize("is_ours_told", [True, False])
async def test_an_api_of_others_is_told_nothing_of_ours(is_ours_told: bool) -> None:
    heard: dict[str, str] = {}

    def handler(request: httpx.Request) -> httpx.Response:
        heard.update(request.headers)
        return reply(200, {"results": []})

    await outcome(handler, ToolServer(URL, is_ours_told=is_ours_told))
    ours = {"x-call-id", "x-voiceplatform-stack"} & heard.keys()
    assert len(ours) == (2 if is_ours_told else 0)
    assert heard["idempotency-key"] == "call-1:a"
