"""Calls tool servers: one POST with Vapi's envelope, one ``ToolResult`` for whatever comes of it.

Owns deadline, retries, circuit breaker and the words a model reads when a server fails. An outcome
is data, never an exception. It must not know rows, calls or how an envelope is built, and neither
secrets nor arguments nor URLs may reach a log line: hosts, counts and kinds of errors only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from tools import exchange
from tools.auth import NotAuthorised, Signing, credential_headers, forget_token
from tools.defaults import Render, fill_defaults, render_values
from tools.exchange import MAX_ANSWER_BYTES, close_client
from tools.hosts import HostKey, host_guard
from tools.masking import Veil
from tools.own_secrets import server_secrets
from tools.schema import argument_problems
from tools.servers import ToolServer
from tools.spec import Exchange, Outcome, ToolResult, ToolSpec
from tools.wire import vapi_server
from voiceplatform.base.egress import Destination, EgressRefused, destination
from voiceplatform.base.http import AsyncClient

__all__ = [
    "MAX_ANSWER_BYTES",
    "ArgumentsRefused",
    "ToolServer",
    "background_count",
    "checked_arguments",
    "close_client",
    "dispatch",
]

MAX_ARGUMENTS_CHARACTERS: Final = 64 * 1024
MAX_BACKGROUND: Final = 500
# However patient a plan of retries is: nobody waits longer for a tool.
MOST_SECONDS: Final = 300.0

NO_SERVER: Final = "This tool has no server to call."
UNREACHABLE: Final = f"{vapi_server.NO_RESULT} The tool server could not be reached."
TOO_LARGE: Final = f"{vapi_server.NO_RESULT} The tool server's answer is too large."
BUSY: Final = f"{vapi_server.NO_RESULT} Too many tools are running."
_SHORTEST_PROOF: Final = 8  # anything shorter is in every text by chance
LEFT_ALONE: Final = (
    f"{vapi_server.NO_RESULT} The tool server gave no answer several times in a row, so it was not "
    "asked again just now."
)

log = structlog.get_logger(__name__)

Exchanged = Callable[[Exchange], None]
# What a status and a body answer to each of these tool_call_ids.
ReadAnswers = Callable[[int, str, Sequence[str]], Mapping[str, vapi_server.ToolAnswer]]


class ArgumentsRefused(Exception):
    """The model has to write the arguments again; nothing was posted. Its text tells it why."""


def _as_written(text: str) -> str:
    return text


def checked_arguments(
    spec: ToolSpec,
    arguments_json: str,
    *,
    static: Mapping[str, Any],
    render: Render = _as_written,
) -> dict[str, Any]:
    """Return the arguments to post: the model's, completed and checked, with ``static`` over them.

    What the model left out and the schema has a default for is filled in first, as Vapi does.

    Args:
        static: arguments that win over the model's (vapi.md 3.2, trap 12).
        render: fills in the Liquid in defaults and in ``static``.

    Raises:
        ArgumentsRefused: they are not what the tool takes.
    """
    if len(arguments_json) > MAX_ARGUMENTS_CHARACTERS:
        raise ArgumentsRefused("The arguments are too long. Call it again with shorter ones.")
    try:
        arguments = vapi_server.read_arguments(arguments_json)
    except ValueError as error:
        raise ArgumentsRefused(f"The tool was not called: {error}. Call it again.") from None
    arguments = fill_defaults(spec.parameters, arguments, render)
    problems = argument_problems(spec.parameters, arguments)
    if problems:
        found = "; ".join(problems)
        raise ArgumentsRefused(f"The tool was not called: {found}. Correct this and call it again.")
    return arguments | {key: render_values(value, render) for key, value in static.items()}


async def dispatch(
    calls: Mapping[str, ToolSpec],
    server: ToolServer | None,
    body: bytes,
    *,
    call_id: str = "",
    client: AsyncClient | None = None,
    exchanged: Exchanged | None = None,
    read: ReadAnswers = vapi_server.tool_results,
    secrets: Collection[str] = (),
) -> dict[str, ToolResult]:
    """Post ``body`` once for all ``calls`` (by tool_call_id) and return a result for each.

    Never raises but for cancellation. When every tool is asynchronous the results are there at
    once and the answer is ignored (vapi.md 4.6).

    Args:
        exchanged: told what was sent and what came back, when it has; not called where nothing was
            sent.
        read: reads the answer; Vapi's form of one unless told.
        secrets: what of the body is secret; a server that repeats it, or what proved who asked,
            is neither kept nor passed on with it.
    """
    if server is None or not server.url:
        log.warning("tool_without_server", call_id=call_id, tools=_names(calls))
        return dict.fromkeys(calls, ToolResult(NO_SERVER, outcome="error"))
    request = _Request(calls, server, body, call_id, client, exchanged, read, frozenset(secrets))
    if calls and all(spec.is_async for spec in calls.values()):
        if len(_background) >= MAX_BACKGROUND:
            return dict.fromkeys(calls, ToolResult(BUSY, outcome="error"))
        task = asyncio.create_task(_answered(request))
        _background.add(task)
        task.add_done_callback(_background.discard)
        return dict.fromkeys(calls, ToolResult(vapi_server.ASYNC_RESULT))
    return await _answered(request)


_background: set[asyncio.Task[dict[str, ToolResult]]] = set()


def background_count() -> int:
    """Return how many requests of asynchronous tools are on their way in this process."""
    return len(_background)


@dataclass(frozen=True, slots=True)
class _Request:
    calls: Mapping[str, ToolSpec]
    server: ToolServer
    body: bytes = field(repr=False)
    call_id: str
    client: AsyncClient | None
    exchanged: Exchanged | None
    read: ReadAnswers
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def idempotency_key(self) -> str:
        """Return one key for each call, the same for whatever is sent again."""
        prefix = f"{self.call_id}:" if self.call_id else ""
        keys = (prefix + tool_call_id for tool_call_id in self.calls)
        return ", ".join(key for key in keys if key.isascii() and key.isprintable())


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one request came to: an answer, or the words for its absence.

    ``is_sent``: bytes may have reached the server. ``is_silent``: it gave no answer at all.
    """

    status: int = 0
    answer: str = ""
    words: str = ""
    outcome: Outcome = "error"
    error: str = ""
    is_sent: bool = True
    is_silent: bool = False
    proof: tuple[str, ...] = field(default=(), repr=False)


