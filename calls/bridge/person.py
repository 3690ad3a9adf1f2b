"""A person for the caller, always: the operator's key, a refused policy line, emergency words.

Keys come from Twilio and need no model, so they work while its socket is dialled, lost or dead.
Each ends the stream with a stored step; who is reached is the action URL's to decide, at the moment
it is asked. Words are looked for in the caller's final transcript.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Final

from calls.bridge.core import text_of
from calls.bridge.effects import EmergencyHeard, NextStep, PolicyRefused
from calls.bridge.model import ModelSocket
from calls.bridge.phrases import says
from calls.bridge.plan import CallPlan
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Request
from calls.bridge.states import Phase
from calls.wire import realtime

# A key among others is part of a number that is being entered. Slow fingers take about a second.
ALONE_BEFORE_MS: Final = 3_000
ALONE_AFTER_MS: Final = 1_500
# So often in a row is impatience, not a number.
IMPATIENT_PRESSES: Final = 3
# How long after the opening the key that refuses the policy line still means that.
REFUSAL_MS: Final = 10_000


class LoneKey:
    """Tells a key pressed alone from one digit of many. Pure; times in ms."""

    def __init__(self, keys: str) -> None:
        self._keys = keys
        self._pressed = ""
        self._presses = 0
        self._since_ms = 0
        self._other_ms: int | None = None

    def press(self, digit: str, now_ms: int) -> str:
        """Take a key; return it if it is certain at once that it was meant, else ''."""
        if not digit or digit not in self._keys:
            self._other_ms, self._pressed = now_ms, ""
            return ""
        if self._other_ms is not None and now_ms - self._other_ms < ALONE_BEFORE_MS:
            self._other_ms = now_ms
            return ""
        if digit != self._pressed:
            self._pressed, self._presses = digit, 0
        self._presses += 1
        self._since_ms = now_ms
        return self._take() if self._presses >= IMPATIENT_PRESSES else ""

    def deadline_ms(self) -> int | None:
        """Return when a key that was pressed will have been alone."""
        return self._since_ms + ALONE_AFTER_MS if self._pressed else None

    def due(self, now_ms: int) -> str:
        """Return the key that has been alone long enough, '' if there is none."""
        deadline_ms = self.deadline_ms()
        return self._take() if deadline_ms is not None and now_ms >= deadline_ms else ""

    def _take(self) -> str:
        taken, self._pressed = self._pressed, ""
        return taken


class ForPerson(ModelSocket):
    """Keys and words that bring the caller to a person, or end the call as the policy says."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self._lone_key = LoneKey(plan.person.operator_key + plan.person.refusal_key)
        self._refused = False
        self._emergency_heard = False
        self._opened_ms: int | None = None

    def _key_pressed(self, digit: str, now_ms: int) -> None:
        """Take a key of the caller's (trap T36)."""
        super()._key_pressed(digit, now_ms)
        self._obey_key(self._lone_key.press(digit, now_ms), now_ms)

    def _obey_key(self, key: str, now_ms: int) -> None:
        person = self.plan.person
        if not key or self._is_dialling():
            return
        if key == person.refusal_key and self._may_refuse(now_ms):
            self._refuse("key", now_ms)
        elif key == person.operator_key:
            self._call_person("key", now_ms)

    def _is_dialling(self) -> bool:
        return self._ending is not None and bool(self._ending.dial_to)

    def _may_refuse(self, now_ms: int) -> bool:
        return self._opened_ms is None or now_ms < self._opened_ms + REFUSAL_MS

    def _on_caller_text(self, event: dict[str, Any], now_ms: int) -> None:
        super()._on_caller_text(event, now_ms)
        person, text = self.plan.person, text_of(event, "transcript")
        if self.phase.now is not Phase.OPEN or self._is_dialling():
            return
        if says(text, person.emergency_words):
            self._emergency(now_ms)
        elif says(text, person.refusal_words):
            self._refuse("words", now_ms)

    def _emergency(self, now_ms: int) -> None:
        """Do once in a call what the policy says of an emergency."""
        person = self.plan.person
        if self._emergency_heard or person.on_emergency == "nothing":
            return
        self._emergency_heard = True
        self.effects.append(EmergencyHeard(at_ms=self._record_ms(now_ms)))
        if person.on_emergency == "transfer":
            self._call_person("emergency", now_ms)
            return
        self.metrics_note("person", "emergency-notice")
        playback = self.playback
        may_cut = self._opening_over() or not self.plan.holds_the_floor
        if playback is not None and playback.interruptible and may_cut and self._ending is None:
            self._cancel_response(by_server=False)
            self._forget_unheard(playback, now_ms)
        words = realtime.verbatim(person.emergency_notice)
        self.responses.ask(Request("notice", instructions=words, tools_allowed=False), first=True)

    def _refuse(self, how: str, now_ms: int) -> None:
        """Do once in a call what the policy says of a refusal, and keep the evidence."""
        if self._refused:
            return
        self._refused = True
        self.effects.append(PolicyRefused(at_ms=self._record_ms(now_ms)))
        self.metrics_note("refused", how)
        if self.plan.person.on_refusal == "human":
            self._call_person("refused", now_ms)
        elif self.plan.person.on_refusal == "end":
            self._close_stream("message", now_ms, cause=EndCause.ASSISTANT_SAID_GOODBYE)

    def _call_person(self, why: str, now_ms: int) -> None:
        """End the stream at once: whoever asks for a person does not wait for a sentence."""
        self.metrics_note("person", why)
        self._close_stream("operator", now_ms, cause=EndCause.TRANSFERRED)

    @abstractmethod
    def _close_stream(
        self,
        next_step: NextStep,
        now_ms: int,
        *,
        cause: EndCause,
        code: int = 1000,
        dial_to: str = "",
    ) -> None:
        """Store the next step and close Twilio's socket."""

    # ---- time ---------------------------------------------------------------------------------

    def _model_deadlines(self) -> list[int]:
        due_ms = self._lone_key.deadline_ms()
        return [*super()._model_deadlines(), *([] if due_ms is None else [due_ms])]

    def _tick_model(self, now_ms: int) -> None:
        super()._tick_model(now_ms)
        if self._opened_ms is None and self._opening_over():
            self._opened_ms = now_ms
        self._obey_key(self._lone_key.due(now_ms), now_ms)
