"""The caller of a scenario as a stand-in plays it, and how long a live one may take.

Pure. Owns how cues of a scenario become what a stand-in's caller can wait for. It must not place a
call; who decides in a live one is ``live_caller``.
"""

from __future__ import annotations

import re
from typing import Final

from calls.parity.scenario import CallerTurn, Scenario
from calls.standins.caller import CallerStep, Wait, hang_up

# The assistant ends the call; the caller only hangs up if it does not.
PATIENCE_MS: Final = 8_000
_WAITS: Final[dict[str, Wait]] = {
    "turn": "turn",
    "heard": "heard",
    "ms": "ms",
    "silence_ms": "silence_ms",
    "agent_audio_ms": "agent_audio_ms",
}
# How long an answer may take, as far as the scenario tells.
LISTENS_SECONDS: Final = 6
WORDS_PER_SECOND: Final = 2.5
SLOWEST_SECONDS: Final = 45


def caller_steps(scenario: Scenario) -> tuple[CallerStep, ...]:
    """Return the steps of a caller who can hear; the last one hangs up in any case."""
    steps = [_step(turn) for turn in scenario.caller]
    if not steps or steps[-1].action != "hang_up":
        steps.append(hang_up(wait="silence_ms", wait_ms=PATIENCE_MS))
    return tuple(steps)


def _step(turn: CallerTurn) -> CallerStep:
    pattern = re.compile(turn.cue_words, re.IGNORECASE) if turn.cue == "heard" else None
    return CallerStep(turn.action, turn.text, _WAITS[turn.cue], turn.cue_ms, pattern)


def _answer_seconds(turn: CallerTurn | None) -> int:
    """Return how long the answer to a turn may take: thinking, tools, and the words themselves."""
    if turn is None:
        return LISTENS_SECONDS
    words = len(f"{turn.first} {turn.agent}".split())
    seconds = LISTENS_SECONDS + words / WORDS_PER_SECOND + 2 * len(turn.expect)
    return min(SLOWEST_SECONDS, round(seconds))


def call_seconds(scenario: Scenario) -> int:
    """Return after how many seconds a live call is ended whatever happens."""
    spoken = sum(len(turn.text.split()) / WORDS_PER_SECOND for turn in scenario.caller)
    waited = sum(_answer_seconds(turn) for turn in scenario.caller)
    return round(spoken + waited) + 60
