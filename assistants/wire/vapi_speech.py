"""The reader of how a Vapi assistant listens and speaks (vapi.md 2.2, 2.3, 2.6-2.8, 2026-11-22).

Owns the fields of a document that shape a conversation beyond its prompt: example turns, what helps
the transcriber, when a turn is over, noise, limits of the model, timers, keys, voicemail and hooks.
Pure and total: a value of the wrong type is read as if it were absent. It says what the document
says; what a Realtime session makes of it is ``assistants.translate``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tools.loose_json import as_list, as_object, as_text, as_whole_number

SILENCE_SECONDS: Final = (10, 3_600)
DEFAULT_SILENCE_SECONDS: Final = 30
EFFORTS: Final = ("minimal", "low", "medium", "high", "xhigh")
# Vapi's own lists, where the document has none (vapi.md 2.7).
ACKNOWLEDGEMENTS: Final = (
    *("i understand", "i see", "i got it", "i hear you", "im listening", "im with you", "right"),
    *("okay", "ok", "sure", "alright", "got it", "understood", "yeah", "yes", "uh-huh", "mm-hmm"),
    *("gotcha", "mhmm", "ah", "yeah okay", "yeah sure"),
)
INTERRUPTIONS: Final = (
    *("stop", "shut", "up", "enough", "quiet", "silence", "but", "dont", "not", "no", "hold"),
    *("wait", "cut", "pause", "nope", "nah", "nevermind", "never", "bad", "actually"),
)
_MAX_PHRASE: Final = 240
_MAX_SPOKEN: Final = 1_000
_MAX_HINTS: Final = 100
_MAX_HINT: Final = 50
_MAX_PROMPT: Final = 1_000
# Deepgram's boost of a keyword, `word:2`; the Realtime transcribers have none.
_BOOST: Final = re.compile(r":-?\d+(\.\d+)?$")
_AUDIO_URL: Final = re.compile(r"\s*https?://\S+\s*")


@dataclass(frozen=True, slots=True)
class ExampleTurn:
    """A message of the document that is no system message; ``path`` is where it stands."""

    path: str
    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class SpeakingReading:
    """``startSpeakingPlan``; None where the document says nothing."""

    is_smart: bool = False
    wait_seconds: float | None = None
    on_punctuation_seconds: float | None = None
    on_no_punctuation_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class KeypadReading:
    """``keypadInputPlan`` that is switched on; an empty delimiter set waits for the timeout."""

    timeout_seconds: float = 2.0
    delimiters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IdleReading:
    """``messagePlan``: what a caller who says nothing hears, and how often (vapi.md 2.2)."""

    messages: tuple[str, ...] = ()
    wait_seconds: float = 10.0
    most: int = 3
    counts_anew: bool = False
    silence_message: str = ""


@dataclass(frozen=True, slots=True)
class SpeechReading:
    """What a document says of listening and speaking; defaults are Vapi's."""

    examples: tuple[ExampleTurn, ...] = ()
    greeting_audio_url: str = ""
    transcription_prompt: str = ""
    transcription_keywords: tuple[str, ...] = ()
    transcription_languages: tuple[str, ...] = ()
    speaking: SpeakingReading = SpeakingReading()
    interrupt_words: int = 0
    interrupt_voice_seconds: float | None = None
    interrupt_backoff_seconds: float | None = None
    acknowledgements: tuple[str, ...] = ACKNOWLEDGEMENTS
    interruptions: tuple[str, ...] = INTERRUPTIONS
    removes_noise: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    reasoning_effort: str = ""
    speed: float | None = None
    silence_timeout_seconds: int = DEFAULT_SILENCE_SECONDS
    idle: IdleReading = IdleReading()
    end_call_phrases: tuple[str, ...] = ()
    keypad: KeypadReading | None = None
    voicemail_detection: Mapping[str, Any] = field(default_factory=dict)
    voicemail_message: str = ""
    hooks: tuple[Mapping[str, Any], ...] = ()


def read_speech(document: Any) -> SpeechReading:
    """Read how an assistant listens and speaks."""
    whole = as_object(document)
    model = as_object(whole.get("model"))
    transcriber = as_object(whole.get("transcriber"))
    stopping = as_object(whole.get("stopSpeakingPlan"))
    effort = as_text(model.get("reasoningEffort"))
    first = as_text(whole.get("firstMessage"))
    return SpeechReading(
        examples=_examples(model),
        greeting_audio_url=first.strip() if _AUDIO_URL.fullmatch(first) else "",
        transcription_prompt=as_text(transcriber.get("prompt")).strip()[:_MAX_PROMPT],
        transcription_keywords=_hints(transcriber),
        transcription_languages=_languages(transcriber),
        speaking=_speaking(as_object(whole.get("startSpeakingPlan"))),
        interrupt_words=as_whole_number(
            stopping.get("numWords", whole.get("numWordsToInterruptAssistant")), (0, 10), 0
        ),
        interrupt_voice_seconds=_number(stopping.get("voiceSeconds"), 0, 0.5),
        interrupt_backoff_seconds=_number(stopping.get("backoffSeconds"), 0, 10),
        acknowledgements=_phrases(stopping, "acknowledgementPhrases", ACKNOWLEDGEMENTS),
        interruptions=_phrases(stopping, "interruptionPhrases", INTERRUPTIONS),
        removes_noise=_removes_noise(whole),
        max_tokens=_whole(model.get("maxTokens")),
        temperature=_number(model.get("temperature"), 0, 2),
        reasoning_effort=effort if effort in EFFORTS else "",
        speed=_number(as_object(whole.get("voice")).get("speed"), 0, 100),
        silence_timeout_seconds=as_whole_number(
            whole.get("silenceTimeoutSeconds"), SILENCE_SECONDS, DEFAULT_SILENCE_SECONDS
        ),
        idle=_idle(as_object(whole.get("messagePlan"))),
        end_call_phrases=_texts(whole.get("endCallPhrases"), 140),
        keypad=_keypad(as_object(whole.get("keypadInputPlan"))),
        voicemail_detection=as_object(whole.get("voicemailDetection")),
        voicemail_message=as_text(whole.get("voicemailMessage")),
        hooks=tuple(hook for hook in as_list(whole.get("hooks")) if as_object(hook)),
    )


