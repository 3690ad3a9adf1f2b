"""What happens when nobody speaks: idle messages and the end of a silent call.

Sits on ``dead_air``: that is the silence of a model that owes a word, this the quiet of a call in
which nobody does. It must not judge audio or text; the clocks are pure modules of their own.
"""

from __future__ import annotations

from calls.bridge.dead_air import DeadAir
from calls.bridge.plan import CallPlan
from calls.bridge.quiet import QuietClock
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Request
from calls.bridge.states import Phase, Realtime
from calls.wire import realtime


class Pauses(DeadAir):
    """The quiet between two turns."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self._quiet = QuietClock(plan.idle)

    def _note_quiet(self, now_ms: int) -> None:
        """Start or stop the clock; called when everything that follows from an input is done."""
        if self._caller_speaking:
            self._quiet.caller_spoke()
        self._quiet.note(self._nobody_speaks(), now_ms)

    def _nobody_speaks(self) -> bool:
        """Tell whether it is nobody's turn to make a sound: no word is owed and none is heard."""
        return (
            self.phase.now is Phase.OPEN
            and self.realtime.now is Realtime.READY
            and self._opening_over()
            and not self._failed
            and self._ending is None
            and not self._caller_speaking
            and not self._server_will_answer()
            and not self._gate.closed
            and self.responses.idle
            and self._retry_at_ms is None
            and not self.toolbox.pending
            and self.playback is not None
            and self.playback.silent
        )

    def _pause_deadlines(self) -> list[int]:
        due_ms = self._quiet.deadline_ms()
        return [] if due_ms is None else [due_ms]

    def _tick_pauses(self, now_ms: int) -> None:
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
