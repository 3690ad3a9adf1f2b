"""Sends the recorded requests of a call to a developer's server again, in their order.

Owns what of a record can be sent and how the answers compare. The bodies are the stored ones, so
without secrets; no secret header travels along, and every request is marked as a replay. Nothing is
stored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistants.secret_probe import TEST_HEADER
from calls.models import Call, ToolExchange
from calls.services.tool_records import Bodies, exchange_bodies
from calls.services.tool_try import rules_for
from tools.dispatch import ToolServer, dispatch
from tools.spec import ToolResult, ToolSpec
from tools.wire import vapi_server
from voiceplatform.base.egress import EgressRefused, destination, egress_client

REPLAY_KIND: Final = "replay"
_LEGACY_ID: Final = "function-call"


class ReplayRefused(Exception):
    """Nothing was sent; the text says why."""


@dataclass(frozen=True, slots=True)
class ReplayedCall:
    """One function call of a request: what the model read then, and would read now."""

    tool_call_id: str
    name: str
    then: str
    now: str

    @property
    def is_same(self) -> bool:
        """Tell whether the model would read the same."""
        return self.then == self.now


@dataclass(frozen=True, slots=True)
class ReplayedRequest:
    """One request that was sent again; ``status`` 0: no answer came."""

    number: int
    status_then: int
    status: int
    duration_ms: int
    error: str
    response: str
    calls: tuple[ReplayedCall, ...]


def tools_replay(*, call: Call, to_url: str) -> Iterator[ReplayedRequest]:
    """Send every stored request of ``call`` to ``to_url``, one after the other, and yield each.

    Must not be called from an event loop.

    Raises:
        ReplayRefused: nothing is stored, or the address is none.
    """
    try:
        destination(to_url)
    except EgressRefused as error:
        raise ReplayRefused(str(error)) from error
    stored = list(ToolExchange.objects.filter(call=call).order_by("id"))
    bodies = [exchange_bodies(exchange) for exchange in stored]
    if not any(each.request for each in bodies):
        raise ReplayRefused(
            "This call has no stored requests: it used no tool server, or the caller refused."
        )
    read = dict(call.tool_invocations.values_list("tool_call_id", "output"))
    for number, (exchange, body) in enumerate(zip(stored, bodies, strict=True), start=1):
        if body.request:
            yield _replayed(number, exchange, body, read, to_url)


def _replayed(
    number: int, exchange: ToolExchange, bodies: Bodies, read: Mapping[str, str], to_url: str
) -> ReplayedRequest:
    names = _calls_of(json.loads(bodies.request))
    server = ToolServer(url=to_url, headers={TEST_HEADER: REPLAY_KIND})
    sent = bodies.request.encode()
    # The ids are those of the call: a server that knows them already does nothing twice.
    answers = asyncio.run(_sent(str(exchange.call_id), names, server, sent, to_url))
    then = vapi_server.tool_results(exchange.status, bodies.response, list(names))
    result = next(iter(answers.values()))
    now = result.exchange
    return ReplayedRequest(
        number=number,
        status_then=exchange.status,
        status=now.status if now else 0,
        duration_ms=result.duration_ms,
        error=now.error if now else "",
        response=now.response_text if now else "",
        calls=tuple(
            ReplayedCall(each, name, read.get(each[:64], then[each].text), answers[each].output)
            for each, name in names.items()
        ),
    )


def _calls_of(body: Any) -> dict[str, str]:
    """Return the names of the calls in a stored message, by tool_call_id; at least one."""
    message = body.get("message", {}) if isinstance(body, dict) else {}
    listed = message.get("toolCalls") or message.get("toolCallList") or []
    names = {
        str(each.get("id", "")): str(each.get("function", {}).get("name", "")) for each in listed
    }
    legacy = message.get("functionCall") or {}
    return names or {_LEGACY_ID: str(legacy.get("name", ""))}


async def _sent(
    call_id: str, names: Mapping[str, str], server: ToolServer, body: bytes, to_url: str
) -> dict[str, ToolResult]:
    calls = {each: ToolSpec(name=name) for each, name in names.items()}
    async with egress_client(rules=rules_for(to_url)) as client:
        return await dispatch(calls, server, body, call_id=call_id, client=client)
