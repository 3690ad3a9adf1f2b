"""What an import says of variables, example turns, the transcriber, turns, noise and limits."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.assistant_account import account_assistant
from assistants.circumstances import NOTHING_KNOWN, Answering, Circumstances
from assistants.findings import Notes, account
from assistants.voices import VoiceKey

pytestmark = pytest.mark.unit


def told(
    document: dict[str, Any], around: Circumstances = NOTHING_KNOWN
) -> list[tuple[str, str, str]]:
    notes = Notes()
    account_assistant(document, notes, around)
    return [(found.path, found.state, found.message) for found in notes.findings]


def one(
    document: dict[str, Any], path: str, around: Circumstances = NOTHING_KNOWN
) -> tuple[str, str]:
    found = [(state, words) for where, state, words in told(document, around) if where == path]
    return found[0] if found else ("", "")


def prompt(text: str) -> dict[str, Any]:
    return {"model": {"messages": [{"role": "system", "content": text}]}}


PLACE = "$.model.messages[0].content"


def test_variables_that_every_call_has_are_filled_in() -> None:
    state, words = one(prompt('{{customer.number}} {{"now" | date: "%A", "Europe/Berlin"}}'), PLACE)
    assert state == "mapped"
    assert "customer.number" in words


def test_what_is_not_known_of_a_caller_is_not_promised() -> None:
    state, words = one(prompt("{{customer.name}} at {{customer.number}}"), PLACE)
    assert state == "mapped-lossy"
    assert "Filled in for each call: customer.number" in words
    assert "Empty unless the call brings values: customer.name" in words
    assert one({"firstMessage": "Hi {{customer.name}}"}, "$.firstMessage")[0] == "caller-audible"
    for values in ({"customer.name": "Ada"}, {"customer": {"name": "Ada"}}):
        document = {**prompt("{{customer.name}}"), "variableValues": values}
        assert one(document, PLACE)[0] == "mapped"


def test_values_in_overrides_of_the_document_are_filled_in_too() -> None:
    document = {**prompt("{{plan}}"), "assistantOverrides": {"variableValues": {"plan": "gold"}}}
    assert one(document, PLACE)[0] == "mapped"
    assert one(document, "$.assistantOverrides.variableValues")[0] == "mapped"


def test_variables_that_nobody_gives_are_named_with_what_happens() -> None:
    state, words = one(prompt("{{plan}} {% if Zip Code %}{% endif %}{{now}}"), PLACE)
    assert state == "invalid"  # a name with a space is no condition of Liquid
    state, words = one(prompt("{{plan}} {{Zip Code}} {{now}}"), PLACE)
    assert state == "mapped-lossy"
    assert "Empty unless the call brings values: plan" in words
    assert "Zip Code" in words
    assert one({**prompt("{{plan}}"), "variableValues": {"plan": 1}}, PLACE)[0] == "mapped"
    assert one({"firstMessage": "Hi {{plan}}"}, "$.firstMessage")[0] == "caller-audible"
    assert "waits" in one({"firstMessage": "{{plan}}"}, "$.firstMessage")[1]


def test_a_broken_tag_is_invalid_with_its_place_and_line() -> None:
    document = prompt("one\n{% if x %}two {{ y | }}")
    states = [(state, words) for path, state, words in told(document) if path == PLACE]
    assert [state for state, _ in states] == ["invalid", "invalid", "mapped"]
    assert all("line 2" in words for state, words in states if state == "invalid")
    notes = Notes()
    account_assistant(document, notes)
    assert dict(account(document, notes.findings, notes.marks))[PLACE] == "invalid"
    assert one({"endCallMessage": "Bye {{"}, "$.endCallMessage")[0] == "invalid"


def test_a_greeting_that_the_mode_does_not_speak_is_kept() -> None:
    for mode, who in (
        ("assistant-waits-for-user", "the caller speaks first"),
        ("assistant-speaks-first-with-model-generated-message", "the model greets"),
    ):
        state, words = one({"firstMessage": "Hi", "firstMessageMode": mode}, "$.firstMessage")
        assert state == "kept"
        assert who in words


def test_example_turns_begin_the_conversation_and_other_roles_do_not() -> None:
    document = {
        "model": {
            "messages": [
                {"role": "user", "content": "Hi {{who}}"},
                {"role": "function", "content": "x"},
                {"role": "assistant", "content": None},
            ]
        }
    }
    assert one(document, PLACE)[0] == "mapped-lossy"
    assert one(document, "$.model.messages[1]")[0] == "unsupported"
    assert one(document, "$.model.messages[2]")[0] == "unsupported"


@pytest.mark.parametrize(
    ("document", "path", "state", "words"),
    [
        (
            {"startSpeakingPlan": {"waitSeconds": 0.8}},
            *("$.startSpeakingPlan", "mapped-lossy", "720 ms"),
        ),
        (
            {"startSpeakingPlan": {"smartEndpointingEnabled": True}},
            *("$.startSpeakingPlan", "mapped-lossy", "judges by the caller's words"),
        ),
        (
            {"startSpeakingPlan": {"customEndpointingRules": [{"type": "both"}]}},
            *("$.startSpeakingPlan.customEndpointingRules", "unsupported", "not applied"),
        ),
        (
            {"backgroundDenoisingEnabled": True},
            *("$.backgroundDenoisingEnabled", "mapped-lossy", "near-field"),
        ),
        (
            {"backgroundDenoisingEnabled": False},
            *("$.backgroundDenoisingEnabled", "mapped", "as it is"),
        ),
        (
            {"backgroundSpeechDenoisingPlan": {"fourierDenoisingPlan": {"enabled": True}}},
            "$.backgroundSpeechDenoisingPlan.fourierDenoisingPlan",
            *("unsupported", "no effect"),
        ),
        ({"model": {"temperature": 0.5}}, "$.model.temperature", "unsupported", "no temperature"),
        ({"model": {"maxTokens": 250}}, "$.model.maxTokens", "mapped-lossy", "mid-sentence"),
        ({"model": {"maxTokens": 900}}, "$.model.maxTokens", "mapped-lossy", "4096 tokens"),
        (
            {"model": {"reasoningEffort": "low"}},
            "$.model.reasoningEffort",
            "mapped-lossy",
            "reason",
        ),
        ({"model": {"reasoningEffort": "none"}}, "$.model.reasoningEffort", "kept", "its own"),
        ({"voice": {"speed": 3}}, "$.voice.speed", "caller-audible", "at 1.5 times"),
        ({"voice": {"speed": 1.1}}, "$.voice.speed", "mapped", "at 1.1 times"),
        (
            {"transcriber": {"keyterm": ["A", "B"]}},
            *("$.transcriber.keyterm", "mapped-lossy", "2 words"),
        ),
        ({"transcriber": {"prompt": "A"}}, "$.transcriber.prompt", "mapped-lossy", "transcript"),
        ({"variableValues": {"a": 1}}, "$.variableValues", "mapped", "filled in"),
    ],
)
def test_what_is_said_is_what_the_session_does(
    document: dict[str, Any], path: str, state: str, words: str
) -> None:
    assert one(document, path)[0] == state
    assert words in one(document, path)[1]


HINTS = {"transcriber": {"keyterm": ["A", "B"], "prompt": "A clinic."}}


def at(**connection: Any) -> Circumstances:
    return Circumstances(answering=Answering("Front {x}", **connection))


def test_hints_are_said_to_help_only_where_the_transcriber_takes_them() -> None:
    for path in ("$.transcriber.keyterm", "$.transcriber.prompt"):
        state, words = one(HINTS, path)
        assert (state, "unless the connection transcribes with" in words) == ("mapped-lossy", True)
        state, words = one(HINTS, path, at(transcriber="gpt-transcribe"))
        assert (state, "help the transcript." in words) == ("mapped-lossy", True)
        whisper = at(transcriber="gpt-realtime-whisper", takes_hints=False)
        state, words = one(HINTS, path, whisper)
        assert state == "unsupported"
        assert "do not help: gpt-realtime-whisper of the connection Front {x}" in words
        assert "Fix: enter gpt-transcribe" in words


def test_a_model_for_other_work_is_named_with_what_it_does() -> None:
    document = {"model": {"provider": "openai", "model": "gpt-realtime-whisper"}}
    state, words = one(document, "$.model.model")
    assert (state, "writes transcripts and cannot speak" in words) == ("mapped-lossy", True)
    state, words = one({"model": {"model": "gpt-realtime-mini"}}, "$.model.model")
    assert (state, "shut down on 2027-01-20" in words) == ("mapped", True)


def test_at_azure_the_deployment_answers_and_not_the_model_that_is_named() -> None:
    document = {"model": {"provider": "openai", "model": "gpt-realtime-2.1"}}
    assert one(document, "$.model.model", at())[0] == "mapped"
    assert one(document, "$.model.model", at(deployment="gpt-realtime-2.1"))[0] == "mapped"
    state, words = one(document, "$.model.model", at(deployment="clinic-rt"))
    assert state == "mapped-lossy"
    assert "gpt-realtime-2.1 is not asked for: at Azure the deployment clinic-rt" in words
    assert "Fix: " in words


def test_a_voice_that_an_operator_decided_is_the_one_that_is_named() -> None:
    sarah = {"voice": {"provider": "11labs", "voiceId": "sarah"}}
    key = VoiceKey("11labs", "exavitqu4vr4xnsdxmal")
    assert "11labs Sarah -> coral" in one(sarah, "$.voice")[1]
    state, words = one(sarah, "$.voice", Circumstances({key: "sage"}))
    assert state == "caller-audible"
    assert words.startswith("11labs Sarah -> sage: callers hear the Realtime voice sage instead")
    assert "An operator decided so" in words
    assert "coral" not in words
    alloy = {"voice": {"provider": "openai", "voiceId": "alloy"}}
    state, words = one(alloy, "$.voice", Circumstances({VoiceKey("openai", "alloy"): "ash"}))
    assert (state, "openai alloy -> ash" in words) == ("caller-audible", True)
    assert one(alloy, "$.voice")[0] == "mapped"
    state, words = one({}, "$.voice", Circumstances({VoiceKey("", ""): "ash"}))
    assert (state, "hear the Realtime voice ash. An operator" in words) == ("caller-audible", True)
