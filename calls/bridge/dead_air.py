"""Errors of the model and silence that lasts too long: one retry, an apology, the end (7.3)."""

from __future__ import annotations

from typing import Any

from calls.bridge.answers import Answers
from calls.bridge.core import text_of
from calls.bridge.rate_limits import readings
from calls.bridge.reasons import (
    BENIGN_CODES,
    FATAL_CODES,
    TRANSIENT_CODES,
    EndCause,
    cause_of_error,
)
from calls.bridge.responses import Current, Request
from calls.bridge.second_tries import BROKE_OFF, hinted_ms
from calls.bridge.states import Realtime, Response
from calls.wire import realtime

CONFIG_EVENT_ID = "cfg-1"
# One answer is not carried on for ever; the limit is the assistant's own (2.1).
MOST_CONTINUED = 2
_GO_ON = (
    "Your last words were cut off by a limit of length, in the middle of a sentence. Go on exactly "
    "where they stopped, without an apology and without repeating anything, and come to an end."
)


_WRITTEN = ("output_text", "text")  # of a part, in GA and in beta
_CALLS = ("function_call", "mcp_call")


def _is_written(item: Any) -> bool:
    """Tell whether an item of a response holds text and nothing to be heard."""
    if not isinstance(item, dict) or item.get("type") != "message" or not text_of(item, "id"):
        return False
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return any(text_of(each, "type") in _WRITTEN and text_of(each, "text") for each in parts)


