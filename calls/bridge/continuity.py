"""One conversation over several sessions of the model: lost and replaced, or replaced in time.

A session has no resume and lives an hour at most (openai_realtime.md 0 fact 8, 1.4). Owns when
another socket is dialled, what the new session is told, and what is asked for after the gap;
Twilio's stream goes on meanwhile. It must not read what an event of the session in use means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from calls.bridge.caller_audio import CallerAudio
from calls.bridge.core import POLICY_ITEM_ID, text_of
from calls.bridge.effects import CloseModel, DialModel, DispatchTool
from calls.bridge.holding import hold_tone
from calls.bridge.memory import item_texts, newest, remembered
from calls.bridge.model import ModelSocket, configuration, verdict
from calls.bridge.opening import Opening
from calls.bridge.plan import CallPlan, HistoryItem
from calls.bridge.reasons import FATAL_CODES, TRANSIENT_CODES, EndCause, cause_of_error
from calls.bridge.recent_audio import RecentAudio
from calls.bridge.responses import Request
from calls.bridge.states import REALTIME, Machine, Phase, Realtime
from calls.bridge.transcript import Spoken
from calls.wire import realtime
from calls.wire.twilio_media import MULAW_BYTES_PER_MS

# Pauses before the attempts of one gap, in ms; a caller does not wait more than about 8 s (7.4).
BACKOFF_MS = (0, 250, 500, 1_000, 2_000, 2_000)
# A session that lived so long was a good one: the next loss begins to count anew.
GOOD_SESSION_MS = 20_000
# While the old session still carries the call there is time (7.4, item 6).
ROLL_RETRY_MS = 30_000
# Below this gap nothing is said about it.
UNNOTICED_MS = 1_000
# Nobody speaks faster; text runs ahead of audio (4), so a turn that was cut claims no more.
FASTEST_CHARACTER_MS = 50
HOLD_ITEM = "clip-hold"

_CONTINUE = (
    "The line to you broke while you were speaking. The caller has heard your last words only as "
    "far as they are written in this conversation. Go on from exactly there. Do not repeat what "
    "was heard, do not greet again. Keep to the language spoken so far."
)
_SORRY = (
    "The connection was bad for a moment. Begin with one short apology for it, then go on where "
    "the conversation stopped; do not greet again. Keep to the language spoken so far."
)


def number_of(event: dict[str, Any], key: str) -> int | None:
    """Return a time in ms of an event, None where there is no sensible one."""
    value = event.get(key)
    sensible = isinstance(value, int) and 0 <= value < 10**9
    return value if sensible else None


@dataclass(slots=True)
class Standby:
    """A session on its way to take over."""

    number: int
    deadline_ms: int
    machine: Machine[Realtime]
    opened_ms: int = 0
    error_code: str = ""


class Continuity(ModelSocket):
    """Sessions of the model, by number; ``session`` is the one in use, or that was used last."""

    _caller: CallerAudio
    _opening: Opening

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self.session = 1
        self.recent = RecentAudio()
        self._latest = 1
        self._next: Standby | None = None
        self._dial_at_ms: int | None = None
        self._attempts = 0
        self._away_since_ms: int | None = None
        self._away_cause = EndCause.MODEL_SERVER
        self._session_opened_ms: int | None = None
        self._silent_since_ms = now_ms
        self._sounded = False
        self._cut: Spoken | None = None
        self._cut_purpose = ""
        self._heard_again: list[str] = []
        # What this session knows only as text: item id of the turn -> id of the text item.
        self._as_text: dict[str, str] = {}
        # Turns of the caller of which there is only the audio: item id -> base64.
        self._as_audio: dict[str, str] = {}
        self._earlier_calls: set[str] = set()
        self._earlier_items: set[str] = set()

    # ---- inputs -------------------------------------------------------------------------------

    def realtime_opened(self, now_ms: int, *, config_sent: bool = False, session: int = 0) -> None:
        """Note that a socket of the model is open.

        ``config_sent`` by whoever opened it (ADR 0018); of every session but the first it is true,
        because ``DialModel`` says with what. ``session`` 0 is the one that is awaited.

        Raises:
            LocalBridgeError: called twice.
        """
        if self.phase.now is Phase.CLOSED:
            return
        standby = self._next
        if standby is not None and session in (0, standby.number):
            standby.machine.to(Realtime.EXPECT_CREATED)
            standby.opened_ms = now_ms
            self._settle(now_ms)
        elif session in (0, self.session) and self._away_since_ms is None:
            self._session_opened_ms = now_ms
            super().realtime_opened(now_ms, config_sent=config_sent)

    def receive_realtime(self, text: str, now_ms: int, *, session: int = 0) -> None:
        """Take one text frame of a session; what an earlier one still says counts no more."""
        standby = self._next
        if standby is not None and (
            session == standby.number or (not session and self._away_since_ms is not None)
        ):
            self._standby_says(standby, text, now_ms)
        elif session in (0, self.session) and self._away_since_ms is None:
            super().receive_realtime(text, now_ms)
        else:
            self.count("stale_sessions_events")

    def realtime_closed(self, code: int, now_ms: int, *, session: int = 0) -> None:
        """Note that a socket of the model is gone, or could not be opened.

        ``code`` is the close code; an HTTP status (below 1000) when the handshake was refused.
        """
        if self.phase.now is Phase.CLOSED:
            return
        standby = self._next
        if standby is not None and (
            session == standby.number or (not session and self._away_since_ms is not None)
        ):
            self.metrics_note("realtime_close", str(code))
            self._next = None
            cause, may_heal = verdict(code, standby.error_code)
            self._attempt_failed(cause, now_ms, may_heal=may_heal)
            self._settle(now_ms)
        elif session in (0, self.session) and self._away_since_ms is None:
            super().realtime_closed(code, now_ms)

    def _standby_says(self, standby: Standby, text: str, now_ms: int) -> None:
        if self.phase.now is Phase.CLOSED:
            return
        try:
            kind, event = realtime.decode(text, self.plan.dialect)
        except realtime.RealtimeWireError:
            self.count("realtime_malformed")
            return
        if kind == "session.created" and standby.machine.may(Realtime.CONFIGURING):
            standby.machine.to(Realtime.CONFIGURING)
        elif kind == "session.updated" and standby.machine.may(Realtime.READY):
            if realtime.formats_are_mulaw(event, self.plan.dialect):
                standby.machine.to(Realtime.READY)
            else:
                self._drop_standby()
                self._attempt_failed(EndCause.CONFIG_REJECTED, now_ms, may_heal=False)
        elif kind == "error":
            self._standby_error(standby, event, now_ms)
        elif kind in {"session.created", "session.updated"}:
            self.count("protocol_errors")
        self._settle(now_ms)

    def _standby_error(self, standby: Standby, event: dict[str, Any], now_ms: int) -> None:
        code = text_of(event, "error", "code") or text_of(event, "error", "type")
        standby.error_code = code
        self.count("realtime_errors")
        self.metrics_note("realtime_error", code[:60])
        if code in TRANSIENT_CODES:
            return  # a close follows, or the attempt's deadline
        self._drop_standby()
        cause = cause_of_error(code) if code in FATAL_CODES else EndCause.CONFIG_REJECTED
        self._attempt_failed(cause, now_ms, may_heal=False)

    def _on_error(self, event: dict[str, Any], now_ms: int) -> None:
        super()._on_error(event, now_ms)
        # Nothing comes after it but the close (1.4, trap O18): do not wait for that.
        if text_of(event, "error", "code") == "session_expired" and not self._failed:
            if self.lose(EndCause.MODEL_SERVER, now_ms):
                self.effects.append(CloseModel(self.session))

    # ---- losing -------------------------------------------------------------------------------

    def lose(self, cause: EndCause, now_ms: int) -> bool:
        """Put down what the lost session was doing and dial another; False if the call ends now."""
        if self._ending is not None or self._failed or self.phase.now is not Phase.OPEN:
            return False
        self.count("model_losses")
        opened_ms = self._session_opened_ms
        if opened_ms is not None and now_ms - opened_ms >= GOOD_SESSION_MS:
            self._attempts = 0
        self._away_since_ms = now_ms
        self._away_cause = cause
        if self.realtime.now is Realtime.READY:
            self._model_due_ms = now_ms + self.plan.watchdog.ready_ms
        if self.realtime.now is not Realtime.DIALING:
            self.realtime.to(Realtime.DIALING)
        self._put_down(now_ms)
        if self._next is None:
            self._attempt_failed(cause, now_ms, may_heal=True)
        return True

    def _attempt_failed(self, cause: EndCause, now_ms: int, *, may_heal: bool) -> None:
        """Dial again after a pause; without a session in use the attempts are counted."""
        if self._away_since_ms is None:
            self.count("rollovers_failed")
            self._dial_at_ms = now_ms + ROLL_RETRY_MS
            return
        self._away_cause = cause
        if not may_heal or self._attempts >= len(BACKOFF_MS):
            self._give_up(cause, now_ms)
            return
        pause_ms = BACKOFF_MS[self._attempts]
        self._attempts += 1
        if pause_ms:
            self._dial_at_ms = now_ms + pause_ms
        else:
            self._dial(now_ms)

    def _give_up(self, cause: EndCause, now_ms: int) -> None:
        self._drop_standby()
        self._dial_at_ms = None
        self.realtime.to(Realtime.CLOSED)
        self._model_lost = cause

    def _dial(self, now_ms: int) -> None:
        self._dial_at_ms = None
        self._latest += 1
        self.count("model_dials")
        self._next = Standby(
            self._latest,
            now_ms + self.plan.watchdog.attempt_ms,
            Machine(Realtime.DIALING, REALTIME),
        )
        text = configuration(self.plan, held=self._is_held())
        self.effects.append(DialModel(self._latest, text))

    def _is_held(self) -> bool:
        return self.plan.holds_the_floor and not self._opening_over()

    def _drop_standby(self) -> None:
        if self._next is not None:
            self.effects.append(CloseModel(self._next.number))
            self._next = None

    def _put_down(self, now_ms: int) -> None:
        """Keep what the lost session owed: requests wait, speech ends where its audio ends."""
        self._caller_speaking = False
        self._server_turns = False
        self._last_error_code = ""
        self._unconfirmed_outputs.clear()
        self.responses.unblock()
        owes_answer = self._unanswered_ms is not None
        self._unanswered_ms = None
        current = self.responses.give_up()
        retry, self._retry_request = self._retry_request, None
        if self._retry_at_ms is not None and retry is not None:
            self.responses.ask(retry, first=True)
        self._retry_at_ms = None
        if not self._opening.begun:
            return
        self._heard_again = [*self._heard_again, *self.recent.unanswered]
        if self._opening.ears_open:
            told, again = self.recent.take()
            self._as_audio.update(told)
            self._caller.take_back(again)
            self._opening.ears_open = False
        item_id = self.playback.unfinished_item if self.playback is not None else ""
        self._cut = None
        if current is not None and current.has_audio and item_id:
            self._stop_speech(item_id, now_ms)
            self._cut_purpose = current.purpose
        elif current is not None and current.request is not None:
            self.responses.ask(current.request, first=True)
        elif (current is not None and not current.has_output) or owes_answer:
            # With the caller's words the new session also gets the turn, and answers by itself.
            if not self._heard_again:
                self.responses.ask(Request("turn", follow_up=True))

    def _stop_speech(self, item_id: str, now_ms: int) -> None:
        """Let what has come of an item be heard as all of it."""
        if self.playback is None:
            return
        turn = self.transcript.get(item_id)
        if turn is not None:
            heard_ms = self.playback.received_bytes(item_id) // MULAW_BYTES_PER_MS
            self.transcript.stop_at(turn, heard_ms // FASTEST_CHARACTER_MS)
            self._cut = turn
        self.playback.complete(item_id, now_ms)

    def _fail(self, cause: EndCause, now_ms: int) -> None:
        super()._fail(cause, now_ms)
        self._drop_standby()
        self._dial_at_ms = None

    def _send(self, text: str) -> None:
        # In a gap nobody listens; what is known then is told to the next session as a whole.
        if self._away_since_ms is None:
            super()._send(text)

    # ---- taking over --------------------------------------------------------------------------

    def _take_over(self, now_ms: int) -> bool:
        """Let a ready session carry the call, at once in a gap, else in a quiet moment."""
        standby = self._next
        if standby is None or standby.machine.now is not Realtime.READY or self._failed:
            return False
        away_since_ms = self._away_since_ms
        if away_since_ms is None:
            if not self._is_quiet() and not self._is_overdue(now_ms):
                return False
            self.count("rollovers")
            self._put_down(now_ms)
            self.effects.append(CloseModel(self.session))
        gap_ms = 0 if away_since_ms is None else now_ms - away_since_ms
        longest_ms = self.counters.get("model_gap_ms", 0)
        self.counters["model_gap_ms"] = max(longest_ms, gap_ms)
        self.to_realtime.clear()
        self.session, self.realtime, self._next = standby.number, standby.machine, None
        self._session_opened_ms = standby.opened_ms
        self._away_since_ms = None
        self._dial_at_ms = None
        self._server_turns = (
            not self._is_held() and self.plan.session.turn_detection.create_response
        )
        if self._opening.begun:
            self._tell_all(now_ms)
            self._ask_after(gap_ms)
        return True

    def _is_quiet(self) -> bool:
        return (
            self._opening_over()
            and self._ending is None
            and not self._caller_speaking
            and self._unanswered_ms is None
            and self._retry_at_ms is None
            and not self.recent.unknown
            and not self._owed
            and not self.toolbox.pending
            and self.responses.idle
            and self.playback is not None
            and self.playback.silent
        )

    def _is_overdue(self, now_ms: int) -> bool:
        opened_ms = self._session_opened_ms
        hard_ms = self.plan.watchdog.session_hard_ms
        return opened_ms is not None and now_ms >= opened_ms + hard_ms

    def _tell_all(self, now_ms: int) -> None:
        """Give the new session the conversation so far, of ours only what the caller gets to hear.

        What is still being played counts as heard; if it is cut off, the text is corrected.
        """
        self._as_text.clear()
        told = remembered(
            self.transcript,
            self.toolbox,
            without=frozenset({POLICY_ITEM_ID}),
            audio=self._as_audio,
        )
        before = [item for item in self._opening.seeds() if not item.pending]
        for item in newest([*before, *told]):
            seed_id = ""
            if item.role == "assistant" and self._is_playing(item.item_id, now_ms):
                seed_id = self._as_text[item.item_id] = self._id(f"said-{self.session}")
            self._tell(item, seed_id)
        self._earlier_calls = {call.tool_call_id for call in self.toolbox.calls()}
        self._earlier_items = {turn.item_id for turn in self.transcript.turns()}

    def _tell(self, item: HistoryItem, item_id: str = "") -> None:
        for text in item_texts(item, self._id, self.plan.dialect, item_id=item_id):
            self._send(text)

    def _is_playing(self, item_id: str, now_ms: int) -> bool:
        if self.playback is None or not item_id:
            return False
        heard_bytes = self.playback.heard_bytes(item_id, now_ms)
        return heard_bytes < self.playback.received_bytes(item_id)

    def _ask_after(self, gap_ms: int) -> None:
        """Go on with what was cut, once; excuse a gap that was noticed."""
        noticed = gap_ms >= UNNOTICED_MS
        cut, self._cut = self._cut, None
        if cut is not None and (not self._heard_again or self._cut_purpose == "greeting"):
            notes = f"{_SORRY} {_CONTINUE}" if noticed else _CONTINUE
            request = Request(self._cut_purpose, instructions=self._with_instructions(notes))
            self.responses.ask(request, first=True)
        elif noticed and self._opening_over() and not self._heard_again:
            if all(waiting.follow_up for waiting in self.responses.waiting):
                self.responses.forget()
                request = Request("resume", instructions=self._with_instructions(_SORRY))
                self.responses.ask(request)

    def _with_instructions(self, note: str) -> str:
        # Instructions of a response replace the session's for that response (5.6).
        return f"{self.plan.session.instructions}\n\n{note}".strip()

    def _take_up(self, item: HistoryItem, now_ms: int) -> None:
        """Run again a call that was cut off by the end of an earlier stream."""
        call = self.toolbox.begin(
            item.tool_call_id,
            item.name,
            item.arguments_json,
            "earlier",
            now_ms,
            self._record_ms(now_ms),
        )
        if call is not None:
            self._earlier_calls.add(item.tool_call_id)
            self.toolbox.running(call)
            self.effects.append(DispatchTool(item.tool_call_id, item.name, item.arguments_json))

    # ---- what an earlier session knew under another id ----------------------------------------

    def _shown_call_id(self, tool_call_id: str) -> str:
        known = tool_call_id in self._earlier_calls
        return realtime.legal_id(tool_call_id) if known else tool_call_id

    def _forget_at_model(self, item_id: str, heard_ms: int) -> None:
        if item_id not in self._earlier_items:
            super()._forget_at_model(item_id, heard_ms)
            return
        seed_id = self._as_text.pop(item_id, "")
        turn = self.transcript.get(item_id)
        if not seed_id or turn is None:
            return
        self._send(realtime.item_delete(self._id("del"), seed_id))
        if turn.text:
            self._tell(HistoryItem("assistant", turn.text))

    def _on_speech_started(self, event: dict[str, Any], now_ms: int) -> None:
        item_id = text_of(event, "item_id")
        if item_id and self._heard_again:
            self.transcript.rename(self._heard_again.pop(0), item_id)
        if item_id:
            self.recent.begins(item_id, number_of(event, "audio_start_ms"))
        super()._on_speech_started(event, now_ms)

    def _on_speech_stopped(self, event: dict[str, Any], now_ms: int) -> None:
        self.recent.stops(text_of(event, "item_id"), number_of(event, "audio_end_ms"))
        super()._on_speech_stopped(event, now_ms)

    def _on_caller_text(self, event: dict[str, Any], now_ms: int) -> None:
        self.recent.known(text_of(event, "item_id"))
        super()._on_caller_text(event, now_ms)

    def _on_response_done(self, event: dict[str, Any], now_ms: int) -> None:
        super()._on_response_done(event, now_ms)
        if text_of(event, "response", "status") == "completed":
            self.recent.answered()

    # ---- time ---------------------------------------------------------------------------------

    def _model_deadlines(self) -> list[int]:
        due = super()._model_deadlines()
        if self._failed:
            return due
        if self._dial_at_ms is not None:
            due.append(self._dial_at_ms)
        elif self._next is None and self._session_opened_ms is not None:
            due.append(self._session_opened_ms + self.plan.watchdog.session_ms)
        if self._next is not None:
            due.append(self._standby_deadline_ms(self._next))
        hold_at_ms = self._hold_at_ms()
        if hold_at_ms is not None:
            due.append(hold_at_ms)
        return due

    def _standby_deadline_ms(self, standby: Standby) -> int:
        if standby.machine.now is not Realtime.READY:
            return standby.deadline_ms
        opened_ms = self._session_opened_ms or 0
        return opened_ms + self.plan.watchdog.session_hard_ms

    def _tick_model(self, now_ms: int) -> None:
        super()._tick_model(now_ms)
        if self._failed or self._model_lost is not None:
            self._drop_standby()
            self._dial_at_ms = None
            return
        standby = self._next
        if standby is not None:
            if standby.machine.now is not Realtime.READY and now_ms >= standby.deadline_ms:
                self._drop_standby()
                self._attempt_failed(EndCause.MODEL_SERVER, now_ms, may_heal=True)
        elif self._dial_at_ms is not None:
            if now_ms >= self._dial_at_ms:
                self._dial(now_ms)
        elif self._session_opened_ms is not None and self._away_since_ms is None:
            if now_ms >= self._session_opened_ms + self.plan.watchdog.session_ms:
                self._dial(now_ms)
        hold_at_ms = self._hold_at_ms()
        if hold_at_ms is not None and now_ms >= hold_at_ms:
            self._hold(now_ms)

    def _hold_at_ms(self) -> int | None:
        """Return when a tone is due because the caller hears nothing and the model is not there."""
        if (
            self.realtime.now in (Realtime.READY, Realtime.CLOSED)
            or self.playback is None
            or not self.playback.silent
            or self._ending is not None
        ):
            return None
        since_ms = max(self._silent_since_ms, self._away_since_ms or self.stream_start_ms)
        return since_ms + self.plan.watchdog.hold_ms

    def _hold(self, now_ms: int) -> None:
        if self.playback is None:
            return
        payload, size = hold_tone()
        self.count("hold_tones")
        self.count("clip_bytes", size)
        item_id = f"{HOLD_ITEM}-{self.counters['hold_tones']}"
        self.playback.add(item_id, payload, size, now_ms)
        self.playback.complete(item_id, now_ms)

    def _note_silence(self, now_ms: int) -> None:
        """Note until when the caller has heard something."""
        sounds = self.playback is None or not self.playback.silent
        if sounds or self._sounded:
            self._silent_since_ms = now_ms
        self._sounded = sounds
