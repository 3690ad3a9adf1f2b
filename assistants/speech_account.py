"""What becomes of how an assistant listens and speaks: findings beside the account of the rest.

Owns the words on texts with variables, example turns, the transcriber, when a turn is over, noise,
and the limits of the model. Pure; what they say follows ``assistants.translate``, and must change
with it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any, Final

from assistants import prompt, translate
from assistants.circumstances import Answering
from assistants.findings import (
    AUDIBLE,
    INVALID,
    KEPT,
    LOSSY,
    MAPPED,
    UNSUPPORTED,
    Notes,
    several,
    short,
)
from assistants.speech_models import TAKE_NO_HINTS
from assistants.wire import vapi_config
from assistants.wire.files import step
from assistants.wire.vapi_speech import EFFORTS, SpeechReading, read_speech

# What every call fills in by itself (vapi.md 2.10): `calls.services.call_variables` has the values.
# Of the caller nothing but the number is known.
GIVEN: Final = frozenset(
    {
        *("now", "date", "time", "month", "day", "year"),
        *("customer.number", "phoneNumber.id", "phoneNumber.number", "phoneNumber.name"),
        *("call.id", "call.orgId", "call.type", "call.status", "call.startedAt"),
        *("call.phoneNumberId", "call.assistantId"),
        *("transport.provider", "transport.conversationType"),
        *("transport.accountSid", "transport.callSid"),
    }
)
_GIVEN_WHOLE: Final = frozenset(path.split(".")[0] for path in GIVEN)
_MOST_PROBLEMS: Final = 5
_ANY_MOMENT: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def account_text(
    path: str, text: str, words: str, notes: Notes, *, given: Collection[str], lossy: str = LOSSY
) -> None:
    """Say of a text that it is used, which variables it has, and what in it is broken.

    Args:
        words: what happens with the text, one sentence.
        given: names besides Vapi's own that the document has values for.
        lossy: the state when a variable may stay empty.
    """
    for problem in prompt.problems(text)[:_MOST_PROBLEMS]:
        notes.add(path, INVALID, f"{problem}. Fix: mend the text in the admin or at Vapi.")
    named = prompt.names(text)
    open_names = [name for name in named if not _is_given(name, given)]
    filled = [name for name in named if name not in open_names]
    known = f" Filled in for each call: {several(map(short, filled))}." if filled else ""
    if open_names:
        notes.add(
            path,
            lossy,
            f"{words}{known} Empty unless the call brings values: "
            f"{several(map(short, open_names))}.",
        )
    else:
        notes.add(path, MAPPED, f"{words}{known}")


def _is_given(name: str, given: Collection[str]) -> bool:
    if name in given or _root(name) in given or name in GIVEN or name in _GIVEN_WHOLE:
        return True
    return any(name.startswith((f"{path}.", f"{path}[")) for path in GIVEN)


def _root(name: str) -> str:
    for end in (".", "["):
        if end in name[1:]:
            name = name[: name.index(end, 1)]
    return name.strip("[]\"'")


def given_names(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the names that the document itself has values for."""
    names: set[str] = set()
    for holder in (document, document.get("assistantOverrides")):
        values = holder.get("variableValues") if isinstance(holder, Mapping) else None
        names |= set(map(str, values)) if isinstance(values, Mapping) else set()
    return frozenset(names)


def says_nothing(text: str) -> bool:
    """Tell whether nothing of ``text`` is left when no call brings values."""
    return not prompt.render(text, {}, _ANY_MOMENT).strip()


def account_speech(
    document: Mapping[str, Any], notes: Notes, answering: Answering | None = None
) -> None:
    """Add the findings on how an assistant listens and speaks."""
    speech = read_speech(document)
    model = document.get("model")
    _account_examples(document, speech, notes)
    _account_transcriber(document, speech, answering, notes)
    _account_starting(document, speech, notes)
    _account_denoising(document, speech, notes)
    if isinstance(model, Mapping):
        _account_limits(model, speech, notes)
    _account_speed(document, speech, notes)
    overrides = document.get("assistantOverrides")
    for path, holder in (("$", document), ("$.assistantOverrides", overrides)):
        values = holder.get("variableValues") if isinstance(holder, Mapping) else None
        if isinstance(values, Mapping) and values:
            at = step(path, "variableValues")
            notes.add(at, MAPPED, "The assistant's texts are filled in with these.")


