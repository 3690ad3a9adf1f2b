"""Tools that the model's own server calls: MCP, as far as the events of a session show it.

Nothing is dispatched and nothing answered here (openai_realtime.md 4.5): a call is recorded, known
to be running, and followed by a request for the answer, which the server does not make by itself.
Owns the order-free reading of those events; the session's configuration is ``wire.realtime``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from calls.bridge.core import text_of
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Request
from calls.bridge.tool_calls import ToolCalls
from calls.bridge.toolbox import LOST_RESULT, Invocation
from calls.wire import realtime
from tools.messages import ToolMessage
from tools.spec import Outcome

TOO_LATE: Final = "The MCP server did not answer in time."
FAILED: Final = "The MCP server's tool failed."
_MOST_NOTED: Final = 500
# Characters of an answer that are kept and told to a session that follows; the model has read all.
_MOST_OUTPUT: Final = 16_000


@dataclass(slots=True)
class Announced:
    """A call of which an item has told: what is known before it runs."""

    name: str
    label: str
    response_id: str
    arguments_json: str = ""


class McpCalls(ToolCalls):
    """Calls of MCP tools, by item; and the lists of tools that servers gave or did not give."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self._announced: dict[str, Announced] = {}
        # Responses that have spoken about the answer themselves.
        self._answered_inside: set[str] = set()
        self._lists: dict[str, str] = {}
        self._lists_failed: set[str] = set()

    @property
    def _handles(self) -> dict[str, str]:
        """Return the tools' rows by the labels of their servers; a handoff brings others."""
        return {each.label: each.handle for each in self.plan.session.mcp_servers}

    # ---- items --------------------------------------------------------------------------------

    def _mcp_item(self, item: Any, now_ms: int, *, response_id: str = "", done: bool) -> None:
        """Read an item wherever it stands: it may tell of a call before, while or after it runs."""
        item_id = text_of(item, "id") if isinstance(item, dict) else ""
        if not item_id or self._failed:
            return
        kind = text_of(item, "type")
        if kind == "mcp_list_tools":
            self._lists.setdefault(item_id, text_of(item, "server_label"))
        elif kind == "mcp_call":
            self._mcp_call(item, item_id, response_id, now_ms)
        elif kind == "message" and response_id and not done:
            # What begins behind a finished call is about it.
            mine = [each for each in self._mcp_calls() if each.response_id == response_id]
            if mine and not any(each.pending for each in mine):
                self._answered_inside.add(response_id)
                self._owed.pop(response_id, None)

    def _mcp_call(self, item: dict[str, Any], item_id: str, response_id: str, now_ms: int) -> None:
        known = self._announced.get(item_id)
        if known is None:
            if len(self._announced) >= _MOST_NOTED:
                return
            known = self._announced[item_id] = Announced(
                text_of(item, "name"), text_of(item, "server_label"), response_id
            )
        known.name = known.name or text_of(item, "name")
        known.response_id = known.response_id or response_id
        known.arguments_json = text_of(item, "arguments") or known.arguments_json
        error = item.get("error")
        if isinstance(error, dict):
            words = ": ".join(filter(None, (text_of(error, "type"), text_of(error, "message"))))
            self._mcp_over(item_id, "error", words or FAILED, now_ms)
        elif text_of(item, "output"):
            # An empty one says nothing: an item that still runs may have it too.
            self._mcp_over(item_id, "ok", text_of(item, "output"), now_ms)

    def _mcp_calls(self) -> list[Invocation]:
        return [each for each in self.toolbox.calls() if each.elsewhere]

    def _mcp_runs_in(self, response_id: str) -> bool:
        """Tell whether a response waits for a call of its own: it owes nothing meanwhile."""
        mine = (each for each in self._mcp_calls() if each.response_id == response_id)
        return bool(response_id) and any(each.pending for each in mine)

    # ---- calls --------------------------------------------------------------------------------

    def _on_item_added(self, event: dict[str, Any], now_ms: int) -> None:
        super()._on_item_added(event, now_ms)
        self._mcp_item(event.get("item"), now_ms, done=False)

    def _on_item_done(self, event: dict[str, Any], now_ms: int) -> None:
        self._mcp_item(event.get("item"), now_ms, done=True)

    def _on_mcp_arguments(self, event: dict[str, Any], now_ms: int) -> None:
        known = self._announced.get(text_of(event, "item_id"))
        if known is not None:
            known.arguments_json = text_of(event, "arguments") or known.arguments_json

    def _on_mcp_running(self, event: dict[str, Any], now_ms: int) -> None:
        self._mcp_begin(text_of(event, "item_id"), now_ms)

    def _on_mcp_completed(self, event: dict[str, Any], now_ms: int) -> None:
        self._mcp_over(text_of(event, "item_id"), "ok", "", now_ms)

    def _on_mcp_failed(self, event: dict[str, Any], now_ms: int) -> None:
        self._mcp_over(text_of(event, "item_id"), "error", FAILED, now_ms)

    def _mcp_begin(self, item_id: str, now_ms: int) -> Invocation | None:
        """Note that a call runs; None where it is unknown, or its name is."""
        known = self._announced.get(item_id)
        if self._failed:
            return None
        if known is None or not known.name:
            self.count("protocol_errors")
            return None
        over_ceiling = self.toolbox.over_ceiling
        call = self.toolbox.begin(
            item_id,
            known.name,
            known.arguments_json,
            known.response_id,
            now_ms,
            self._record_ms(now_ms),
            elsewhere=True,
            handle=self._handles.get(known.label, ""),
        )
        if call is None:
            return next((each for each in self._mcp_calls() if each.tool_call_id == item_id), None)
        call.place = self.transcript.next_ordinal
        self.count("mcp_calls")
        self.toolbox.running(call)
        if over_ceiling:
            # It runs already; what can be done is to let it be the last.
            self.metrics_note("ceiling", "tool_calls")
            if self.toolbox.count >= 2 * self.plan.limits.max_tool_calls:
                self._end_when_heard(EndCause.CEILING, now_ms, abortable=False)
        return call

    def _mcp_over(self, item_id: str, outcome: Outcome, output: str, now_ms: int) -> None:
        """Close a call; its output may come with another event than its end, in either order."""
        call = self._mcp_begin(item_id, now_ms)
        if call is None:
            return
        output = realtime.plain(output)[:_MOST_OUTPUT]
        if not call.pending:
            if output and call.output in ("", FAILED) and output != FAILED:
                self.toolbox.amend(call, output)
            return
        call.arguments_json = self._announced[item_id].arguments_json
        self.toolbox.finish(item_id, outcome, output, now_ms)
        if call.response_id not in self._answered_inside:
            self._owed[call.response_id] = None

    def _follow_up(self, messages: dict[str, ToolMessage | None], now_ms: int) -> None:
        """Ask for an answer; one that may call no more tools once the ceiling is reached."""
        if messages or not self.toolbox.over_ceiling:
            super()._follow_up(messages, now_ms)
        else:
            self.responses.ask(Request("tool", tools_allowed=False, follow_up=True))

    def _mcp_lost(self, now_ms: int) -> None:
        """Give up the calls of a session that is gone: nobody will tell what became of them."""
        for call in self._mcp_calls():
            if call.pending:
                self._mcp_over(call.tool_call_id, "error", LOST_RESULT, now_ms)
        self._announced.clear()

    # ---- lists of tools -----------------------------------------------------------------------

    def _on_mcp_list_completed(self, event: dict[str, Any], now_ms: int) -> None:
        self.count("mcp_lists")

    def _on_mcp_list_failed(self, event: dict[str, Any], now_ms: int) -> None:
        """Note, where people look at a call, that a server's tools were not there in it."""
        item_id = text_of(event, "item_id")
        label = self._lists.get(item_id, "")
        if not label and len(self._handles) == 1:
            label = next(iter(self._handles))
        self.count("mcp_lists_failed")
        self.metrics_note("mcp_list_failed", realtime.plain(label)[:60] or "?")
        noted = f"{self.plan.revision_id}:{label}"
        if noted in self._lists_failed:
            return
        self._lists_failed.add(noted)
        at_ms = self._record_ms(now_ms)
        turn = self.transcript.begin(f"mcp-list-{len(self._lists_failed)}", "system", at_ms)
        named = f" {realtime.plain(label)[:60]}" if label else ""
        self.transcript.say(
            turn,
            f"The tools of the MCP server{named} could not be loaded; the assistant had none of "
            "them.",
        )
        self.transcript.end(turn, at_ms)

    # ---- time ---------------------------------------------------------------------------------

    def _mcp_deadlines(self) -> list[int]:
        wait_ms = self.plan.watchdog.mcp_ms
        return [each.started_ms + wait_ms for each in self._mcp_calls() if each.pending]

    def _tick_mcp(self, now_ms: int) -> None:
        for call in self._mcp_calls():
            if call.pending and now_ms >= call.started_ms + self.plan.watchdog.mcp_ms:
                self._mcp_over(call.tool_call_id, "timeout", TOO_LATE, now_ms)