class DeadAir(Answers):
    """Errors, watchdogs and their deadlines."""

    def _on_error(self, event: dict[str, Any], now_ms: int) -> None:
        code = text_of(event, "error", "code") or text_of(event, "error", "type")
        event_id = text_of(event, "error", "event_id")
        self._last_error_code = code
        if event_id in self._cuts:
            self._cut_refused(event_id, code, text_of(event, "error", "message"))
        if code in BENIGN_CODES:
            self.count("benign_errors")
            return
        self.count("realtime_errors")
        self.metrics_note("realtime_error", code[:60])
        configuring = event_id == CONFIG_EVENT_ID or self.realtime.now is Realtime.CONFIGURING
        if code in FATAL_CODES:
            self._fail(cause_of_error(code), now_ms)
        elif configuring and code not in TRANSIENT_CODES:
            self._fail(EndCause.CONFIG_REJECTED, now_ms)
        elif event_id.startswith("ask-"):
            elsewhere = code == "conversation_already_has_active_response"
            request = self.responses.on_refused(event_id, active_elsewhere=elsewhere, now_ms=now_ms)
            if request is not None and self._is_moot(request):
                self.responses.withdraw(request)
            elif request is not None and not elsewhere:
                hint_ms = hinted_ms(text_of(event, "error", "message"))
                self._retry_failed(request, code, now_ms, hint_ms=hint_ms)

    def _response_incomplete(self, response: dict[str, Any], current: Current, now_ms: int) -> None:
        """Go on with a sentence that a limit has cut, ask again for a filtered one (7.2)."""
        reason = text_of(response, "status_details", "reason")
        self.count("responses_incomplete")
        self.metrics_note("incomplete", f"{current.purpose}: {reason}"[:60])
        if self._failed or self._ending is not None or self._caller_speaking:
            return
        if reason == "content_filter":
            playback = self.playback
            if playback is not None and playback.interruptible and self._opening_over():
                self._forget_unheard(playback, now_ms)
            self._last_error_code = reason
            self._retry(None, now_ms, pause_ms=0)
        elif self._continued < MOST_CONTINUED:
            self._continued += 1
            words = f"{self.plan.session.instructions}\n\n{_GO_ON}".strip()
            self.responses.ask(Request("continue", instructions=words, follow_up=True))

    def _is_in_text(self, output: Any, current: Current) -> bool:
        """Tell whether a response says in text what was to be said aloud (trap O30).

        One that calls a tool beside it is followed by another.
        """
        if current.has_audio or not isinstance(output, list):
            return False
        calls = any(text_of(each, "type") in _CALLS for each in output)
        return not calls and any(map(_is_written, output))

    def _response_in_text(self, output: Any, current: Current, now_ms: int) -> None:
        """Make the model forget what nobody could hear, and ask for it in audio."""
        self.count("responses_in_text")
        for item in filter(_is_written, output):
            self._send(realtime.item_delete(self._id("del"), text_of(item, "id")))
        self._last_error_code = ""
        self._retry(current.request, now_ms, pause_ms=0)

    def _on_rate_limits(self, event: dict[str, Any], now_ms: int) -> None:
        self.tries.limits(event.get("rate_limits"), now_ms)
        self.rate_limits |= readings(event.get("rate_limits"))

    def _model_deadlines(self) -> list[int]:
        wait = self.plan.watchdog
        here = [each for each in self.toolbox.pending if not each.elsewhere]
        due = [each.started_ms + wait.tool_ms for each in here] + self._mcp_deadlines()
        if self._ending is not None:
            due.append(self._ending.deadline_ms)
        if self._failed:
            return due
        if self.realtime.now not in (Realtime.READY, Realtime.CLOSED):
            due.append(self._model_due_ms)
        if self._retry_at_ms is not None:
            due.append(self._retry_at_ms)
        if self._unanswered_ms is not None and self._server_turns:
            due.append(self._unanswered_ms + wait.response_ms)
        blocked_ms = self.responses.blocked_since_ms()
        if blocked_ms is not None:
            due.append(blocked_ms + wait.stall_ms)
        current = self.responses.current
        if current is not None and not self._works_elsewhere(current):
            if self.responses.machine.now is Response.REQUESTED:
                due.append(current.since_ms + wait.response_ms)
            elif (
                self.responses.machine.now is Response.ACTIVE
                and not current.has_audio
                and not current.has_output
            ):
                due.append(current.since_ms + wait.first_audio_ms)
            else:
                due.append(current.heard_from_ms + wait.stall_ms)
        return due

    def _tick_model(self, now_ms: int) -> None:
        wait = self.plan.watchdog
        self._tick_mcp(now_ms)
        for invocation in self.toolbox.pending:
            if not invocation.elsewhere and now_ms >= invocation.started_ms + wait.tool_ms:
                answer = "The tool did not answer in time."
                self._tool_result(invocation.tool_call_id, "timeout", answer, now_ms)
        if self._failed:
            return
        if (
            self.realtime.now not in (Realtime.READY, Realtime.CLOSED)
            and now_ms >= self._model_due_ms
        ):
            self.realtime.to(Realtime.CLOSED)
            self.metrics_note("realtime_close", "never ready")
            self._model_lost = EndCause.MODEL_FAILED
            return
        blocked_ms = self.responses.blocked_since_ms()
        if blocked_ms is not None and now_ms >= blocked_ms + wait.stall_ms:
            self.responses.unblock()
            # Refused again and again, by a response that nobody sees (7.3).
            if self._ending is None and self.tries.pause_ms("", 0, now_ms) is None:
                self._fail(cause_of_error(self._last_error_code), now_ms)
                return
        if (
            self._unanswered_ms is not None
            and self._server_turns
            and now_ms >= self._unanswered_ms + wait.response_ms
        ):
            self._unanswered_ms = None
            self._note_late(now_ms)
            self._retry(None, now_ms, pause_ms=0)
        self._watch_response(now_ms)
        if self._retry_at_ms is not None and now_ms >= self._retry_at_ms:
            self._retry_at_ms = None
            request = self._retry_request
            if request and not (request.follow_up and self.responses.running):
                self.responses.ask(request, first=True)

    def _note_late(self, now_ms: int) -> None:
        self.count("dead_air")
        self.news.tell("late", self._record_ms(now_ms), turn=self.transcript.next_ordinal)

    def _works_elsewhere(self, current: Current) -> bool:
        """Tell whether the model owes nothing for now: a tool of its own server runs (4.5)."""
        is_active = self.responses.machine.now is Response.ACTIVE
        return is_active and self._mcp_runs_in(current.response_id)

    def _watch_response(self, now_ms: int) -> None:
        current, wait = self.responses.current, self.plan.watchdog
        if current is None or self._works_elsewhere(current):
            return
        state = self.responses.machine.now
        if state is Response.REQUESTED:
            late = now_ms >= current.since_ms + wait.response_ms
        elif state is Response.ACTIVE and not current.has_audio and not current.has_output:
            late = now_ms >= current.since_ms + wait.first_audio_ms
        else:
            late = now_ms >= current.heard_from_ms + wait.stall_ms
        if not late:
            return
        self._note_late(now_ms)
        if state is Response.ACTIVE:
            self._send(realtime.response_cancel(self._id("cancel"), current.response_id))
        self.responses.give_up()
        if state is not Response.CANCELLING:
            code = BROKE_OFF if current.has_audio else ""
            self._retry(current.request, now_ms, pause_ms=0, code=code)
