"""What the assistant says: its audio on the way to the caller, and its words.

Nothing here decides who may speak; the caller's turns and interruption are ``turns``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from calls.bridge.core import Core, text_of
from calls.bridge.phrases import says
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Current
from calls.bridge.states import Phase
from calls.bridge.transcript import Spoken
from calls.wire.twilio_media import TwilioWireError, payload_bytes


class Speech(Core):
    """The assistant's audio and words."""

    def _on_audio_delta(self, event: dict[str, Any], now_ms: int) -> None:
        payload = event.get("delta")
        try:
            size = payload_bytes(payload)
        except TwilioWireError:
            self.count("realtime_malformed")
            return
        self.count("model_bytes", size)
        item_id = text_of(event, "item_id")
        current = self.responses.current
        if (
            self.playback is None
            or self.phase.now is not Phase.OPEN
            or not item_id
            or item_id.startswith("clip-")
            or current is None
            or self.responses.is_stale(text_of(event, "response_id"))
        ):
            self.count("late_bytes", size)
            return
        turn = self._assistant_begins(item_id, now_ms)
        if not current.has_audio:
            current.has_audio = True
            if self._speech_end_ms is not None:
                turn.latency_ms = max(0, now_ms - self._speech_end_ms)
                self.latencies_ms.append(turn.latency_ms)
                self._speech_end_ms = None
            self._answer_begins()
        self.transcript.sounds(turn)
        self._note_first_word(now_ms)
        self.playback.add(
            item_id,
            str(payload),
            size,
            now_ms,
            interruptible=self._is_interruptible(current),
        )

    @abstractmethod
    def _answer_begins(self) -> None:
        """Note that a response has its first sound."""

    def _is_interruptible(self, current: Current) -> bool:
        if current.purpose == "greeting":
            return not self.plan.holds_the_floor or self.plan.greeting.interruptible
        if current.purpose == "goodbye" and self._ending is not None:
            return self._ending.abortable
        return True

    def _on_audio_done(self, event: dict[str, Any], now_ms: int) -> None:
        if self.playback is not None:
            self.playback.complete(text_of(event, "item_id"), now_ms)

    def _on_text_delta(self, event: dict[str, Any], now_ms: int) -> None:
        turn = self._assistant_turn(event, now_ms)
        if turn is not None:
            self.transcript.add(turn, text_of(event, "delta"))

    def _on_text_done(self, event: dict[str, Any], now_ms: int) -> None:
        turn = self._assistant_turn(event, now_ms)
        if turn is not None:
            self.transcript.say(turn, text_of(event, "transcript"))
            if turn.final:
                self._heard_out(turn, now_ms)

    def _heard_out(self, turn: Spoken, now_ms: int) -> None:
        """End the call if a turn that was heard to its end has one of the words for it.

        Text runs ahead of audio, so it is judged when the audio has been heard and the text is
        there; a caller who speaks meanwhile, or who has cut the turn, wants to go on.
        """
        if (
            turn.role != "assistant"
            or turn.interrupted
            or self._ending is not None
            or self._caller_speaking
            or self.phase.now is not Phase.OPEN
            or turn.item_id.startswith("clip-")
        ):
            return
        if says(turn.text, self.plan.end_call_phrases):
            self._end_when_heard(EndCause.SAID_END_PHRASE, now_ms, abortable=True)

    def _assistant_turn(self, event: dict[str, Any], now_ms: int) -> Spoken | None:
        item_id = text_of(event, "item_id")
        turn = self.transcript.get(item_id)
        if turn is not None:
            return turn if turn.role == "assistant" else None
        if not item_id or self.responses.is_stale(text_of(event, "response_id")):
            return None
        return self._assistant_begins(item_id, now_ms)

    def _heard_share(self, item_id: str, now_ms: int) -> tuple[int, int]:
        """Return how much of an item was heard, and came, when the stream has stopped."""
        if self.playback is None:
            return 0, 0
        return (
            self.playback.heard_bytes(item_id, now_ms, stopped=True),
            self.playback.received_bytes(item_id),
        )