def _account_examples(document: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    model = document.get("model")
    messages = model.get("messages") if isinstance(model, Mapping) else None
    used = {turn.path: turn for turn in speech.examples}
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        path = f"$.model.messages[{index}]"
        if isinstance(message, Mapping) and message.get("role") == "system":
            notes.mark(f"{path}.role")
        elif path in used:
            notes.mark(f"{path}.role")
            account_text(
                f"{path}.content",
                used[path].text,
                "An example turn: every conversation begins with it; callers do not hear it.",
                notes,
                given=given_names(document),
            )
        else:
            words = "Stored; only system, user and assistant messages with text reach the model."
            notes.add(path, UNSUPPORTED, words)


def _account_transcriber(
    document: Mapping[str, Any], speech: SpeechReading, answering: Answering | None, notes: Notes
) -> None:
    transcriber = document.get("transcriber")
    if not isinstance(transcriber, Mapping):
        if transcriber is not None:
            notes.add("$.transcriber", INVALID, "Not an object; English is assumed.")
        return
    notes.add(
        "$.transcriber",
        LOSSY,
        "The speech model hears the caller itself; the transcriber's language goes to the model "
        "that writes the transcript, hints too where it takes any; the rest has no effect.",
    )
    _account_language(document, transcriber, notes)
    hints = speech.transcription_keywords
    named = ("keyterm", "keyterms", "keytermsPrompt", "keywords", "wordBoost", "customVocabulary")
    for key in (*named, "customVocabularyConfig"):
        if transcriber.get(key) and hints:
            notes.add(
                step("$.transcriber", key),
                *_of_hints(
                    f"{len(hints)} words",
                    " Boosts and longer texts are left out. The speech model does not read them: "
                    "name what it must understand in the prompt.",
                    answering,
                ),
            )
    if speech.transcription_prompt:
        more = " The speech model does not read them."
        notes.add("$.transcriber.prompt", *_of_hints("Its words", more, answering))


def _of_hints(what: str, more: str, answering: Answering | None) -> tuple[str, str]:
    """Return the state of hints and what becomes of them: not every transcriber takes them."""
    if answering is None:
        others = " or ".join(TAKE_NO_HINTS)
        words = f"{what} help the transcript, unless the connection transcribes with {others}."
        return LOSSY, words + more
    if answering.takes_hints:
        return LOSSY, f"{what} help the transcript.{more}"
    whose = f"{short(answering.transcriber)} of the connection {short(answering.name)}"
    return UNSUPPORTED, (
        f"{what} do not help: {whose} writes the transcript and takes no hints. "
        "Fix: enter gpt-transcribe as transcription model under Connections."
    )


def _account_language(
    document: Mapping[str, Any], transcriber: Mapping[str, Any], notes: Notes
) -> None:
    language = transcriber.get("language")
    if isinstance(language, str) and vapi_config.is_any_language(language):
        notes.add("$.transcriber.language", MAPPED, "The model recognises the language itself.")
    elif isinstance(language, str) and language:
        code = vapi_config.read_assistant(document).language
        same = language.lower().replace("_", "-").split("-")[0] == code
        notes.add(
            "$.transcriber.language",
            (MAPPED if language.lower() == code else LOSSY) if same else INVALID,
            f"Callers are expected to speak {code}."
            if same
            else f"{short(language)!r} is no language of two letters; English is assumed.",
        )


def _account_starting(document: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    plan = document.get("startSpeakingPlan")
    if not isinstance(plan, Mapping) or not plan:
        return
    turns = translate.turn_taking(speech.speaking)
    words = (
        "The speech model judges by the caller's words whether they have finished, in place of "
        "Vapi's smart endpointing; the waits beside it have no effect."
        if turns.kind == "semantic"
        else f"The caller has finished after {turns.silence_ms} ms of silence, worked out from "
        "these waits; punctuation is not known while the caller speaks."
    )
    notes.add("$.startSpeakingPlan", LOSSY, words)
    if plan.get("customEndpointingRules"):
        words = "Rules by regular expression are not applied."
        notes.add("$.startSpeakingPlan.customEndpointingRules", UNSUPPORTED, words)


def _account_denoising(document: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    plan = document.get("backgroundSpeechDenoisingPlan")
    on = "Noise behind the caller is reduced by the session's own near-field filter."
    off = "The caller's sound reaches the model as it is."
    if isinstance(document.get("backgroundDenoisingEnabled"), bool):
        state = LOSSY if speech.removes_noise else MAPPED
        words = on if speech.removes_noise else off
        notes.add("$.backgroundDenoisingEnabled", state, words)
    if not isinstance(plan, Mapping):
        return
    if "smartDenoisingPlan" in plan:
        state = LOSSY if speech.removes_noise else MAPPED
        words = on if speech.removes_noise else off
        notes.add("$.backgroundSpeechDenoisingPlan.smartDenoisingPlan", state, words)
    fourier = plan.get("fourierDenoisingPlan")
    if isinstance(fourier, Mapping) and fourier.get("enabled") is True:
        path = "$.backgroundSpeechDenoisingPlan.fourierDenoisingPlan"
        notes.add(path, UNSUPPORTED, "This filter does not exist here; it has no effect.")


def _account_limits(model: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    if speech.temperature is not None:
        notes.add(
            "$.model.temperature",
            UNSUPPORTED,
            "Speech models of today take no temperature; it is kept and has no effect.",
        )
    tokens = translate.output_tokens(speech.max_tokens)
    if tokens:
        words = f"One answer ends after {tokens} tokens of speech and text, worked out from this."
        notes.add("$.model.maxTokens", LOSSY, words)
    elif speech.max_tokens is not None:
        notes.add(
            "$.model.maxTokens",
            LOSSY,
            "Not applied: a limit meant for text would cut speech in mid-sentence. "
            "Fix: ask for short answers in the prompt.",
        )
    effort = model.get("reasoningEffort")
    if effort in EFFORTS:
        words = "Goes to speech models that reason (gpt-realtime-2 and later); others have none."
        notes.add("$.model.reasoningEffort", LOSSY, words)
    elif effort:
        words = "No effort that a speech model knows; its own is used."
        notes.add("$.model.reasoningEffort", KEPT, words)


def _account_speed(document: Mapping[str, Any], speech: SpeechReading, notes: Notes) -> None:
    voice = document.get("voice")
    if speech.speed is None or not isinstance(voice, Mapping):
        return
    used = translate.speed_of(speech.speed)
    if used == speech.speed:
        notes.add("$.voice.speed", MAPPED, f"The voice speaks at {used:g} times its speed.")
    else:
        low, high = translate.SPEEDS
        notes.add(
            "$.voice.speed",
            AUDIBLE,
            f"The voice speaks at {used:g} times its speed; a session takes {low:g} to {high:g}.",
        )
