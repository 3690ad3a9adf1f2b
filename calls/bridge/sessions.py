"""The sessions of the model that one call uses: which is in use, which is dialled, when we give up.

A session has no resume and lives an hour at most (openai_realtime.md 0 fact 8, 1.4). Owns the
sockets' numbers, attempts and deadlines, and the tone that covers a gap; Twilio's stream goes on
meanwhile. It must not know what a new session is told: that is ``continuity``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from calls.bridge.core import text_of
from calls.bridge.dead_air import CONFIG_EVENT_ID
from calls.bridge.effects import CloseModel, DialModel
from calls.bridge.holding import hold_tone
from calls.bridge.model import ModelSocket, configuration, verdict
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import FATAL_CODES, TRANSIENT_CODES, EndCause, cause_of_error
from calls.bridge.states import REALTIME, Machine, Phase, Realtime
from calls.wire import realtime

# Pauses before the attempts of one gap, in ms; a caller does not wait more than about 8 s (7.4).
BACKOFF_MS = (0, 250, 500, 1_000, 2_000, 2_000)
# A session that lived so long was a good one: the next loss begins to count anew.
GOOD_SESSION_MS = 20_000
# While the old session still carries the call there is time (7.4, item 6).
ROLL_RETRY_MS = 30_000
HOLD_ITEM = "clip-hold"


@dataclass(slots=True)
class Standby:
    """A session on its way to take over."""

    number: int
    deadline_ms: int
    machine: Machine[Realtime]
    held: bool
    opened_ms: int = 0
    error_code: str = ""


class Sessions(ModelSocket):
    """Sessions of the model, by number; ``session`` is the one in use, or that was used last."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self.session = 1
        self._latest = 1
        self._next: Standby | None = None
        self._dial_at_ms: int | None = None
        self._attempts = 0
        self._away_since_ms: int | None = None
        self._away_cause = EndCause.MODEL_SERVER
        self._session_opened_ms: int | None = None
        self._silent_since_ms = now_ms
        self._sounded = False
        # Which model the sessions are of; '': the one that the shell was given.
        self._model = ""

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
        elif kind in {"conversation.item.added", "conversation.item.done"}:
            self._mcp_item(event.get("item"), now_ms, done=False)
        elif kind == "mcp_list_tools.failed":
            self._on_mcp_list_failed(event, now_ms)
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
        code = text_of(event, "error", "code") or text_of(event, "error", "type")
        # Nothing comes after it but the close (1.4, trap O18): do not wait for that.
        over = code == "session_expired"
        # Without its configuration a session is of no use; another one may take it.
        refused = text_of(event, "error", "event_id") == CONFIG_EVENT_ID
        bare = refused and code in TRANSIENT_CODES and self.realtime.now is Realtime.CONFIGURING
        if (over or bare) and not self._failed:
            if self.lose(EndCause.MODEL_SERVER, now_ms):
                self.effects.append(CloseModel(self.session))

    # ---- losing -------------------------------------------------------------------------------

    def lose(self, cause: EndCause, now_ms: int) -> bool:
        """Put down what the lost session was doing and dial another; False if the call ends now."""
        if self._ending is not None or self._failed or self.phase.now is not Phase.OPEN:
            self._drop_standby()
            self._dial_at_ms = None
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
            held=self._is_held(),
        )
        text = configuration(self.plan, held=self._next.held)
        self.effects.append(DialModel(self._latest, text, self._model))

    def _is_held(self) -> bool:
        return self.plan.holds_the_floor and not self._opening_over()

    def _drop_standby(self) -> None:
        if self._next is not None:
            self.effects.append(CloseModel(self._next.number))
            self._next = None

    def _fail(self, cause: EndCause, now_ms: int) -> None:
        super()._fail(cause, now_ms)
        self._drop_standby()
        self._dial_at_ms = None

    def _send(self, text: str) -> None:
        # In a gap nobody listens; what is known then is told to the next session as a whole.
        if self._away_since_ms is None:
            super()._send(text)

    @abstractmethod
    def _put_down(self, now_ms: int) -> None:
        """Keep what the lost session owed."""

    # ---- time ---------------------------------------------------------------------------------

    def _model_deadlines(self) -> list[int]:
        due = super()._model_deadlines()
        if self._failed:
            return due
        standby_ms = None if self._next is None else self._standby_deadline_ms(self._next)
        also = (standby_ms, self._dial_due_ms(), self._hold_at_ms())
        return [*due, *(each for each in also if each is not None)]

    def _dial_when_due(self, now_ms: int) -> None:
        due_ms = self._dial_due_ms()
        if due_ms is not None and now_ms >= due_ms:
            self._dial(now_ms)

    def _dial_due_ms(self) -> int | None:
        """Return when another session is to be dialled: after a pause, or for the age of this one.

        Only a session that carries the call grows old: one that is not ready has its own deadline.
        """
        if self._next is not None:
            return None
        if self._dial_at_ms is not None:
            return self._dial_at_ms
        if self.realtime.now is not Realtime.READY or self._session_opened_ms is None:
            return None
        return self._session_opened_ms + self.plan.watchdog.session_ms

    def _standby_deadline_ms(self, standby: Standby) -> int | None:
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
        self._dial_when_due(now_ms)
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
        if self.plan.filler.clip is not None and not self._fillers:
            self._fill(now_ms)  # words once in a wait, then the tone
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
