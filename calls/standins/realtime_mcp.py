"""MCP in a Realtime stand-in: the lists of tools that a session's servers give, and calls of them
(openai_realtime.md 4.5, the SDK's types). No server is asked: the brain says what one answers. It
must not decide what is called.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from calls.standins.realtime_brain import CallMcp
from calls.standins.realtime_core import RealtimeCore
from calls.standins.realtime_items import Item


class McpCore(RealtimeCore):
    """Adds MCP servers to the trunk."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.mcp_calls: list[tuple[str, str, str]] = []  # (label, name, arguments) that ran
        self._mcp_listed: set[str] = set()
        self._mcp_ready: set[str] = set()

    def _mcp_answered(self, name: str, output: str) -> None:
        """Learn what a call came to."""
        raise NotImplementedError

    def _list_mcp_tools(self) -> None:
        """Ask every server that the session newly names for its tools."""
        for tool in self.session["tools"]:
            label = tool.get("server_label")
            if tool["type"] != "mcp" or label in self._mcp_listed:
                continue
            self._mcp_listed.add(label)
            item = Item(self.new_id("mcpl"), "mcp_list_tools", content_type="", server_label=label)
            self.emit("mcp_list_tools.in_progress", item_id=item.item_id)
            if self.profile.mcp_lists != "never":
                self._at(self.profile.mcp_list_ms, partial(self._listed, item))

    def _listed(self, item: Item) -> None:
        previous = self.conversation.add(item)
        for kind in ("conversation.item.added", "conversation.item.done"):
            self.emit(kind, item=item.render(), previous_item_id=previous)
        if self.profile.mcp_lists == "failed":
            self.emit("mcp_list_tools.failed", item_id=item.item_id)
            return
        self._mcp_ready.add(item.server_label)
        self.emit("mcp_list_tools.completed", item_id=item.item_id)

    def mcp_began(self, output_index: int, item: Item) -> None:
        """Say that a call runs."""
        self.mcp_calls.append((item.server_label, item.name, item.text))
        where = {"item_id": item.item_id, "output_index": output_index}
        self.emit("response.mcp_call.in_progress", **where)

    def mcp_ended(self, output_index: int, item: Item, part: CallMcp) -> None:
        """Put what a server has answered into the conversation, and say so."""
        where = {"item_id": item.item_id, "output_index": output_index}
        if part.error:
            item.error = {"type": "tool_execution_error", "message": part.error}
        else:
            item.output = part.output
        kind = "response.mcp_call.failed" if part.error else "response.mcp_call.completed"
        self.emit(kind, **where)
        self._mcp_answered(item.name, part.error or part.output)

    def mcp_runs_on(self, output_index: int, item: Item, part: CallMcp) -> None:
        """Run a call behind the end of its response."""

        def end() -> None:
            self.mcp_ended(output_index, item, part)
            self.emit("conversation.item.done", item=item.render(), previous_item_id=None)

        self.mcp_began(output_index, item)
        self._at(self.profile.mcp_call_ms, end)
