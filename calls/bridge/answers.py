"""What the model answers: responses, how they end, and what they cost.

One response at a time (``responses``). What a response asks of tools is gathered by ``tool_calls``
and ``mcp_calls``; nothing here knows what becomes of it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from calls.bridge.core import text_of
from calls.bridge.mcp_calls import McpCalls
from calls.bridge.reasons import FATAL_CODES, EndCause, cause_of_error
from calls.bridge.responses import Current, Request
from calls.bridge.second_tries import hinted_ms
from calls.bridge.states import Realtime
from calls.money.rates import response_microusd, response_tokens
from calls.wire import realtime


class Answers(McpCalls):
    """Responses and spend."""

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
                self._mcp_item(item, now_ms, response_id=response_id, done=True)
                self._forget_unplayed(item, response_id, now_ms)
        if isinstance(output, list):
            self._put_in_order(response_id, output)
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
        response_id = text_of(event, "response_id")
        self._mcp_item(event.get("item"), now_ms, response_id=response_id, done=False)

    def _on_output_item_done(self, event: dict[str, Any], now_ms: int) -> None:
        item = event.get("item")
        if isinstance(item, dict):
            response_id = text_of(event, "response_id")
            self._function_call(item, response_id, now_ms)
            self._mcp_item(item, now_ms, response_id=response_id, done=True)

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
        if self._failed or self._ending is not None or self._is_moot(request):
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
