"""Calls tool servers: one POST with Vapi's envelope, one ``ToolResult`` for whatever comes of it.

Owns headers, deadline, size limit and the words a model reads when a server fails. An outcome is
data, never an exception. It must not know rows, calls or how an envelope is built, and neither
secrets nor arguments nor URLs may reach a log line: hosts, counts and kinds of errors only.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog

from tools.defaults import Render, fill_defaults, render_values
from tools.schema import argument_problems
from tools.spec import Outcome, ToolResult, ToolSpec
from tools.wire import vapi_server
from voiceplatform.base.egress import Destination, EgressRefused, destination, egress_client
from voiceplatform.base.http import AsyncClient, HTTPError, InvalidURL, default_ssl_context

MAX_ANSWER_BYTES: Final = 256 * 1024
MAX_ARGUMENTS_CHARACTERS: Final = 64 * 1024
TIMEOUT_SECONDS: Final = (1.0, 300.0)  # vapi.md 2.5
MAX_BACKGROUND: Final = 500

NO_SERVER: Final = "This tool has no server to call."
UNREACHABLE: Final = f"{vapi_server.NO_RESULT} The tool server could not be reached."
TOO_LARGE: Final = f"{vapi_server.NO_RESULT} The tool server's answer is too large."
BUSY: Final = f"{vapi_server.NO_RESULT} Too many tools are running."

# A custom header of these names would change where the request or its body ends.
_FRAMING: Final = frozenset(
    {"content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ToolServer:
    """Where a tool is answered; ``headers`` are sent verbatim. Its repr shows nothing secret."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 20.0


class ArgumentsRefused(Exception):
    """The model has to write the arguments again; nothing was posted. Its text tells it why."""


class _TooLarge(Exception):
    """The answer exceeds MAX_ANSWER_BYTES; give up on it."""


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
) -> dict[str, ToolResult]:
    """Post ``body`` once for all ``calls`` (by tool_call_id) and return a result for each.

    Never raises but for cancellation. When every tool is asynchronous the results are there at
    once and the answer is ignored (vapi.md 4.6).
    """
    if server is None or not server.url:
        log.warning("tool_without_server", call_id=call_id, tools=_names(calls))
        return dict.fromkeys(calls, ToolResult(NO_SERVER, outcome="error"))
    if calls and all(spec.is_async for spec in calls.values()):
        if len(_background) >= MAX_BACKGROUND:
            return dict.fromkeys(calls, ToolResult(BUSY, outcome="error"))
        task = asyncio.create_task(_answered(calls, server, body, call_id, client))
        _background.add(task)
        task.add_done_callback(_background.discard)
        return dict.fromkeys(calls, ToolResult(vapi_server.ASYNC_RESULT))
    return await _answered(calls, server, body, call_id, client)


_background: set[asyncio.Task[dict[str, ToolResult]]] = set()


def background_count() -> int:
    """Return how many requests of asynchronous tools are on their way in this process."""
    return len(_background)


async def _answered(
    calls: Mapping[str, ToolSpec],
    server: ToolServer,
    body: bytes,
    call_id: str,
    client: AsyncClient | None,
) -> dict[str, ToolResult]:
    began = asyncio.get_running_loop().time()
    seconds = min(max(server.timeout_seconds, TIMEOUT_SECONDS[0]), TIMEOUT_SECONDS[1])
    host, status, error = "", 0, ""
    text: str | None = None
    outcome: Outcome = "error"
    answers: dict[str, vapi_server.ToolAnswer] = {}
    try:
        target = destination(server.url)
        host = target.host
        async with asyncio.timeout(seconds):
            status, answer = await _post(
                client or await _shared_client(), target, _headers(server, target, call_id), body
            )
        answers = vapi_server.tool_results(status, answer, list(calls))
    except TimeoutError:
        text, outcome, error = _too_late(seconds), "timeout", "TimeoutError"
    except _TooLarge:
        text, error = TOO_LARGE, "TooLarge"
    except EgressRefused as refusal:
        text, error = UNREACHABLE, str(refusal)
    except (HTTPError, InvalidURL, OSError, ValueError, RuntimeError, zlib.error) as failure:
        # Their texts may quote a header or the URL. RuntimeError: the client was closed meanwhile.
        text, error = UNREACHABLE, type(failure).__name__
    duration_ms = round((asyncio.get_running_loop().time() - began) * 1000)
    results = {
        each: ToolResult(text, outcome, duration_ms)
        if text is not None
        else _result(answers[each], duration_ms)
        for each in calls
    }
    log.info(
        "tool_answered",
        call_id=call_id,
        tools=_names(calls),
        host=host,
        status=status,
        error=error,
        warnings=sorted({answer.warning for answer in answers.values() if answer.warning}),
        outcomes=sorted({result.outcome for result in results.values()}),
        duration_ms=duration_ms,
    )
    return results


