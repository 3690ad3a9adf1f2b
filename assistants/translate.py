"""From an assistant's document to the plan of a Realtime session, with its variables filled in.

Owns what each field of a document becomes in a session (vapi.md 2.2-2.10 against
openai_realtime.md 2): which prompt, which words first, when a turn is over, what the model may do.
Pure; same document, variables and moment, same plan. It must not know dialects, tools, phone
numbers or how a session is written down; a layer above turns the plan into events.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from assistants.prompt import render
from assistants.wire import vapi_config
from assistants.wire.vapi_speech import (
    ACKNOWLEDGEMENTS,
    INTERRUPTIONS,
    IdleReading,
    KeypadReading,
    SpeakingReading,
    SpeechReading,
    read_speech,
)

GreetingMode = Literal["exact", "generated", "wait"]

SILENCE_MS: Final = 320  # where the document says nothing
_SILENCE_BOUNDS_MS: Final = (200, 3_000)
# Vapi's own waits; what a document sets is read as a difference to them.
_WAIT_SECONDS: Final = 0.4
_ON_PUNCTUATION_SECONDS: Final = 0.1
_ON_NO_PUNCTUATION_SECONDS: Final = 1.5
_VOICE_SECONDS: Final = 0.2
SPEEDS: Final = (0.25, 1.5)
# One token of text is about six of audio and itself again (openai_realtime.md 9.3), so a limit
# meant for text would cut speech in mid-sentence (vapi.md trap 33); small ones are not applied.
_REALTIME_PER_TEXT_TOKEN: Final = 8
LEAST_MAX_TOKENS: Final = 500
MOST_OUTPUT_TOKENS: Final = 4_096

_MODES: Final[Mapping[str, GreetingMode]] = {
    "assistant-speaks-first": "exact",
    "assistant-speaks-first-with-model-generated-message": "generated",
    "assistant-waits-for-user": "wait",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A turn that the conversation begins with, for the model to learn from."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class TurnTaking:
    """When the caller has finished: after ``silence_ms``, or by what was said (``semantic``)."""

    kind: Literal["silence", "semantic"] = "silence"
    silence_ms: int = SILENCE_MS


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Everything of an assistant that shapes a call; texts are rendered.

    The last group is data that no session knows: how a call is watched over and ended.
    ``max_output_tokens`` 0 and ``speed`` 1.0 are the model's own; None and '' say nothing.
    """

    instructions: str = ""
    messages: tuple[Message, ...] = ()
    greeting_mode: GreetingMode = "wait"
    greeting: str = ""
    greeting_audio_url: str = ""
    greeting_interruptible: bool = False
    end_call_message: str = ""
    model: str = ""
    voice: str = vapi_config.DEFAULT_VOICE
    speed: float = 1.0
    language: str = "en"
    languages: tuple[str, ...] = ()
    transcription_prompt: str = ""
    keywords: tuple[str, ...] = ()
    turns: TurnTaking = TurnTaking()
    noise_reduction: Literal["", "near_field"] = ""
    max_output_tokens: int = 0
    temperature: float | None = None
    reasoning_effort: str = ""

    max_duration_seconds: int = 600
    silence_timeout_seconds: int = 30
    idle: IdleReading = IdleReading()
    interrupt_words: int = 0
    interrupt_voice_seconds: float | None = None
    interrupt_backoff_seconds: float | None = None
    acknowledgements: tuple[str, ...] = ACKNOWLEDGEMENTS
    interruptions: tuple[str, ...] = INTERRUPTIONS
    end_call_phrases: tuple[str, ...] = ()
    keypad: KeypadReading | None = None
    voicemail_detection: Mapping[str, Any] = field(default_factory=dict)
    voicemail_message: str = ""
    hooks: tuple[Mapping[str, Any], ...] = ()


