"""The conversation of a call as ordered entries: speech, tool calls, their results, hand-overs.

Pure. Owns the order: by when something was *said*, in ms from the call's first stream, however late
its text arrived (openai_realtime.md 4.1). It must not know rows, nor who shows it and how; that is
``forms``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Role = Literal["user", "assistant", "system"]


@dataclass(frozen=True, slots=True)
class Speech:
    """One turn. ``text`` is what was heard, ``unheard`` what an interruption cut off.

    ``ordinal`` settles the order of turns that begin together. ``source`` is whatever the reader
    made it from.
    """

    role: Role
    text: str
    started_ms: int
    ended_ms: int | None = None
    ordinal: int = 0
    unheard: str = ""
    interrupted: bool = False
    latency_ms: int | None = None
    speaker: str = ""
    source: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One function call of the model; ``duration_ms`` None and ``running``: no answer yet."""

    tool_call_id: str
    name: str
    arguments_json: str
    started_ms: int
    duration_ms: int | None = None
    output: str = ""
    state: str = "ok"
    running: bool = False
    source: Any = field(default=None, compare=False, repr=False)

    @property
    def answered_ms(self) -> int:
        """Return when the answer came."""
        return self.started_ms + (self.duration_ms or 0)


@dataclass(frozen=True, slots=True)
class Handover:
    """From which assistant the call went over to which one, by name, and when."""

    at_ms: int
    from_name: str = ""
    to_name: str = ""
    source: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a conversation. ``tools``: the calls that were made together, or the answer of
    one of them.
    """

    kind: Literal["speech", "tool-calls", "tool-result", "handover"]
    at_ms: int
    speech: Speech | None = None
    tools: tuple[ToolUse, ...] = ()
    handover: Handover | None = None


# Of what happens in the same millisecond: what is said comes first, an answer after its call.
_RANKS = {"speech": 0, "handover": 1, "tool-calls": 2, "tool-result": 3}
# The calls of one response come within a few milliseconds of each other.
_TOGETHER_MS = 250


def conversation(
    speech: Iterable[Speech],
    tools: Iterable[ToolUse] = (),
    handovers: Iterable[Handover] = (),
) -> tuple[Entry, ...]:
    """Return what was said and done in the order in which it was heard.

    Function calls of one response stand together, each answer where it came. A turn that begins
    while an earlier one is still queued was said before it.
    """
    entries = [Entry("speech", each.started_ms, speech=each) for each in speech]
    entries += [Entry("handover", each.at_ms, handover=each) for each in handovers]
    for group in _together(sorted(tools, key=lambda tool: tool.started_ms), entries):
        entries.append(Entry("tool-calls", group[0].started_ms, tools=group))
        entries += [
            # None comes before all the calls of its response were made.
            Entry("tool-result", max(tool.answered_ms, group[-1].started_ms), tools=(tool,))
            for tool in group
            if not tool.running
        ]
    return tuple(sorted(entries, key=_place))


def _place(entry: Entry) -> tuple[int, int, int]:
    ordinal = entry.speech.ordinal if entry.speech is not None else 0
    return entry.at_ms, _RANKS[entry.kind], ordinal


def _together(tools: Sequence[ToolUse], spoken: Sequence[Entry]) -> Iterable[tuple[ToolUse, ...]]:
    """Yield the calls that were made together: close in time, with nothing said between them."""
    group: list[ToolUse] = []
    for tool in tools:
        last = group[-1] if group else None
        if last is not None and (
            tool.started_ms - last.started_ms > _TOGETHER_MS
            or any(last.started_ms < each.at_ms <= tool.started_ms for each in spoken)
            or (not last.running and last.answered_ms < tool.started_ms)
        ):
            yield tuple(group)
            group = []
        group.append(tool)
    if group:
        yield tuple(group)


def heard_until(
    speech: Iterable[Speech], tools: Iterable[ToolUse], told_ms: int | None
) -> tuple[list[Speech], list[ToolUse]]:
    """Return what had begun by a moment of the call; all of it for None.

    An answer that had not come by then is left out.
    """
    if told_ms is None:
        return list(speech), list(tools)
    begun = [tool for tool in tools if tool.started_ms <= told_ms]
    return (
        [each for each in speech if each.started_ms <= told_ms],
        [
            replace(tool, running=True, output="")
            if not tool.running and tool.answered_ms > told_ms
            else tool
            for tool in begun
        ],
    )
