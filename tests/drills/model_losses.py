"""Calls in virtual time whose model is lost again and again, and what the caller's ear makes of it.

A brain that knows only what its session was told, so a fact survives a loss only if the bridge
carried it over; and a judge of silence. Shared by the unit tier and the drill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Any

from calls.bridge.effects import CloseStream
from calls.standins.caller import CallerStep, hang_up, say
from calls.standins.realtime_brain import CallTool, Part, Speak, Turn, sentence_to_say
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.tones import utterance_ms
from tests.virtual_call import Latency, Result, VirtualCall, plan_of

NAME = re.compile(r"my name is (\w+)", re.IGNORECASE)
CODE = re.compile(r"code is (\d+)")
GREETING = "Good morning."
NAME_SAID, QUESTION, LOOK_UP = "Hello, my name is Ada.", "What is my name?", "Look up my order."


class ForgetfulBrain:
    """Answers from the conversation as this session knows it, and from nothing else."""

    def reply(self, turn: Turn) -> list[Part]:
        """Return the parts of the next response."""
        exact = sentence_to_say(turn.instructions)
        if exact is not None:
            return [Speak(exact)]
        users = [text for role, text in turn.history if role == "user"]
        asked = turn.heard or (users[-1] if users else "")
        if turn.outputs or (turn.heard is None and self._has_result(turn)):
            return self._go_on(turn, f"The {self._result(turn)}.")
        if LOOK_UP in asked:
            return [Speak("One moment."), CallTool("look", "{}")]
        if QUESTION in asked:
            return self._go_on(turn, f"You are {self._name(turn)}, I think, and you knew it.")
        if NAME.search(asked):
            return self._go_on(turn, f"Nice to meet you {NAME.search(asked)[1]}, go on please.")  # type: ignore[index]
        return [Speak("How can I help?")]

    @staticmethod
    def _go_on(turn: Turn, text: str) -> list[Part]:
        heard = turn.cut_off
        if heard and text.startswith(heard) and text != heard:
            return [Speak(text[len(heard) :].strip())]
        return [Speak(text)]

    @staticmethod
    def _name(turn: Turn) -> str:
        names = [found[1] for role, text in turn.history if (found := NAME.search(text))]
        return names[-1] if names else "nobody"

    @staticmethod
    def _has_result(turn: Turn) -> bool:
        kinds = [role for role, _ in turn.history]
        after = kinds[len(kinds) - kinds[::-1].index("user") :] if "user" in kinds else kinds
        return "function_call_output" in after

    @staticmethod
    def _result(turn: Turn) -> str:
        outputs = [text for role, text in turn.history if role == "function_call_output"]
        return outputs[-1] if outputs else "nothing"


SCRIPT: tuple[CallerStep, ...] = (
    say(NAME_SAID),
    say(QUESTION),
    say(LOOK_UP, wait="heard", pattern=re.compile("knew it")),
    say(QUESTION, wait="heard", pattern=re.compile("order 77")),
    hang_up(wait="heard", pattern=re.compile("Ada|nobody")),
)
POINTS = (
    "ms", "speech_started", "committed", "transcribed", "response_created", "audio", "tool_called",
    "response_done", "output_added",
)  # fmt: skip
LOSSES = (1006, 1011, 1001)
REFUSALS = (500, 503, 429)


@dataclass
class Sounds:
    """Everything that is heard on the line, as intervals in ms."""

    call: VirtualCall | None = None
    played: list[list[int]] = field(default_factory=list)

    def watch(self, outputs: list[Any]) -> list[Any]:
        """Take what is sent to the caller (``VirtualCall.alter_twilio``)."""
        assert self.call is not None
        now_ms = self.call._clock.now_ms + self.call.latency.twilio_ms
        for output in outputs:
            text = getattr(output, "data", "")
            if '"event":"media"' in text:
                size_ms = len(text.split('"payload":"')[1].split('"')[0]) // 4 * 3 // 8
                begin_ms = max(now_ms, self.played[-1][1] if self.played else 0)
                self.played.append([begin_ms, begin_ms + size_ms])
            elif '"event":"clear"' in text:
                for interval in self.played:
                    interval[1] = max(interval[0], min(interval[1], now_ms))
        return outputs

    def longest_silence_ms(self) -> int:
        """Return the longest time in which neither side made a sound, up to the last of them."""
        assert self.call is not None
        said = [
            [moment.at_ms, moment.at_ms + utterance_ms(moment.text)]
            for moment in self.call.caller.timeline
            if moment.kind == "said"
        ]
        until_ms = longest_ms = 0
        for begin_ms, end_ms in sorted(each for each in [*self.played, *said] if each[1] > each[0]):
            longest_ms = max(longest_ms, begin_ms - until_ms)
            until_ms = max(until_ms, end_ms)
        return longest_ms


def lossy_call(
    profile: RealtimeProfile, sessions: list[RealtimeProfile], latency: Latency
) -> tuple[VirtualCall, Sounds]:
    """Return a finished call over these sessions, and its sounds."""
    sounds = Sounds()
    call = VirtualCall(
        plan_of("look"),
        SCRIPT,
        ForgetfulBrain(),
        {"look": Result("order 77", 700)},
        latency,
        profile,
        sessions=[*sessions, RealtimeProfile()],
        alter_twilio=sounds.watch,
        until_ms=180_000,
    )
    sounds.call = call
    return call.run(), sounds


def random_losses(chance: Random) -> tuple[RealtimeProfile, list[RealtimeProfile]]:
    """Return a session that is lost at a random point, and the misfortunes of the next ones."""

    def lost() -> RealtimeProfile:
        point: Any = chance.choice(POINTS)
        after = chance.randrange(15_000) if point == "ms" else chance.randrange(6)
        if point == "audio":
            after = chance.randrange(60)
        return RealtimeProfile(
            lose_at=point,
            lose_after=after,
            lose_code=chance.choice(LOSSES),
            transcription_delay_ms=chance.choice((50, 400, 1_500)),
            updated_delay_ms=chance.choice((0, 100, 900)),
        )

    sessions: list[RealtimeProfile] = []
    for _ in range(chance.randrange(3)):
        kind = chance.randrange(3)
        if kind == 0:
            sessions.append(RealtimeProfile(upgrade_status=chance.choice(REFUSALS)))
        elif kind == 1:
            sessions.append(RealtimeProfile(updated_delay_ms=chance.choice((1_200, 10_000))))
        else:
            sessions.append(lost())
    return lost(), sessions


def wrong(call: VirtualCall, sounds: Sounds) -> list[str]:
    """Return what a caller or an operator could complain about; empty if nothing."""
    found = [*call.faults, *call.caller.violations]
    words = " ".join(call.caller.heard_texts)
    if call.end.ended_reason != "customer-ended-call" or call.caller.stuck_step is not None:
        found.append(f"ended by {call.end.ended_reason}, stuck at {call.caller.stuck_step}")
    if "nobody" in words or "nothing" in words or words.count(GREETING) > 1:
        found.append(f"a fact was lost or said twice: {words}")
    if call.caller.heard_texts and "Ada" not in call.caller.heard_texts[-1]:
        found.append(f"the last answer is {call.caller.heard_texts[-1]!r}")
    if len([name for name, _ in call.part.dispatched if name == "look"]) != 1:
        found.append(f"the tool ran {len(call.part.dispatched)} times")
    if sounds.longest_silence_ms() > 3_000:
        found.append(f"{sounds.longest_silence_ms()} ms of silence")
    if call.part.replayed() != call.part.outputs:
        found.append("the replay differs")
    codes = {error["code"] for model in call.models for error in model.errors}
    allowed = {"session_expired", "conversation_already_has_active_response",
               "response_cancel_not_active", "item_delete_invalid_item_id"}  # fmt: skip
    if codes - allowed:
        found.append(f"errors of the model: {codes - allowed}")
    if any(isinstance(effect, CloseStream) for effect in call.effects):
        found.append("the stream was closed")
    return found
