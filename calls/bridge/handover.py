"""A call goes over to another assistant in the middle of its stream (vapi.md 8.2, ADR 0024).

The session of the next assistant is dialled beside the one in use while that one says what it has
to say; then it takes over as a session that replaces a lost one does. Owns that change: what is
waited for, what is put down, what the next one is told, and what happens if it is not to be had.
Who takes over was decided by the service that answered the function call.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Final

from calls.bridge.continuity import Continuity
from calls.bridge.core import POLICY_ITEM_ID
from calls.bridge.effects import CloseModel, DialModel, RecordHandoff
from calls.bridge.gate import Gate
from calls.bridge.keys import Keys
from calls.bridge.memory import remembered
from calls.bridge.model import configuration
from calls.bridge.opening import Opening
from calls.bridge.plan import CallPlan, HistoryItem
from calls.bridge.quiet import QuietClock
from calls.bridge.reasons import EndCause
from calls.bridge.sessions import Standby
from calls.bridge.states import REALTIME, Machine, Realtime
from calls.bridge.successor import Successor, passed_on, succeeding
from calls.bridge.toolbox import LOST_RESULT, Invocation
from tools.spec import ToolResult

# One more attempt; then the assistant that is there goes on.
ATTEMPTS: Final = 2
# The text of what the caller has said last comes some 400 ms after its end, or never.
TEXT_WAIT_MS: Final = 1_500

# What the assistant that leaves was still to say; what others want said is said by the next one.
_OF_SOURCE: Final = frozenset(
    {
        *("tool", "tool_start", "tool_delayed", "tool_answer", "filler", "retry", "continue"),
        *("idle", "resume", "greeting"),
    }
)

UNDER_WAY: Final = "The call is being handed over already."
TOO_OFTEN_FOR_PEOPLE: Final = "The call has been handed over too often already."
TOO_OFTEN: Final = (
    "The call has been handed over too often and is not handed over again. Go on yourself, and "
    "help the caller as well as you can."
)
UNREACHABLE: Final = (
    "The other assistant could not be reached, so the call was not handed over. Go on yourself, or "
    "offer the caller another way."
)
ENDING: Final = "The call is being ended."


@dataclass(slots=True)
class Handoff:
    """A handoff on its way: which session it waits for, and how long for what is being said."""

    tool_call_id: str
    successor: Successor
    session: int
    # When the wait for words that are being said ends, and that for the text of the caller's;
    # None: it has ended, or has not begun.
    heard_due_ms: int | None
    text_due_ms: int | None = None
    attempts: int = 1
    is_ready: bool = False


class Handovers(Continuity):
    """The change of the assistant."""

    _handoff: Handoff | None = None
    _handoffs = 0

    @property
    def awaited_plan(self) -> CallPlan:
        """Return the plan of the session that is dialled now: perhaps of who takes over."""
        handoff = self._handoff
        return self.plan if handoff is None else handoff.successor.plan

    def _tool_answered(self, tool_call_id: str, result: ToolResult, now_ms: int) -> None:
        """Take an answer; that of a handoff is given when the call has been handed over."""
        if result.successor is None:
            super()._tool_answered(tool_call_id, result, now_ms)
            return
        if all(call.tool_call_id != tool_call_id for call in self.toolbox.pending):
            self.count("late_tool_results")
            return
        refusal = self._refusal()
        if refusal:
            self._tool_result(tool_call_id, "refused", refusal, now_ms)
            return
        self._begin_handoff(tool_call_id, Successor.from_json(result.successor), now_ms)

    def _begin_handoff(self, tool_call_id: str, successor: Successor, now_ms: int) -> None:
        if self._next is not None:
            # A session for the assistant that leaves is of no use any more.
            self._drop_standby()
        self._dial_at_ms = None
        self._handoff = Handoff(
            tool_call_id,
            successor,
            0,
            now_ms + self.plan.watchdog.goodbye_ms,
        )
        self._dial_successor(self._handoff, now_ms)

    def _refusal(self) -> str:
        if self._ending is not None or self._failed:
            return ENDING
        if self._handoff is not None:
            return UNDER_WAY
        return TOO_OFTEN if self._handoffs >= self.plan.limits.max_handoffs else ""

    def _dial_successor(self, handoff: Handoff, now_ms: int) -> None:
        self._latest += 1
        self.count("model_dials")
        handoff.session, handoff.is_ready = self._latest, False
        plan = succeeding(self.plan, handoff.successor.plan, ())
        self._next = Standby(
            self._latest,
            now_ms + self.plan.watchdog.attempt_ms,
            Machine(Realtime.DIALING, REALTIME),
            held=plan.holds_the_floor,
        )
        text = configuration(plan, held=plan.holds_the_floor)
        self.effects.append(DialModel(self._latest, text, plan.model))

    def _attempt_failed(self, cause: EndCause, now_ms: int, *, may_heal: bool) -> None:
        """Try once more to reach the next assistant; without it the first one goes on."""
        handoff = self._handoff
        if handoff is None or self._next is not None:
            super()._attempt_failed(cause, now_ms, may_heal=may_heal)
            return
        if may_heal and handoff.attempts < ATTEMPTS:
            handoff.attempts += 1
            self._dial_successor(handoff, now_ms)
            return
        self._handoff = None
        self.count("handoffs_failed")
        if self.toolbox.knows(handoff.tool_call_id):  # else a person has asked for it
            self._tool_result(handoff.tool_call_id, "error", UNREACHABLE, now_ms)
        if self._away_since_ms is not None:
            # Its own session was lost meanwhile, and nobody has dialled another one for it.
            self._dial(now_ms)

    def _fail(self, cause: EndCause, now_ms: int) -> None:
        super()._fail(cause, now_ms)
        self._handoff = None

    # ---- the change ---------------------------------------------------------------------------

    def _take_over(self, now_ms: int) -> bool:
        handoff, standby = self._handoff, self._next
        if handoff is None or standby is None or standby.number != handoff.session:
            return super()._take_over(now_ms)
        if standby.machine.now is not Realtime.READY or self._failed or self._ending is not None:
            return False
        if not handoff.is_ready:
            handoff.is_ready, handoff.text_due_ms = True, now_ms + TEXT_WAIT_MS
        if not self._may_change(handoff):
            return False
        self._change(handoff, standby, now_ms)
        return True

    def _may_change(self, handoff: Handoff) -> bool:
        """Tell whether nobody is cut off: what was said is heard, other tools have answered."""
        if self._away_since_ms is not None:
            return True  # nobody else is there to speak
        if self._others(handoff) or not self._opening_over() or self.playback is None:
            return False
        if handoff.heard_due_ms is None:
            return True
        speaks = self._caller_speaking or self._is_speaking()
        unread = self.recent.unread and handoff.text_due_ms is not None
        return self.playback.silent and not speaks and not unread

    def _others(self, handoff: Handoff) -> list[Invocation]:
        calls = self.toolbox.pending
        return [call for call in calls if call.tool_call_id != handoff.tool_call_id]

    def _is_speaking(self) -> bool:
        """Tell whether the assistant that leaves is about to be heard; what it owes is not."""
        if self._retry_at_ms is not None:
            return True
        if any(waiting.purpose != "turn" for waiting in self.responses.waiting):
            return True
        current = self.responses.current
        if current is None:
            return False
        return current.has_audio or current.has_output or current.purpose != "turn"

    def _standby_deadline_ms(self, standby: Standby) -> int | None:
        handoff = self._handoff
        if handoff is None or handoff.session != standby.number or not handoff.is_ready:
            return super()._standby_deadline_ms(standby)
        due = (handoff.heard_due_ms, handoff.text_due_ms)
        return min((each for each in due if each is not None), default=None)

    def _tick_model(self, now_ms: int) -> None:
        handoff = self._handoff
        if handoff is not None and handoff.is_ready:
            if handoff.heard_due_ms is not None and now_ms >= handoff.heard_due_ms:
                handoff.heard_due_ms = None
            if handoff.text_due_ms is not None and now_ms >= handoff.text_due_ms:
                handoff.text_due_ms = None
        super()._tick_model(now_ms)

    def _change(self, handoff: Handoff, standby: Standby, now_ms: int) -> None:
        was_away = self._away_since_ms is not None
        if not was_away:
            self._put_down(now_ms)
            self.effects.append(CloseModel(self.session))
        kept = [each for each in self.responses.waiting if each.purpose not in _OF_SOURCE]
        self.responses.forget()
        self._cut = None
        self.count("handoffs")
        self._handoff, self._handoffs = None, self._handoffs + 1
        self.toolbox.finish(handoff.tool_call_id, "ok", handoff.successor.result, now_ms)
        for call in self._others(handoff):
            # Only where the session was lost: what the next one is told must be complete.
            self.toolbox.finish(call.tool_call_id, "error", LOST_RESULT, now_ms)
        self._late.clear()
        for book in (self._owed, self._answers, self._starts):
            book.clear()
        self._notes.clear()
        leaves, news_before = self.plan.assistant_name, self.news.count
        self._become(handoff.successor, now_ms)
        self._take_turns_up(now_ms)
        self._use(standby, now_ms)
        self.effects.append(
            RecordHandoff(
                tool_call_id=handoff.tool_call_id,
                at_ms=self._record_ms(now_ms),
                first_ordinal=self.transcript.next_ordinal,
                from_name=leaves,
                to_name=self.plan.assistant_name,
                context=handoff.successor.context,
                transfers={
                    tool.name: tool.transfer_to for tool in self.plan.tools if tool.transfer_to
                },
                record=handoff.successor.record,
                news_before=news_before,
            )
        )
        self._begin_conversation(now_ms)
        for request in kept:
            self.responses.ask(request)
        self._dial_when_due(now_ms)  # it may have waited until it was old itself

    def _become(self, successor: Successor, now_ms: int) -> None:
        """Let everything that the assistant decides be the next one's."""
        own = remembered(
            self.transcript,
            self.toolbox,
            without=frozenset({POLICY_ITEM_ID}),
            audio=self._as_audio,
            since=self._told_from,
            told=self._told_calls,
        )
        line = self.plan.policy_line
        # The line was said to the caller whoever speaks next; it is nobody's part of the talk.
        lines = [HistoryItem("assistant", line.text)] if line is not None else []
        history = passed_on([*lines, *self.plan.history], own, successor.context)
        self.plan = succeeding(self.plan, successor.plan, history)
        self.news.ask(self.plan.tells)
        self._model = self.plan.model
        self._told_from = self.transcript.next_ordinal
        self._told_calls = frozenset(call.tool_call_id for call in self.toolbox.calls())
        self._earlier_calls = set(self._told_calls)
        self._earlier_items = {turn.item_id for turn in self.transcript.turns()}
        self._as_text.clear()
        self._as_audio.clear()
        self.toolbox.replace(self.plan.tools)
        self._gate = Gate(self.plan.interruption)
        self._interrupted = None
        self._quiet = QuietClock(self.plan.idle)
        entry = self._keys.due(self._keys.deadline_ms() or 0)
        self._entries += [entry] if entry else []
        self._keys = Keys(self.plan.keypad)
        self._wait_since_ms, self._fillers = None, 0
        self._speech_end_ms = None
        self._opening = Opening(self.plan)

    def _use(self, standby: Standby, now_ms: int) -> None:
        """Let the session that was dialled for it carry the call."""
        self.to_realtime.clear()
        self.session, self.realtime, self._next = standby.number, standby.machine, None
        self._session_opened_ms = standby.opened_ms
        self._away_since_ms = self._dial_at_ms = None
        self._attempts = 0
        detection = self.plan.session.turn_detection
        self._server_turns = not standby.held and detection.create_response

    @abstractmethod
    def _begin_conversation(self, now_ms: int) -> bool:
        """Tell the session what it must know and let it say its first words."""