async def _answered(request: _Request) -> dict[str, ToolResult]:
    began = asyncio.get_running_loop().time()
    host, shown = "", ""
    attempts = 0
    try:
        target = destination(request.server.url)
    except EgressRefused as refusal:
        last = _Attempt(words=UNREACHABLE, error=str(refusal), is_sent=False)
    else:
        host, shown = target.host, exchange.shown_url(_shown(request.server))
        attempts, last = await _guarded(request, target)
    duration_ms = round((asyncio.get_running_loop().time() - began) * 1000)
    # A server may repeat what proved who asked, wherever in its answer.
    hidden = {*request.secrets, *server_secrets(request.server), *last.proof}
    veil = Veil(hidden, whole_words=True)
    told = Exchange(
        host=host,
        url=shown,
        request_body=request.body,
        status=last.status,
        response_text=veil.over(last.answer),
        attempts=attempts,
        duration_ms=duration_ms,
        error=last.error,
    )
    results = _results(request, last, told, veil)
    log.info(
        "tool_answered",
        call_id=request.call_id,
        tools=_names(request.calls),
        host=host,
        status=last.status,
        attempts=attempts,
        error=last.error,
        warnings=sorted({result.warning for result in results.values() if result.warning}),
        outcomes=sorted({result.outcome for result in results.values()}),
        duration_ms=duration_ms,
    )
    if request.exchanged is not None and attempts:
        request.exchanged(told)
    return results


def _results(
    request: _Request, last: _Attempt, told: Exchange, veil: Veil
) -> dict[str, ToolResult]:
    if last.words:
        result = ToolResult(last.words, last.outcome, told.duration_ms, exchange=told)
        return dict.fromkeys(request.calls, result)
    answers = request.read(last.status, last.answer, list(request.calls))
    return {
        each: ToolResult(
            veil.over(answer.text),
            "error" if answer.failed else "ok",
            told.duration_ms,
            messages=tuple(veil.over_value(message) for message in answer.messages),
            metadata=answer.metadata and veil.over_value(answer.metadata),
            warning=answer.warning,
            exchange=told,
        )
        for each, answer in answers.items()
    }


async def _guarded(request: _Request, target: Destination) -> tuple[int, _Attempt]:
    """Ask a host unless it is left alone, and note whether it answered at all."""
    guard, loop = host_guard(), asyncio.get_running_loop()
    key: HostKey = (request.server.owner, _origin(target))
    if not guard.admits(key, loop.time()):
        return 0, _Attempt(words=LEFT_ALONE, error="host left alone", is_sent=False)
    is_settled = False
    try:
        attempts, last = await _with_retries(request, target)
        if last.is_silent or last.status:
            is_settled = True
            if guard.settle(key, answered=not last.is_silent, now=loop.time()):
                log.warning("tool_host_left_alone", host=target.host, error=last.error)
    finally:
        if not is_settled:
            guard.abandon(key)
    return attempts, last


