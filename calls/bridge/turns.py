"""The caller's turns: when they begin and end, whether they interrupt, and what a noise undoes.

The caller may talk over the assistant at any time; most interruptions come after the model has
finished generating, while Twilio still plays (openai_realtime.md 4.3, 5). Where the assistant asks
for more than speech, ``gate`` decides; a turn that it keeps out is heard by the model all the same
and answered when the assistant has been heard, unless it only agrees.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Final

from calls.bridge.core import GREETING_ITEM_ID, text_of
from calls.bridge.gate import Gate, Verdict
from calls.bridge.plan import CallPlan
from calls.bridge.playback import Playback
from calls.bridge.responses import Request
from calls.bridge.speech import Speech
from calls.bridge.transcript import Spoken
from calls.wire import realtime
from calls.wire.twilio_media import MULAW_BYTES_PER_MS

TURNS_EVENT_ID = "cfg-2"
# Speech without any words for so long after its end was none, if nothing answers it (5.5).
NOISE_MS: Final = 1_500
MOST_CUTS: Final = 16
_SHORTER: Final = re.compile(r"Audio content of (\d{1,9}) ?ms is already shorter").match
_GO_ON: Final = (
    "You stopped because of a noise; the caller has said nothing. Go on where you stopped, without "
    "an apology and without a new beginning. The caller has not heard this yet: "
)


@dataclass(slots=True)
class Interrupted:
    """What the caller did not hear because of a turn that may turn out to be a noise."""

    item_id: str
    unheard: list[str]
    over_ms: int | None = None


class Turns(Speech):
    """Turns of the caller and barge-in."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self._gate = Gate(plan.interruption)
        self._interrupted: Interrupted | None = None
        # What each of the last truncates was to leave of an item, by the id of our event.
        self._cuts: dict[str, tuple[str, int]] = {}
        self._language = plan.session.language or ""

    def _restore_turns(self) -> None:
        """Give turn taking back to the server; a turn taken meanwhile gets its answer."""
        detection = self.plan.session.turn_detection
        self._send(realtime.turn_detection_update(detection, self.plan.dialect, TURNS_EVENT_ID))
        if self._unanswered_ms is not None and not self._caller_speaking:
            self.responses.ask(Request("turn", follow_up=True))

    def _on_speech_started(self, event: dict[str, Any], now_ms: int) -> None:
        self._caller_speaking = True
        self._unanswered_ms = None
        self._continued = 0
        item_id = text_of(event, "item_id")
        if self._opening_over() or not self.plan.holds_the_floor:
            playback = self.playback
            if self._gate.guards and playback is not None and not playback.silent:
                self._gate.knock(item_id, now_ms)
            else:
                self._barge_in(item_id, now_ms)
        if item_id:
            self.transcript.begin(item_id, "user", self._record_ms(now_ms))

    def _on_speech_stopped(self, event: dict[str, Any], now_ms: int) -> None:
        self._caller_speaking = False
        item_id = text_of(event, "item_id")
        self._gate.stopped(item_id, now_ms)
        if self._interrupted is not None and self._interrupted.item_id == item_id:
            self._interrupted.over_ms = now_ms
        if self._server_turns and not self._gate.has(item_id):
            self._unanswered_ms = now_ms
        silence_ms = self.plan.session.turn_detection.known_silence_ms
        self._speech_end_ms = now_ms - silence_ms

    def _on_committed(self, event: dict[str, Any], now_ms: int) -> None:
        self._caller_speaking = False
        item_id = text_of(event, "item_id")
        self._gate.stopped(item_id, now_ms)
        if item_id:
            turn = self.transcript.begin(item_id, "user", self._record_ms(now_ms))
            self.transcript.end(turn, self._record_ms(now_ms))
        if self._gate.has(item_id):
            return
        self._unanswered_ms = now_ms
        if not self._server_turns and self._opening_over():
            self.responses.ask(Request("turn", follow_up=True))

    def _on_caller_piece(self, event: dict[str, Any], now_ms: int) -> None:
        item_id = text_of(event, "item_id")
        over = not self._caller_speaking
        self.transcript.hear(item_id, text_of(event, "delta"))
        verdict = self._gate.hears(item_id, text_of(event, "delta"), final=False)
        self._carry_out(verdict, item_id, now_ms, over=over)

    def _on_caller_text(self, event: dict[str, Any], now_ms: int) -> None:
        item_id = text_of(event, "item_id")
        text = text_of(event, "transcript").strip()
        if item_id:
            turn = self.transcript.begin(item_id, "user", self._record_ms(now_ms))
            self.transcript.say(turn, text)
            self._note_language(event, turn)
        if self._gate.has(item_id):
            verdict = self._gate.hears(item_id, text, final=True)
            self._carry_out(verdict, item_id, now_ms, over=True)
        elif text:
            self._interrupted = None
        elif self._interrupted is not None and self._interrupted.item_id == item_id:
            self._go_on(now_ms)

    def _note_language(self, event: dict[str, Any], turn: Spoken) -> None:
        """Tell when the caller goes over to another language, where the transcription knows it."""
        languages = event.get("languages")
        language = languages[0] if isinstance(languages, list) and languages else ""
        if not isinstance(language, str) or not language or language == self._language:
            return
        known, self._language = self._language, language
        if known:
            self.news.tell(
                "language", turn.started_ms, role="user", turn=turn.ordinal, text=language
            )

    def _on_caller_text_failed(self, event: dict[str, Any], now_ms: int) -> None:
        item_id = text_of(event, "item_id")
        self._carry_out(self._gate.unread(item_id), item_id, now_ms, over=True)

    # ---- the gate -----------------------------------------------------------------------------

    def _carry_out(self, verdict: Verdict | None, item_id: str, now_ms: int, *, over: bool) -> None:
        """Do what the gate has decided; ``over``: the turn has ended, so it wants its answer."""
        if verdict == "interrupt":
            self._barge_in(item_id, now_ms)
        elif verdict == "ignore":
            self.count("not_interrupted")
        if verdict in ("interrupt", "answer") and over and self._ending is None:
            # The server's own answer was not let through, or never made: one still ran (2.2).
            self.responses.ask(Request("turn", follow_up=True))

    def _turn_deadlines(self) -> list[int]:
        due = [self._gate.deadline_ms()]
        if self._interrupted is not None and self._interrupted.over_ms is not None:
            due.append(self._interrupted.over_ms + NOISE_MS)
        return [each for each in due if each is not None]

    def _tick_turns(self, now_ms: int) -> None:
        for item_id, verdict in self._gate.due(now_ms).items():
            self._carry_out(verdict, item_id, now_ms, over=verdict == "answer")
        cut = self._interrupted
        if cut is not None and cut.over_ms is not None and now_ms >= cut.over_ms + NOISE_MS:
            answered = self._unanswered_ms is not None or not self.responses.idle
            if answered or self._retry_at_ms is not None or self._caller_speaking:
                self._interrupted = None
            else:
                self._go_on(now_ms)

    # ---- another session ----------------------------------------------------------------------

    def _put_turns_down(self) -> None:
        """Note that nothing more is heard of a turn that is under way: it is heard again."""
        self._gate.forget()
        if self._interrupted is not None:
            self._interrupted.over_ms = None

    def _take_turns_up(self, now_ms: int) -> None:
        """Expect what was put down from now on; a noise may not be one to the next session."""
        if self._interrupted is not None:
            self._interrupted.over_ms = now_ms

    def _turn_heard_again(self, item_id: str, new_item_id: str) -> None:
        """Note under which id the next session hears a turn."""
        if self._interrupted is not None and self._interrupted.item_id == item_id:
            self._interrupted.item_id, self._interrupted.over_ms = new_item_id, None

    # ---- interruption -------------------------------------------------------------------------

    def _barge_in(self, item_id: str, now_ms: int) -> None:
        """Stop what the caller talks over: here, at Twilio, and in the model's memory (5.1)."""
        # Whoever knocked before is part of what is answered now.
        self._gate.forget()
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
            self.news.tell(
                "interrupted", self._record_ms(now_ms), turn=self.transcript.speaking_ordinal
            )
            before = self._interrupted.unheard if self._interrupted is not None else []
            self._interrupted = Interrupted(item_id, before)
            self._forget_unheard(playback, now_ms)
            playback.pause(now_ms + self.plan.interruption.backoff_ms)

    @abstractmethod
    def _end_taken_back(self, now_ms: int) -> None:
        """Go on with the call because the caller has spoken again."""

    def _forget_unheard(self, playback: Playback, now_ms: int) -> None:
        """Cut what has not been heard, in every memory of it."""
        for cut in playback.clear(now_ms):
            item = cut.item
            turn = self.transcript.get(item.item_id)
            if cut.heard_all:
                if turn is not None:
                    self.transcript.end(turn, self._record_ms(now_ms))
                continue
            if turn is not None:
                self.transcript.cut(
                    turn, cut.heard_bytes, item.received_bytes, self._record_ms(now_ms)
                )
                # Nobody misses the rest of a filler.
                said = not item.is_clip or item.item_id == GREETING_ITEM_ID
                if self._interrupted is not None and said:
                    self._interrupted.unheard.append(turn.text_unheard)
            self._forget_at_model(item.item_id, cut.heard_bytes // MULAW_BYTES_PER_MS)

    def _forget_at_model(self, item_id: str, heard_ms: int) -> None:
        """Make the model forget what of an item was not heard."""
        if heard_ms == 0:
            # Truncating an item at 0 ms is refused (trap O11).
            self._send(realtime.item_delete(self._id("del"), item_id))
        else:
            event_id = self._id("cut")
            self._cuts[event_id] = (item_id, heard_ms)
            while len(self._cuts) > MOST_CUTS:
                del self._cuts[next(iter(self._cuts))]
            self._send(realtime.item_truncate(event_id, item_id, heard_ms))

    def _cut_refused(self, event_id: str, code: str, message: str) -> None:
        """Try once more to make the model forget: it believes that it has said everything (5.2).

        Servers count up to 85 ms less audio than they have sent.
        """
        item_id, heard_ms = self._cuts.pop(event_id, ("", 0))
        found = _SHORTER(message)
        if not item_id or (code != "unsupported_content_type" and found is None):
            return
        there_ms = int(found[1]) if found is not None else 0
        if there_ms < heard_ms:
            self.count("cuts_again")
            self._forget_at_model(item_id, there_ms)

    def _cancel_response(self, *, by_server: bool = True) -> None:
        response_id = self.responses.cancel()
        if response_id is None:
            return
        interrupts = self._server_turns and self.plan.session.turn_detection.interrupt_response
        if not (by_server and interrupts):
            self._send(realtime.response_cancel(self._id("cancel"), response_id))

    # ---- noises -------------------------------------------------------------------------------

    def _answer_begins(self) -> None:
        """Note that a response has its first sound: whatever was said, it is being answered."""
        self._interrupted = None

    def _go_on(self, now_ms: int) -> None:
        """Say the rest of what a noise has cut off (5.5)."""
        cut, self._interrupted = self._interrupted, None
        unheard = " ".join(filter(None, cut.unheard)) if cut is not None else ""
        if not unheard or self._failed or self._ending is not None:
            return
        self.count("false_interruptions")
        self._unanswered_ms = None
        self.responses.forget("turn")
        self._cancel_response(by_server=False)
        rest = json.dumps(unheard, ensure_ascii=False)
        words = f"{self.plan.session.instructions}\n\n{_GO_ON}{rest}".strip()
        self.responses.ask(Request("continue", instructions=words, follow_up=True))
