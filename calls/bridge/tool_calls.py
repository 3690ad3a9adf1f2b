"""Function calls of the model: gathered by response, sent together, answered each once.

The calls of one response leave together when it is done (vapi.md 4.1); what a tool has to say at
its start, while it is late and about its answer is said by the model, word for word. Owns when
calls leave and what follows from their answers; which message applies is ``tool_talk``. A result
reaches the model as the output of its call and in no other way.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import replace
from typing import Any, Final

from calls.bridge.core import GREETING_ITEM_ID, text_of
from calls.bridge.effects import DispatchTool, DispatchTools
from calls.bridge.own_tools import OWN_KINDS, OwnTools
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Request
from calls.bridge.states import Realtime
from calls.bridge.tool_talk import (
    Group,
    Lateness,
    Leaving,
    Start,
    answer_message,
    is_meant_silent,
    start_of,
)
from calls.bridge.toolbox import Invocation
from calls.wire import realtime
from tools.messages import DELAYS_APART_MS, ToolMessage, arguments_of, delays
from tools.rejection import REJECTED, Said, has_conditions, needs_liquid, rejects
from tools.spec import Outcome, ToolResult, ToolSpec

CEILING_ANSWER: Final = "This tool is not available any more in this call. Go on without it."
# The text of what the caller has said last comes some 400 ms after its end, or never.
TEXT_WAIT_MS: Final = 1_500


class ToolCalls(OwnTools):
    """Function calls, from the item that asks for one to what is said about its answer."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        # By response; insertion-ordered, so that a replay does the same.
        self._groups: dict[str, Group] = {}
        self._leaving: list[Leaving] = []
        self._starts: dict[str, Request] = {}
        self._late = Lateness()
        # What is to be said about the answers of a response, by tool_call_id.
        self._answers: dict[str, dict[str, ToolMessage | None]] = {}
        self._notes: list[str] = []
        # Calls that the dispatcher judges, and those that it has given leave to.
        self._judged: set[str] = set()
        self._allowed: set[str] = set()
        # Calls of our own kinds of which a server says what is to be done.
        self._asked: set[str] = set()

    # ---- a call comes in ----------------------------------------------------------------------

    def _function_call(self, item: dict[str, Any], response_id: str, now_ms: int) -> None:
        if item.get("type") != "function_call" or item.get("status", "completed") != "completed":
            return
        if self._failed:
            return
        tool_call_id, name = text_of(item, "call_id"), text_of(item, "name")
        if not tool_call_id or not name:
            self.count("protocol_errors")
            return
        spec = self.toolbox.spec(name)
        ends_call = spec is not None and spec.kind == "endCall"
        over_ceiling = self.toolbox.over_ceiling and not ends_call
        invocation = self.toolbox.begin(
            tool_call_id,
            name,
            text_of(item, "arguments"),
            response_id,
            now_ms,
            self._record_ms(now_ms),
        )
        if invocation is None:
            return
        invocation.place = self.transcript.next_ordinal
        if self.news.wants("calls"):
            made = {"id": tool_call_id, "name": name, "arguments": text_of(item, "arguments")}
            at_ms, place = invocation.record_started_ms, invocation.place
            self.news.tell("calls", at_ms, turn=place, text=json.dumps(made, ensure_ascii=False))
        current = self.responses.current
        spoke = current is not None and current.response_id == response_id and current.has_audio
        if over_ceiling:
            self.metrics_note("ceiling", "tool_calls")
            self._tool_result(tool_call_id, "refused", CEILING_ANSWER, now_ms)
            if self.toolbox.count >= 2 * self.plan.limits.max_tool_calls:
                self._end_when_heard(EndCause.CEILING, now_ms, abortable=False)
        elif spec is None:
            self._tool_result(tool_call_id, "error", f"There is no tool {name!r}.", now_ms)
        elif self._is_done_here(spec) and not has_conditions(spec.rejection):
            self.toolbox.running(invocation)
            self._do(spec, invocation, now_ms, spoke=spoke)
        else:
            self.toolbox.running(invocation)
            group = self._groups.setdefault(response_id, Group())
            group.calls.append(invocation)
            group.spoke = group.spoke or spoke

    def _is_done_here(self, spec: ToolSpec) -> bool:
        """Tell whether nobody else has a part in a call of this tool."""
        return spec.kind in OWN_KINDS and not spec.asks_where

    def _put_in_order(self, response_id: str, output: list[Any]) -> None:
        """Order the calls of a response as the model has them: their ends may come otherwise."""
        group = self._groups.get(response_id)
        if group is not None:
            places = {
                text_of(item, "call_id"): place
                for place, item in enumerate(output)
                if isinstance(item, dict)
            }
            group.calls.sort(key=lambda call: places.get(call.tool_call_id, len(places)))

    # ---- calls leave --------------------------------------------------------------------------

    def _run_calls(self, now_ms: int) -> bool:
        """Let the calls leave whose response is over, however it has ended."""
        current = self.responses.current
        for response_id, group in self._groups.items():
            waits = group.until_ms is not None or group.asked  # it was over before
            if not waits and current is not None and current.response_id == response_id:
                continue  # it may call more tools
            if not group.asked and self._waits_for_text(group, now_ms):
                continue
            group.asked = True
            if self._ask_for_leave(group):
                return True
            if any(call.tool_call_id in self._judged for call in group.calls if call.pending):
                continue  # nothing is said before it is known what may be done
            del self._groups[response_id]
            self._begin(response_id, group, now_ms)
            return True
        for leaving in self._leaving:
            if now_ms >= leaving.until_ms or self._is_said(leaving.request):
                self._leaving.remove(leaving)
                self._dispatch(leaving.calls, now_ms)
                return True
        return False

    def _waits_for_text(self, group: Group, now_ms: int) -> bool:
        """Tell whether a judgement needs words of the caller that are still on their way (4.1)."""
        specs = [self.toolbox.spec(call.name) for call in group.calls if call.pending]
        if not any(spec is not None and has_conditions(spec.rejection) for spec in specs):
            return False
        turns = [turn for turn in self.transcript.turns() if turn.role == "user"]
        if not turns or turns[-1].text:
            return False
        if group.until_ms is None:
            group.until_ms = now_ms + TEXT_WAIT_MS
        return now_ms < group.until_ms

    def _ask_for_leave(self, group: Group) -> bool:
        """Have the conditions judged that need the variables of the call."""
        asked = [call for call in group.calls if call.pending and self._needs_leave(call)]
        if not asked:
            return False
        said = self._said()
        self._judged.update(call.tool_call_id for call in asked)
        self.effects.append(
            DispatchTools(
                tuple(
                    DispatchTool(c.tool_call_id, c.name, c.arguments_json, said, judge=True)
                    for c in asked
                )
            )
        )
        return True

    def _needs_leave(self, call: Invocation) -> bool:
        if call.tool_call_id in self._judged or call.tool_call_id in self._allowed:
            return False
        spec = self.toolbox.spec(call.name)
        return spec is not None and needs_liquid(spec.rejection)

    def _begin(self, response_id: str, group: Group, now_ms: int) -> None:
        """Judge the calls of a response, say what is to be said first, and send them."""
        calls = [call for call in group.calls if call.pending]
        said = self._said() if any(self._plan_of(call) for call in calls) else ()
        sent: list[tuple[ToolSpec, Invocation]] = []
        for call in calls:
            spec = self.toolbox.spec(call.name)
            assert spec is not None, "only tools of the plan are gathered"
            is_allowed = call.tool_call_id in self._allowed
            if not is_allowed and rejects(spec.rejection, said):
                self._tool_result(call.tool_call_id, "refused", REJECTED, now_ms)
            elif spec.asks_where:
                self._asked.add(call.tool_call_id)
                sent.append((spec, call))
            elif spec.kind in OWN_KINDS:
                self._do(spec, call, now_ms, spoke=group.spoke)
            else:
                sent.append((spec, call))
        leaving = [call for _, call in sent]
        if not leaving:
            return
        start = start_of(
            [(spec, call) for spec, call in sent if spec.kind not in OWN_KINDS], spoke=group.spoke
        )
        # Nothing is said over a goodbye; what was asked for is done all the same.
        request = None if self._ending is not None else self._say_start(response_id, start, now_ms)
        # Another assistant is looked for while this one speaks; it waits until that was heard.
        waits = start.blocking and any(spec.kind != "handoff" for spec, _ in sent)
        if waits and self._ending is None:
            until_ms = now_ms + self.plan.watchdog.goodbye_ms
            self._leaving.append(Leaving(leaving, request, until_ms))
        else:
            self._dispatch(leaving, now_ms)

    def _plan_of(self, call: Invocation) -> bool:
        spec = self.toolbox.spec(call.name)
        return spec is not None and has_conditions(spec.rejection)

    def _said(self) -> tuple[Said, ...]:
        """Return the conversation as a rejection plan sees it: no line of ours, nothing empty."""
        before = [
            Said(item.role, item.text)
            for item in self.plan.history
            if item.role != "tool" and item.role != "system" and item.text
        ]
        now = [
            Said(turn.role, turn.text)
            for turn in self.transcript.turns()
            if turn.role != "system"
            and turn.ordinal >= self._told_from
            and (turn.role == "user" or turn.text)
            and (turn.item_id == GREETING_ITEM_ID or not turn.item_id.startswith("clip-"))
        ]
        return (*before, *now)

    def _say_start(self, response_id: str, start: Start, now_ms: int) -> Request | None:
        """Say what precedes the calls; None where it is a clip, or nothing."""
        if not start.text or (start.filler and self._caller_speaking):
            return None
        if start.filler and self.plan.filler.clip is not None:
            self._fill(now_ms)
            return None
        words = realtime.verbatim(start.text)
        request = Request("tool_start", instructions=words, tools_allowed=False)
        self._starts[response_id] = request
        self.responses.ask(request)
        return request

    def _is_moot(self, request: Request | None) -> bool:
        """Tell whether a request only asks for patience with tools that have answered."""
        if request is None or request.purpose != "tool_start":
            return False
        return all(each is not request for each in self._starts.values())

    @abstractmethod
    def _fill(self, now_ms: int) -> None:
        """Cover a wait with words."""

    def _is_said(self, request: Request | None) -> bool:
        """Tell whether words of ours have been heard, or never will be."""
        if request is not None:
            if any(each is request for each in self.responses.waiting):
                return False
            current = self.responses.current
            if current is not None and current.request is request:
                return False
            if self._retry_at_ms is not None and self._retry_request is request:
                return False
        return self.playback is None or self.playback.silent

    def _dispatch(self, calls: list[Invocation], now_ms: int) -> None:
        calls = [call for call in calls if call.pending]
        if not calls:
            return
        self.effects.append(
            DispatchTools(
                tuple(DispatchTool(c.tool_call_id, c.name, c.arguments_json) for c in calls)
            )
        )
        for call in calls:
            call.started_ms = now_ms  # words that had to be heard first are not its own time
            spec = self.toolbox.spec(call.name)
            if spec is None or spec.is_async:
                continue
            arguments = arguments_of(call.arguments_json)
            stages = delays(spec.messages, arguments, call.tool_call_id)
            self._late.begin(call.tool_call_id, stages, now_ms)

    def _not_sent(self) -> frozenset[str]:
        """Return the ids of calls that have not left."""
        held = [call for group in self._groups.values() for call in group.calls]
        held += [call for leaving in self._leaving for call in leaving.calls]
        return frozenset(call.tool_call_id for call in held)

    def _fail(self, cause: EndCause, now_ms: int) -> None:
        super()._fail(cause, now_ms)
        self._groups.clear()
        self._leaving.clear()
        self._late.clear()

    # ---- answers ------------------------------------------------------------------------------

    def _tool_answered(self, tool_call_id: str, result: ToolResult, now_ms: int) -> None:
        """Take what the dispatcher says of a call: an answer, or leave to make it."""
        if tool_call_id in self._judged:
            self._judged.remove(tool_call_id)
            if result.outcome == "ok":
                self._allowed.add(tool_call_id)
                return
        elif tool_call_id in self._asked:
            self._asked.remove(tool_call_id)
            call = next(each for each in self.toolbox.calls() if each.tool_call_id == tool_call_id)
            spec = self.toolbox.spec(call.name)
            if result.outcome == "ok" and spec is not None and call.pending:
                if result.transfer_to:
                    spec = replace(
                        spec,
                        transfer_to=result.transfer_to,
                        transfer_message=result.transfer_message,
                    )
                self._do(spec, call, now_ms, spoke=False)
                return
        self._tool_result(tool_call_id, result.outcome, result.output, now_ms, answer=result)

    def _tool_result(
        self,
        tool_call_id: str,
        outcome: Outcome,
        output: str,
        now_ms: int,
        *,
        answer: ToolResult | None = None,
    ) -> None:
        output = realtime.plain(output)
        result = answer or ToolResult(output, outcome)
        self.toolbox.retell(result.retold)
        message = self._message_about(tool_call_id, result)
        if message is not None and message.role == "system" and result.messages:
            # A server may add to what its tool has found; it never instructs the model.
            output, message = f"{output} {realtime.plain(message.text)}".strip(), None
        invocation = self.toolbox.finish(tool_call_id, outcome, output, now_ms)
        if invocation is None:
            self.count("late_tool_results")
            return
        response_id = invocation.response_id
        self.news.tell("conversation", self._record_ms(now_ms), turn=invocation.place)
        self._late.over(tool_call_id)
        self._answers.setdefault(response_id, {})[tool_call_id] = message
        shown_id = self._shown_call_id(tool_call_id)
        self._send(realtime.function_output(self._id("out"), shown_id, output))
        self._unconfirmed_outputs[tool_call_id] = None
        self._owed[response_id] = None
        start = self._starts.get(response_id)
        if start is not None and not self.toolbox.waits_for(response_id):
            # Who has the answer asks for no patience.
            del self._starts[response_id]
            self.responses.withdraw(start)
            if self._retry_request is start:
                self._retry_at_ms = None

    def _message_about(self, tool_call_id: str, result: ToolResult) -> ToolMessage | None:
        for call in self.toolbox.pending:
            if call.tool_call_id == tool_call_id:
                spec = self.toolbox.spec(call.name)
                if spec is None or spec.kind in OWN_KINDS:
                    return None
                return answer_message(spec, call, result, self.plan.session.language)
        return None

    def _shown_call_id(self, tool_call_id: str) -> str:
        """Return the id under which the session in use knows a function call."""
        return tool_call_id

    def _on_item_added(self, event: dict[str, Any], now_ms: int) -> None:
        if text_of(event, "item", "type") == "function_call_output":
            self._unconfirmed_outputs.pop(text_of(event, "item", "call_id"), None)

    def _ask_follow_up(self, now_ms: int) -> bool:
        """Ask for what the outputs of a response lead to, once all of them are in (4.4)."""
        current = self.responses.current
        for response_id in self._owed:
            if self.toolbox.waits_for(response_id):
                continue
            if current is not None and current.response_id == response_id:
                continue  # it may call more tools
            del self._owed[response_id]
            messages = self._answers.pop(response_id, {})
            if self._ending is None:
                self._follow_up(messages, now_ms)
            return True
        return False

    def _follow_up(self, messages: dict[str, ToolMessage | None], now_ms: int) -> None:
        """Say what the tools say of their answers; the model speaks where one says nothing."""
        ordered = [
            messages[call.tool_call_id]
            for call in self.toolbox.calls()
            if call.tool_call_id in messages
        ]
        spoken = [each for each in ordered if each and each.role == "assistant" and each.text]
        self._notes += [each.text for each in ordered if each and each.role == "system"]
        words = realtime.verbatim(" ".join(dict.fromkeys(each.text for each in spoken)))
        if any(each.ends_call for each in spoken):
            self._end_when_heard(EndCause.ASSISTANT_SAID_GOODBYE, now_ms, abortable=True)
            self.responses.ask(Request("goodbye", instructions=words, tools_allowed=False))
            return
        if spoken:
            self.responses.ask(Request("tool_answer", instructions=words, tools_allowed=False))
        if len(spoken) < len(ordered) or not ordered:
            self.responses.ask(Request("tool", follow_up=True))

    def _tell_notes(self) -> bool:
        """Tell the model what the author of a tool wants it to know about an answer."""
        if not self._notes or self.realtime.now is not Realtime.READY or self._failed:
            return False
        text = self._notes.pop(0)
        self._send(realtime.message_item(self._id("note"), "system", text, self.plan.dialect))
        return True

    def _server_will_answer(self) -> bool:
        """Tell whether the server is about to make a response itself: ours would only race it."""
        return self._server_turns and self._unanswered_ms is not None

    # ---- calls that are late ------------------------------------------------------------------

    def _say_late(self, now_ms: int) -> bool:
        """Say that a tool takes longer, when nobody speaks or is about to."""
        if not self._late.is_due or self._ending is not None or self._failed:
            return False
        if self.realtime.now is not Realtime.READY:
            return False
        waits = self._retry_at_ms is not None or self._server_will_answer()
        if waits or self._caller_speaking or not self.responses.idle:
            return False
        if self.playback is None or not self.playback.silent or not self._opening_over():
            return False
        words = realtime.verbatim(self._late.take(now_ms))
        self.count("tool_delays")
        self.responses.ask(Request("tool_delayed", instructions=words, tools_allowed=False))
        return True

    def _may_fill(self, at_ms: int) -> bool:
        """Tell whether a filler of ours is wanted then: not where a tool's author has spoken."""
        next_ms = self._late.deadline_ms()
        if self._late.is_due or (next_ms is not None and next_ms < at_ms + DELAYS_APART_MS):
            return False
        for call in self.toolbox.pending:
            spec = self.toolbox.spec(call.name)
            if spec is None or not is_meant_silent(spec, call):
                return True
        return not self.toolbox.pending

    def _call_deadlines(self) -> list[int]:
        due = [group.until_ms for group in self._groups.values() if not group.asked]
        due += [leaving.until_ms for leaving in self._leaving]
        due.append(self._late.deadline_ms())
        return [each for each in due if each is not None]

    def _tick_calls(self, now_ms: int) -> None:
        self._late.tick(now_ms)
