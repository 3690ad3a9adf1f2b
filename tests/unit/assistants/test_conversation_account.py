"""What an import says of interruption, waits, endings and keys."""

from __future__ import annotations

from typing import Any

import pytest

from assistants.conversation_account import _WORD_SECONDS, account_conversation
from assistants.findings import Notes
from calls.bridge.gate import WORD_MS

pytestmark = pytest.mark.unit


def told(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return (state, message) of what is said, by path."""
    notes = Notes()
    account_conversation(document, notes)
    return {each.path: (each.state, each.message) for each in notes.findings}


def test_the_promise_of_a_word_is_the_gates() -> None:
    assert _WORD_SECONDS * 1_000 == WORD_MS


@pytest.mark.parametrize(
    ("document", "path", "state", "words"),
    [
        (
            {"stopSpeakingPlan": {"numWords": 2}},
            *("$.stopSpeakingPlan", "mapped-lossy", "with 2 words or 0.6 s of speech"),
        ),
        ({"stopSpeakingPlan": {"numWords": 0}}, "$.stopSpeakingPlan", "mapped", "as soon as"),
        (
            {"stopSpeakingPlan": {"backoffSeconds": 1}},
            *("$.stopSpeakingPlan", "mapped", "keeps still for 1 s"),
        ),
        (
            {"stopSpeakingPlan": {"voiceSeconds": 0.4}},
            *("$.stopSpeakingPlan", "mapped-lossy", "spoken for 0.4 s"),
        ),
        (
            {"stopSpeakingPlan": {"voiceSeconds": 0.2}},
            *("$.stopSpeakingPlan", "mapped-lossy", "the session's own, about 0.2 s"),
        ),
        (
            {"stopSpeakingPlan": {"numWords": 1, "interruptionPhrases": ["halt"]}},
            *("$.stopSpeakingPlan", "mapped-lossy", "known when they have been said"),
        ),
        (
            {"stopSpeakingPlan": {"numWords": 0, "acknowledgementPhrases": ["ja"]}},
            *("$.stopSpeakingPlan", "mapped-lossy", "change nothing"),
        ),
        (
            {"numWordsToInterruptAssistant": 3},
            *("$.numWordsToInterruptAssistant", "mapped-lossy", "3 words or 0.9 s"),
        ),
        (
            {"messagePlan": {"idleMessages": ["Hello?"], "idleTimeoutSeconds": 8}},
            *("$.messagePlan", "mapped", "for 8 s the caller is asked, at most 3 times;"),
        ),
        (
            {"messagePlan": {"idleMessages": ["A", "B"], "idleMessageMaxSpokenCount": 1}},
            *("$.messagePlan", "mapped-lossy", "asked, once; never"),
        ),
        ({"messagePlan": {"idleTimeoutSeconds": 6}}, "$.messagePlan", "mapped", "not asked"),
        ({"messagePlan": "loud"}, "$.messagePlan", "invalid", "Not an object"),
        (
            {"messagePlan": {"idleMessages": ["Hi {{nickname}}"]}},
            *("$.messagePlan.idleMessages[0]", "caller-audible", "nickname"),
        ),
        (
            {"messagePlan": {"idleMessages": ["Hi", 3]}},
            *("$.messagePlan.idleMessages[1]", "invalid", "not said"),
        ),
        (
            {"messagePlan": {"silenceTimeoutMessage": "Bye."}},
            *("$.messagePlan.silenceTimeoutMessage", "mapped", "before a silent call is ended"),
        ),
        ({"silenceTimeoutSeconds": 26}, "$.silenceTimeoutSeconds", "mapped", "for 26 s"),
        ({"silenceTimeoutSeconds": 4}, "$.silenceTimeoutSeconds", "mapped-lossy", "for 10 s"),
        ({"endCallPhrases": ["bye"]}, "$.endCallPhrases", "mapped", "say this phrase"),
        (
            {"endCallPhrases": ["bye", "ciao", "x" * 141]},
            *("$.endCallPhrases", "mapped-lossy", "one of 2 phrases"),
        ),
        ({"endCallPhrases": [3]}, "$.endCallPhrases", "invalid", "none ends the call"),
        (
            {"keypadInputPlan": {"enabled": True, "timeoutSeconds": 1.1, "delimiters": "#"}},
            *("$.keypadInputPlan", "mapped", "1.1 s after the last one or at #."),
        ),
        (
            {"keypadInputPlan": {"enabled": True}},
            *("$.keypadInputPlan", "mapped", "2 s after the last one."),
        ),
        ({"keypadInputPlan": {"enabled": False}}, "$.keypadInputPlan", "mapped", "does not answer"),
    ],
)
def test_what_is_said_is_what_the_call_does(
    document: dict[str, Any], path: str, state: str, words: str
) -> None:
    found_state, message = told(document)[path]
    assert found_state == state
    assert words in message


@pytest.mark.parametrize(
    "document",
    [{}, {"stopSpeakingPlan": {}, "messagePlan": None, "endCallPhrases": [], "keypadInputPlan": 0}],
)
def test_nothing_is_said_of_what_is_not_there(document: dict[str, Any]) -> None:
    assert told(document) == {}
