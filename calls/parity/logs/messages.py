"""What was said and done, from the messages of a log: Vapi's own, or the OpenAI format.

Pure. Owns the roles, today's and those of earlier years, and how times become ms of the call
(vapi.md 4.6, 6.5). The order of the messages is the order of the tool calls, whatever their clocks
say. The prompt is no turn. It must not know the envelope around the messages.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from calls.conversation import Role, Speech, ToolUse
from calls.parity.logs.loose import (
    arguments_text,
    content_of,
    first,
    ms_of,
    number_of,
    text_of,
    time_of,
    words_of,
)
from calls.parity.logs.past_call import UNNAMED, arguments_value
from calls.parity.logs.results import has_failed
from tools.loose_json import as_list, as_object

_SPEAKERS: Final[Mapping[str, Role]] = {
    "user": "user",
    "customer": "user",
    "caller": "user",
    "bot": "assistant",
    "assistant": "assistant",
    "ai": "assistant",
}
# Roles by their letters alone: tool_calls, tool-calls and toolCalls are one.
_CALLS: Final = frozenset({"toolcalls", "toolcall"})
_OLD_CALLS: Final = frozenset({"functioncall"})
_RESULTS: Final = frozenset({"toolcallresult", "toolcallsresult", "toolresult", "tool"})
_OLD_RESULTS: Final = frozenset({"functioncallresult", "functionresult", "function"})
_ORPHAN: Final = "a result belongs to no tool call of this log"
# A log without times gives an order: so far apart do its entries stand then.
STEP_MS: Final = 1000


@dataclass(slots=True)
class Spoken:
    """What messages say; ``has_times`` False: ms are places in their order.

    ``is_cut``: some messages are no messages any more, so tool calls may be missing.
    """

    speech: tuple[Speech, ...] = ()
    tools: tuple[ToolUse, ...] = ()
    has_times: bool = True
    problems: tuple[str, ...] = ()
    is_cut: bool = False


@dataclass(slots=True)
class _Reading:
    has_times: bool
    speech: list[Speech] = field(default_factory=list)
    tools: dict[str, ToolUse] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    latest_ms: int = 0
    mark: str = ""
    # The newest call of an id that a model used again, and answers whose calls come after them.
    newest: dict[str, str] = field(default_factory=dict)
    early: set[str] = field(default_factory=set)

    def say(self, role: Role, text: str, started_ms: int, ended_ms: int | None) -> None:
        """Add one turn."""
        if ended_ms is not None and ended_ms < started_ms:
            ended_ms = None  # captures have an end before the begin
        ordinal = len(self.speech)
        self.speech.append(Speech(role, text, started_ms, ended_ms, ordinal=ordinal))

    def call(self, tool_call_id: str, name: str, arguments: str, at_ms: int) -> None:
        """Add one tool call behind the others."""
        key = tool_call_id or self._made_id(name)
        before = self.tools.get(self.newest.get(key, key))
        # It was made after all that stands before it, whatever the clocks say.
        made = ToolUse(
            key, name, arguments, max(at_ms, self.latest_ms), state="running", running=True
        )
        if before is not None and before.tool_call_id in self.early:
            self.early.discard(before.tool_call_id)
            del self.tools[before.tool_call_id]
            made = replace(made, running=False, output=before.output, state=before.state)
            made = replace(made, duration_ms=0 if self.has_times else None)
        elif before is not None:
            if _is_copy(before, made):
                return  # copies of one message repeat it
            stem = f"{key[:60]}~"
            used = sum(each.startswith(stem) for each in self.tools)
            made = replace(made, tool_call_id=f"{stem}{used + 2}")
            self.newest[key] = made.tool_call_id
        self.tools[made.tool_call_id] = made

    def answer(
        self, tool_call_id: str, name: str, result: str, at_ms: int, *, is_error: bool = False
    ) -> None:
        """Give a tool call its answer; one without an id answers the oldest open of its name."""
        key = self.newest.get(tool_call_id, tool_call_id) or next(
            (k for k, tool in self.tools.items() if tool.running and tool.name in {name, ""}), ""
        )
        tool = self.tools.get(key)
        if tool is None:
            if not key and not name:
                self.problems.append(_ORPHAN)
                return
            # Its call may stand behind it; else the answer alone tells that it was made.
            self.call(key, name, "{}", at_ms)
            tool = self.tools[key or next(reversed(self.tools))]
            self.early.add(tool.tool_call_id)
        elif not tool.running:
            return
        self.tools[tool.tool_call_id] = replace(
            tool,
            running=False,
            output=result,
            state="error" if is_error or has_failed(result) else "ok",
            duration_ms=max(0, at_ms - tool.started_ms) if self.has_times else None,
        )
        # What is called next was not asked for together with what is answered by now.
        self.latest_ms = max(self.latest_ms, at_ms + 1)

    def _made_id(self, name: str) -> str:
        """Return an id for a call that has none: the same in every telling of it."""
        same = sum(tool.name == name for tool in self.tools.values()) + 1
        if not self.mark:
            return f"{UNNAMED}{name[:40]}-{same}"
        first_one = f"{UNNAMED}{name[:40]}-{self.mark}"
        return first_one if same == 1 else f"{UNNAMED}{name[:36]}-{self.mark}+{same}"

    def done(self) -> Spoken:
        """Return what was read."""
        if self.early:
            self.problems.append(_ORPHAN)
        self.tools = {key: tool for key, tool in self.tools.items() if tool.name}
        unique = tuple(dict.fromkeys(self.problems))
        return Spoken(tuple(self.speech), tuple(self.tools.values()), self.has_times, unique)


def _is_copy(one: ToolUse, other: ToolUse) -> bool:
    return one.name == other.name and arguments_value(one) == arguments_value(other)


def read_messages(messages: Any, started_at: dt.datetime | None) -> Spoken:
    """Return what Vapi's ``messages`` say; nothing for what is no list of messages.

    Args:
        started_at: the call's begin, for messages that have an epoch and no seconds.
    """
    rows = [each for each in as_list(messages) if isinstance(each, dict)]
    cut = sum(not isinstance(each, dict) for each in as_list(messages))
    has_times = bool(rows) and all(_begin_ms(each, started_at) is not None for each in rows)
    reading = _Reading(has_times)
    if cut:
        reading.problems.append(f"{cut} messages are cut off and were left out")
    for place, row in enumerate(rows):
        begin = _begin_ms(row, started_at) if has_times else place * STEP_MS
        _message(reading, row, begin or 0, started_at)
        reading.latest_ms = max(reading.latest_ms, begin or 0)
    spoken = reading.done()
    spoken.is_cut = cut > 0
    return spoken


def _message(
    reading: _Reading, row: Mapping[str, Any], at_ms: int, started_at: dt.datetime | None
) -> None:
    role = text_of(row.get("role")).lower().replace("_", "").replace("-", "")
    if role in _SPEAKERS:
        text = content_of(first(row.get("message"), row.get("content")))
        end = _end_ms(row, at_ms, started_at) if reading.has_times else None
        if text:
            reading.say(_SPEAKERS[role], text, at_ms, end)
        # The OpenAI format puts calls into the assistant's message; some logs mix the two.
        add_calls(reading, first(row.get("toolCalls"), row.get("tool_calls")), at_ms)
        add_calls(reading, [first(row.get("functionCall"), row.get("function_call"))], at_ms)
    elif role in _CALLS:
        add_calls(reading, first(row.get("toolCalls"), row.get("tool_calls"), [row]), at_ms)
    elif role in _OLD_CALLS:
        add_calls(reading, [first(row.get("functionCall"), row.get("function_call"), row)], at_ms)
    elif role in _RESULTS | _OLD_RESULTS:
        key = first(row.get("toolCallId"), row.get("tool_call_id"), row.get("id"))
        error = row.get("error")
        result = first(row.get("result"), row.get("content"), row.get("message"), error)
        reading.answer(
            text_of(key, 64),
            text_of(row.get("name"), 200),
            _answer_text(result),
            at_ms,
            is_error=bool(error),
        )
    elif role != "system":
        reading.problems.append(f"messages of the role {role[:40]!r} are not known")


def _answer_text(result: Any) -> str:
    """Return an answer as the model was given it: the OpenAI format has text in parts, too."""
    is_parts = isinstance(result, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" for part in result
    )
    return content_of(result) if is_parts else words_of(result)


def add_calls(reading: _Reading, calls: Any, at_ms: int) -> None:
    """Add tool calls in any of their spellings (vapi.md 4.3)."""
    for each in as_list(calls):
        if each is None:
            continue
        row = as_object(each)
        function = as_object(row.get("function"))
        name = text_of(first(function.get("name"), row.get("name")), 200)
        if not name:
            reading.problems.append("a tool call has no name and was left out")
            continue
        arguments = first(
            function.get("arguments"),
            function.get("parameters"),
            row.get("arguments"),
            row.get("parameters"),
        )
        key = text_of(first(row.get("id"), row.get("toolCallId")), 64)
        reading.call(key, name, arguments_text(arguments), at_ms)


def read_calls(calls: Any, at_ms: int | None, mark: str = "") -> Spoken:
    """Return the tool calls of one request to a tool server; their answers are not in it.

    Args:
        mark: what tells the request from others, for a call that has no id.
    """
    reading = _Reading(has_times=at_ms is not None, mark=mark)
    add_calls(reading, calls, at_ms or 0)
    return reading.done()


def read_openai_messages(messages: Any) -> Spoken:
    """Return what ``messagesOpenAIFormatted`` say: an order without times."""
    spoken = read_messages(
        [
            {name: value for name, value in each.items() if name not in {"time", "endTime"}}
            for each in as_list(messages)
            if isinstance(each, dict)
        ],
        None,
    )
    return spoken


def read_transcript(text: Any) -> tuple[Speech, ...]:
    """Return the turns of a plain transcript, e.g. ``AI: Hello``; the last resort."""
    speech: list[Speech] = []
    for line in text_of(text).split("\n"):
        label, found, words = line.partition(":")
        role = _SPEAKERS.get(label.strip().lower()) if found else None
        if role is not None and words.strip():
            place = len(speech)
            speech.append(Speech(role, words.strip(), place * STEP_MS, ordinal=place))
        elif speech and line.strip():
            speech[-1] = replace(speech[-1], text=f"{speech[-1].text}\n{line.strip()}")
    return tuple(speech)


def _begin_ms(row: Mapping[str, Any], started_at: dt.datetime | None) -> int | None:
    seconds = number_of(row.get("secondsFromStart"))
    if seconds is not None:
        return ms_of(seconds * 1000)
    return _since(row.get("time"), started_at)


def _end_ms(row: Mapping[str, Any], at_ms: int, started_at: dt.datetime | None) -> int | None:
    begin, end = time_of(row.get("time")), time_of(row.get("endTime"))
    if begin is not None and end is not None:
        # Their difference: the two clocks of a message may begin at different moments.
        return ms_of(at_ms + (end - begin).total_seconds() * 1000) if end >= begin else None
    found = _since(row.get("endTime"), started_at)
    if found is not None:
        return found
    duration = number_of(row.get("duration"))
    return ms_of(at_ms + duration) if duration is not None else None


def _since(value: Any, started_at: dt.datetime | None) -> int | None:
    moment = time_of(value)
    if moment is None or started_at is None:
        return None
    return ms_of((moment - started_at).total_seconds() * 1000)


def is_any(spoken: Spoken) -> bool:
    """Tell whether anything was said or done."""
    return bool(spoken.speech or spoken.tools)


def with_more_tools(spoken: Spoken, other: Spoken) -> Spoken:
    """Return what messages say, with what another copy of them knows better of the tools.

    The other copy is taken whole where it has more tool calls, else for answers alone.
    """
    if len(other.tools) > len(spoken.tools):
        return other
    answers = {tool.tool_call_id: tool for tool in other.tools if not tool.running}
    spoken.tools = tuple(
        replace(tool, running=False, output=found.output, state=found.state)
        if tool.running and (found := answers.get(tool.tool_call_id)) is not None
        else tool
        for tool in spoken.tools
    )
    return spoken


def best_of(candidates: Sequence[Spoken]) -> Spoken:
    """Return the fullest of several copies, the first of equals; its own problems with it."""

    def fullness(spoken: Spoken) -> tuple[int, int, int, int]:
        answered = sum(not tool.running for tool in spoken.tools)
        return (len(spoken.tools), answered, int(spoken.has_times), len(spoken.speech))

    found = [each for each in candidates if is_any(each)]
    return max(found, key=fullness) if found else Spoken()
