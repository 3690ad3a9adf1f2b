"""The model's socket as the bridge sees it: opening, configuration, events by name, closing.

Every event of the model is handled in one short method, found by its GA name; unknown events are
skipped, wrong shapes are counted, and nothing the model sends can raise.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from calls.bridge.dead_air import CONFIG_EVENT_ID
from calls.bridge.pauses import Pauses
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import FATAL_CODES, EndCause, cause_of_error
from calls.bridge.states import LocalBridgeError, Phase, Realtime
from calls.wire import realtime

# Close codes that a new socket may cure (openai_realtime.md 7.4); 3000 and 4000 never heal.
RETRYABLE_CLOSES = frozenset({1000, 1001, 1005, 1006, 1011, 1012, 1013, 1015})
# A list of tools is fetched beside the confirmation of what asked for it (4.5).
_BEFORE_READY = frozenset(
    {
        *("session.created", "session.updated", "error"),
        *("mcp_list_tools.completed", "mcp_list_tools.failed"),
    }
)
# Refused handshakes that asking again may cure: timeout, too early, too many requests.
_RETRYABLE_STATUSES = frozenset({408, 425, 429})


def configuration(plan: CallPlan, *, held: bool | None = None) -> str:
    """Return the first ``session.update`` of a session, the same whoever sends it.

    ``held``: nobody takes turns yet; by default as a call begins.
    """
    hold = plan.holds_the_floor if held is None else held
    config = realtime.held(plan.session) if hold else plan.session
    return realtime.session_update(config, plan.dialect, CONFIG_EVENT_ID)


def verdict(code: int, error_code: str) -> tuple[EndCause, bool]:
    """Return why a socket is gone, and whether another one may do better.

    Args:
        code: the close code, or the HTTP status (below 1000) of a refused handshake.
        error_code: of the last error event before it, '' if there was none.
    """
    if code in {401, 403}:
        return EndCause.MODEL_KEY, False
    if code < 1000:
        refused = 400 <= code < 500 and code not in _RETRYABLE_STATUSES
        return (EndCause.MODEL_FAILED if refused else EndCause.MODEL_SERVER), not refused
    heals = code in RETRYABLE_CLOSES and error_code not in FATAL_CODES
    return cause_of_error(error_code), heals


class ModelSocket(Pauses):
    """Inputs that come from the model's side."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self._handlers: dict[str, Callable[[dict[str, Any], int], None]] = {
            "session.created": self._on_session_created,
            "session.updated": self._on_session_updated,
            "input_audio_buffer.speech_started": self._on_speech_started,
            "input_audio_buffer.speech_stopped": self._on_speech_stopped,
            "input_audio_buffer.committed": self._on_committed,
            "conversation.item.input_audio_transcription.delta": self._on_caller_piece,
            "conversation.item.input_audio_transcription.completed": self._on_caller_text,
            "conversation.item.input_audio_transcription.failed": self._on_caller_text_failed,
            "response.created": self._on_response_created,
            "response.output_item.added": self._on_output_item_added,
            "response.output_item.done": self._on_output_item_done,
            "response.output_audio.done": self._on_audio_done,
            "response.output_audio_transcript.delta": self._on_text_delta,
            "response.output_audio_transcript.done": self._on_text_done,
            "response.done": self._on_response_done,
            "conversation.item.added": self._on_item_added,
            "conversation.item.done": self._on_item_done,
            "response.mcp_call_arguments.done": self._on_mcp_arguments,
            "response.mcp_call.in_progress": self._on_mcp_running,
            "response.mcp_call.completed": self._on_mcp_completed,
            "response.mcp_call.failed": self._on_mcp_failed,
            "mcp_list_tools.completed": self._on_mcp_list_completed,
            "mcp_list_tools.failed": self._on_mcp_list_failed,
            "rate_limits.updated": self._on_rate_limits,
            "error": self._on_error,
        }

    def realtime_opened(self, now_ms: int, *, config_sent: bool = False) -> None:
        """Note that the model's socket is open; ``config_sent`` by whoever opened it (ADR 0018).

        Raises:
            LocalBridgeError: called twice.
        """
        if self.phase.now is Phase.CLOSED or self.realtime.now is Realtime.CLOSED:
            return  # it came too late: the bridge has given the model up
        self.realtime.to(Realtime.EXPECT_CREATED)
        self._config_sent = config_sent
        self._settle(now_ms)

    def receive_realtime(self, text: str, now_ms: int) -> None:
        """Take one text frame from the model."""
        if self.phase.now is Phase.CLOSED or self.realtime.now is Realtime.CLOSED:
            return
        if self.realtime.now is Realtime.DIALING:
            raise LocalBridgeError("realtime_opened comes first")
        try:
            kind, event = realtime.decode(text, self.plan.dialect)
        except realtime.RealtimeWireError:
            self.count("realtime_malformed")
            return
        if self.responses.current is not None:
            self.responses.current.heard_from_ms = now_ms
        if kind == "response.output_audio.delta":
            self._on_audio_delta(event, now_ms)
            return
        handler = self._handlers.get(kind)
        if handler is None:
            return
        if self.realtime.now is not Realtime.READY and kind not in _BEFORE_READY:
            self.count("protocol_errors")
            return
        handler(event, now_ms)
        self._settle(now_ms)

    def realtime_closed(self, code: int, now_ms: int) -> None:
        """Note that the model's socket is gone, or could not be opened.

        ``code`` is the close code; an HTTP status (below 1000) when the handshake was refused.
        """
        if self.phase.now is Phase.CLOSED or self.realtime.now is Realtime.CLOSED:
            return
        self.metrics_note("realtime_close", str(code))
        cause, may_heal = verdict(code, self._last_error_code)
        if not (may_heal and self.lose(cause, now_ms)):
            self.realtime.to(Realtime.CLOSED)
            self._model_lost = cause
        self._settle(now_ms)

    @abstractmethod
    def lose(self, cause: EndCause, now_ms: int) -> bool:
        """Put down what the lost session was doing and dial another; False if the call ends now."""

    def _on_session_created(self, event: dict[str, Any], now_ms: int) -> None:
        if self._advance(self.realtime, Realtime.CONFIGURING) and not self._config_sent:
            self._send(configuration(self.plan))

    def _on_session_updated(self, event: dict[str, Any], now_ms: int) -> None:
        if self.realtime.now is Realtime.CONFIGURING:
            if not realtime.formats_are_mulaw(event, self.plan.dialect):
                self._fail(EndCause.CONFIG_REJECTED, now_ms)
                return
            self.realtime.to(Realtime.READY)
            if not self.plan.holds_the_floor:
                self._server_turns = self.plan.session.turn_detection.create_response
        elif self.realtime.now is Realtime.READY and self._opening_over():
            self._server_turns = self.plan.session.turn_detection.create_response
        else:
            self.count("protocol_errors")

    @abstractmethod
    def _settle(self, now_ms: int) -> None:
        """Run the coupling rules."""
