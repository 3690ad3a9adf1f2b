"""A caller who talks over the assistant at random moments of an answer, again and again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from calls.standins.caller import hang_up, say, say_over
from calls.standins.realtime_brain import Rule, Step
from tests.drills.conftest import Tell
from tests.sound_call import assert_sound
from tests.virtual_call import Latency, PatientBrain, VirtualCall, plan_of

pytestmark = [pytest.mark.unit, pytest.mark.timeout(1200)]

STORY = " ".join(f"Chapter {number} has so many words." for number in range(8))
PER_CALL = 5


@dataclass(slots=True)
class Interruption:
    """One truncation, in ms of its item: what the model was told, what Twilio had been sent."""

    told_ms: int
    sent_ms: int


def interrupted_call(chance: Random) -> tuple[VirtualCall, list[Interruption]]:
    """Run a call of ``PER_CALL`` interruptions; mark round trips of 20 to 120 ms with jitter."""
    brain = PatientBrain([Rule(Step(say=STORY), re.compile("story"))])
    script = [
        step
        for _ in range(PER_CALL)
        for step in (say("A story please."), say_over("Stop.", chance.randrange(100, 3900)))
    ]
    jitter_ms = chance.randrange(0, 21)
    latency = Latency(chance.randrange(10, 61 - jitter_ms), chance.choice((0, 20, 60)))
    call = VirtualCall(
        plan_of(),
        [*script, hang_up(wait="silence_ms", wait_ms=2500)],
        brain,
        latency=latency,
        until_ms=200_000,
        twilio_jitter=lambda: chance.randrange(0, jitter_ms + 1),
    )
    told: list[Interruption] = []

    def watch(event: dict[str, Any], _now_ms: int) -> None:
        if event["type"] == "conversation.item.truncate":
            playback = call.part.bridge.playback
            assert playback is not None
            sent_bytes = playback._items[event["item_id"]].sent_bytes
            told.append(Interruption(event["audio_end_ms"], sent_bytes // 8))

    call.watch = watch
    call.run()
    return call, told


def test_interruptions_at_random_moments(count: Callable[[int, int], int], tell: Tell) -> None:
    missing_ms: list[int] = []
    for seed in range(count(500 // PER_CALL, 3)):
        call, told = interrupted_call(Random(seed))
        assert_sound(call)
        queued_ms = [
            int(moment.text.split()[0]) for moment in call.caller.timeline if moment.kind == "clear"
        ]
        assert len(told) == len(queued_ms) == PER_CALL, (seed, told, queued_ms)
        for each, left_ms in zip(told, queued_ms, strict=True):
            missing_ms.append(each.sent_ms - left_ms - each.told_ms)
            assert missing_ms[-1] >= 0, f"seed {seed}: told {each}, {left_ms} ms were left"
    missing_ms.sort()
    p95_ms = missing_ms[int(len(missing_ms) * 0.95)]
    assert p95_ms <= 40
    tell(
        "interruptions at random moments (virtual time)",
        f"{len(missing_ms)} interruptions, mark round trips of 20 to 120 ms with up to 20 ms of "
        f"jitter each way: the model was never told more than the caller had heard when `clear` "
        f"arrived; {missing_ms[len(missing_ms) // 2]} ms less in the median, {p95_ms} ms at P95, "
        f"{missing_ms[-1]} ms at worst; nothing was heard after `clear`",
    )
