"""Caller turns, responses, tool calls and usage of the Realtime stand-in (sections 2.2, 4, 9)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from calls.standins.realtime_brain import CallTool, Rule, RuleBrain, Step
from calls.standins.realtime_profile import RealtimeProfile
from calls.standins.realtime_vad import SpeechStarted, SpeechStopped, VoiceActivity
from calls.standins.tones import encode, silence, utterance_ms

from .helpers import (
    Session,
    audio_of,
    config,
    error_of,
    kinds,
    of_kind,
    say_exactly,
    words_in,
)

pytestmark = pytest.mark.unit

SPOKEN = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


# -- speech and responses ----------------------------------------------------------------------


def test_caller_turn_has_the_documented_order_and_the_words_cross() -> None:
    session = Session()
    session.append(silence(400))
    seen = session.speak("Hello there") + session.run(4000)
    order = kinds(seen)
    completed = "conversation.item.input_audio_transcription.completed"
    assert order.index(completed) > order.index("response.created")
    user = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    rest = [kind for kind in order if "transcription" not in kind]
    assert rest == [*user, *SPOKEN, "rate_limits.updated"]
    assert words_in(seen) == ["You said: Hello there"]
    assert of_kind(seen, completed)[0]["transcript"] == "Hello there"
    started, stopped = seen[0], seen[1]
    assert started["audio_start_ms"] == 100  # 400 ms of silence less 300 ms padding
    assert stopped["audio_end_ms"] == 400 + utterance_ms("Hello there") + 320
    committed = of_kind(seen, "input_audio_buffer.committed")[0]
    assert started["item_id"] == stopped["item_id"] == committed["item_id"]
    transcript = of_kind(seen, "response.output_audio_transcript.done")[0]["transcript"]
    assert transcript == "You said: Hello there"


def test_audio_comes_in_bursts_of_varied_size() -> None:
    session = Session(RealtimeProfile(think_ms=0, burst_factor=5))
    text = "A sentence that takes a while to be spoken. " * 3
    session.send("response.create", response=say_exactly(text))
    half = session.run(utterance_ms(text) // 10)
    whole = half + session.run(utterance_ms(text) // 8)
    assert 0.4 < len(audio_of(half)) / len(encode(text)) < 0.75
    assert audio_of(session.events) == encode(text)
    sizes = {len(each["delta"]) for each in of_kind(whole, "response.output_audio.delta")}
    assert len(sizes) > 3


def test_o21_audio_before_the_format_is_set_is_not_heard() -> None:
    session = Session(configure=False)
    assert session.speak("Hello") == []
    assert session.peer.appended_before_configured_bytes == session.peer.undecodable_bytes > 0
    session.send("session.update", session=config())
    assert session.append(silence(500)) == []


def test_manual_turns_need_commit_and_create() -> None:
    session = Session()
    manual = config()
    manual["audio"]["input"]["turn_detection"] = None
    session.send("session.update", session=manual)
    assert session.speak("By hand") == []
    committed = session.send("input_audio_buffer.commit")
    assert kinds(committed)[:3] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    session.send("response.create")
    assert words_in(session.run(3000)) == ["You said: By hand"]
    error = error_of(session.send("input_audio_buffer.commit"))
    assert error["code"] == "input_audio_buffer_commit_empty"
    session.append(encode("forget me"))
    assert kinds(session.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error_of(session.send("input_audio_buffer.commit"))["code"].endswith("commit_empty")


def test_barge_in_cancels_the_active_response_with_the_documented_order() -> None:
    session = Session()
    session.send("response.create", response=say_exactly("A very long sentence. " * 10))
    session.run(600)
    seen = session.append(encode("Stop")[:1600])
    order = kinds(seen)
    at = order.index("input_audio_buffer.speech_started")
    assert order[at : at + 7] == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    done = of_kind(seen, "response.done")[0]["response"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["status"] == "incomplete"
    assert done["usage"]["output_token_details"]["audio_tokens"] > 0
    assert of_kind(session.run(500), "response.output_audio.delta") == []


def test_interrupt_false_leaves_the_response_and_the_next_turn_collides() -> None:
    session = Session()
    update = config()
    update["audio"]["input"]["turn_detection"]["interrupt_response"] = False
    session.send("session.update", session=update)
    session.send("response.create", response=say_exactly("A very long sentence. " * 60))
    session.run(300)
    seen = session.speak("Me too")
    error = error_of(seen)
    assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", None)
    assert of_kind(seen, "response.done") == []


def test_create_response_false_only_commits() -> None:
    session = Session()
    update = config()
    update["audio"]["input"]["turn_detection"]["create_response"] = False
    session.send("session.update", session=update)
    session.speak("Quiet")
    session.run(3000)
    assert of_kind(session.events, "response.created") == []


def test_o15_only_one_response_at_a_time() -> None:
    session = Session()
    session.send("response.create", response=say_exactly("One."))
    error = error_of(session.send("response.create"))
    assert error["code"] == "conversation_already_has_active_response"
    assert error["event_id"] == "test-response.create"
    cancelled = session.send("response.cancel")
    details = of_kind(cancelled, "response.done")[0]["response"]["status_details"]
    assert details["reason"] == "client_cancelled"
    error = error_of(session.send("response.cancel"))
    assert error["code"] == "response_cancel_not_active"


def test_tool_call_has_the_documented_order_and_the_output_is_spoken() -> None:
    call = CallTool("weather", '{"city":"Oslo"}')
    brain = RuleBrain([Rule(Step(tools=(call,)), re.compile("weather"))])
    session = Session(brain=brain)
    session.speak("The weather?")
    seen = session.run(1000)
    order = [kind for kind in kinds(seen) if "transcription" not in kind]
    assert order == [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    item = of_kind(seen, "response.done")[0]["response"]["output"][0]
    assert (item["name"], item["arguments"]) == ("weather", '{"city":"Oslo"}')
    output = {"type": "function_call_output", "call_id": item["call_id"], "output": "snow"}
    assert kinds(session.send("conversation.item.create", item=output)) == [
        "conversation.item.added",
        "conversation.item.done",
    ]
    session.send("response.create")
    assert words_in(session.run(3000)) == ["Result: snow"]


@pytest.mark.parametrize(
    "profile",
    [
        RealtimeProfile(),
        RealtimeProfile(fail_response="server_error", first_faulty_response=1, faulty_responses=1),
    ],
    ids=["cancelled", "failed"],
)
def test_results_of_which_nothing_was_said_are_spoken_of_when_asked_again(
    profile: RealtimeProfile,
) -> None:
    rule = Rule(Step(tools=(CallTool("weather", "{}"),), then=Step(say="It snows.")))
    session = Session(profile, RuleBrain([rule]))
    session.speak("The weather?")
    call = of_kind(session.run(1000), "response.done")[0]["response"]["output"][0]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "snow"}
    session.send("conversation.item.create", item=output)
    session.send("response.create")
    if profile.fail_response is None:
        session.run(100)
        session.send("response.cancel")
    session.run(1000)
    session.send("response.create")
    assert words_in(session.run(3000)) == ["It snows."]
    session.send("response.create")
    assert words_in(session.run(3000)) == ["Hello."], "they are spoken of once"


def test_o16_output_of_an_unknown_call_is_refused() -> None:
    session = Session()
    output = {"type": "function_call_output", "call_id": "call_x", "output": ""}
    error = error_of(session.send("conversation.item.create", item=output))
    assert error["code"] == "invalid_tool_call_id"


def test_cancelled_tool_call_still_announces_half_arguments() -> None:
    call = CallTool("weather", '{"city":"Oslo","day":"tomorrow"}')
    session = Session(brain=RuleBrain([Rule(Step(tools=(call,)))]))
    session.speak("Go")
    seen: list[dict[str, Any]] = []
    while not of_kind(seen, "response.function_call_arguments.delta"):
        seen = session.run(1)
    seen = session.send("response.cancel")
    done = of_kind(seen, "response.output_item.done")[0]["item"]
    assert done["status"] == "incomplete"
    assert done["arguments"] != call.arguments_json
    assert of_kind(seen, "response.function_call_arguments.done")


def test_undeclared_tools_are_called_only_by_profile() -> None:
    brain = RuleBrain([Rule(Step(say="Hm.", tools=(CallTool("invented", "{}"),)))])
    for allowed in (False, True):
        session = Session(RealtimeProfile(call_undeclared_tools=allowed), brain)
        session.speak("Go")
        session.run(2000)
        kinds_seen = kinds(session.events)
        assert ("response.function_call_arguments.done" in kinds_seen) is allowed


def test_a_model_that_may_not_call_its_tool_says_so() -> None:
    session = Session(brain=RuleBrain([Rule(Step(tools=(CallTool("invented", "{}"),)))]))
    session.speak("Go")
    assert words_in(session.run(3000)) == ["I cannot do that."]


def test_out_of_band_text_response_stays_outside_the_conversation() -> None:
    session = Session()
    session.send("response.create", response=say_exactly("Talking all the time. " * 5))
    session.run(300)
    request = {"conversation": "none", "output_modalities": ["text"], "metadata": {"purpose": "x"}}
    session.send("response.create", response={**request, "instructions": 'Print "{}"', "input": []})
    seen = session.run(5000)
    text = of_kind(seen, "response.output_text.done")
    assert [each["text"] for each in text] == ["{}"]
    done = of_kind(seen, "response.done")
    outside = next(d["response"] for d in done if d["response"]["conversation_id"] is None)
    assert outside["metadata"] == {"purpose": "x"}
    assert session.peer.conversation.find(text[0]["item_id"]) is None


def test_idle_timeout_starts_a_response() -> None:
    session = Session()
    update = config()
    update["audio"]["input"]["turn_detection"]["idle_timeout_ms"] = 5000
    session.send("session.update", session=update)
    session.send("response.create", response=say_exactly("Hi."))
    seen = session.run(9000)
    order = kinds(seen)
    assert "input_audio_buffer.timeout_triggered" in order
    assert order.index("input_audio_buffer.committed") > order.index("response.done")
    assert order.count("response.created") == 1  # the first was sent before `seen`


# -- usage -------------------------------------------------------------------------------------


def test_usage_adds_up_grows_and_is_cached() -> None:
    session = Session()
    usages = []
    for number in range(3):
        session.speak(f"Turn number {number}, with some more words to weigh")
        session.run(4000)
        usages.append(of_kind(session.events, "response.done")[-1]["response"]["usage"])
    for usage in usages:
        into, out = usage["input_token_details"], usage["output_token_details"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage["input_tokens"] == into["text_tokens"] + into["audio_tokens"]
        assert usage["output_tokens"] == out["text_tokens"] + out["audio_tokens"]
        assert into["cached_tokens"] == sum(into["cached_tokens_details"].values())
        assert into["cached_tokens"] <= usage["input_tokens"]
    inputs = [usage["input_tokens"] for usage in usages]
    assert inputs == sorted(inputs)
    assert inputs[0] < inputs[2]
    assert usages[0]["input_token_details"]["cached_tokens"] == 0
    assert usages[2]["input_token_details"]["cached_tokens"] > 0
    spoken_ms = utterance_ms("You said: Turn number 0, with some more words to weigh")
    assert usages[0]["output_token_details"]["audio_tokens"] == -(-spoken_ms // 50)


# -- voice activity ----------------------------------------------------------------------------


def test_voice_activity_counts_appended_audio_only() -> None:
    vad = VoiceActivity(40)
    turn = {"type": "server_vad", "silence_duration_ms": 100, "prefix_padding_ms": 0}
    vad.configure(turn)
    voiced, quiet = encode("a")[:160], silence(20)
    frames = [quiet, voiced, quiet, voiced, voiced, *[quiet] * 5]
    found = [each for frame in frames if (each := vad.window(frame)) is not None]
    assert found == [SpeechStarted(60), SpeechStopped(200)]
    vad.configure({"type": "semantic_vad", "eagerness": "high"})
    vad.window(voiced)
    vad.window(voiced)
    assert vad.speaking
    vad.reset()
    assert not vad.speaking
