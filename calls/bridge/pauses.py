"""What happens when nobody speaks: idle messages, the end of a silent call, keys, fillers.

Sits on ``dead_air``: that gives up on a model which owes a word, this covers the wait for it and
the quiet in which nobody owes one. It must not judge audio or text; the clocks are pure modules of
their own.
"""

from __future__ import annotations

from typing import Final

from calls.bridge.dead_air import DeadAir
from calls.bridge.keys import Keys
from calls.bridge.plan import CallPlan
from calls.bridge.quiet import QuietClock
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Request
from calls.bridge.states import Phase, Realtime
from calls.wire import realtime

MOST_FILLERS: Final = 3
_OF_A_WAIT: Final = frozenset({"tool_start", "tool_delayed"})
_STILL_AT_IT: Final = (
    "What you have asked a tool for takes a moment longer. In one short sentence of a few words, "
    "in the language spoken so far, tell the caller so. Say nothing of what the answer may be."
)


class Pauses(DeadAir):
    """The quiet between two turns."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self._quiet = QuietClock(plan.idle)
        self._keys = Keys(plan.keypad)
        self._entries: list[str] = []
        self._entered = 0
        self._wait_since_ms: int | None = None
        self._fillers = self._fillers_ever = 0

    # ---- nobody speaks ------------------------------------------------------------------------

    def _note_quiet(self, now_ms: int) -> None:
        """Start or stop the clocks; called when everything that follows from an input is done."""
        if self._caller_speaking:
            self._quiet.caller_spoke()
            self._fillers = 0
        silent = self._line_is_silent()
        self._quiet.note(silent and self._nobody_owes_a_word(), now_ms)
        if not silent or not (self._answer_is_owed() or self.toolbox.pending):
            self._wait_since_ms = None
        elif self._wait_since_ms is None:
            self._wait_since_ms = now_ms

    def _line_is_silent(self) -> bool:
        return (
            self.phase.now is Phase.OPEN
            and self.realtime.now is Realtime.READY
            and self._opening_over()
            and not self._failed
            and self._ending is None
            and not self._caller_speaking
            and self.playback is not None
            and self.playback.silent
        )

    def _answer_is_owed(self) -> bool:
        """Tell whether the model is to speak next."""
        waits = self._retry_at_ms is not None or self._server_will_answer()
        return waits or not self.responses.idle

    def _nobody_owes_a_word(self) -> bool:
        return not (
            self._answer_is_owed()
            or self.toolbox.pending
            or self._gate.closed
            or self._keys.deadline_ms() is not None
        )

    def _pause_deadlines(self) -> list[int]:
        due = (self._quiet.deadline_ms(), self._keys.deadline_ms(), self._filler_deadline_ms())
        return [each for each in due if each is not None]

    def _tick_pauses(self, now_ms: int) -> None:
        entry = self._keys.due(now_ms)
        if entry:
            self._entries.append(entry)
        filler_ms = self._filler_deadline_ms()
        if filler_ms is not None and now_ms >= filler_ms:
            self._fill(now_ms)
        due = self._quiet.due(now_ms)
        if due == "idle":
            self.count("idle_messages")
            words = realtime.verbatim(self._quiet.next_message())
            self.responses.ask(Request("idle", instructions=words, tools_allowed=False))
        elif due == "silence":
            self._end_when_heard(EndCause.SILENCE, now_ms, abortable=True)
            if self.plan.idle.silence_message:
                words = realtime.verbatim(self.plan.idle.silence_message)
                self.responses.ask(Request("goodbye", instructions=words, tools_allowed=False))

    # ---- fillers ------------------------------------------------------------------------------

    def _filler_deadline_ms(self) -> int | None:
        """Return when a filler is due: each of one wait comes after twice the silence before."""
        plan = self.plan.filler
        if self._wait_since_ms is None or self._fillers >= MOST_FILLERS:
            return None
        # Without a clip only the model can speak, and only while it is not the one who is late.
        asks = plan.asked and not self._answer_is_owed()
        if plan.clip is None and not asks:
            return None
        due_ms = self._wait_since_ms + (plan.after_ms << self._fillers)
        # Who waits for a tool hears what its author wants said, not both.
        return due_ms if self._answer_is_owed() or self._may_fill(due_ms) else None

    def _filler_is_due(self, now_ms: int) -> bool:
        due_ms = self._filler_deadline_ms() if self.phase.now is Phase.OPEN else None
        return due_ms is not None and now_ms >= due_ms

    def _fill(self, now_ms: int) -> None:
        self._fillers += 1
        self._fillers_ever += 1
        self.count("fillers")
        clip = self.plan.filler.clip
        if clip is not None:
            item_id = f"clip-filler-{self._fillers_ever}"
            self._play_clip(item_id, clip, now_ms, interruptible=True)
            return
        words = f"{self.plan.session.instructions}\n\n{_STILL_AT_IT}".strip()
        self.responses.ask(Request("filler", instructions=words, tools_allowed=False))

    def _answer_begins(self) -> None:
        """Note that a response has its first sound; a filler does not end the wait it fills."""
        super()._answer_begins()
        current = self.responses.current
        if current is not None and current.purpose in _OF_A_WAIT:
            # What a tool has said of the wait stands for our first filler.
            self._fillers, self._wait_since_ms = max(self._fillers, 1), None
        elif current is not None and current.purpose != "filler":
            self._fillers = 0
            # The wait is over now, not at the next look: audio passes without one.
            self._wait_since_ms = None

    # ---- keys ---------------------------------------------------------------------------------

    def _key_pressed(self, key: str, now_ms: int) -> None:
        """Take a key; an entry goes to the model when it is complete (T36)."""
        self.count("dtmf")
        self._quiet.note(False, now_ms)
        entry = self._keys.press(key, now_ms)
        if entry:
            self._entries.append(entry)

    def _tell_keys(self, now_ms: int) -> bool:
        """Put an entry into the conversation; where keys are asked for, it is a turn."""
        hears = self.realtime.now is Realtime.READY and self._ears_open() and not self._failed
        if not self._entries or not hears:
            return False
        text = f"Keys pressed: {self._entries.pop(0)}"
        self._entered += 1
        at_ms = self._record_ms(now_ms)
        turn = self.transcript.begin(f"keys-{self._entered}", "user", at_ms)
        self.transcript.say(turn, text)
        self.transcript.end(turn, at_ms)
        self._send(realtime.message_item(self._id("keys"), "user", text, self.plan.dialect))
        if self.plan.keypad is None or self._ending is not None:
            return True
        if self._opening_over():
            self.responses.ask(Request("turn", follow_up=True))
        elif not self._server_turns:
            self._unanswered_ms = now_ms  # answered when the opening is over
        return True
