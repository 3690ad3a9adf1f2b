"""Mutants of design.md 8: a bridge or a peer with one defect must fail the checks that the
conversation tests rely on.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from calls.bridge.machine import CallBridge
from calls.bridge.plan import CallPlan, Greeting
from calls.bridge.playback import Cut, Playback
from calls.standins.caller import hang_up, say, say_over
from calls.standins.peer import Output, Send
from calls.standins.realtime_brain import CallTool, Rule, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.tones import SILENCE
from calls.standins.twilio_media import MediaProfile
from tests.sound_call import assert_sound
from tests.virtual_call import PatientBrain, VirtualCall, clip, evenly, plan_of

pytestmark = pytest.mark.unit

STORY = "Once upon a time there was a telephone that rang and rang."
HELLO = [say("Hello there."), hang_up()]


def conversation(**options: Any) -> VirtualCall:
    """Return a call with a story that is interrupted and a goodbye that is heard."""
    bye = Step(say="Goodbye then.", tools=(CallTool("endCall", "{}"),))
    brain = PatientBrain(
        [Rule(Step(say=STORY), re.compile("story")), Rule(bye, re.compile("Enough"))]
    )
    plan = plan_of("endCall", policy_line=clip("Recorded."), greeting=Greeting("exact", "Hello."))
    script = [say("A story."), say_over("Enough.", 500)]
    return VirtualCall(plan, script, brain, **{"latency": evenly(20), **options})


def not_sound(call: VirtualCall) -> None:
    """Fail unless the checks refuse the call."""
    with pytest.raises(AssertionError):
        assert_sound(call.run())


def test_without_a_mutant_the_conversation_is_sound() -> None:
    call = conversation().run()
    assert_sound(call)
    assert call.caller.heard_texts[-1] == "Goodbye then."
    assert call.end.ended_reason == "assistant-ended-call"


def _with_key(kind: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def add(message: dict[str, Any]) -> dict[str, Any]:
        hit = kind in (message.get("event"), message.get("type"))
        return {**message, "seq": 1} if hit else message

    return add


class Altered(CallBridge):
    """A bridge whose outputs pass through ``alter`` before the driver sees them."""

    alter: Callable[[dict[str, Any]], dict[str, Any] | None]
    side = "to_twilio"

    def _settle(self, now_ms: int) -> None:
        super()._settle(now_ms)
        self._alter()

    def receive_twilio(self, text: str, now_ms: int) -> None:
        super().receive_twilio(text, now_ms)
        self._alter()

    def receive_realtime(self, text: str, now_ms: int, *, session: int = 0) -> None:
        super().receive_realtime(text, now_ms, session=session)
        self._alter()

    def _alter(self) -> None:
        queue = getattr(self, self.side)
        fresh = [self.alter(json.loads(text)) for text in queue]
        queue[:] = [json.dumps(message) for message in fresh if message is not None]


def altered(
    side: str, alter: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> Callable[[CallPlan, int], CallBridge]:
    """Return a maker of bridges with that defect."""

    def make(plan: CallPlan, now_ms: int) -> CallBridge:
        bridge = Altered(plan, now_ms)
        bridge.side, bridge.alter = side, alter  # type: ignore[method-assign]
        return bridge

    return make


@pytest.mark.parametrize("kind", ["media", "mark", "clear"])
def test_an_undeclared_key_to_twilio_is_found(kind: str) -> None:
    not_sound(conversation(bridge=altered("to_twilio", _with_key(kind))))


@pytest.mark.parametrize(
    "kind",
    [
        "session.update",
        "input_audio_buffer.append",
        "response.create",
        "conversation.item.create",
        "conversation.item.truncate",
    ],
)
def test_an_undeclared_key_to_the_model_is_found(kind: str) -> None:
    not_sound(conversation(bridge=altered("to_realtime", _with_key(kind))))


def test_an_undeclared_key_deep_in_the_session_is_found() -> None:
    def add(message: dict[str, Any]) -> dict[str, Any]:
        if message["type"] == "session.update":
            message["session"]["audio"]["input"]["turn_detection"]["eager"] = True
        return message

    not_sound(conversation(bridge=altered("to_realtime", add)))


class Nth:
    """Drops the n-th message of a kind."""

    def __init__(self, key: str, kind: str, number: int) -> None:
        self.key, self.kind, self.left = key, kind, number

    def __call__(self, message: dict[str, Any]) -> dict[str, Any] | None:
        if message[self.key] == self.kind:
            self.left -= 1
            if self.left == 0:
                return None
        return message


def test_one_frame_dropped_on_the_way_to_the_caller_is_found() -> None:
    not_sound(conversation(bridge=altered("to_twilio", Nth("event", "media", 2))))


def test_one_frame_dropped_on_the_way_to_the_model_is_found() -> None:
    call = VirtualCall(plan_of(), HELLO)
    call.bridge = altered("to_realtime", VoicedFrameLost())
    not_sound(call)


class VoicedFrameLost:
    """Drops the fifth frame in which the caller speaks."""

    left = 5

    def __call__(self, message: dict[str, Any]) -> dict[str, Any] | None:
        audio = base64.b64decode(message.get("audio", ""))
        if audio and audio.count(SILENCE) < len(audio):
            self.left -= 1
            return None if self.left == 0 else message
        return message


def test_silence_forwarded_instead_of_the_caller_is_found() -> None:
    def hush(message: dict[str, Any]) -> dict[str, Any]:
        if message["type"] == "input_audio_buffer.append":
            size = len(base64.b64decode(message["audio"]))
            message["audio"] = base64.b64encode(bytes([SILENCE]) * size).decode()
        return message

    not_sound(conversation(bridge=altered("to_realtime", hush), until_ms=40_000))


def test_two_callers_swapped_are_found() -> None:
    """The model hears somebody else's words: both calls fail, although each is complete."""
    other = VirtualCall(plan_of(), [say("I am another."), hang_up()]).run()
    assert_sound(other)
    call = VirtualCall(plan_of(), HELLO).run()
    assert_sound(call)
    call.models, other.models = other.models, call.models
    for each in (call, other):
        with pytest.raises(AssertionError):
            assert_sound(each)


