"""What the model of a shadow is asked, and what it answers: one exchange after the other.

Pure. Owns when a turn is asked about, what answers a tool call, and where the comparison ends. What
comes from the fork and from the two sessions is ``calls.parity.shadow``'s, which is built on this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from calls.parity.known_results import OPENING, Known
from calls.parity.model_answers import object_of, texts_of, why_failed
from calls.parity.past import PastTool
from calls.parity.replay import MOST_ANSWERS, Answered, Cut, OurCall
from calls.parity.shadow_ear import Ear
from calls.parity.shadow_lines import Line, Side, ear_line, model_line
from calls.parity.shadow_tools import OldTools
from calls.parity.shadow_values import Shadowed, ShadowPlan, charged
from calls.wire import realtime

_PURPOSE: Final = "shadow-"
# The fork begins, and both sessions are ready, within this.
READY_MS: Final = 15_000
ANSWER_MS: Final = 45_000
_RETRIES: Final = 2
_RETRY_PAUSE_MS: Final = 1_000
# How long an answer waits for what the old stack said before the caller's turn to be written down.
EAR_MS: Final = 2_500
# After the call: for the last answer, and for transcripts.
LAST_MS: Final = 10_000


class Asking:
    """The exchanges of one call; ``done`` once nothing more is asked or waited for."""

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
        self._streams = self._hung_up = False
        # How it ends when all that was heard is answered, and up to when it is compared then.
        self._last_cut: Cut = ""
        self._last_at_ms = 0
        self._speaking_ms: dict[str, int] = {}
        self._items: dict[str, Answered] = {}

    def outgoing(self, side: Side) -> deque[str]:
        """Return what is to be sent to a session, oldest first; whoever sends it takes it out."""
        return self._lines[side].out

    def known(self, tools: Iterable[PastTool], now_ms: int) -> None:
        """Take tool calls of the old stack whose results have come to be known, in their order."""
        if self.done:
            return
        self._old.take(tools, self._exchange)
        if self._state == "idle":
            self._show(None)
        elif self._state == "result":
            self._answer_calls(now_ms)

    # ---- one exchange --------------------------------------------------------------------------

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
        code = error_code(event)
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


def error_code(event: Mapping[str, Any]) -> str:
    """Return what a session's error is called."""
    error = event.get("error")
    error = error if isinstance(error, Mapping) else {}
    return str(error.get("code") or error.get("type") or "unknown")
