"""The opening of a stream: policy line, then greeting, then everybody may speak (ADR 0015).

While the opening must not be interrupted the session runs with turn taking off: the model hears
and transcribes the caller but neither answers nor stops. Pure bookkeeping; the bridge acts.
"""

from __future__ import annotations

from calls.bridge.plan import CallPlan, HistoryItem, ResumeReason
from calls.bridge.responses import Request
from calls.wire.realtime import verbatim

_RESUME: dict[ResumeReason, str] = {
    "lost": "The line was interrupted for a moment and the caller has just come back. In one "
    "short sentence apologise for the interruption, then go on where the conversation stopped. "
    "Keep to the language spoken so far.",
    "transfer-failed": "You tried to transfer the caller, or the caller asked for a person, but "
    "nobody answered there and the caller is back with you. Say so in one short sentence and offer "
    "another way. Do not transfer again. Keep to the language spoken so far.",
}


class Opening:
    """Where the opening stands. ``begun``: seeds and first request have been sent.

    ``clip_due``: a greeting of ours waits for its place behind the policy line.
    """

    def __init__(self, plan: CallPlan) -> None:
        self._plan = plan
        self.line_due = plan.policy_line is not None
        self.line_playing = self.line_due
        is_exact = plan.greeting.mode == "exact" and not plan.resumed
        self.clip_due = is_exact and plan.greeting.clip is not None
        self.begun = False
        self.ears_open = False
        self.held = plan.holds_the_floor
        self.greeting_interruptible = plan.greeting.interruptible or plan.resumed
        self.greeting_done = plan.resumed or plan.greeting.mode == "wait"
        self.over = False

    def seeds(self) -> list[HistoryItem]:
        """Return the items that the model must know before it speaks."""
        seeds = [item for item in self._plan.examples if item.text]
        if self._plan.policy_line is not None:
            seeds.append(HistoryItem("assistant", self._plan.policy_line.text))
        seeds.extend(
            each
            for each in self._plan.history
            if each.text or each.audio_b64 or each.role == "tool"
        )
        return seeds

    def first_request(self) -> Request | None:
        """Return the request that makes the assistant speak first, None if the caller should."""
        if self._plan.resumed:
            return Request("resume", instructions=self._resume_instructions())
        greeting = self._plan.greeting
        if self.greeting_done:
            return None  # a clip says it, or the caller speaks first
        if greeting.mode == "exact":
            return Request("greeting", instructions=verbatim(greeting.text), tools_allowed=False)
        if greeting.mode == "generated":
            return Request("greeting", tools_allowed=False)
        return None

    def _resume_instructions(self) -> str:
        # Instructions of a response replace the session's for that response (5.6).
        note = _RESUME[self._plan.resume_reason]
        return f"{self._plan.session.instructions}\n\n{note}".strip()