def session_plan(
    document: Any, *, voice: str, variables: Mapping[str, Any], now: dt.datetime
) -> SessionPlan:
    """Return the plan of a session for a document.

    Args:
        document: a whole assistant in Vapi's form; any JSON is accepted.
        voice: the Realtime voice that was decided for it.
        variables: what Liquid fills in, by name.
        now: the moment of the call.
    """
    reading = vapi_config.read_assistant(document)
    speech = read_speech(document)

    def filled(text: str) -> str:
        return render(text, variables, now)

    places = (place.text for place in vapi_config.prompt_places(document) if place.is_used)
    mode, greeting = greeting_of(reading, filled(reading.first_message))
    audio_url = speech.greeting_audio_url
    if vapi_config.is_audio_url(greeting):
        # A variable held the address; read out, it would be spelt letter by letter.
        mode, greeting, audio_url = "wait", "", greeting.strip()
    return SessionPlan(
        instructions="\n\n".join(filled(text) for text in places),
        messages=_messages(speech, variables, now),
        greeting_mode=mode,
        greeting=greeting,
        greeting_audio_url=audio_url,
        greeting_interruptible=reading.first_message_interruptible,
        end_call_message=filled(reading.end_call_message).strip(),
        model=reading.model,
        voice=voice,
        speed=speed_of(speech.speed),
        language=reading.language,
        languages=() if reading.language else speech.transcription_languages,
        transcription_prompt=filled(speech.transcription_prompt),
        keywords=speech.transcription_keywords,
        turns=turn_taking(speech.speaking),
        noise_reduction="near_field" if speech.removes_noise else "",
        max_output_tokens=output_tokens(speech.max_tokens),
        temperature=speech.temperature,
        reasoning_effort=speech.reasoning_effort,
        max_duration_seconds=reading.max_duration_seconds,
        silence_timeout_seconds=speech.silence_timeout_seconds,
        idle=_idle(speech.idle, filled),
        interrupt_words=speech.interrupt_words,
        interrupt_voice_seconds=speech.interrupt_voice_seconds,
        interrupt_backoff_seconds=speech.interrupt_backoff_seconds,
        acknowledgements=speech.acknowledgements,
        interruptions=speech.interruptions,
        end_call_phrases=speech.end_call_phrases,
        keypad=speech.keypad,
        voicemail_detection=speech.voicemail_detection,
        voicemail_message=filled(speech.voicemail_message).strip(),
        hooks=speech.hooks,
    )


def greeting_of(reading: vapi_config.AssistantReading, rendered: str) -> tuple[GreetingMode, str]:
    """Return who speaks first and what; without words to say the assistant waits (vapi.md 2.2)."""
    mode = _MODES[reading.first_message_mode]
    if mode != "exact":
        return mode, ""
    return ("exact", rendered) if rendered.strip() else ("wait", "")


def turn_taking(speaking: SpeakingReading) -> TurnTaking:
    """Return when the caller has finished speaking (vapi.md 2.7).

    Vapi waits for the transcriber (shorter after punctuation) and then ``waitSeconds``; a session
    hears silence only. So what differs from Vapi's own waits is added to our 320 ms, half of it
    for each kind of pause.
    """
    if speaking.is_smart:
        return TurnTaking("semantic")
    pauses = (
        _difference(speaking.on_punctuation_seconds, _ON_PUNCTUATION_SECONDS)
        + _difference(speaking.on_no_punctuation_seconds, _ON_NO_PUNCTUATION_SECONDS)
    ) / 2
    more = _difference(speaking.wait_seconds, _WAIT_SECONDS) + pauses
    low, high = _SILENCE_BOUNDS_MS
    return TurnTaking(silence_ms=round(min(max(SILENCE_MS + more * 1_000, low), high)))


def _difference(value: float | None, usual: float) -> float:
    return 0.0 if value is None else value - usual


def speed_of(value: float | None) -> float:
    """Return the speed of a voice within what a session takes, 1.0 where nothing is said."""
    if not value:
        return 1.0
    return min(max(value, SPEEDS[0]), SPEEDS[1])


def output_tokens(max_tokens: int | None) -> int:
    """Return the limit of one response in Realtime tokens, 0 for none (vapi.md 2.3, trap 33)."""
    if max_tokens is None or max_tokens < LEAST_MAX_TOKENS:
        return 0
    return min(max_tokens * _REALTIME_PER_TEXT_TOKEN, MOST_OUTPUT_TOKENS)


def interrupt_voice_ms(words: int, voice_seconds: float | None) -> int:
    """Return how long the caller must speak to interrupt, 0 where to speak is enough.

    The session's own detector takes about as long as Vapi's usual 0.2 s; only more than that is
    waited for, and not beside a number of words, as at Vapi (vapi.md 2.7).
    """
    if words or voice_seconds is None or voice_seconds <= _VOICE_SECONDS:
        return 0
    return round(voice_seconds * 1_000)


def _idle(idle: IdleReading, filled: Callable[[str], str]) -> IdleReading:
    messages = (filled(message).strip() for message in idle.messages)
    return replace(
        idle,
        messages=tuple(message for message in messages if message),
        silence_message=filled(idle.silence_message).strip(),
    )


def _messages(
    speech: SpeechReading, variables: Mapping[str, Any], now: dt.datetime
) -> tuple[Message, ...]:
    rendered = ((turn.role, render(turn.text, variables, now)) for turn in speech.examples)
    return tuple(Message(role, text) for role, text in rendered if text.strip())
