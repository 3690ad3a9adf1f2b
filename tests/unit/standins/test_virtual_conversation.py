"""Two peers in virtual time, joined by a bridge of 30 lines: words cross both ways in the audio."""

from __future__ import annotations

import re

import pytest

from calls.standins.caller import hang_up, say, say_over
from calls.standins.realtime_brain import CallTool, Rule, RuleBrain, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.twilio_media import MediaProfile
from calls.standins.virtual import VirtualClock, Wire, run_virtual

from .helpers import converse

pytestmark = pytest.mark.unit

SCRIPT = [
    say("What is the weather in Oslo?"),
    say("Thank you.", wait="heard", pattern=re.compile("snow")),
    hang_up(),
]


def weather_brain() -> RuleBrain:
    call = CallTool("weather", '{"city":"Oslo"}')
    step = Step(say="One moment.", tools=(call,), then=Step(say="It is {output} there."))
    return RuleBrain([Rule(step, re.compile("weather")), Rule(Step(say="Goodbye."))])


def test_words_cross_both_ways_with_a_tool_call_between() -> None:
    caller, model, bridge = converse(SCRIPT, weather_brain(), tools={"weather": "snow"})
    assert caller.heard_texts == [
        "Good morning, clinic.",
        "One moment.",
        "It is snow there.",
        "Goodbye.",
    ]
    assert all(heard.complete for heard in caller.heard)
    assert [heard.text for heard in model.heard] == caller.said
    assert bridge.calls == [("weather", '{"city":"Oslo"}')]
    assert (caller.ended_by, caller.stuck_step, caller.warnings) == ("caller", None, [])
    assert caller.played_bytes == caller.received_media_bytes
    assert len(caller.echoes) == 4
    assert caller.script_finished


def test_the_same_call_runs_the_same_twice() -> None:
    first = converse(SCRIPT, weather_brain(), tools={"weather": "snow"})
    second = converse(SCRIPT, weather_brain(), tools={"weather": "snow"})
    assert first[0].timeline == second[0].timeline
    assert first[0].echoes == second[0].echoes


def test_barge_in_cuts_what_is_heard_and_clears_the_rest() -> None:
    brain = RuleBrain(
        [Rule(Step(say="Let me read a long story to you. " * 8), re.compile("story"))]
    )
    script = [say("A story please."), say_over("Stop it.", 1500), hang_up()]
    caller, model, _ = converse(script, brain)
    cut = next(heard for heard in caller.heard if not heard.complete)
    assert cut.text.startswith("Let me read")
    assert caller.cleared_bytes > 8000
    assert caller.heard_texts[-1] == "You said: Stop it."
    assert [heard.text for heard in model.heard] == ["A story please.", "Stop it."]


@pytest.mark.parametrize("mutant", ["drop_frame", "swap_frames", "alter_byte"])
def test_a_defect_of_the_models_audio_is_noticed_by_the_caller(mutant: str) -> None:
    profile = RealtimeProfile(mutant=mutant)  # type: ignore[arg-type]
    caller, _, _ = converse(
        [say("Hi.", wait="ms", wait_ms=4000), hang_up()], RuleBrain(), realtime=profile
    )
    assert caller.heard
    assert not any(heard.complete for heard in caller.heard)


def test_a_dropped_caller_frame_is_noticed_by_the_model() -> None:
    script = [say("Hello you."), hang_up()]
    _, model, _ = converse(script, RuleBrain(), media=MediaProfile(mutant="drop_frame"))
    assert [heard.complete for heard in model.heard] == [False]


@pytest.mark.parametrize("frame_bytes", [80, 160, 320])
def test_any_frame_size_carries_the_words(frame_bytes: int) -> None:
    media = MediaProfile(frame_bytes=frame_bytes)
    _, model, _ = converse([say("Hello you."), hang_up()], RuleBrain(), media=media)
    assert [heard.text for heard in model.heard] == ["Hello you."]


def test_a_caller_who_waits_in_vain_hangs_up_and_says_why() -> None:
    script = [say("Hm.", wait="heard", pattern=re.compile("never"), timeout_ms=3000)]
    caller, _, _ = converse(script, RuleBrain())
    assert caller.stuck_step == script[0]
    assert not caller.script_finished


def test_virtual_clock_never_goes_back() -> None:
    clock = VirtualClock(5)
    clock.advance_to(5)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance_to(4)


def test_wires_keep_order_and_latency() -> None:
    class Source:
        def __init__(self) -> None:
            self.queue = ["a", "b"]

        def tick(self, now_ms: int) -> None:
            if now_ms == 10:
                self.queue.append("c")

        def next_deadline_ms(self) -> int | None:
            return 10 if clock.now_ms < 10 else None

        def drain(self) -> list[str | bytes]:
            out: list[str | bytes] = list(self.queue)
            self.queue.clear()
            return out

    clock, source = VirtualClock(), Source()
    arrived: list[tuple[str | bytes, int]] = []
    wire = Wire(source.drain, lambda frame, at: arrived.append((frame, at)), latency_ms=7)
    assert run_virtual([source], 1000, [wire], clock=clock) == 17
    assert arrived == [("a", 7), ("b", 7), ("c", 17)]


def test_a_part_that_never_meets_its_deadline_is_named() -> None:
    class Stubborn:
        def tick(self, now_ms: int) -> None:
            return

        def next_deadline_ms(self) -> int | None:
            return 5

        def __repr__(self) -> str:
            return "Stubborn"

    with pytest.raises(RuntimeError, match=r"stands still at 5 ms because of \[Stubborn\]"):
        run_virtual([Stubborn()], 1000)
