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

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from calls.parity.known_results import OPENING, Known
from calls.parity.model_answers import object_of, texts_of, why_failed
from calls.parity.past import PastTool, Words
from calls.parity.replay import MOST_ANSWERS, Answered, Cut, OurCall
from calls.parity.shadow_ear import Ear, Spoken, notice_given
from calls.parity.shadow_lines import SIDES, Line, Side, ear_line, model_line
from calls.parity.shadow_tools import OldTools
from calls.parity.shadow_values import (
    Shadowed,
    ShadowPlan,
    Turn,
    charged,
    transcript_charged,
)
from calls.wire import realtime, twilio_media

_PURPOSE: Final = "shadow-"
READY_MS: Final = 15_000
ANSWER_MS: Final = 45_000
_RETRIES: Final = 2
_RETRY_PAUSE_MS: Final = 1_000
# How long an answer waits for what the old stack said before the caller's turn to be written down.
EAR_MS: Final = 2_500
# How long the notice may take to be given; a caller hears it first of all.
NOTICE_MS: Final = 45_000
# After the call: for the last answer, and for transcripts.
LAST_MS: Final = 10_000
# After the last sound that may be heard: for what the model makes of it.
SETTLE_MS: Final = 1_000
_BAD_FRAMES: Final = 20


class Shadow:
    """The machine of one call. Whoever carries it sends ``outgoing`` of each side in order.

    ``tick`` is due after every input and whenever ``next_deadline_ms`` has come. It is over when
    ``done`` is true.
    """

    def __init__(self, plan: ShadowPlan, now_ms: int) -> None:
        self.plan = plan
        self._lines: dict[Side, Line] = {
            "model": model_line(plan.config, plan.dialect),
            "ear": ear_line(plan.config, plan.dialect),
        }
        self.result = Shadowed()
        self.done = False
        self._began_ms = now_ms
        self._ends_at_ms = now_ms + READY_MS  # until the stream has begun
        self._ear = Ear()
        self._old = OldTools(plan.alike, plan.names, plan.ends)
        self._state: Literal["idle", "held", "asked", "result", "pause", "last"] = "idle"
        self._deadline_ms: int | None = None
        self._asked = ""
        self._asked_at_ms = 0
        self._waits_for = ""
        self._answers_here = self._retries = self._messages = self._number = 0
        self._exchange = OPENING
        self._message: int | None = None  # calls of one message have no order (ADR 0042)
        self._owed = False  # a turn came while another one was being answered
        self._calls: list[tuple[str, dict[str, Any]]] = []
        self._hears_caller = not plan.notice
        self._streams = self._hung_up = False
        # How it ends when all that was heard is answered, and up to when it is compared then.
        self._last_cut: Cut = ""
        self._last_at_ms = 0
        self._speaking_ms: dict[str, int] = {}
        self._items: dict[str, Answered] = {}
        self._bad_frames = 0

    def outgoing(self, side: Side) -> deque[str]:
        """Return what is to be sent to a session, oldest first; whoever sends it takes it out."""
        return self._lines[side].out

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
            self._stop("failed", f"a session was refused ({_code(event)})", now_ms)
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
            self._stop("failed", f"the transcriber refused ({_code(event)})", now_ms)
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

    def known(self, tools: Iterable[PastTool], now_ms: int) -> None:
        """Take tool calls of the old stack whose results have come to be known, in their order."""
        if self.done:
            return
        self._old.take(tools, self._exchange)
        if self._state == "idle":
            self._show(None)
        elif self._state == "result":
            self._answer_calls(now_ms)

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

    def _next_exchange(self, now_ms: int) -> None:
        """Ask about the newest turn; turns that came while another was answered are one with it."""
        self._owed = False
        if self._last_cut:
            self._ends_at_ms = now_ms + LAST_MS
        self._exchange = len(self.result.turns) - 1
        self._answers_here = self._retries = 0
        if self._ear.owes_before(self._turn_started()):
            self._state, self._deadline_ms = "held", now_ms + EAR_MS
            return
        self._ask(now_ms)

    def _turn_started(self) -> int:
        return self.result.turns[self._exchange].started_ms if self._exchange >= 0 else 0

    def _ask(self, now_ms: int) -> None:
        if self.result.cost_microusd >= self.plan.most_microusd:
            self._cut_before("spend", "", now_ms)
            return
        self._answers_here += 1
        if self._answers_here > MOST_ANSWERS:
            self._cut_before("answers", "", now_ms)
            return
        self._asked = f"{_PURPOSE}{self._exchange}-{self._answers_here}"
        self._state, self._deadline_ms = "asked", now_ms + ANSWER_MS
        if self._answers_here == 1:
            self._asked_at_ms = now_ms
        self._waits_for = self._event_id()
        self._lines["model"].send(
            realtime.response_beside(
                # Sound, as a caller would get it: a model that writes may act otherwise.
                *(self._waits_for, self.plan.dialect),
                purpose=self._asked,
                modality="audio",
            )
        )

    def _answered(self, event: Mapping[str, Any], now_ms: int) -> None:
        response = event.get("response")
        response = response if isinstance(response, Mapping) else {}
        metadata = response.get("metadata")
        purpose = metadata.get("purpose") if isinstance(metadata, Mapping) else None
        charged(self.result, response.get("usage"), self.plan.price)
        if self._state != "asked" or purpose != self._asked:
            return
        if response.get("status") in {"failed", "cancelled"}:
            self._try_again(why_failed(response), now_ms)
            return
        self._calls = []
        output = response.get("output")
        for item in output if isinstance(output, list) else []:
            if not isinstance(item, Mapping):
                continue
            if item.get("type") == "function_call" and item.get("status") != "incomplete":
                self._calls.append((str(item.get("name")), object_of(item.get("arguments"))))
            elif item.get("type") == "message":
                self.result.answers[self._exchange].said += texts_of(item)
        if not self._calls:
            self._turn_over(now_ms)
            return
        self._message = self._messages if len(self._calls) > 1 else None
        self._messages += 1
        self._state, self._deadline_ms = "result", now_ms + self.plan.result_ms
        self._answer_calls(now_ms)

    def _answer_calls(self, now_ms: int) -> None:
        """Answer the model's calls in its order, as far as results are known by now."""
        while self._calls:
            name, arguments = self._calls[0]
            if name in self.plan.ends:
                self._note(name, arguments, None, now_ms)
                # Whether it was time to, the old stack's log will say.
                self._end("left-early", now_ms)
                return
            found = self._old.answer(name, arguments, self._exchange)
            if found is None:
                if not self.plan.result_ms:
                    self._unknown(now_ms)
                return
            how, row = found
            if how != "echo":
                self._note(name, arguments, row, now_ms)
            self._show([row])
            self._calls.pop(0)
        self._ask(now_ms)

    def _unknown(self, now_ms: int) -> None:
        name, arguments = self._calls[0]
        self._note(name, arguments, None, now_ms)
        self._end("unknown-result", now_ms)

    def _note(
        self, name: str, arguments: Mapping[str, Any], row: Known | None, now_ms: int
    ) -> None:
        tool = row.tool if row is not None else None
        self.result.calls.append(
            OurCall(name, arguments, self._exchange, self._at(now_ms), self._message, tool)
        )

    def _turn_over(self, now_ms: int) -> None:
        self._state, self._deadline_ms = "idle", None
        self._show(None)
        if self._owed:
            self._next_exchange(now_ms)
        elif self._hung_up:
            self._end(self._last_cut, now_ms)

    def _show(self, rows: Iterable[Known] | None) -> None:
        """Put what the old stack did into the conversation; None: also what we did not ask for."""
        for text in self._old.show(rows, self._event_id):
            self._lines["model"].send(text)

    def _try_again(self, why: str, now_ms: int) -> None:
        self._retries += 1
        if self._retries > _RETRIES:
            self._cut_before("failed", f"an answer failed: {why}", now_ms)
            return
        self._answers_here -= 1
        self._state, self._deadline_ms = "pause", now_ms + _RETRY_PAUSE_MS * self._retries

    def _refused(self, event: Mapping[str, Any], now_ms: int) -> None:
        code = _code(event)
        error = event.get("error")
        belongs_to = error.get("event_id") if isinstance(error, Mapping) else None
        if belongs_to == self._waits_for and self._state == "asked":
            self._try_again(code, now_ms)
        else:
            # An item is missing now: what follows would be asked in another conversation.
            self._stop("failed", f"a part of the conversation was refused ({code})", now_ms)

    # ---- the end -------------------------------------------------------------------------------

    def _end(self, cut: Cut, now_ms: int) -> None:
        """Compare up to here; transcripts that are still to come are waited for a moment."""
        self.result.cut = cut
        self.result.cut_exchange = max(self._exchange, 0) if cut else None
        self.result.cut_at_ms = self._at(now_ms) if cut else None
        if cut and cut == self._last_cut:
            # Whoever was speaking when nothing more was heard was not asked about.
            self.result.cut_at_ms = min((self._last_at_ms, *self._speaking_ms.values()))
        self._state, self._deadline_ms = "last", None
        self._hung_up = True
        self._ends_at_ms = now_ms + LAST_MS // 2
        self.done = not self._items

    def _cut_before(self, cut: Cut, problem: str, now_ms: int) -> None:
        """Compare what came before the exchange that is being asked; of that nothing is known."""
        at_ms = self._at(now_ms)
        if self._state != "idle" and self._exchange >= 0:
            self.result.calls = [
                each for each in self.result.calls if each.exchange < self._exchange
            ]
            at_ms = self._turn_started()
        self.result.problem = problem
        self._end(cut, now_ms)
        self.result.cut_at_ms = at_ms

    def _stop(self, cut: Cut, problem: str, now_ms: int) -> None:
        """Give up: what was compared in whole exchanges stays."""
        if self._state == "last":
            self.done = True
            return
        self._cut_before(cut, problem, now_ms)
        self.done = True

    def _at(self, now_ms: int) -> int:
        return max(0, now_ms - self._began_ms)

    def _event_id(self) -> str:
        self._number += 1
        return f"shadow-{self._number}"

    def _item_id(self) -> str:
        self._number += 1
        return f"shadow_item_{self._number}"


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


def _code(event: Mapping[str, Any]) -> str:
    error = event.get("error")
    error = error if isinstance(error, Mapping) else {}
    return str(error.get("code") or error.get("type") or "unknown")
