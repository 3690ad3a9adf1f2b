"""What the old stack's tools answered in a call that is heard along, as it comes to be known.

Pure. Owns which of these results answers a call of our model, and which stand in the conversation.
It must not decide when: that is ``calls.parity.shadow``'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from calls.parity.known_results import OPENING, Alike, How, Known, KnownResults
from calls.parity.past import PastTool, Script
from calls.wire import realtime


class OldTools:
    """The old stack's tool calls so far.

    ``names``: what the session calls a tool, by its name at the old stack. ``ends``: tools that end
    or pass on a call, which are never shown.
    """

    def __init__(self, alike: Alike, names: Mapping[str, str], ends: frozenset[str]) -> None:
        self._known = KnownResults(Script((), ()), alike)
        self._names, self._ends = names, ends
        self._shown: set[int] = set()
        self._ids: set[str] = set()

    def take(self, tools: Iterable[PastTool], exchange: int) -> None:
        """Take calls that came to be known while ``exchange`` was on; known ones are skipped."""
        have = {row.tool.tool_call_id for row in self._known.rows}
        for tool in tools:
            if tool.tool_call_id in have:
                continue
            have.add(tool.tool_call_id)
            named = replace(tool, name=self._names.get(tool.name, tool.name))
            row = Known(named, len(self._known.rows), exchange)
            if exchange == OPENING:
                row.asked_in = OPENING  # nobody had asked us yet: neither stack is judged by it
            self._known.rows.append(row)

    def answer(
        self, name: str, arguments: Mapping[str, Any], exchange: int
    ) -> tuple[How, Known] | None:
        """Return what answers a call of our model in ``exchange``, None while nothing does."""
        return self._known.answer(name, arguments, exchange)

    def show(self, rows: Iterable[Known] | None, event_id: Callable[[], str]) -> list[str]:
        """Return the events that put calls with their results into the conversation, each once.

        Args:
            rows: None for all that are known.
        """
        events: list[str] = []
        for row in self._known.rows if rows is None else rows:
            tool = row.tool
            if row.place in self._shown or tool.result is None or tool.name in self._ends:
                continue
            self._shown.add(row.place)
            call_id = realtime.legal_id(tool.tool_call_id or f"call_{row.place}")
            if call_id in self._ids:
                call_id = realtime.legal_id(f"{call_id}-{row.place}")
            self._ids.add(call_id)
            arguments = json.dumps(dict(tool.arguments), ensure_ascii=False)
            name = realtime.legal_name(tool.name)
            events.append(realtime.function_call(event_id(), call_id, name, arguments))
            events.append(realtime.function_output(event_id(), call_id, tool.result))
        return events
