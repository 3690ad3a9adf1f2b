"""What the page of one call shows; reads only, and decides who may read what was said.

The template gets ready values. Turn text, tool arguments and outputs are put into the context only
with ``calls.view_transcript``, and the admin audits every such view.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from calls.admin.call_facts import Fact, call_facts, policy_facts
from calls.admin.timeline import Span, Timeline, draw
from calls.admin.words import (
    STATUS_COLOURS,
    clock,
    is_failure,
    ms_in_words,
    reason_in_words,
)
from calls.models import (
    Call,
    OutboxEvent,
    Recording,
    ToolExchange,
    ToolInvocation,
    Turn,
)
from calls.selectors.handoffs import speaker_names
from calls.selectors.records import conversation
from calls.services.analysis import WAITING, analysis_state, analysis_verdict

PERMISSION = "calls.view_transcript"
_SPEAKERS = {"user": "Caller", "assistant": "Assistant", "system": "Note"}
_TOOL_COLOURS = {
    "running": "primary",
    "ok": "success",
    "error": "danger",
    "timeout": "warning",
    "refused": "warning",
}
_EVENT_COLOURS = {"pending": "warning", "delivered": "success", "dead": "danger"}
_MOST_EVENTS = 50
_ANALYSIS_NAMES = {
    "summary": "Summary",
    "successEvaluation": "Was it a success?",
    "structuredData": "Structured data",
    "structuredDataMulti": "Structured data by key",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the conversation."""

    kind: str
    who: str
    at: str
    anchor: str
    text: str = ""
    unheard: str = ""
    interrupted: bool = False
    latency: str = ""
    tool_name: str = ""
    state: str = ""
    colour: str = ""
    arguments: str = ""
    output: str = ""
    took: str = ""
    answered_with: str = ""
    exchange_id: int | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the caller waited for one answer."""

    at: str
    anchor: str
    text: str
    width_percent: float
    colour: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a text model made of the call; ``notes`` say what is missing, and why."""

    answers: Sequence[tuple[str, str]] = ()
    made_by: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CallPage:
    """Everything the template needs."""

    call: Call
    colour: str
    failed: bool
    may_read: bool
    permission: str
    facts: Sequence[Fact]
    policy: Sequence[Fact]
    timeline: Timeline | None
    lines: Sequence[Line]
    latencies: Sequence[Latency]
    events: Sequence[dict[str, Any]]
    metrics: Sequence[tuple[str, str]]
    analysis: Analysis | None = None
    counts: dict[str, int] = field(default_factory=dict)
    recording: Recording | None = None


def call_page(call: Call, *, may_read: bool) -> CallPage:
    """Gather the page of ``call``; without ``may_read`` nothing that was said is in it."""
    turns = list(call.turns.order_by("ordinal"))
    names = speaker_names(call, turns)
    tools = list(
        call.tool_invocations.select_related("exchange")
        .defer("exchange__content")
        .order_by("started_ms", "id")
    )
    if not may_read:
        for turn in turns:
            turn.text = turn.text_unheard = ""
        for tool in tools:
            tool.arguments_json = tool.output = ""
    return CallPage(
        call=call,
        colour=STATUS_COLOURS.get(call.status, "info"),
        failed=is_failure(call.ended_reason),
        may_read=may_read,
        permission=PERMISSION,
        facts=call_facts(call),
        policy=policy_facts(call),
        timeline=draw(
            [*(_turn_span(turn, names) for turn in turns), *map(_tool_span, tools)],
            _total_ms(call),
        ),
        lines=_lines(turns, tools, names) if may_read else (),
        latencies=_latencies(turns),
        events=_events(call),
        metrics=_metrics(call),
        analysis=_analysis(call, may_read=may_read),
        counts={
            "turns": len(turns),
            "tools": len(tools),
            "interruptions": sum(turn.interrupted for turn in turns),
        },
        recording=Recording.objects.filter(call=call).first(),
    )


def _total_ms(call: Call) -> int:
    return call.duration_seconds * 1000


def _analysis(call: Call, *, may_read: bool) -> Analysis | None:
    """Return what was made of a call that is over, its answers only with ``may_read``."""
    if call.status != Call.Status.ENDED:
        return None
    state = analysis_state(call)
    if not state:
        reason = analysis_verdict(call).reason
        return Analysis(notes=[f"Not analysed: {reason or 'it ended before calls were analysed'}."])
    if state["state"] == WAITING:
        return Analysis(notes=["A model is reading it; the report waits for that."])
    parts = state.get("parts", [])
    cost = sum(part["cost_microusd"] for part in parts) / 1_000_000
    tokens = sum(part["prompt_tokens"] + part["completion_tokens"] for part in parts)
    return Analysis(
        answers=list(_answers(call.analysis or {})) if may_read else (),
        made_by=f"{state['model']}, {tokens:,} tokens, ${cost:.4f}" if parts else "",
        notes=[f"{problem[:1].upper()}{problem[1:]}." for problem in state.get("problems", [])],
    )


