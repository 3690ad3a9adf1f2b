"""What the model answers: responses, function calls, and what they cost.

One response at a time (``responses``); a function call runs once and gets one output, and the
follow-up response waits until all outputs of its response are in (openai_realtime.md 4.4).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from calls.bridge.core import text_of
from calls.bridge.effects import DispatchTool, DispatchTools
from calls.bridge.reasons import FATAL_CODES, EndCause, cause_of_error
from calls.bridge.responses import Current, Request
from calls.bridge.second_tries import hinted_ms
from calls.bridge.states import Realtime
from calls.bridge.turns import Turns
from calls.money.rates import response_microusd, response_tokens
from calls.wire import realtime
from tools.spec import Outcome, ToolSpec

CEILING_ANSWER = "This tool is not available any more in this call. Go on without it."


class Answers(Turns):
    """Responses, tools and spend."""

    def _send_request(self, now_ms: int) -> bool:
        if self.realtime.now is not Realtime.READY or self._failed or self._retry_at_ms is not None:
            return False
        if self._opening_over() and (self._caller_speaking or self._server_will_answer()):
            return False
        event_id = f"ask-{self.responses.requested + 1}"
        request = self.responses.next_request(event_id, now_ms)
        if request is None:
            return False
        self._send(
            realtime.response_create(
                event_id,
                self.plan.dialect,
                instructions=request.instructions,
                tools_allowed=request.tools_allowed,
                purpose=request.purpose,
            )
        )
        return True

    def _server_will_answer(self) -> bool:
        """Tell whether the server is about to make a response itself: ours would only race it."""
        return self._server_turns and self._unanswered_ms is not None

    def _on_response_created(self, event: dict[str, Any], now_ms: int) -> None:
        response_id = text_of(event, "response", "id")
        if (
            self._failed
            or not response_id
            or not self.responses.on_created(
                response_id, now_ms, knows_all=not self._unconfirmed_outputs
            )
        ):
            self.count("protocol_errors")
            return
        current = self.responses.current
        if current is None or current.purpose != "greeting":
            # A greeting says nothing about what the caller has said meanwhile.
            self._unanswered_ms = None
        ending = self._ending
        goodbye = current is not None and current.purpose == "goodbye"
        closing = ending is not None and not ending.abortable and not goodbye
        interrupted = self._caller_speaking and self._opening_over() and not self._gate.closed
        by_server = current is not None and current.request is None
        if interrupted or closing or (by_server and self._gate.text_awaited):
            # It began after the speech, so the server's own interruption has missed it; or it
            # answers a turn of which the gate does not know yet whether it wants an answer.
            self._cancel_response(by_server=False)

    def _on_response_done(self, event: dict[str, Any], now_ms: int) -> None:
        response = event.get("response")
        response_id = text_of(event, "response", "id")
        if not isinstance(response, dict) or not response_id:
            self.count("protocol_errors")
            return
        if self.responses.was_done(response_id):
            self.count("protocol_errors")
            return
        self._bill(response, now_ms)
        output = response.get("output")
        for item in output if isinstance(output, list) else []:
            if isinstance(item, dict):
                if self.playback is not None:
                    self.playback.complete(text_of(item, "id"), now_ms)
                self._function_call(item, response_id, now_ms)
                self._forget_unplayed(item, response_id, now_ms)
        cancelled = self.responses.is_cancelling(response_id)
        current = self.responses.on_done(response_id)
        if current is None:
            return
        status = response.get("status")
        if status != "failed":
            self.tries.answered()
        if status == "failed":
            self._response_failed(response, current, now_ms)
        elif status == "completed" and not cancelled and self._is_in_text(output, current):
            self._response_in_text(output, current, now_ms)
        elif current.purpose == "greeting":
            self._greeting_done()
        if status == "incomplete" and not cancelled:
            self._response_incomplete(response, current, now_ms)

    @abstractmethod
    def _is_in_text(self, output: Any, current: Current) -> bool:
        """Tell whether a response says in text what was to be said aloud."""

    @abstractmethod
    def _response_in_text(self, output: Any, current: Current, now_ms: int) -> None:
        """Take a response that nobody can hear."""

    @abstractmethod
    def _response_incomplete(self, response: dict[str, Any], current: Current, now_ms: int) -> None:
        """Take a response that the server has cut short."""

    def _forget_unplayed(self, item: dict[str, Any], response_id: str, now_ms: int) -> None:
        """Delete what a cancelled response has made and nobody was given to hear (5.2)."""
        item_id = text_of(item, "id")
        if (
            item.get("type") != "message"
            or not item_id
            or not self.responses.is_cancelling(response_id)
            or (self.playback is not None and self.playback.received_bytes(item_id))
        ):
            return
        self._send(realtime.item_delete(self._id("del"), item_id))
        turn = self.transcript.get(item_id)
        if turn is not None and turn.role == "assistant":
            self.transcript.cut(turn, 0, 0, self._record_ms(now_ms))

    def _response_failed(self, response: dict[str, Any], current: Current, now_ms: int) -> None:
        code = text_of(response, "status_details", "error", "code") or text_of(
            response, "status_details", "error", "type"
        )
        self.count("responses_failed")
        if code in FATAL_CODES:
            self._fail(cause_of_error(code), now_ms)
        else:
            self._last_error_code = code
            hint_ms = hinted_ms(text_of(response, "status_details", "error", "message"))
            self._retry_failed(current.request, code, now_ms, hint_ms=hint_ms)

    def _on_output_item_added(self, event: dict[str, Any], now_ms: int) -> None:
        if self.responses.current is not None and text_of(event, "item", "type") != "message":
            self.responses.current.has_output = True

    def _on_output_item_done(self, event: dict[str, Any], now_ms: int) -> None:
        item = event.get("item")
        if isinstance(item, dict):
            self._function_call(item, text_of(event, "response_id"), now_ms)

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
        if over_ceiling:
            self.metrics_note("ceiling", "tool_calls")
            self._tool_result(tool_call_id, "refused", CEILING_ANSWER, now_ms)
            if self.toolbox.count >= 2 * self.plan.limits.max_tool_calls:
                self._end_when_heard(EndCause.CEILING, now_ms, abortable=False)
        elif spec is None:
            self._tool_result(tool_call_id, "error", f"There is no tool {name!r}.", now_ms)
        elif spec.kind == "endCall":
            self.toolbox.running(invocation)
            self._end_call(tool_call_id, response_id, now_ms)
        elif spec.kind == "transferCall":
            self.toolbox.running(invocation)
            self._transfer(tool_call_id, response_id, spec, now_ms)
        else:
            self.toolbox.running(invocation)
            call = DispatchTool(tool_call_id, name, invocation.arguments_json)
            self.effects.append(DispatchTools((call,)))

    def _end_call(self, tool_call_id: str, response_id: str, now_ms: int) -> None:
        message = self.plan.end_call_message
        current = self.responses.current
        said = current is not None and current.response_id == response_id and current.has_audio
        cause = EndCause.ASSISTANT_ENDED
        if message and not said:
            cause = EndCause.ASSISTANT_SAID_GOODBYE
        if self._ending is not None:
            self._tool_result(tool_call_id, "ok", "The call is being ended.", now_ms)
            return
        # Its output is what became of it: none while the goodbye can still be taken back.
        self._end_when_heard(cause, now_ms, abortable=True)
        self._end_tool_call_id = tool_call_id
        if message and not said:
            self.responses.ask(
                Request("goodbye", instructions=realtime.verbatim(message), tools_allowed=False)
            )

    def _transfer(self, tool_call_id: str, response_id: str, spec: ToolSpec, now_ms: int) -> None:
        """Hand the caller to another number once what is being said has been heard."""
        if not spec.transfer_to:
            answer = "There is nobody to transfer this call to. Offer the caller another way."
            self._tool_result(tool_call_id, "error", answer, now_ms)
            return
        if self._ending is not None:
            self._tool_result(tool_call_id, "refused", "The call is being ended.", now_ms)
            return
        current = self.responses.current
        said = current is not None and current.response_id == response_id and current.has_audio
        self._end_when_heard(
            EndCause.TRANSFERRED, now_ms, abortable=False, dial_to=spec.transfer_to
        )
        self._tool_result(tool_call_id, "ok", "The call is being transferred.", now_ms)
        if spec.transfer_message and not said:
            words = realtime.verbatim(spec.transfer_message)
            self.responses.ask(Request("goodbye", instructions=words, tools_allowed=False))

    def _end_taken_back(self, now_ms: int) -> None:
        """Go on with the call because the caller has spoken again."""
        self._ending = None
        self.responses.forget("goodbye")
        tool_call_id, self._end_tool_call_id = self._end_tool_call_id, ""
        if not tool_call_id:
            return  # it was not the model that wanted to end the call
        self._tool_result(
            tool_call_id, "refused", "The caller spoke again, so the call goes on.", now_ms
        )

    def _tool_result(self, tool_call_id: str, outcome: Outcome, output: str, now_ms: int) -> None:
        output = realtime.plain(output)
        invocation = self.toolbox.finish(tool_call_id, outcome, output, now_ms)
        if invocation is None:
            self.count("late_tool_results")
            return
        shown_id = self._shown_call_id(tool_call_id)
        self._send(realtime.function_output(self._id("out"), shown_id, output))
        self._unconfirmed_outputs[tool_call_id] = None
        self._owed[invocation.response_id] = None

    def _shown_call_id(self, tool_call_id: str) -> str:
        """Return the id under which the session in use knows a function call."""
        return tool_call_id

    def _on_item_added(self, event: dict[str, Any], now_ms: int) -> None:
        if text_of(event, "item", "type") == "function_call_output":
            self._unconfirmed_outputs.pop(text_of(event, "item", "call_id"), None)

    def _ask_follow_up(self) -> bool:
        """Ask for what the outputs of a response lead to, once all of them are in (4.4)."""
        current = self.responses.current
        for response_id in self._owed:
            if self.toolbox.waits_for(response_id):
                continue
            if current is not None and current.response_id == response_id:
                continue  # it may call more tools
            del self._owed[response_id]
            if self._ending is None:
                self.responses.ask(Request("tool", follow_up=True))
            return True
        return False

    def _bill(self, response: dict[str, Any], now_ms: int) -> None:
        usage = response.get("usage")
        if isinstance(usage, dict):
            self.spend_microusd += response_microusd(usage, self.plan.price)
            tokens_in, tokens_out = response_tokens(usage)
            self.count("input_tokens", tokens_in)
            self.count("output_tokens", tokens_out)
        if self.spend_microusd > self.plan.limits.max_spend_microusd and self._ending is None:
            self.metrics_note("ceiling", "spend")
            self._end_when_heard(EndCause.CEILING, now_ms, abortable=False)

    def _retry_failed(
        self, request: Request | None, code: str, now_ms: int, *, hint_ms: int
    ) -> None:
        pause_ms = self.plan.watchdog.retry_pause_ms
        self._retry(request, now_ms, pause_ms=pause_ms, code=code, hint_ms=hint_ms)

    def _retry(
        self,
        request: Request | None,
        now_ms: int,
        *,
        pause_ms: int,
        code: str = "",
        hint_ms: int = 0,
    ) -> None:
        """Ask again, or give up when patience is at its end (7.3)."""
        if self._failed or self._ending is not None:
            return
        wait_ms = self.tries.pause_ms(code, pause_ms, now_ms, hint_ms=hint_ms)
        if wait_ms is None:
            self._fail(cause_of_error(self._last_error_code), now_ms)
            return
        self.count("retries")
        self._retry_at_ms = now_ms + wait_ms
        # Words of our own are asked for again; anything else is the model's to find.
        own = request is not None and (request.instructions or not request.tools_allowed)
        self._retry_request = request if own else Request("retry", follow_up=True)