def _result(answer: vapi_server.ToolAnswer, duration_ms: int) -> ToolResult:
    return ToolResult(answer.text, "error" if answer.failed else "ok", duration_ms)


def _too_late(seconds: float) -> str:
    return f"{vapi_server.NO_RESULT} The tool server did not answer within {seconds:g} seconds."


def _names(calls: Mapping[str, ToolSpec]) -> list[str]:
    return [spec.name for spec in calls.values()]


def _headers(server: ToolServer, target: Destination, call_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of vapi.md 4.2; a custom one wins over ours (traps 15 and 16)."""
    ours = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/plain, */*",
        # The size limit is then a limit on what arrives; an answer compressed anyway is opened.
        "Accept-Encoding": "identity",
        "User-Agent": "voiceplatform",
        "X-Call-Id": call_id,
        "X-Vapi-Secret": server.secret,
        "Authorization": target.authorization,
    }
    merged = {name.lower(): (name, value) for name, value in ours.items() if value}
    for name, value in server.headers.items():
        if name.lower() not in _FRAMING:
            merged[name.lower()] = (name, value)
    merged["x-voiceplatform-stack"] = ("X-Voiceplatform-Stack", "direct")
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in merged.values()]


async def _post(
    client: AsyncClient, target: Destination, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[int, str]:
    async with client.stream("POST", target.url, content=body, headers=headers) as response:
        received = bytearray()
        async for piece in response.aiter_raw():
            received += piece
            if len(received) > MAX_ANSWER_BYTES:
                raise _TooLarge
        coding = response.headers.get("content-encoding", "")
        return response.status_code, _opened(bytes(received), coding).decode("utf-8", "replace")


def _opened(received: bytes, coding: str) -> bytes:
    """Undo gzip or deflate without ever holding more than the limit; others stay unreadable."""
    if coding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
        return received
    window = zlib.MAX_WBITS | 32  # gzip or zlib, whichever its first bytes say
    clear = zlib.decompressobj(window).decompress(received, MAX_ANSWER_BYTES + 1)
    if len(clear) > MAX_ANSWER_BYTES:
        raise _TooLarge
    return clear


# One client per event loop, because connections belong to the loop they were made on.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = WeakKeyDictionary()
_lives: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[AsyncClient]] = (
    WeakKeyDictionary()
)


async def _shared_client() -> AsyncClient:
    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        await asyncio.to_thread(default_ssl_context)
        client = _clients.get(loop)
    if client is None:
        # A loop closes its asynchronous generators when it shuts down, and this one its client.
        life = _lives[loop] = _client_life()
        client = _clients[loop] = await anext(life)
    return client


async def _client_life() -> AsyncGenerator[AsyncClient]:
    client = egress_client()
    try:
        yield client
    finally:
        _clients.pop(asyncio.get_running_loop(), None)
        await client.aclose()


async def close_client() -> None:
    """Close the running loop's client and its connections; the next dispatch makes a new one."""
    life = _lives.pop(asyncio.get_running_loop(), None)
    if life is not None:
        await life.aclose()
