"""Who speaks: the caller's turns, the assistant's audio and words, and interruption.

The caller may talk over the assistant at any time; most interruptions come after the model has
finished generating, while Twilio still plays (openai_realtime.md 4.3, 5).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from calls.bridge.core import Core, text_of
from calls.bridge.phrases import says
from calls.bridge.playback import Playback
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Current, Request
from calls.bridge.states import Phase
from calls.bridge.transcript import Spoken
from calls.wire import realtime
from calls.wire.twilio_media import MULAW_BYTES_PER_MS, TwilioWireError, payload_bytes

TURNS_EVENT_ID = "cfg-2"


class Speech(Core):
    """Turns, audio and barge-in."""

    def _restore_turns(self) -> None:
        """Give turn taking back to the server; a turn taken meanwhile gets its answer."""
        detection = self.plan.session.turn_detection
        self._send(realtime.turn_detection_update(detection, self.plan.dialect, TURNS_EVENT_ID))
        if self._unanswered_ms is not None and not self._caller_speaking:
            self.responses.ask(Request("turn", follow_up=True))

    def _on_speech_started(self, event: dict[str, Any], now_ms: int) -> None:
        self._caller_speaking = True
        self._unanswered_ms = None
        if self._opening_over() or not self.plan.holds_the_floor:
            self._barge_in(now_ms)
        item_id = text_of(event, "item_id")
        if item_id:
            self.transcript.begin(item_id, "user", self._record_ms(now_ms))

    def _on_speech_stopped(self, event: dict[str, Any], now_ms: int) -> None:
        self._caller_speaking = False
        if self._server_turns:
            self._unanswered_ms = now_ms
        silence_ms = self.plan.session.turn_detection.known_silence_ms
        self._speech_end_ms = now_ms - silence_ms

    def _on_committed(self, event: dict[str, Any], now_ms: int) -> None:
        self._caller_speaking = False
        item_id = text_of(event, "item_id")
        if item_id:
            turn = self.transcript.begin(item_id, "user", self._record_ms(now_ms))
            self.transcript.end(turn, self._record_ms(now_ms))
        self._unanswered_ms = now_ms
        if not self._server_turns and self._opening_over():
            self.responses.ask(Request("turn", follow_up=True))

    def _on_caller_text(self, event: dict[str, Any], now_ms: int) -> None:
        item_id = text_of(event, "item_id")
        if item_id:
            turn = self.transcript.begin(item_id, "user", self._record_ms(now_ms))
            self.transcript.say(turn, text_of(event, "transcript").strip())

    def _barge_in(self, now_ms: int) -> None:
        """Stop what the caller talks over: here, at Twilio, and in the model's memory (5.1)."""
        playback = self.playback
        if playback is None or not playback.interruptible or self._failed:
            return
        if self._ending is not None:
            if not self._ending.abortable:
                return
            self._end_taken_back(now_ms)
        # Cancelled first: an item that still grows cannot be cut.
        self._cancel_response()
        if not playback.silent or playback.unfinished:
            self.count("barge_ins")
            self._forget_unheard(playback, now_ms)

    @abstractmethod
    def _end_taken_back(self, now_ms: int) -> None:
        """Go on with the call because the caller has spoken again."""

    def _forget_unheard(self, playback: Playback, now_ms: int) -> None:
        for cut in playback.clear(now_ms):
            item = cut.item
            turn = self.transcript.get(item.item_id)
            if cut.heard_all or item.is_clip:
                if turn is not None:
                    self.transcript.end(turn, self._record_ms(now_ms))
                continue
            if turn is not None:
                self.transcript.cut(
                    turn, cut.heard_bytes, item.received_bytes, self._record_ms(now_ms)
                )
            heard_ms = cut.heard_bytes // MULAW_BYTES_PER_MS
            if heard_ms == 0:
                # Truncating an item at 0 ms is refused (trap O11).
                self._send(realtime.item_delete(self._id("del"), item.item_id))
            else:
                self._send(realtime.item_truncate(self._id("cut"), item.item_id, heard_ms))

    def _cancel_response(self, *, by_server: bool = True) -> None:
        response_id = self.responses.cancel()
        if response_id is None:
            return
        interrupts = self._server_turns and self.plan.session.turn_detection.interrupt_response
        if not (by_server and interrupts):
            self._send(realtime.response_cancel(self._id("cancel"), response_id))

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
        self.playback.add(
            item_id,
            str(payload),
            size,
            now_ms,
            interruptible=self._is_interruptible(current),
        )
        self._note_first_word(now_ms)

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
        if self.playback is None:
            return 0, 0
        return (
            self.playback.heard_bytes(item_id, now_ms),
            self.playback.received_bytes(item_id),
        )
