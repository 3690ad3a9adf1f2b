"""A call that is over, as a log tells it: one frozen value, whatever shape the log had.

Pure. Owns the fields and how two tellings of one call become one. It must not know the shapes of
logs (``calls.parity.logs.reading``) nor rows (``calls.services.call_logs``).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from calls.conversation import Entry, Speech, ToolUse, conversation
from calls.parity.logs.loose import MOST_MS

Consent = Literal["unknown", "granted", "refused"]
Direction = Literal["inbound", "outbound", "web"]
UNKNOWN_REASON: Final = "unknown"
# How ids begin that were made here, for tool calls without one (vapi.md 4.4).
UNNAMED: Final = "unnamed-"
# So far apart may the same call stand by its message and by the request to its server.
_TWINS_MS: Final = 5000


@dataclass(frozen=True, slots=True)
class PastCall:
    """One call of a log. Times are UTC; ``speech`` and ``tools`` count ms from ``started_at``.

    ``log_id`` is Vapi's call id, '' where the log has none. ``tools`` are in the order in which
    they were called; one that is ``running`` has an answer that nobody knows. ``has_times`` False:
    the log gives an order and no times, so all ms are places in that order. ``recordings`` are
    addresses by name: stereo, mono, customer, assistant. ``tells_tools``: ``tools`` are all there
    were; a log without messages says nothing of them. ``start_is_told`` False: ``started_at`` is
    the nearest moment that is told, since ms must count from somewhere.
    """

    log_id: str = ""
    provider_sid: str = ""
    stack: Literal["vapi", "direct"] = "vapi"
    direction: Direction = "inbound"
    caller: str = ""
    callee: str = ""
    assistant_id: str = ""
    assistant_name: str = ""
    squad_id: str = ""
    number_id: str = ""
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    has_ended: bool = False
    ended_reason: str = ""
    speech: tuple[Speech, ...] = ()
    tools: tuple[ToolUse, ...] = ()
    has_times: bool = True
    tells_tools: bool = False
    start_is_told: bool = True
    was_transferred: bool | None = None
    analysis: Mapping[str, Any] = field(default_factory=dict)
    structured: Mapping[str, Any] = field(default_factory=dict)
    cost_usd: float | None = None
    costs: tuple[Mapping[str, Any], ...] = ()
    cost_breakdown: Mapping[str, Any] = field(default_factory=dict)
    latency: Mapping[str, Any] = field(default_factory=dict)
    recordings: Mapping[str, str] = field(default_factory=dict)
    consent: Consent = "unknown"
    problems: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return what tells this call from others: Vapi's id, else the carrier's."""
        return self.log_id or self.provider_sid

    @property
    def is_whole(self) -> bool:
        """Tell whether the log tells the call to its end, with all its tool calls."""
        return self.has_ended and self.tells_tools

    @property
    def gaps(self) -> tuple[str, ...]:
        """Return in words what is not known of the call, besides what was wrong with its log."""
        found = []
        if not self.has_ended:
            found.append("no log tells how the call ended")
        if not self.tells_tools:
            found.append("no log has the whole conversation, so tool calls may be missing")
        if not self.has_times:
            found.append("the log has no times, only an order")
        return tuple(found)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return what was said and done, in the order in which it was heard."""
        return conversation(self.speech, self.tools)

    @property
    def duration_seconds(self) -> int:
        """Return how long it was, 0 where the log does not say."""
        if self.started_at is None or self.ended_at is None or not self.start_is_told:
            return 0
        seconds = round((self.ended_at - self.started_at).total_seconds())
        return min(max(0, seconds), MOST_MS)  # a column's limit: clocks of logs are wrong at times


# Fields that are taken from whichever telling has them; the richer telling is asked first.
_SINGLE: Final = (
    *("log_id", "provider_sid", "caller", "callee", "assistant_id", "assistant_name"),
    *("squad_id", "number_id", "created_at", "started_at", "ended_at", "ended_reason"),
    *("was_transferred", "cost_usd"),
)
_GROUPS: Final = ("analysis", "structured", "costs", "cost_breakdown", "latency", "recordings")


def tool_rank(tool: ToolUse, *, has_times: bool) -> int:
    """Return how much a telling knows of a tool call: an answer before a time."""
    return 2 * (not tool.running) + has_times


def richness(call: PastCall) -> tuple[int, ...]:
    """Return how much a telling says; of two tellings the greater one wins."""
    return (
        int(call.is_whole),
        int(call.has_ended),
        sum(tool_rank(tool, has_times=call.has_times) for tool in call.tools),
        len(call.tools),
        int(call.has_times),
        len(call.speech),
        sum(len(each.text) for each in call.speech),
        sum(bool(getattr(call, name)) for name in (*_SINGLE, *_GROUPS)),
    )


def merged(one: PastCall, other: PastCall) -> PastCall:
    """Return what two tellings of one call say together; their order does not matter.

    What was said is the richer one's, whole. Tool calls are joined by their ids, since a tool
    server sees its own only.
    """
    began_at, is_told = _begin(one, other)
    one, other = moved(one, began_at), moved(other, began_at)
    rich, poor = sorted((one, other), key=_place, reverse=True)
    columns: dict[str, Any] = {
        name: getattr(rich, name) or getattr(poor, name) for name in (*_SINGLE, *_GROUPS)
    }
    columns |= {"started_at": began_at, "start_is_told": is_told}
    for name in ("was_transferred", "cost_usd"):
        if columns[name] is None:
            columns[name] = getattr(poor, name)
    return replace(
        rich,
        **columns,
        has_ended=rich.has_ended or poor.has_ended,
        tells_tools=rich.tells_tools or poor.tells_tools,
        speech=rich.speech or poor.speech,
        tools=_tools(rich, poor),
        has_times=rich.has_times if rich.speech or rich.tools else poor.has_times,
        consent=_consent(rich.consent, poor.consent),
        problems=tuple(dict.fromkeys((*rich.problems, *poor.problems))),
    )


def _consent(one: Consent, other: Consent) -> Consent:
    """Return what two tellings say of the caller's consent: a refusal in either is one."""
    if "refused" in (one, other):
        return "refused"
    return one if one != "unknown" else other