@pytest.mark.parametrize("mutant", ["drop_frame", "swap_frames", "alter_byte", "undeclared_key"])
def test_a_mutant_of_the_model_is_found(mutant: Any) -> None:
    not_sound(conversation(realtime=RealtimeProfile(mutant=mutant), until_ms=40_000))


@pytest.mark.parametrize(
    "mutant", ["drop_frame", "mark_early", "undeclared_key", "number_counters"]
)
def test_a_mutant_of_the_carrier_is_found(mutant: Any) -> None:
    not_sound(conversation(media=MediaProfile(mutant=mutant), until_ms=40_000))


def test_one_mark_echoed_early_is_found() -> None:
    """The last mark of the goodbye comes back before the goodbye was heard (T14)."""
    call = conversation()
    call.alter_twilio = lambda outputs: sorted(outputs, key=_media_last)
    not_sound(call)


def _media_last(output: Output) -> bool:
    return isinstance(output, Send) and '"media"' in str(output.data)


def test_t10_marks_counted_after_clear_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger without generations believes that the cleared answer was heard to its end."""

    def clear_and_trust_the_echoes(self: Playback, now_ms: int) -> list[Cut]:
        self._emit(self._writer.clear())
        return []

    monkeypatch.setattr(Playback, "clear", clear_and_trust_the_echoes)
    not_sound(conversation())


def test_t12_no_clear_after_generation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CallBridge, "_forget_unheard", lambda *_: None)
    not_sound(conversation())


def test_t13_truncation_by_the_wall_clock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent is not heard: truncating at what was received tells the model a lie."""
    heard = Playback._heard_of_chunks

    def everything(self: Playback, now_ms: int) -> list[int]:
        return [chunk.size for chunk, _ in zip(self._chunks, heard(self, now_ms), strict=True)]

    monkeypatch.setattr(Playback, "_heard_of_chunks", everything)
    not_sound(conversation())


def test_t14_hang_up_before_the_goodbye_is_heard_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Playback, "silent", property(lambda self: True))
    not_sound(conversation())


def test_t11_late_deltas_played_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from calls.bridge.responses import Responses

    monkeypatch.setattr(Responses, "is_stale", lambda self, response_id: self.current is None)
    monkeypatch.setattr(Responses, "on_done", _keeps(Responses.on_done))
    profile = RealtimeProfile(late_deltas_after_cancel=6, burst_factor=1.2)
    not_sound(conversation(realtime=profile))


def _keeps(on_done: Callable[..., Any]) -> Callable[..., Any]:
    def late(self: Any, response_id: str) -> Any:
        current = self.current
        result = on_done(self, response_id)
        self.current = self.current or current
        return result

    return late


def test_o21_audio_before_the_configuration_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Eager(CallBridge):
        def _caller_media(self, message: dict[str, Any], now_ms: int) -> None:
            from calls.wire import realtime

            self.to_realtime.append(realtime.append(message["media"]["payload"]))

    call = VirtualCall(plan_of(), HELLO, bridge=Eager)
    call.realtime = RealtimeProfile(created_delay_ms=200, updated_delay_ms=200)
    not_sound(call)


def test_a_bridge_that_is_not_deterministic_is_found() -> None:
    """What the recorded inputs do not explain cannot be replayed."""
    made: list[int] = []

    class Moody(CallBridge):
        def __init__(self, plan: CallPlan, now_ms: int) -> None:
            super().__init__(plan, now_ms)
            made.append(1)
            self._next_id = len(made) * 10

    not_sound(conversation(bridge=Moody))
