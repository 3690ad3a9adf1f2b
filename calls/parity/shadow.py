"""A live call of the old stack, heard along: what our model would have done, turn by turn.

Pure and without time of its own: frames of the fork, text of two sessions and the moment go in,
text for the sessions comes out. One session is the model that is compared: it hears the caller
alone, takes no turn by itself, and is asked beside the conversation (ADR 0044), so what it says is
nobody's. The other is an ear: it hears what the old stack says and only writes it down, and those
words take the place of ours (teacher forcing). Nothing here can send to the caller and no tool is
called: a call is answered by what the old stack's tool really answered, where that comes to be
known in time, and otherwise the comparison ends there, as in a replay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from calls.parity.past import Words
from calls.parity.replay import Answered
from calls.parity.shadow_asking import LAST_MS, READY_MS, Asking, error_code
from calls.parity.shadow_ear import Spoken, notice_given
from calls.parity.shadow_lines import SIDES, Side
from calls.parity.shadow_values import (
    Shadowed,
    ShadowPlan,
    Turn,
    transcript_charged,
)
from calls.wire import realtime, twilio_media

# How long the notice may take to be given; a caller hears it first of all.
NOTICE_MS: Final = 45_000
# After the last sound that may be heard: for what the model makes of it.
SETTLE_MS: Final = 1_000
_BAD_FRAMES: Final = 20


class Shadow(Asking):
    """The machine of one call. Whoever carries it sends ``outgoing`` of each side in order.

    ``tick`` is due after every input and whenever ``next_deadline_ms`` has come. It is over when
    ``done`` is true.
    """

    def __init__(self, plan: ShadowPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self._hears_caller = not plan.notice
        self._bad_frames = 0

    # ---- Twilio's side -------------------------------------------------------------------------

    def receive_twilio(self, text: str, now_ms: int) -> None:
        """Take one frame of the fork; both tracks come on it (twilio.md 2.1)."""
        if self.done:
            return
        try:
            event, message = twilio_media.decode(text)
            if event == "start":
                self._begin(twilio_media.start_of(message), now_ms)
            elif event == "media" and self._streams:
                track, payload, size = twilio_media.forked_payload(message)
                self._hear(track, payload, size)
            elif event == "stop":
                self.hung_up(now_ms)
        except twilio_media.TwilioWireError:
            self._bad_frames += 1
            if self._bad_frames >= _BAD_FRAMES:
                self._stop("failed", "the fork sent no messages of Twilio's", now_ms)

    def hung_up(self, now_ms: int) -> None:
        """Note that the call, or its fork, is over; what was asked may still be answered."""
        if self.done or self._hung_up:
            return
        self._hung_up = True
        if not all(line.is_ready for line in self._lines.values()):
            self._stop("failed", "a session was not ready before the call was over", now_ms)
        elif self._state == "idle":
            self._end("", now_ms)
        else:
            self._ends_at_ms = min(self._ends_at_ms, now_ms + LAST_MS)

    def _begin(self, start: twilio_media.Start, now_ms: int) -> None:
        theirs, ours = (start.call_sid, start.account_sid), (self.plan.call_sid,)
        if theirs != (*ours, self.plan.account_sid) or start.encoding != "audio/x-mulaw":
            self._stop("failed", "the fork is another call's, or not in mu-law", now_ms)
            return
        if self._streams:
            return
        self._streams = True
        self._began_ms = now_ms
        self._ends_at_ms = now_ms + self.plan.most_ms

    def _hear(self, track: str, payload: str, size: int) -> None:
        side: Side = "model" if track == "inbound" else "ear"
        if side == "model" and not self._hears_caller:
            return  # not even kept: whoever has not been told is not heard
        if side == "model":
            self.result.audio_ms += size // twilio_media.MULAW_BYTES_PER_MS
        self._lines[side].hear(payload, size)

    # ---- the sessions --------------------------------------------------------------------------

    def receive(self, side: Side, text: str, now_ms: int) -> None:
        """Take one text frame of a session; what is no event is skipped."""
        if self.done:
            return
        try:
            kind, event = realtime.decode(text, self.plan.dialect)
        except realtime.RealtimeWireError:
            return
        line = self._lines[side]
        if kind == "session.created":
            line.created()
        elif kind == "session.updated":
            line.updated()
        elif kind == "error" and not line.is_ready:
            self._stop("failed", f"a session was refused ({error_code(event)})", now_ms)
        elif side == "ear":
            self._ear_says(kind, event, now_ms)
        else:
            self._model_says(kind, event, now_ms)

    def closed(self, side: Side, code: int, now_ms: int) -> None:
        """Note that a session's socket is gone, with its close code or the status of a refusal."""
        if not self.done:
            name = "model" if side == "model" else "transcriber"
            self._stop("failed", f"the {name}'s socket closed with {code}", now_ms)

    def person_came(self, now_ms: int, dialled_by_ms: int) -> None:
        """Note that a person was dialled: nothing more is heard, what was heard is answered.

        Args:
            dialled_by_ms: a moment by which it had been done. What the old stack did until then
                was its answer to what we have heard, too.
        """
        if self.done or self._state == "last" or self._last_cut:
            return
        self._hung_up, self._last_cut = True, "person"
        self._last_at_ms = self._at(max(now_ms, dialled_by_ms))
        self._ends_at_ms = now_ms + (SETTLE_MS if self._state == "idle" else LAST_MS)

    def void(self, problem: str, now_ms: int) -> None:
        """End at once and keep no word of what was heard; what it has cost is kept."""
        was = self.result
        self.give_up(problem, now_ms)
        self.done = True
        self.result = Shadowed(
            cut="failed", cut_exchange=0, problem=problem, cost_microusd=was.cost_microusd
        )
        self.result.tokens = was.tokens

    def give_up(self, problem: str, now_ms: int) -> None:
        """End at once, for a reason that has nothing to do with the call."""
        if not self.done:
            self._stop("failed", problem, now_ms)

    def tick(self, now_ms: int) -> None:
        """Do what is due."""
        if self.done:
            return
        if now_ms >= self._ends_at_ms:
            self._time_over(now_ms)
        elif self._streams and self._is_late(now_ms):
            return
        elif self._deadline_ms is not None and now_ms >= self._deadline_ms:
            self._deadline_ms = None
            if self._state in {"held", "pause"}:
                self._ask(now_ms)
            elif self._state == "result":
                self._unknown(now_ms)
            elif self._state == "asked":
                self._stop("failed", "the model did not answer in time", now_ms)

    def next_deadline_ms(self) -> int | None:
        """Return when ``tick`` has something to do, None when it is over."""
        if self.done:
            return None
        due = [self._ends_at_ms, *([self._deadline_ms] if self._deadline_ms is not None else [])]
        if self._streams and not all(line.is_ready for line in self._lines.values()):
            due.append(self._began_ms + READY_MS)
        if self._streams and not self._hears_caller:
            due.append(self._began_ms + NOTICE_MS)
        return min(due)

    def _is_late(self, now_ms: int) -> bool:
        """Give up where what a shadow cannot do without did not come."""
        late = [side for side in SIDES if not self._lines[side].is_ready]
        if late and now_ms >= self._began_ms + READY_MS:
            self._stop("failed", "a session was not ready in time", now_ms)
        elif not self._hears_caller and now_ms >= self._began_ms + NOTICE_MS:
            self._stop("failed", "the old stack did not say the words of the notice", now_ms)
        return self.done

    def _time_over(self, now_ms: int) -> None:
        if not self._streams and not self._last_cut:
            self._stop("failed", "the fork never began", now_ms)
        elif not self._hung_up:
            self._cut_before("time", "", now_ms)
        elif self._state == "last":
            self.done = True  # transcripts only help whoever reads the report
        elif self._state == "idle":
            self._end(self._last_cut, now_ms)
        elif self._state == "result":
            self._unknown(now_ms)
        else:
            self._cut_before(self._last_cut or "failed", _SILENT, now_ms)

    # ---- what the old stack says and does ------------------------------------------------------

    def _ear_says(self, kind: str, event: Mapping[str, Any], now_ms: int) -> None:
        if kind == "error":
            self._stop("failed", f"the transcriber refused ({error_code(event)})", now_ms)
            return
        if kind in _TRANSCRIBED:
            transcript_charged(self.result, event)
        spoken = self._ear.takes(kind, event, self._at(now_ms))
        if spoken is not None:
            self._old_words(spoken)
        if self._state == "held" and not self._ear.owes_before(self._turn_started()):
            self._ask(now_ms)

    def _old_words(self, spoken: Spoken) -> None:
        self.result.words.append(Words(spoken.text, spoken.started_ms))
        self.result.words.sort(key=lambda each: each.at_ms)
        if not self._hears_caller:
            said = " ".join(each.text for each in self.result.words)
            self._hears_caller = notice_given(self.plan.notice, said)
            self.result.notice_ms = spoken.ended_ms if self._hears_caller else None
        if self._state == "last":
            return
        item_id = self._item_id()
        # A transcript may come when the caller's next turn stands in the conversation already.
        later = next((t for t in self.result.turns if t.started_ms > spoken.started_ms), None)
        self._lines["model"].send(
            realtime.message_item(
                *(self._event_id(), "assistant", spoken.text, self.plan.dialect),
                item_id=item_id,
                after=later.after if later is not None else None,
            )
        )
        if later is not None:
            later.after = item_id

    # ---- what the model says -------------------------------------------------------------------

    def _model_says(self, kind: str, event: Mapping[str, Any], now_ms: int) -> None:
        if kind == "input_audio_buffer.speech_started":
            self._speaking_ms[str(event.get("item_id"))] = self._at(now_ms)
        elif kind == "input_audio_buffer.committed":
            self._committed(event, now_ms)
        elif kind in _TRANSCRIBED:
            transcript_charged(self.result, event)
            answer = self._items.pop(str(event.get("item_id")), None)
            if answer is not None:
                text = event.get("transcript")
                answer.heard = text if isinstance(text, str) else ""
            if self._state == "last" and not self._items:
                self.done = True
        elif kind in _FIRST_PIECES:
            answers = self.result.answers
            if answers and answers[-1].latency_ms is None and self._state == "asked":
                answers[-1].latency_ms = max(0, now_ms - self._asked_at_ms)
        elif kind == "response.done":
            self._answered(event, now_ms)
        elif kind == "error":
            self._refused(event, now_ms)

    def _committed(self, event: Mapping[str, Any], now_ms: int) -> None:
        if self._state == "last":
            return
        item_id = str(event.get("item_id"))
        at_ms = self._at(now_ms)
        started_ms = self._speaking_ms.pop(item_id, at_ms)
        after = event.get("previous_item_id")
        turn = Turn(item_id, after if isinstance(after, str) else "", started_ms, at_ms)
        self.result.turns.append(turn)
        answer = Answered(len(self.result.answers))
        self.result.answers.append(answer)
        self._items[item_id] = answer
        if self._state != "idle":
            self._owed = True
            return
        self._next_exchange(now_ms)


_FIRST_PIECES: Final = frozenset(
    {"response.output_audio.delta", "response.output_text.delta", "response.output_item.added"}
)
_SILENT: Final = "the model did not answer after the call"
_TRANSCRIBED: Final = frozenset(
    {
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
    }
)
