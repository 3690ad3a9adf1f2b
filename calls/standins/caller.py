"""A scripted caller: what to say, press or do, and what to wait for first. It decides from what the
caller can hear; it must not see messages, sockets or the model. What somebody else does to the call
by REST meanwhile stands in the same script, because its moment is told by what is heard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Action = Literal["say", "dtmf", "hang_up", "rest_twiml", "rest_completed"]
Wait = Literal["turn", "heard", "ms", "silence_ms", "agent_audio_ms", "mark_pending"]


@dataclass(frozen=True, slots=True)
class CallerStep:
    """One step. `wait` decides when it happens, counted from the end of the previous step:

    turn: the agent said something and has been silent for a moment; heard: the same, with
    `pattern` found in it; ms: `wait_ms` passed; silence_ms: the agent was silent for `wait_ms`;
    agent_audio_ms: that much agent audio played (a barge-in); mark_pending: playback is under way.
    `rest_twiml` gives the call the document `text`, `rest_completed` ends it, both by REST.
    """

    action: Action
    text: str = ""
    wait: Wait = "turn"
    wait_ms: int = 0
    pattern: re.Pattern[str] | None = None
    timeout_ms: int = 30_000
    retorts: tuple[tuple[re.Pattern[str], str], ...] = ()


def say(text: str, **wait: Any) -> CallerStep:
    """Return a step that says `text`; keywords are CallerStep's."""
    return CallerStep("say", text, **wait)


def say_over(text: str, after_ms_of_agent_audio: int) -> CallerStep:
    """Return a barge-in: `text` is said once so much of the agent's audio has played."""
    return CallerStep("say", text, wait="agent_audio_ms", wait_ms=after_ms_of_agent_audio)


def hang_up(**wait: Any) -> CallerStep:
    """Return a step that hangs up; keywords are CallerStep's."""
    return CallerStep("hang_up", **wait)


@dataclass(frozen=True, slots=True)
class Ear:
    """What the caller perceives at one moment, totals since the call began."""

    now_ms: int
    utterances: Sequence[str]
    silent_ms: int
    played_ms: int
    mark_pending: bool


class Caller:
    """Walks through the steps; `due` hands out the next one, `done` reports its end."""

    def __init__(self, steps: Sequence[CallerStep], start_ms: int, gap_ms: int = 300) -> None:
        self._steps = list(steps)
        self._gap_ms = gap_ms
        self._since_ms = start_ms
        self._heard_before = 0
        self._played_before_ms = 0
        self._busy = False
        self._last_said: tuple[CallerStep, int] | None = None  # and what had been heard before it
        self.stuck: CallerStep | None = None  # the step whose condition never came

    @property
    def remaining(self) -> list[CallerStep]:
        """Return the steps not handed out yet."""
        return list(self._steps)

    def left_after_loss(self, utterances: Sequence[str]) -> list[CallerStep]:
        """Return what is left when the line was lost: what got no answer is said again."""
        if self._last_said is not None and len(utterances) <= self._last_said[1]:
            return [self._last_said[0], *self._steps]
        return list(self._steps)

    @property
    def finished(self) -> bool:
        """Tell whether every step was taken."""
        return not self._steps and not self._busy

    def due(self, ear: Ear) -> CallerStep | None:
        """Return the next step if its condition holds; a step that waited too long hangs up."""
        if self._busy or not self._steps:
            return None
        step = self._steps[0]
        retort = self._retort(step, ear)
        if retort is not None:
            self._busy = True
            self._last_said = (CallerStep("say", retort), len(ear.utterances))
            return self._last_said[0]
        if self._holds(step, ear):
            self._busy = True
            if step.action == "say":
                # What is interrupted is no answer; it counts as heard when it has been cut.
                self._last_said = (step, len(ear.utterances) + (ear.silent_ms == 0))
            return self._steps.pop(0)
        if ear.now_ms - self._since_ms >= step.timeout_ms:
            self.stuck = step
            self._steps.clear()
            self._busy = True
            return CallerStep("hang_up")
        return None

    def done(self, ear: Ear) -> None:
        """Note that the step handed out has ended."""
        self._busy = False
        self._since_ms = ear.now_ms
        self._heard_before = len(ear.utterances)
        self._played_before_ms = ear.played_ms

    def _retort(self, step: CallerStep, ear: Ear) -> str | None:
        if ear.silent_ms < self._gap_ms:
            return None
        news = ear.utterances[self._heard_before :]
        said = (text for pattern, text in step.retorts if any(map(pattern.search, news)))
        return next(said, None)

    def _holds(self, step: CallerStep, ear: Ear) -> bool:
        elapsed_ms = ear.now_ms - self._since_ms
        news = ear.utterances[self._heard_before :]
        if step.wait == "ms":
            return elapsed_ms >= step.wait_ms
        if step.wait == "silence_ms":
            return min(elapsed_ms, ear.silent_ms) >= step.wait_ms
        if step.wait == "agent_audio_ms":
            return ear.played_ms - self._played_before_ms >= step.wait_ms
        if step.wait == "mark_pending":
            return ear.mark_pending
        if ear.silent_ms < self._gap_ms or not news:
            return False
        return step.pattern is None or any(step.pattern.search(text) for text in news)
