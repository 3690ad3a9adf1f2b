"""A document as the plan of a session: which words, who begins, when a turn is over, what helps."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from assistants.translate import (
    Message,
    SessionPlan,
    TurnTaking,
    interrupt_voice_ms,
    session_plan,
)
from assistants.wire.vapi_speech import IdleReading, KeypadReading

pytestmark = pytest.mark.unit

NOW = dt.datetime(2026, 11, 22, 15, 4, tzinfo=dt.UTC)
VARIABLES = {"name": "Ada", "sound": "https://example.com/hello.mp3"}
FULL: dict[str, Any] = {
    "firstMessage": "Hi {{name}}, today is {{'now' | date: '%A'}}.",
    "endCallMessage": "Bye {{name}}. ",
    "voicemailMessage": "Call us, {{name}}.",
    "model": {
        "messages": [
            {"role": "system", "content": "Help {{name}}{% if vip %} at once{% endif %}."},
            {"role": "user", "content": "I am {{name}}."},
            {"role": "assistant", "content": "Hello {{name}}."},
            {"role": "tool", "content": "x"},
            {"role": "user", "content": "{{nothing}}"},
            {"role": "system", "content": "Be brief{{ | }}."},
        ]
    },
}


def plan_of(document: Any, **more: Any) -> SessionPlan:
    return session_plan(document, voice="sage", variables=VARIABLES | more, now=NOW)


def test_every_text_is_filled_in() -> None:
    plan = plan_of(FULL)
    assert plan.instructions == "Help Ada.\n\nBe brief."
    assert plan.messages == (Message("user", "I am Ada."), Message("assistant", "Hello Ada."))
    assert (plan.greeting_mode, plan.greeting) == ("exact", "Hi Ada, today is Sunday.")
    assert plan.end_call_message == "Bye Ada."
    assert plan.voicemail_message == "Call us, Ada."
    assert plan.voice == "sage"


@pytest.mark.parametrize(
    ("document", "mode", "text", "url"),
    [
        ({}, "wait", "", ""),
        ({"firstMessage": ""}, "wait", "", ""),
        ({"firstMessage": "Hi"}, "exact", "Hi", ""),
        ({"firstMessage": "{{nobody}} "}, "wait", "", ""),
        ({"firstMessage": 7}, "wait", "", ""),
        ({"firstMessage": "https://example.com/a.mp3"}, "wait", "", "https://example.com/a.mp3"),
        ({"firstMessage": "{{sound}}"}, "wait", "", VARIABLES["sound"]),
        (
            {"firstMessage": "Hi", "firstMessageMode": "assistant-waits-for-user"},
            *("wait", "", ""),
        ),
        (
            {
                "firstMessage": "Hi",
                "firstMessageMode": "assistant-speaks-first-with-model-generated-message",
            },
            *("generated", "", ""),
        ),
        ({"firstMessage": "Hi", "firstMessageMode": "nonsense"}, "exact", "Hi", ""),
    ],
)
def test_who_speaks_first_and_what(document: Any, mode: str, text: str, url: str) -> None:
    plan = plan_of(document)
    assert (plan.greeting_mode, plan.greeting, plan.greeting_audio_url) == (mode, text, url)


def test_v7_the_greeting_may_be_interrupted_only_where_the_document_says_so() -> None:
    assert not plan_of({"firstMessage": "Hi"}).greeting_interruptible
    assert plan_of({"firstMessageInterruptionsEnabled": True}).greeting_interruptible


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (None, TurnTaking()),
        ({}, TurnTaking(silence_ms=320)),
        ({"waitSeconds": 0.4}, TurnTaking(silence_ms=320)),
        ({"waitSeconds": 0.8}, TurnTaking(silence_ms=720)),
        ({"waitSeconds": 0}, TurnTaking(silence_ms=200)),
        ({"waitSeconds": 9}, TurnTaking(silence_ms=3000)),
        (
            {"transcriptionEndpointingPlan": {"onNoPunctuationSeconds": 1.9}},
            TurnTaking("silence", 520),
        ),
        (
            {
                "waitSeconds": 0.4,
                "transcriptionEndpointingPlan": {
                    "onPunctuationSeconds": 0.1,
                    "onNoPunctuationSeconds": 1.5,
                    "onNumberSeconds": 0.5,
                },
            },
            TurnTaking(silence_ms=320),
        ),
        ({"smartEndpointingPlan": {"provider": "livekit"}}, TurnTaking("semantic")),
        ({"smartEndpointingEnabled": True}, TurnTaking("semantic")),
        ({"smartEndpointingEnabled": "livekit", "waitSeconds": 2}, TurnTaking("semantic")),
        ({"smartEndpointingEnabled": False}, TurnTaking()),
        ({"waitSeconds": "0.8", "smartEndpointingPlan": []}, TurnTaking()),
    ],
)
def test_when_the_caller_has_finished(plan: Any, expected: TurnTaking) -> None:
    assert plan_of({"startSpeakingPlan": plan}).turns == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, ""),
        ({"backgroundDenoisingEnabled": True}, "near_field"),
        ({"backgroundDenoisingEnabled": "yes"}, ""),
        (
            {"backgroundSpeechDenoisingPlan": {"smartDenoisingPlan": {"enabled": True}}},
            "near_field",
        ),
        (
            {
                "backgroundDenoisingEnabled": True,
                "backgroundSpeechDenoisingPlan": {"smartDenoisingPlan": {"enabled": False}},
            },
            "",
        ),
    ],
)
def test_noise(document: Any, expected: str) -> None:
    assert plan_of(document).noise_reduction == expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(None, 0), (250, 0), (50, 0), (499, 0), (500, 4000), (1024, 4096), (True, 0), ("900", 0)],
)
def test_v33_a_limit_meant_for_text_does_not_cut_speech(tokens: Any, expected: int) -> None:
    assert plan_of({"model": {"maxTokens": tokens}}).max_output_tokens == expected


@pytest.mark.parametrize(
    ("speed", "expected"), [(None, 1.0), (0.9, 0.9), (3, 1.5), (0.1, 0.25), (0, 1.0), ("fast", 1.0)]
)
def test_the_speed_of_the_voice_stays_in_range(speed: Any, expected: float) -> None:
    assert plan_of({"voice": {"provider": "vapi", "voiceId": "Elliot", "speed": speed}}).speed == (
        expected
    )


def test_the_transcriber_is_helped_by_what_any_vendor_calls_its_hints() -> None:
    plan = plan_of(
        {
            "transcriber": {
                "language": "multi",
                "languages": ["en-US", "de", "de", "Klingon", 3],
                "prompt": "A clinic of {{name}}.",
                "keywords": ["Zahnrad:2", "", 4, "x" * 60],
                "keyterm": ["Harbour Dental", "Zahnrad"],
                "customVocabulary": [{"content": "Bleaching"}],
            }
        }
    )
    assert plan.language == ""
    assert plan.languages == ("en", "de")
    assert plan.transcription_prompt == "A clinic of Ada."
    assert plan.keywords == ("Harbour Dental", "Zahnrad", "Bleaching")
    assert plan_of({"transcriber": {"language": "en-GB", "languages": ["fr"]}}).languages == ()
    assert plan_of({"transcriber": {"wordBoost": "Ada"}}).keywords == ("Ada",)


def test_how_a_call_is_watched_over_comes_along_as_data() -> None:
    plan = plan_of(
        {
            "silenceTimeoutSeconds": 20,
            "maxDurationSeconds": 90,
            "stopSpeakingPlan": {"numWords": 2, "voiceSeconds": 0.9, "backoffSeconds": 2},
            "messagePlan": {
                "idleMessages": ["Still there, {{name}}?", " ", 3],
                "idleTimeoutSeconds": 6,
                "idleMessageMaxSpokenCount": 4,
                "idleMessageResetCountOnUserSpeechEnabled": True,
                "silenceTimeoutMessage": "Bye {{name}}.",
            },
            "endCallPhrases": ["Goodbye now", "", 3, "x" * 200],
            "keypadInputPlan": {"enabled": True, "timeoutSeconds": 4, "delimiters": ["#", "!"]},
            "voicemailDetection": {"provider": "twilio"},
            "hooks": [{"on": "call.ending", "do": []}, "no"],
            "model": {"model": "gpt-realtime-2", "temperature": 0.7, "reasoningEffort": "low"},
        }
    )
    assert (plan.silence_timeout_seconds, plan.max_duration_seconds) == (20, 90)
    assert (plan.interrupt_words, plan.interrupt_voice_seconds) == (2, 0.5)
    assert plan.interrupt_backoff_seconds == 2
    assert plan.end_call_phrases == ("Goodbye now",)
    assert plan.idle == IdleReading(("Still there, Ada?",), 6, 4, True, "Bye Ada.")
    assert plan.keypad == KeypadReading(4, ("#",))
    assert plan.voicemail_detection == {"provider": "twilio"}
    assert plan.hooks == ({"on": "call.ending", "do": []},)
    assert (plan.model, plan.temperature, plan.reasoning_effort) == ("gpt-realtime-2", 0.7, "low")


@pytest.mark.parametrize(
    ("words", "voice_seconds", "voice_ms"),
    [(0, None, 0), (0, 0.2, 0), (0, 0.3, 300), (2, 0.4, 0)],
)
def test_speech_must_last_only_where_it_takes_longer_than_a_detector_needs(
    words: int, voice_seconds: float | None, voice_ms: int
) -> None:
    assert interrupt_voice_ms(words, voice_seconds) == voice_ms


def test_words_that_interrupt_are_vapis_own_unless_the_document_lists_some() -> None:
    assert "uh-huh" in plan_of({}).acknowledgements
    assert "wait" in plan_of({"stopSpeakingPlan": {"interruptionPhrases": None}}).interruptions
    lists = {"acknowledgementPhrases": ["genau", 3], "interruptionPhrases": []}
    plan = plan_of({"stopSpeakingPlan": lists})
    assert (plan.acknowledgements, plan.interruptions) == (("genau",), ())


def test_v10_a_timeout_below_ten_seconds_is_ten() -> None:
    assert plan_of({"silenceTimeoutSeconds": 3}).silence_timeout_seconds == 10
    assert plan_of({"numWordsToInterruptAssistant": 3}).interrupt_words == 3
    assert plan_of({"keypadInputPlan": {"enabled": "yes"}}).keypad is None
    assert plan_of({"model": {"reasoningEffort": "none"}}).reasoning_effort == ""


@pytest.mark.parametrize("document", [None, [], "x", 3, {"model": "gpt-4o", "voice": []}])
def test_any_json_gives_a_plan(document: Any) -> None:
    assert plan_of(document) == SessionPlan(voice="sage", greeting_mode="wait")