def _shown(server: ToolServer) -> str:
    return server.url_shown or server.url


def _origin(target: Destination) -> str:
    return "/".join(target.url.split("/", 3)[:3]).lower()


async def _with_retries(request: _Request, target: Destination) -> tuple[int, _Attempt]:
    """Send a request as often as the server's plan says, always the same bytes (vapi.md 4.5)."""
    plan, loop = request.server.backoff, asyncio.get_running_loop()
    until = loop.time() + MOST_SECONDS
    attempts = 1
    last = await _attempt(request, target)
    while plan is not None and attempts <= plan.max_retries and _is_repeated(request, last):
        wait = plan.delay_seconds(attempts)
        if loop.time() + wait >= until:
            break
        await asyncio.sleep(wait)
        attempts += 1
        last = await _attempt(request, target, left_seconds=until - loop.time())
    return (attempts if last.is_sent else attempts - 1), last


def _is_repeated(request: _Request, last: _Attempt) -> bool:
    plan = request.server.backoff
    return plan is not None and (last.is_silent or (last.status != 0 and plan.repeats(last.status)))


async def _attempt(
    request: _Request, target: Destination, *, left_seconds: float = MOST_SECONDS
) -> _Attempt:
    seconds = request.server.bounded_seconds
    try:
        async with asyncio.timeout(min(seconds, left_seconds)):
            status, answer, proof = await _sent(request, target)
    except TimeoutError:
        words = _too_late(seconds)
        return _Attempt(words=words, outcome="timeout", error="TimeoutError", is_silent=True)
    except exchange.AnswerTooLarge as huge:
        return _Attempt(status=huge.status, words=TOO_LARGE, error="TooLarge")
    except (EgressRefused, NotAuthorised) as refusal:
        return _Attempt(words=UNREACHABLE, error=str(refusal), is_sent=False)
    except exchange.FAILURES as failure:
        return _failed(failure)
    return _Attempt(status=status, answer=answer, proof=proof)


def _failed(failure: Exception) -> _Attempt:
    """Tell what never was a request, or an answer that came broken, from a host that is silent."""
    is_sent = not isinstance(failure, exchange.NEVER_SENT)
    return _Attempt(
        words=UNREACHABLE,
        error=type(failure).__name__,
        is_sent=is_sent,
        is_silent=is_sent and isinstance(failure, exchange.SILENCE),
    )


async def _sent(request: _Request, target: Destination) -> tuple[int, str, tuple[str, ...]]:
    """Send the request and return status, answer and what proved who sent it.

    A refused OAuth2 token is renewed once (vapi.md 4.2).
    """
    server = request.server
    client = request.client or await exchange.shared_client(server.passage)
    has_own = "authorization" in {name.lower() for name in server.headers}

    async def once() -> tuple[int, str, dict[str, str]]:
        proof: dict[str, str] = {}
        if server.credential is not None:
            signing = Signing(target.url, request.body, time.time(), method=server.method)
            proof = await credential_headers(server.credential, signing, fetch)
        headers = exchange.request_headers(
            server,
            target,
            call_id=request.call_id,
            idempotency_key=request.idempotency_key,
            authentication=proof,
        )
        sent = await exchange.post(client, target, headers, request.body, method=server.method)
        return (*sent, proof)

    async def fetch(url: str, headers: dict[str, str], form: bytes) -> tuple[int, str]:
        where = destination(url)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        if where.authorization:
            pairs.append((b"Authorization", where.authorization.encode()))
        try:
            return await exchange.post(client, where, pairs, form)
        except (exchange.AnswerTooLarge, *exchange.FAILURES) as failure:
            raise NotAuthorised(f"the token server: {type(failure).__name__}") from None

    status, answer, proof = await once()
    if status == 401 and not has_own and forget_token(server.credential, proof):
        status, answer, proof = await once()
    values = [value.removeprefix("Bearer ") for value in proof.values()]
    # The time in a signature's header is nobody's secret, and may be an answer.
    return status, answer, tuple(v for v in values if len(v) >= _SHORTEST_PROOF and not v.isdigit())


def _too_late(seconds: float) -> str:
    return f"{vapi_server.NO_RESULT} The tool server did not answer within {seconds:g} seconds."


def _names(calls: Mapping[str, ToolSpec]) -> list[str]:
    return [spec.name for spec in calls.values()]
