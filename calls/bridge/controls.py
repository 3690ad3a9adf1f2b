"""What a person does to a call that goes on: say, tell, mute, hand on, end (vapi.md 6.6).

Every command is carried out or refused at once, with the reason in words; what it leads to takes
its own time. A muted assistant takes no part: it hears and remembers, begins no response and is
waited for by nobody. A muted caller is heard by the model as silence.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Final

from calls.bridge.first_words import FirstWords
from calls.bridge.handover import TOO_OFTEN, TOO_OFTEN_FOR_PEOPLE
from calls.bridge.plan import CallPlan, HistoryItem
from calls.bridge.reasons import EndCause
from calls.bridge.responses import Current, Request
from calls.bridge.states import Phase, Realtime
from calls.bridge.successor import Successor
from calls.wire import realtime
from calls.wire.vapi_control import Control

# A turn that a person has put into the conversation.
OPERATOR_ITEM: Final = "operator"
_SAY: Final = "operator"
_SAY_WHOLE: Final = "operator-whole"
# What is heard although the assistant is muted: it is not the assistant's own.
_HEARD: Final = frozenset({_SAY, _SAY_WHOLE, "goodbye", "notice"})


class Controls(FirstWords):
    """Commands of a person, and what they change for the rules below."""

    def __init__(self, plan: CallPlan, now_ms: int) -> None:
        super().__init__(plan, now_ms)
        self._assistant_muted = False
        self._caller_muted = False
        self._kept_silent = False
        self._to_tell: list[HistoryItem] = []
        self._told = 0

    def receive_control(self, control: Control, now_ms: int) -> str:
        """Carry out a command; return '' or, in words for a person, why it is refused."""
        refusal = self._obey(control, now_ms)
        self.count("controls_refused" if refusal else "controls")
        self._settle(now_ms)
        return refusal

    @abstractmethod
    def end(self, cause: EndCause, now_ms: int) -> None:
        """Hang up now."""

    def _obey(self, control: Control, now_ms: int) -> str:
        if self.phase.now is not Phase.OPEN:
            return "The call is ending."
        if control.kind == "end-call":
            self.end(EndCause.OPERATOR_ENDED, now_ms)
            return ""
        if self._failed or (self._ending is not None and not self._ending.abortable):
            return "The call is ending, or the caller is being handed to somebody."
        if control.kind == "handoff":
            return self._hand_on(control, now_ms)
        if control.kind == "transfer":
            self._hand_over(control, now_ms)
        elif control.kind == "say":
            self._speak(control, now_ms)
        elif control.kind == "say-first-message":
            greeting = self.plan.greeting
            if greeting.mode != "exact" or not greeting.text:
                return "This assistant has no first message in fixed words."
            self._speak(Control("say", text=greeting.text), now_ms)
        elif control.kind == "add-message":
            self._to_tell.append(HistoryItem(control.role, control.text))
            if control.answers:
                self.responses.ask(Request("turn", follow_up=True))
        elif control.kind in ("mute-customer", "unmute-customer"):
            self._caller_muted = control.kind == "mute-customer"
        else:
            self._mute(control.kind == "mute-assistant", now_ms)
        return ""

    def _speak(self, control: Control, now_ms: int) -> None:
        if control.interrupts:
            self._cut_short(now_ms)
        words = realtime.verbatim(control.text)
        if control.ends_call:
            cause = EndCause.ASSISTANT_SAID_GOODBYE
            self._end_when_heard(cause, now_ms, abortable=control.interruptible)
            self.responses.ask(Request("goodbye", instructions=words, tools_allowed=False))
            return
        purpose = _SAY if control.interruptible else _SAY_WHOLE
        # Before what waits: a muted assistant's own requests wait until it may speak.
        request = Request(purpose, instructions=words, tools_allowed=False)
        self.responses.ask(request, first=self._assistant_muted)

    def _hand_over(self, control: Control, now_ms: int) -> None:
        self._end_when_heard(EndCause.TRANSFERRED, now_ms, abortable=False, dial_to=control.dial_to)
        if control.text:
            words = realtime.verbatim(control.text)
            self.responses.ask(Request("goodbye", instructions=words, tools_allowed=False))

    def _hand_on(self, control: Control, now_ms: int) -> str:
        """Let another assistant take the call over, once ``text`` has been said by this one."""
        refusal = self._refusal()
        if refusal:
            return TOO_OFTEN_FOR_PEOPLE if refusal == TOO_OFTEN else refusal
        self._begin_handoff(control.handoff_id, Successor.from_json(control.successor), now_ms)
        if control.text:
            self._speak(Control("say", text=control.text), now_ms)
        return ""

    def _cut_short(self, now_ms: int) -> None:
        """Stop what is being said, if it may be stopped at all."""
        playback = self.playback
        may_cut = self._opening_over() or not self.plan.holds_the_floor
        if playback is not None and playback.interruptible and may_cut:
            self._cancel_response(by_server=False)
            self._forget_unheard(playback, now_ms)

    def _tell_operator(self, now_ms: int) -> bool:
        """Put what a person wants known into the conversation, and keep it for a later session."""
        hears = self.realtime.now is Realtime.READY and self._ears_open() and not self._failed
        if not self._to_tell or not hears:
            return False
        item = self._to_tell.pop(0)
        self._told += 1
        role: Any = item.role
        at_ms = self._record_ms(now_ms)
        turn = self.transcript.begin(f"{OPERATOR_ITEM}-{self._told}", role, at_ms)
        self.transcript.say(turn, item.text)
        self.transcript.end(turn, at_ms)
        self._tell(item)
        return True

    # ---- a muted assistant --------------------------------------------------------------------

    def _mute(self, muted: bool, now_ms: int) -> None:
        was_muted, self._assistant_muted = self._assistant_muted, muted
        if muted and not was_muted:
            self._kept_silent = self.responses.running
            self._cut_short(now_ms)
        elif was_muted and not muted and self._kept_silent:
            self._kept_silent = False
            self.responses.ask(Request("turn", follow_up=True))

    def _send_request(self, now_ms: int) -> bool:
        waiting = self.responses.waiting
        # The ears open behind the first request; that one is taken back as soon as it begins.
        holds = self._assistant_muted and self._ears_open()
        if holds and waiting and waiting[0].purpose not in _HEARD:
            return False
        return super()._send_request(now_ms)

    def _on_response_created(self, event: dict[str, Any], now_ms: int) -> None:
        super()._on_response_created(event, now_ms)
        current = self.responses.current
        if self._assistant_muted and current is not None and current.purpose not in _HEARD:
            self._kept_silent = True
            self._cancel_response(by_server=False)

    def _line_is_silent(self) -> bool:
        """Tell whether somebody is to break the silence; of a muted assistant nobody expects it."""
        return not self._assistant_muted and super()._line_is_silent()

    def _is_interruptible(self, current: Current) -> bool:
        return current.purpose != _SAY_WHOLE and super()._is_interruptible(current)
