"""What becomes of how a conversation goes on and ends: findings beside the account of the rest.

Owns the words on interruption, idle messages, silence, phrases that end a call, and keys. Pure;
what they say follows ``assistants.translate`` and the bridge, and must change with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from assistants.findings import AUDIBLE, INVALID, LOSSY, MAPPED, Notes
from assistants.speech_account import account_text, given_names
from assistants.translate import interrupt_voice_ms
from assistants.wire.vapi_speech import SpeechReading, read_speech

_WORD_SECONDS: Final = 0.3  # `calls.bridge.gate.WORD_MS`; a test holds the two together
_PHRASES: Final = ("acknowledgementPhrases", "interruptionPhrases")


def account_conversation(document: Mapping[str, Any], notes: Notes) -> None:
    """Add the findings on interruption, waits and endings."""
    speech = read_speech(document)
    _account_interrupting(document, speech, notes)
    _account_idle(document, speech, notes)
    _account_silence(document, speech, notes)
    _account_phrases(document, speech, notes)
    _account_keypad(document, speech, notes)


def _account_interrupting(document: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    number = speech.interrupt_words
    voice_ms = interrupt_voice_ms(number, speech.interrupt_voice_seconds)
    state, words = LOSSY, "Callers interrupt as soon as they speak."
    if number:
        seconds = number * _WORD_SECONDS
        words = (
            f"Callers interrupt with {number} words or {seconds:g} s of speech, whichever comes "
            "first: the text of speech comes only when it is over."
        )
    elif voice_ms:
        words = f"Callers interrupt when they have spoken for {voice_ms / 1_000:g} s."
    else:
        state = MAPPED
    if document.get("numWordsToInterruptAssistant"):
        notes.add("$.numWordsToInterruptAssistant", state, words)
    plan = document.get("stopSpeakingPlan")
    if not isinstance(plan, Mapping) or not plan:
        return
    if not number and not voice_ms and plan.get("voiceSeconds"):
        state = LOSSY
        words += " How long that takes is the session's own, about 0.2 s."
    if speech.interrupt_backoff_seconds:
        pause = speech.interrupt_backoff_seconds
        words += f" Then the assistant keeps still for {pause:g} s."
    if any(plan.get(name) for name in _PHRASES):
        state = LOSSY
        words += (
            " Words that always or never interrupt are known when they have been said."
            if number or voice_ms
            else " Words that always or never interrupt change nothing."
        )
    notes.add("$.stopSpeakingPlan", state, words)


def _account_idle(document: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    plan = document.get("messagePlan")
    if not plan:
        return
    if not isinstance(plan, Mapping):
        notes.add("$.messagePlan", INVALID, "Not an object; nobody is asked.")
        return
    idle = speech.idle
    given = given_names(document)
    if not idle.messages:
        words = "No idle messages are given: a caller who says nothing is not asked."
        notes.add("$.messagePlan", MAPPED, words)
    else:
        times = "once" if idle.most == 1 else f"at most {idle.most} times"
        again = ", counted anew when they speak" if idle.counts_anew else ""
        notes.add(
            "$.messagePlan",
            LOSSY if len(idle.messages) > 1 else MAPPED,
            f"When nobody speaks for {idle.wait_seconds:g} s the caller is asked, {times}{again}; "
            "never while a tool runs. Several messages come in turn, not at random.",
        )
    listed = plan.get("idleMessages")
    for index, message in enumerate(listed if isinstance(listed, list) else ()):
        path = f"$.messagePlan.idleMessages[{index}]"
        if isinstance(message, str) and message.strip() in idle.messages:
            words = "Said to a caller who says nothing."
            account_text(path, message, words, notes, given=given, lossy=AUDIBLE)
        else:
            notes.add(path, INVALID, "No text of up to 1000 characters; it is not said.")
    if idle.silence_message:
        account_text(
            "$.messagePlan.silenceTimeoutMessage",
            idle.silence_message,
            "Said before a silent call is ended.",
            notes,
            given=given,
            lossy=AUDIBLE,
        )


def _account_silence(document: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    value = document.get("silenceTimeoutSeconds")
    if value is None:
        return
    used = speech.silence_timeout_seconds
    words = f"The call is ended when nobody has spoken for {used} s."
    same = value == used and not isinstance(value, bool)
    notes.add("$.silenceTimeoutSeconds", MAPPED if same else LOSSY, words)


def _account_phrases(document: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    value = document.get("endCallPhrases")
    if not value:
        return
    kept = speech.end_call_phrases
    if not kept:
        words = "No phrase of up to 140 characters; none ends the call."
        notes.add("$.endCallPhrases", INVALID, words)
        return
    number = "this phrase" if len(kept) == 1 else f"one of {len(kept)} phrases"
    left_out = " Longer ones are left out." if len(kept) < len(value) else ""
    notes.add(
        "$.endCallPhrases",
        LOSSY if left_out else MAPPED,
        f"The call ends when the caller has heard the assistant say {number}, as whole words."
        + left_out,
    )


def _account_keypad(document: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    plan = document.get("keypadInputPlan")
    if not plan:
        return
    keypad = speech.keypad
    if keypad is None:
        words = "The model is told of keys that callers press, and does not answer them."
        notes.add("$.keypadInputPlan", MAPPED, words)
        return
    ends = " or ".join(keypad.delimiters)
    notes.add(
        "$.keypadInputPlan",
        MAPPED,
        f"Keys are given to the model as text, {keypad.timeout_seconds:g} s after the last one"
        + (f" or at {ends}." if ends else "."),
    )
