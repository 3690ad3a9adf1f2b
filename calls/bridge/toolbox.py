"""Function calls of the model: each runs once and gets exactly one output.

Both ``function_call_arguments.done`` and ``output_item.done`` announce a call (trap O29); only the
item counts, and only when its status is ``completed`` (openai_realtime.md 4.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from calls.bridge.effects import Effect, RecordMcpTool, RecordTool, ToolState
from tools.messages import ToolMessage
from tools.spec import Outcome, ToolSpec

# What a tool answers whose call was cut off by the end of a stream: the request may have arrived.
LOST_RESULT = (
    "The line was lost before the result came, so it is not known whether this took effect. "
    "Check first, before you do it again or tell the caller that it is done."
)
# What a tool answers that was waiting to be called when a stream ended: nothing was sent.
UNSENT_RESULT = (
    "The line was lost before this tool was called, so nothing has been done. "
    "Call it again if it is still wanted."
)


@dataclass(slots=True)
class Invocation:
    """One function call on its way. ``place`` is the number of turns that had begun before it.

    ``elsewhere``: the model's own server makes it (4.5), for the tool named by ``handle``.
    """

    tool_call_id: str
    name: str
    arguments_json: str
    response_id: str
    started_ms: int
    record_started_ms: int
    pending: bool = True
    place: int = 0
    output: str = ""
    elsewhere: bool = False
    handle: str = ""
    state: ToolState = "running"
    duration_ms: int | None = None


class Toolbox:
    """Knows the plan's tools, what runs, and how much may still run."""

    def __init__(
        self, tools: Iterable[ToolSpec], max_calls: int, emit: Callable[[Effect], None]
    ) -> None:
        self._specs = {tool.name: tool for tool in tools}
        self._max_calls = max_calls
        self._emit = emit
        self._invocations: dict[str, Invocation] = {}

    @property
    def count(self) -> int:
        """Function calls seen."""
        return len(self._invocations)

    @property
    def over_ceiling(self) -> bool:
        """Tell whether the next call is one too many."""
        return self.count >= self._max_calls

    @property
    def pending(self) -> list[Invocation]:
        """Return what is still running, oldest first."""
        return [each for each in self._invocations.values() if each.pending]

    def calls(self) -> list[Invocation]:
        """Return every call in the order in which the model made them."""
        return list(self._invocations.values())

    def replace(self, tools: Iterable[ToolSpec]) -> None:
        """Offer other tools from now on; what was called before stays known."""
        self._specs = {tool.name: tool for tool in tools}

    def spec(self, name: str) -> ToolSpec | None:
        """Return the tool of that name."""
        return self._specs.get(name)

    def retell(self, messages: Mapping[str, tuple[ToolMessage, ...]]) -> None:
        """Say other words around the calls of tools from now on."""
        for name, said in messages.items():
            spec = self._specs.get(name)
            if spec is not None:
                self._specs[name] = replace(spec, messages=tuple(said))

    def begin(
        self,
        tool_call_id: str,
        name: str,
        arguments_json: str,
        response_id: str,
        now_ms: int,
        record_started_ms: int,
        *,
        elsewhere: bool = False,
        handle: str = "",
    ) -> Invocation | None:
        """Note a call; None if it has been seen before."""
        if tool_call_id in self._invocations:
            return None
        invocation = self._invocations[tool_call_id] = Invocation(
            tool_call_id,
            name,
            arguments_json,
            response_id,
            now_ms,
            record_started_ms,
            elsewhere=elsewhere,
            handle=handle,
        )
        return invocation

    def running(self, invocation: Invocation) -> None:
        """Hand out that a call has begun."""
        self._record(invocation)

    def finish(
        self, tool_call_id: str, outcome: Outcome, output: str, now_ms: int
    ) -> Invocation | None:
        """Close a call and hand it out; None if it is unknown or was closed before."""
        invocation = self._invocations.get(tool_call_id)
        if invocation is None or not invocation.pending:
            return None
        invocation.pending = False
        invocation.state, invocation.output = outcome, output
        invocation.duration_ms = now_ms - invocation.started_ms
        self._record(invocation)
        return invocation

    def amend(self, invocation: Invocation, output: str) -> None:
        """Hand a closed call out again with what has become known of its answer since."""
        invocation.output = output
        self._record(invocation)

    def knows(self, tool_call_id: str) -> bool:
        """Tell whether the model has made this call."""
        return tool_call_id in self._invocations

    def waits_for(self, response_id: str) -> bool:
        """Tell whether a call of this response still lacks its output."""
        return any(each.response_id == response_id for each in self.pending)

    def _record(self, invocation: Invocation) -> None:
        spec = self._specs.get(invocation.name)
        arguments_json = invocation.arguments_json
        if spec is not None and not invocation.elsewhere:
            arguments_json = spec.shown(arguments_json)
        fields: dict[str, Any] = {
            "tool_call_id": invocation.tool_call_id,
            "name": invocation.name,
            "arguments_json": arguments_json,
            "state": invocation.state,
            "output": invocation.output,
            "started_ms": invocation.record_started_ms,
            "duration_ms": invocation.duration_ms,
        }
        if invocation.elsewhere:
            self._emit(RecordMcpTool(**fields, handle=invocation.handle))
        else:
            self._emit(RecordTool(**fields))
