"""What passes a recording address: which headers go on, and what is kept of one exchange.

Pure. Owns the two rules: everything a tool server could look at goes through as it came, and of an
exchange only its tool calls and their answers are kept, with the ids of the call they belong to. It
must not know sockets, rows or who owns an address.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlsplit

from calls.conversation import ToolUse
from calls.parity.logs.loose import text_of, time_of
from calls.parity.logs.past_call import PastCall
from calls.parity.logs.reading import NotACall, Nothing, NotOver, read_log
from calls.parity.logs.vapi import asked_calls
from tools.wire.vapi_server import tool_results

Header = tuple[bytes, bytes]

# Between two neighbours only (RFC 9110, 7.6.1), or made anew for the next one.
_HOPS: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"host", b"content-length"),
    }
)
# Written by our own front door: nothing of the sender's, and it would tell of our network.
_OF_OURS: Final = frozenset(
    {b"forwarded", b"via", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-host"}
    | {b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-server"}
)
# For browsers alone, and then for our whole origin, which is the admin's: its cookies, its cached
# pages, its way to encryption, its workers, where it is served next.
_OF_BROWSERS: Final = frozenset(
    {b"set-cookie", b"set-cookie2", b"clear-site-data", b"strict-transport-security"}
    | {b"service-worker-allowed", b"alt-svc", b"refresh", b"content-security-policy"}
    | {b"content-security-policy-report-only", b"x-content-type-options"}
)
# A tool server is not ours: opened in a browser, its answer must be no page of our origin.
HARMLESS: Final = (
    (b"Content-Security-Policy", b"sandbox; default-src 'none'"),
    (b"X-Content-Type-Options", b"nosniff"),
)
_COLUMNS: Final = (
    *("log_id", "provider_sid", "direction", "caller", "callee", "assistant_id", "number_id"),
    *("assistant_name", "squad_id", "has_times", "start_is_told", "consent"),
)
_TIMES: Final = ("created_at", "started_at")
_TOOL: Final = (
    *("tool_call_id", "name", "arguments_json", "started_ms", "duration_ms"),
    *("output", "state", "running"),
)


def request_headers(headers: Iterable[Header]) -> list[Header]:
    """Return the headers of a request that go on to the tool server: secrets and signatures too."""
    return _passed(headers, _HOPS | _OF_OURS)


def answer_headers(headers: Iterable[Header]) -> list[Header]:
    """Return the headers of an answer that go back to who asked; what rules browsers is ours."""
    return [*_passed(headers, _HOPS | _OF_BROWSERS), *HARMLESS]


def _passed(headers: Iterable[Header], left_out: frozenset[bytes]) -> list[Header]:
    rows = [(name.lower(), name, value) for name, value in headers]
    named = {
        each.strip().lower()
        for lower, _, value in rows
        if lower == b"connection"
        for each in value.split(b",")
    }
    return [(name, value) for lower, name, value in rows if lower not in left_out | named]


def with_query(url: str, query: bytes) -> str:
    """Return the tool server's URL with what the asker has put behind ours.

    A fragment is for browsers and is never sent, so it is left out: nothing may stand behind it.
    """
    url = url.partition("#")[0]
    if not query:
        return url
    joint = "" if url.endswith(("?", "&")) else "&" if "?" in url else "?"
    return f"{url}{joint}{query.decode('latin-1')}"


def target_of(url: str) -> bytes:
    """Return path and query as they go on the wire: as written, what is no ASCII escaped."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return quote(target, safe="".join(map(chr, range(33, 127)))).encode("ascii")


def exchange_kept(
    body: bytes, status: int, answer: str, *, received_at: dt.datetime, duration_ms: int
) -> dict[str, Any] | None:
    """Return what is kept of one exchange; None where it was no request for tools.

    Args:
        status: 0 where no answer came; then the answers are not known.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    message = document.get("message", document) if isinstance(document, Mapping) else None
    if not isinstance(message, Mapping) or message.get("type") not in {
        "tool-calls",
        "function-call",
    }:
        return None
    told = {**message, "timestamp": message.get("timestamp") or received_at.isoformat()}
    try:
        past = read_log({"message": told})
    except (NotACall, NotOver, Nothing):
        return None
    asked = [tool.tool_call_id for tool in asked_calls(told).tools]
    answers = tool_results(status, answer, asked) if status else {}
    tools = []
    for tool in past.tools:
        found = answers.get(tool.tool_call_id)
        if found is not None:
            tool = replace(
                tool,
                running=False,
                output=text_of(found.text),
                state="error" if found.failed else "ok",
                duration_ms=duration_ms,
            )
        tools.append(tool)
    kept: dict[str, Any] = {name: getattr(past, name) for name in _COLUMNS}
    for name in _TIMES:
        moment = getattr(past, name)
        kept[name] = moment.isoformat() if moment is not None else None
    kept["tools"] = [{name: getattr(tool, name) for name in _TOOL} for tool in tools]
    return kept


def kept_as_call(kept: Mapping[str, Any]) -> PastCall:
    """Return what was kept of an exchange as a telling of its call: its tool calls, no end."""
    tools = tuple(ToolUse(**{name: each[name] for name in _TOOL}) for each in kept.get("tools", ()))
    columns: dict[str, Any] = {name: kept[name] for name in _COLUMNS if name in kept}
    columns |= {name: time_of(kept.get(name)) for name in _TIMES}
    return PastCall(**columns, tools=tools)