def _answers(analysis: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, words in _ANALYSIS_NAMES.items():
        value = analysis.get(name)
        if isinstance(value, str) and value:
            yield words, value
        elif value:
            yield words, json.dumps(value, indent=2, ensure_ascii=False)


def _who(turn: Turn, names: Mapping[int, str]) -> str:
    return names.get(turn.ordinal) or _SPEAKERS.get(turn.role, turn.role)


def _turn_span(turn: Turn, names: Mapping[int, str]) -> Span:
    who = _who(turn, names)
    notes = []
    if turn.interrupted:
        notes.append("interrupted by the caller")
    if turn.latency_ms is not None:
        notes.append(f"answered after {ms_in_words(turn.latency_ms)}")
    return Span(
        lane=turn.role,
        started_ms=turn.started_ms,
        ended_ms=turn.ended_ms,
        label=f"{who} {turn.ordinal + 1}",
        note=", ".join(notes),
        kind="interrupted" if turn.interrupted else "",
        anchor=f"turn-{turn.ordinal}",
    )


def _tool_span(tool: ToolInvocation) -> Span:
    ended_ms = None if tool.duration_ms is None else tool.started_ms + tool.duration_ms
    failed = tool.state not in ("ok", "running")
    return Span(
        lane="tool",
        started_ms=tool.started_ms,
        ended_ms=ended_ms,
        label=tool.name,
        note=tool.state,
        kind="failed" if failed else "",
        anchor=f"tool-{tool.pk}",
    )


def _lines(turns: list[Turn], tools: list[ToolInvocation], names: Mapping[int, str]) -> list[Line]:
    lines: list[Line] = []
    for entry in conversation(turns, tools):
        if entry.turn is not None:
            lines.append(_turn_line(entry.turn, names))
        elif entry.tool is not None:
            lines.append(_tool_line(entry.tool))
    return lines


def _turn_line(turn: Turn, names: Mapping[int, str]) -> Line:
    return Line(
        kind=turn.role,
        who=_who(turn, names),
        at=clock(turn.started_ms),
        anchor=f"turn-{turn.ordinal}",
        text=turn.text,
        unheard=turn.text_unheard,
        interrupted=turn.interrupted,
        latency=ms_in_words(turn.latency_ms) if turn.latency_ms is not None else "",
    )


def _tool_line(tool: ToolInvocation) -> Line:
    return Line(
        kind="tool",
        who="Tool",
        at=clock(tool.started_ms),
        anchor=f"tool-{tool.pk}",
        tool_name=tool.name,
        state=str(tool.get_state_display()).lower(),
        colour=_TOOL_COLOURS.get(tool.state, "info"),
        arguments=_indented(tool.arguments_json),
        output=_indented(tool.output),
        took=ms_in_words(tool.duration_ms),
        answered_with=_answered_with(tool.exchange) if tool.exchange else "",
        exchange_id=tool.exchange_id,
    )


def _answered_with(exchange: ToolExchange) -> str:
    status = f"HTTP {exchange.status}" if exchange.status else exchange.error or "no answer"
    tries = f", attempt {exchange.attempts}" if exchange.attempts > 1 else ""
    return f"{exchange.host} {status}{tries}"


def _indented(text: str) -> str:
    """Indent JSON; leave other text as the model or the server wrote it."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _latencies(turns: list[Turn]) -> list[Latency]:
    timed = [turn for turn in turns if turn.latency_ms is not None]
    longest = max((turn.latency_ms or 0 for turn in timed), default=0) or 1
    return [
        Latency(
            at=clock(turn.started_ms),
            anchor=f"turn-{turn.ordinal}",
            text=ms_in_words(turn.latency_ms),
            width_percent=round(100 * (turn.latency_ms or 0) / longest, 1),
            colour=_latency_colour(turn.latency_ms or 0),
        )
        for turn in timed
    ]


def _latency_colour(ms: int) -> str:
    """Callers notice a pause of about a second and take two for a fault."""
    return "success" if ms < 1000 else "warning" if ms < 2000 else "danger"


def _events(call: Call) -> list[dict[str, Any]]:
    rows = OutboxEvent.objects.filter(call=call).defer("payload", "destination")
    return [
        {
            "pk": row.pk,
            "kind": row.kind,
            "host": row.destination_host,
            "state": str(row.get_state_display()).lower(),
            "colour": _EVENT_COLOURS.get(row.state, "info"),
            "attempts": row.attempt_count,
            "at": row.settled_at or row.next_attempt_at,
        }
        for row in rows.order_by("created_at")[:_MOST_EVENTS]
    ]


def _metrics(call: Call) -> list[tuple[str, str]]:
    """Flatten the metrics; only numbers and flags, because text could be something said.

    What an analysis took stands beside its answers.
    """
    found: list[tuple[str, str]] = []

    def walk(node: Any, name: str) -> None:
        if isinstance(node, dict):
            for key in sorted(node):
                walk(node[key], f"{name} {key}".strip().replace("_", " "))
        elif isinstance(node, list) and all(isinstance(each, dict) for each in node):
            for number, each in enumerate(node, start=1):
                walk(each, f"{name[:-1]} {number}" if len(node) > 1 else "")
        elif isinstance(node, bool):
            found.append((name, "yes" if node else "no"))
        elif isinstance(node, int | float):
            found.append((name, f"{node:,}"))

    walk({name: value for name, value in call.metrics.items() if name != "analysis"}, "")
    return found


def call_outcome(call: Call) -> str:
    """Return why the call ended, in words, or that it goes on."""
    if call.status != Call.Status.ENDED:
        return "The call is going on."
    return f"{reason_in_words(call.ended_reason)}."
