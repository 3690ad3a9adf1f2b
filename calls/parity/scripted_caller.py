"""The caller of a scenario, as each kind of run has one: steps of a stand-in, or TwiML of a call.

Pure. Owns how cues of a scenario become what a caller can wait for. It must not place a call.
"""

from __future__ import annotations

import re
from typing import Final
from xml.sax.saxutils import escape

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
# Twilio's caller cannot hear: it waits as long as an answer takes (twilio.md 1.4).
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


def caller_twiml(scenario: Scenario, *, language: str = "") -> str:
    """Return what Twilio plays to the number that is called, in place of a person.

    Twilio waits for no words: each cue becomes a pause that is long enough for the answer that the
    scenario expects, so a scenario with interruptions is played without them.
    """
    words = f' language="{escape(language)}"' if language else ""
    verbs: list[str] = []
    before: CallerTurn | None = None
    for turn in scenario.caller:
        verbs.append(f'<Pause length="{_pause_seconds(before, turn)}"/>')
        if turn.action == "say":
            verbs.append(f"<Say{words}>{escape(turn.text)}</Say>")
        elif turn.action == "dtmf":
            verbs.append(f'<Play digits="{escape(turn.text)}"/>')
        else:
            verbs.append("<Hangup/>")
        before = turn
    if before is None or before.action != "hang_up":
        verbs.append(f'<Pause length="{_answer_seconds(before)}"/><Hangup/>')
    return f"<Response>{''.join(verbs)}</Response>"


def _pause_seconds(before: CallerTurn | None, turn: CallerTurn) -> int:
    if turn.cue in ("ms", "silence_ms"):
        return max(1, round(turn.cue_ms / 1_000))
    return _answer_seconds(before)


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