def _examples(model: Mapping[str, Any]) -> tuple[ExampleTurn, ...]:
    turns: list[ExampleTurn] = []
    for index, message in enumerate(as_list(model.get("messages"))):
        entry = as_object(message)
        role, text = entry.get("role"), as_text(entry.get("content"))
        if role in ("user", "assistant") and text.strip():
            turns.append(ExampleTurn(f"$.model.messages[{index}]", role, text))
    return tuple(turns)


def _hints(transcriber: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words that every vendor's transcriber calls by another name."""
    config = as_object(transcriber.get("customVocabularyConfig"))
    named = (
        *("keyterm", "keyterms", "keytermsPrompt", "keywords", "wordBoost", "customVocabulary"),
    )
    lists = [_either(transcriber.get(name)) for name in named] + [_either(config.get("vocabulary"))]
    words = (_hint(entry) for each in lists for entry in each)
    kept = [word for word in words if word and len(word) <= _MAX_HINT]
    return tuple(dict.fromkeys(kept))[:_MAX_HINTS]


def _either(value: Any) -> Any:
    return [value] if isinstance(value, str) else as_list(value)


def _hint(entry: Any) -> str:
    whole = as_object(entry)
    text = as_text(entry) or as_text(whole.get("content")) or as_text(whole.get("value"))
    return _BOOST.sub("", text).strip()


def _languages(transcriber: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the languages (ISO 639-1) among which a multilingual transcriber chooses."""
    codes = (
        as_text(each).replace("_", "-").split("-")[0].lower()
        for each in as_list(transcriber.get("languages"))
    )
    legal = [code for code in codes if len(code) == 2 and code.isascii() and code.isalpha()]
    return tuple(dict.fromkeys(legal))[:_MAX_HINTS]


def _speaking(plan: Mapping[str, Any]) -> SpeakingReading:
    smart = plan.get("smartEndpointingPlan")
    legacy = plan.get("smartEndpointingEnabled")
    endpointing = as_object(plan.get("transcriptionEndpointingPlan"))
    return SpeakingReading(
        is_smart=bool(as_object(smart)) or legacy is True or legacy == "livekit",
        wait_seconds=_number(plan.get("waitSeconds"), 0, 5),
        on_punctuation_seconds=_number(endpointing.get("onPunctuationSeconds"), 0, 3),
        on_no_punctuation_seconds=_number(endpointing.get("onNoPunctuationSeconds"), 0, 3),
    )


def _removes_noise(whole: Mapping[str, Any]) -> bool:
    plan = as_object(whole.get("backgroundSpeechDenoisingPlan"))
    smart = as_object(plan.get("smartDenoisingPlan")).get("enabled")
    # The old switch is an alias of the plan's (vapi.md 2.2); the plan is the newer word.
    return smart if isinstance(smart, bool) else whole.get("backgroundDenoisingEnabled") is True


def _keypad(plan: Mapping[str, Any]) -> KeypadReading | None:
    if plan.get("enabled") is not True:
        return None
    delimiters = plan.get("delimiters")
    every = [delimiters] if isinstance(delimiters, str) else as_list(delimiters)
    timeout = _number(plan.get("timeoutSeconds"), 0, 10)
    return KeypadReading(
        timeout_seconds=2.0 if timeout is None else timeout,
        delimiters=tuple(each for each in every if each in ("#", "*")),
    )


def _idle(plan: Mapping[str, Any]) -> IdleReading:
    wait = _number(plan.get("idleTimeoutSeconds"), 1, 3_600)
    return IdleReading(
        messages=_texts(plan.get("idleMessages"), _MAX_SPOKEN),
        wait_seconds=10.0 if wait is None else wait,
        most=as_whole_number(plan.get("idleMessageMaxSpokenCount"), (1, 100), 3),
        counts_anew=plan.get("idleMessageResetCountOnUserSpeechEnabled") is True,
        silence_message=as_text(plan.get("silenceTimeoutMessage")).strip()[:_MAX_SPOKEN],
    )


def _phrases(plan: Mapping[str, Any], name: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return a list of the document's; an empty one is meant, a missing one is Vapi's."""
    value = plan.get(name)
    return _texts(value, _MAX_PHRASE) if isinstance(value, list) else usual


def _texts(value: Any, longest: int) -> tuple[str, ...]:
    kept = (as_text(each).strip() for each in as_list(value))
    return tuple(each for each in kept if each and len(each) <= longest)


def _number(value: Any, low: float, high: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(min(max(value, low), high))


def _whole(value: Any) -> int | None:
    number = _number(value, 1, 1_000_000)
    return None if number is None else int(number)
