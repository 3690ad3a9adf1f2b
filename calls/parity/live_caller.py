"""The caller of a live run: decides from what the line carries what to say, press or hang up.

Pure, and without a clock: time is counted in the sound that has come, since a line is never silent
for Twilio. Owns when a turn of the other side is over and which cue holds. It must not speak:
what is to be said was rendered before the call, and words are understood by somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from calls.parity.scenario import CallerTurn, Scenario
from calls.parity.scripted_caller import PATIENCE_MS

BYTES_PER_MS: Final = 8  # G.711 at 8 kHz
# Mean absolute 16-bit sample above which somebody speaks; comfort noise of a line is under 100.
LOUD: Final = 400
# So much sound in a row is a voice and no click.
VOICE_MS: Final = 60
# A pause inside a sentence is shorter; a turn is over after it.
GAP_MS: Final = 900
# After "let me look" comes a tool's answer: a turn with tools is given time to go on.
TOOL_GAP_MS: Final = 3_000
# An utterance is given to be understood after such a pause.
UTTERANCE_GAP_MS: Final = 500
# The line is joined while the other side begins to speak; who hears nothing begins.
UNHEARD_MS: Final = 6_000
STUCK_MS: Final = 30_000
TOOL_STUCK_MS: Final = 60_000
_LEAD_MS: Final = 200
_MARK_MS: Final = 2_000  # a mark of Twilio's that does not come back by then is not waited for
_LONGEST_UTTERANCE_MS: Final = 60_000
_SILENCE: Final = 0xFF

Reason = Literal["script", "stuck", "time"]


def _level(code: int) -> int:
    """Return the absolute 16-bit sample of a mu-law byte (ITU-T G.711)."""
    inverted = ~code & 0xFF
    return (((inverted & 0x0F) << 3) + 0x84 << ((inverted & 0x70) >> 4)) - 0x84


_LEVELS: Final = tuple(_level(code) for code in range(256))


@dataclass(frozen=True, slots=True)
class Say:
    """Play a turn's audio; ``spoken`` is to be called when the other side has heard it."""

    ordinal: int
    audio: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Understand:
    """Find out what was said; ``understood`` is to be called with it."""

    utterance: int
    audio: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys. The stream ends for it, and the next one goes on behind this turn."""

    digits: str


@dataclass(frozen=True, slots=True)
class End:
    """Hang up."""

    reason: Reason


Deed = Say | Understand | Press | End


@dataclass(frozen=True, slots=True)
class Event:
    """What was said or heard, in ms of this stream."""

    at_ms: int
    kind: Literal["said", "heard", "pressed"]
    text: str = field(repr=False)


def needs_ears(scenario: Scenario) -> bool:
    """Tell whether a cue of the scenario turns on words, so that they have to be understood."""
    return any(turn.cue == "heard" for turn in scenario.caller)


# Patterns are looked for beside callers' calls, and nothing can stop a search.
_MOST_SEARCHED: Final = 400


class LiveCaller:
    """One stream of a call. ``deeds`` are what is to be done, in order; who does them empties it.

    Args:
        clips: the audio of each turn that is said, mu-law, by its place in the scenario.
        step: which turn is next: not 0 where an earlier stream of the call was left.
        most_ms: after how much sound the caller hangs up whatever happens.
    """

    def __init__(
        self, scenario: Scenario, clips: Mapping[int, bytes], *, step: int = 0, most_ms: int
    ) -> None:
        self.step = step
        self.deeds: list[Deed] = []
        self.events: list[Event] = []
        self.ended: Reason | Literal["pressed", ""] = ""
        self._turns = _with_an_end(scenario)
        self._clips, self._most_ms = clips, most_ms
        self._hears = needs_ears(scenario)
        self._line_ms = 0.0
        self._since_ms = 0.0
        self._loud_run_ms = 0.0
        self._last_loud_ms: float | None = None
        self._loud_since_step_ms = 0.0
        self._voice = False
        self._utterance = bytearray()
        self._lead = bytearray()
        self._utterances = 0
        self._open: set[int] = set()
        self._texts: dict[int, str] = {}
        self._news_from = 0
        self._searched: tuple[int, int, bool] = (-1, 0, False)
        self._speaking: int | None = None
        self._spoken_by_ms = 0.0
        self._said_bytes = 0

    @property
    def said_seconds(self) -> float:
        """Return how much sound of this caller the other side was sent."""
        return round(self._said_bytes / BYTES_PER_MS / 1000, 1)

    # ---- what comes -----------------------------------------------------------------------------

    def audio(self, mulaw: bytes) -> None:
        """Take the next sound of the line; it moves the time on."""
        if self.ended or not mulaw:
            return
        length_ms = len(mulaw) / BYTES_PER_MS
        self._line_ms += length_ms
        self._listen(mulaw, length_ms)
        if self._speaking is not None and self._line_ms >= self._spoken_by_ms:
            self.spoken(self._speaking)
        if self._line_ms >= self._most_ms:
            self._end("time")
        else:
            self._act()

    def spoken(self, ordinal: int) -> None:
        """Note that the other side has heard a turn to its end."""
        if self._speaking == ordinal:
            self._speaking = None
            self._next()

    def understood(self, utterance: int, text: str) -> None:
        """Take what was said in an utterance, '' if nobody could tell."""
        self._open.discard(utterance)
        self._texts[utterance] = text
        if text:
            self.events.append(Event(round(self._line_ms), "heard", text))

    # ---- listening ------------------------------------------------------------------------------

    def _listen(self, mulaw: bytes, length_ms: float) -> None:
        is_loud = sum(map(_LEVELS.__getitem__, mulaw)) > LOUD * len(mulaw)
        self._loud_run_ms = self._loud_run_ms + length_ms if is_loud else 0.0
        if is_loud and (self._voice or self._loud_run_ms >= VOICE_MS):
            if not self._voice:
                self._voice = True
                self._utterance = bytearray(self._lead)
                self._loud_since_step_ms += self._loud_run_ms - length_ms
            self._last_loud_ms = self._line_ms
            self._loud_since_step_ms += length_ms
        if self._voice:
            self._utterance += mulaw
            quiet_ms = self._line_ms - (self._last_loud_ms or 0.0)
            too_long = len(self._utterance) > _LONGEST_UTTERANCE_MS * BYTES_PER_MS
            if quiet_ms >= UTTERANCE_GAP_MS or too_long:
                self._utterance_over()
        self._lead += mulaw
        del self._lead[: max(len(self._lead) - _LEAD_MS * BYTES_PER_MS, 0)]

    def _utterance_over(self) -> None:
        self._voice = False
        if self._hears:
            self._open.add(self._utterances)
            self.deeds.append(Understand(self._utterances, bytes(self._utterance)))
        self._utterances += 1
        self._utterance = bytearray()

    # ---- acting ---------------------------------------------------------------------------------

    def _act(self) -> None:
        if self._speaking is not None:
            return
        turn = self._turns[self.step]
        before = self._turns[self.step - 1] if self.step else None
        if not self._holds(turn, before):
            waits_ms = TOOL_STUCK_MS if before is not None and before.expect else STUCK_MS
            if self._line_ms - self._since_ms >= max(waits_ms, turn.cue_ms * 2):
                self._end("stuck")
        elif turn.action == "hang_up":
            self._end("script")
        elif turn.action == "dtmf":
            self.events.append(Event(round(self._line_ms), "pressed", turn.text))
            self.step += 1
            self.ended = "pressed"
            self.deeds.append(Press(turn.text))
        else:
            self._say(turn)

    def _say(self, turn: CallerTurn) -> None:
        audio = self._clips.get(self.step, b"")
        self.events.append(Event(round(self._line_ms), "said", turn.text))
        self._speaking = self.step
        self._spoken_by_ms = self._line_ms + len(audio) / BYTES_PER_MS + _MARK_MS
        self._said_bytes += len(audio)
        self.deeds.append(Say(self.step, audio))

    def _next(self) -> None:
        self.step += 1
        self._since_ms = self._line_ms
        self._loud_since_step_ms = 0.0
        # What is being said now is an answer only if it goes on after this.
        self._news_from = self._utterances

    def _holds(self, turn: CallerTurn, before: CallerTurn | None) -> bool:
        elapsed_ms = self._line_ms - self._since_ms
        last_ms = self._last_loud_ms
        quiet_ms = self._line_ms - (last_ms if last_ms is not None else 0.0)
        if turn.cue == "ms":
            return elapsed_ms >= turn.cue_ms
        if turn.cue == "silence_ms":
            return min(elapsed_ms, quiet_ms) >= turn.cue_ms
        if turn.cue == "agent_audio_ms":
            return self._loud_since_step_ms >= turn.cue_ms
        if last_ms is None:
            return turn.cue == "turn" and elapsed_ms >= UNHEARD_MS
        if turn.cue == "heard":
            return quiet_ms >= GAP_MS and not self._open and self._heard(turn.cue_words)
        gap_ms = TOOL_GAP_MS if before is not None and before.expect else GAP_MS
        return last_ms > self._since_ms and quiet_ms >= gap_ms

    def _heard(self, words: str) -> bool:
        # Asked with each piece of sound, so looked for only when something more was said.
        step, texts, found = self._searched
        if (step, texts) != (self.step, len(self._texts)):
            pattern = re.compile(words, re.IGNORECASE)
            news = (text for at, text in self._texts.items() if at >= self._news_from)
            found = any(pattern.search(text[:_MOST_SEARCHED]) for text in news)
            self._searched = (self.step, len(self._texts), found)
        return found

    def _end(self, reason: Reason) -> None:
        self.ended = reason
        self.deeds.append(End(reason))


def _with_an_end(scenario: Scenario) -> tuple[CallerTurn, ...]:
    turns = scenario.caller
    if turns and turns[-1].action == "hang_up":
        return turns
    # The assistant ends the call; the caller only hangs up if it does not.
    return (*turns, CallerTurn("hang_up", cue="silence_ms", cue_ms=PATIENCE_MS))


def wav_of(mulaw: bytes) -> bytes:
    """Return mu-law as a WAV file of 16 bits at 8 kHz, as a transcriber reads it."""
    body = b"".join(map(_SAMPLES.__getitem__, mulaw))
    sizes = (len(body) + 36).to_bytes(4, "little"), len(body).to_bytes(4, "little")
    form = bytes.fromhex("10000000 0100 0100 401f0000 803e0000 0200 1000")
    return b"RIFF" + sizes[0] + b"WAVEfmt " + form + b"data" + sizes[1] + body


# The sign bit of mu-law is inverted: a byte under 0x80 is a negative sample.
_SAMPLES: Final = tuple(
    (_LEVELS[code] if code & 0x80 else -_LEVELS[code]).to_bytes(2, "little", signed=True)
    for code in range(256)
)
