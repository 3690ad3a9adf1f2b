"""What is said around function calls: before they leave, while they are late, when they are back.

Pure bookkeeping for ``tool_calls``: which words are due and when. Which message applies is decided
by ``tools.messages``; nothing here speaks or sends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from calls.bridge.responses import Request
from calls.bridge.toolbox import Invocation
from tools.messages import (
    DELAYS_APART_MS,
    Kind,
    ToolMessage,
    arguments_of,
    chosen,
    is_empty,
    read_messages,
)
from tools.spec import ToolResult, ToolSpec


@dataclass(slots=True)
class Group:
    """Calls of one response that have not left; ``spoke``: it said something before them.

    ``until_ms`` ends the wait for the text of what the caller has said last; ``asked``: it is over,
    and whether they may be made is judged.
    """

    calls: list[Invocation] = field(default_factory=list)
    spoke: bool = False
    until_ms: int | None = None
    asked: bool = False


@dataclass(slots=True)
class Leaving:
    """Calls that leave when words of ours have been heard; None: they are being played."""

    calls: list[Invocation]
    request: Request | None
    until_ms: int


@dataclass(frozen=True, slots=True)
class Start:
    """What is said when calls leave; ``filler``: with no words of the tool's own."""

    text: str = ""
    blocking: bool = False
    filler: bool = False


def start_of(calls: Iterable[tuple[ToolSpec, Invocation]], *, spoke: bool) -> Start:
    """Return what is said when the calls of one response leave: the words of each tool, once.

    A filler stands for tools without words of their own; where the model has spoken there is none.
    """
    texts: dict[str, None] = {}
    blocking = False
    filler: ToolMessage | None = None
    for spec, call in calls:
        if spec.is_async:
            continue
        message = start_message(spec, call)
        if message is None or not message.text:
            continue
        if message.filler:
            filler = filler or message
        else:
            texts[message.text] = None
            blocking = blocking or message.blocking
    if texts:
        return Start(" ".join(texts), blocking)
    if filler is None or spoke:
        return Start()
    return Start(filler.text, filler.blocking, filler=True)


def start_message(spec: ToolSpec, call: Invocation) -> ToolMessage | None:
    """Return the message that applies when a call leaves."""
    return chosen(spec.messages, "start", arguments_of(call.arguments_json), call.tool_call_id)


def is_meant_silent(spec: ToolSpec, call: Invocation) -> bool:
    """Tell whether a tool's author wants nothing to be heard at its start."""
    message = start_message(spec, call)
    return message is not None and not message.text


def answer_message(
    spec: ToolSpec, call: Invocation, result: ToolResult, language: str
) -> ToolMessage | None:
    """Return what is said about an answer: the server's own message, else the tool's (4.6).

    A message for success needs a result; what was refused, or not sent, is the model's affair.
    """
    if result.outcome == "refused" or not result.sent:
        return None
    failed = result.outcome != "ok"
    kind: Kind = "failed" if failed else "complete"
    theirs = read_messages(list(result.messages), language=language)
    if theirs:
        return next((each for each in theirs if each.kind == kind), theirs[0])
    if (failed and spec.is_async) or (not failed and is_empty(result.output)):
        return None
    arguments = arguments_of(call.arguments_json)
    return chosen(spec.messages, kind, arguments, call.tool_call_id)


class Lateness:
    """Calls that may take long, and what is to be said of it when (vapi.md 3.3)."""

    def __init__(self) -> None:
        self._stages: dict[str, list[tuple[int, str]]] = {}
        self._due: tuple[str, str] | None = None
        self._last_ms: int | None = None

    def begin(self, tool_call_id: str, stages: Iterable[tuple[int, str]], now_ms: int) -> None:
        """Note that a call has left; ``stages`` are ms from now, with their words."""
        planned = [(now_ms + after_ms, text) for after_ms, text in stages]
        if planned:
            self._stages[tool_call_id] = planned
            self.tick(now_ms)

    def over(self, tool_call_id: str) -> None:
        """Forget a call: it has been answered."""
        self._stages.pop(tool_call_id, None)
        if self._due is not None and self._due[0] == tool_call_id:
            self._due = None

    def clear(self) -> None:
        """Forget all of them."""
        self._stages.clear()
        self._due = None

    @property
    def is_due(self) -> bool:
        """Tell whether something is to be said as soon as nobody speaks."""
        return self._due is not None

    def deadline_ms(self) -> int | None:
        """Return when the next words are due, None while there are none, or some wait."""
        if self._due is not None or not self._stages:
            return None
        return min(self._time_ms(stages[0][0]) for stages in self._stages.values())

    def tick(self, now_ms: int) -> None:
        """Note which words are due now."""
        if self._due is not None:
            return
        for tool_call_id, stages in self._stages.items():
            if now_ms >= self._time_ms(stages[0][0]):
                self._due = (tool_call_id, stages.pop(0)[1])
                if not stages:
                    del self._stages[tool_call_id]
                return

    def take(self, now_ms: int) -> str:
        """Return the words that are due, '' if none are; they count as said now."""
        if self._due is None:
            return ""
        text, self._due = self._due[1], None
        self._last_ms = now_ms
        return text

    def _time_ms(self, planned_ms: int) -> int:
        if self._last_ms is None:
            return planned_ms
        return max(planned_ms, self._last_ms + DELAYS_APART_MS)