def _begin(one: PastCall, other: PastCall) -> tuple[dt.datetime | None, bool]:
    """Return from when on the ms of both count: the begin that is told, else the earliest news."""
    told = [each.started_at for each in (one, other) if each.start_is_told and each.started_at]
    if told:
        return min(told), True
    near = [each.started_at for each in (one, other) if each.started_at]
    return (min(near), False) if near else (None, False)


def moved(call: PastCall, began_at: dt.datetime | None) -> PastCall:
    """Return a telling whose ms count from ``began_at``."""
    if call.started_at is None or began_at is None or call.started_at == began_at:
        return call
    by_ms = round((call.started_at - began_at).total_seconds() * 1000)

    def move(at_ms: int | None) -> int | None:
        return None if at_ms is None else min(max(0, at_ms + by_ms), MOST_MS)

    return replace(
        call,
        started_at=began_at,
        speech=tuple(
            replace(each, started_ms=move(each.started_ms) or 0, ended_ms=move(each.ended_ms))
            for each in call.speech
        ),
        tools=tuple(replace(each, started_ms=move(each.started_ms) or 0) for each in call.tools),
    )


def _place(call: PastCall) -> tuple[tuple[int, ...], str]:
    return richness(call), digest(call)


def _tools(rich: PastCall, poor: PastCall) -> tuple[ToolUse, ...]:
    known = {tool.tool_call_id: tool for tool in rich.tools}
    added = []
    twins = twins_of(poor, rich)
    for tool in poor.tools:
        before = known.get(tool.tool_call_id)
        if tool.tool_call_id in twins:
            known = _renamed(known, twins[tool.tool_call_id], tool)
            continue
        if before is None and rich.is_whole and tool.tool_call_id.startswith(UNNAMED):
            continue  # it has a place there, under the id that this telling lacked
        if before is None:
            added.append(tool)
        elif tool_rank(tool, has_times=poor.has_times) > tool_rank(
            before, has_times=rich.has_times
        ):
            # The richer telling knows its place, the other one its answer.
            known[tool.tool_call_id] = replace(tool, started_ms=before.started_ms)
    if not added:
        return tuple(known.values())
    return tuple(sorted((*known.values(), *added), key=lambda tool: tool.started_ms))


def twins_of(some: PastCall, others: PastCall) -> dict[str, ToolUse]:
    """Return, by id, the calls of ``some`` that ``others`` tell too, under another made id.

    A call that the log gives no id has one by its place among messages, and another one by the
    moment of the request to its server. The same tool with the same arguments at about the same
    time is the same call; two requests are never one.
    """
    found: dict[str, ToolUse] = {}
    left = [each for each in others.tools if each.tool_call_id.startswith(UNNAMED)]
    known = {each.tool_call_id for each in others.tools}
    for tool in some.tools:
        if not tool.tool_call_id.startswith(UNNAMED) or tool.tool_call_id in known:
            continue
        apart = {
            each.tool_call_id: abs(each.started_ms - tool.started_ms)
            if some.has_times and others.has_times
            else 0
            for each in left
            if each.name == tool.name
            and _is_of_request(each) != _is_of_request(tool)
            and arguments_value(each) == arguments_value(tool)
        }
        nearest = min(apart, key=lambda key: apart[key], default="")
        if nearest and apart[nearest] <= _TWINS_MS:
            found[tool.tool_call_id] = next(e for e in left if e.tool_call_id == nearest)
            left = [each for each in left if each.tool_call_id != nearest]
    return found


def _is_of_request(tool: ToolUse) -> bool:
    """Tell whether a made id is by the moment of a request, in seconds with a fraction."""
    return "." in tool.tool_call_id.rpartition("-")[2]


def _renamed(known: dict[str, ToolUse], before: ToolUse, tool: ToolUse) -> dict[str, ToolUse]:
    """Return the calls, of which one has the id of its request: that is never another call's."""
    if not _is_of_request(tool):
        return known
    same = replace(before, tool_call_id=tool.tool_call_id)
    found = [same if key == before.tool_call_id else each for key, each in known.items()]
    return {each.tool_call_id: each for each in found}


def arguments_value(tool: ToolUse) -> Any:
    """Return the arguments as a value, so that spaces and the order of keys do not matter."""
    try:
        return json.loads(tool.arguments_json or "{}")
    except (ValueError, RecursionError):
        return tool.arguments_json


def digest(call: PastCall) -> str:
    """Return a checksum over all that a telling says; equal tellings have the same."""
    text = json.dumps(_plain(call), sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(each) for each in value]
    if isinstance(value, PastCall | Speech | ToolUse):
        names = type(value).__dataclass_fields__
        return {name: _plain(getattr(value, name)) for name in names if name != "source"}
    return value
