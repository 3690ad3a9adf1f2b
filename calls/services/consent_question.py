"""The question that a caller is asked before anything is recorded or listened to (design.md 11).

Owns which calls begin with it and what is said; the answer is ``calls.services.consent``'s.
Changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from calls.models import Call, CallPolicy, PolicyWording
from calls.numbers.consent import speech_language
from calls.numbers.phrases import sentence


@dataclass(frozen=True, slots=True)
class Question:
    """What Twilio says: the ``line`` unless it was heard, then the ``question``.

    Each has its language; without a ``speech_language`` the answer is a key.
    """

    line: str
    language: str
    question: str
    question_language: str
    speech_language: str


def asked_by(policy: CallPolicy) -> dict[str, Any] | None:
    """Return ``Call.consent`` as a call under ``policy`` begins; None where nothing is asked."""
    asks = policy.recording_consent == CallPolicy.Consent.ASK
    return {"state": Call.Consent.PENDING.value} if asks else None


def question_of(call: Call) -> Question:
    """Return what a caller is asked who has not answered; reads nothing but what is loaded.

    Callers of numbers with health or European data answer by key: their words are not given to a
    recogniser that no contract of the number names.
    """
    wording, number = call.policy_wording, call.number
    if wording is None:
        return Question("", "", *sentence("consent_keys", "en"), "")
    guarded = number is None or number.health_data or number.eu_data
    listens = "" if guarded else speech_language(wording.language)
    return Question(
        wording.text if call.policy_played_at is None else "",
        wording.language,
        *question_text(wording, keys_alone=not listens),
        listens,
    )


def question_text(wording: PolicyWording, *, keys_alone: bool) -> tuple[str, str]:
    """Return the question that goes with a line, and its language: its own, else the shipped one.

    The shipped one invites to speak, unless ``keys_alone`` are understood.
    """
    shipped = sentence("consent", wording.language)
    if wording.question and (not keys_alone or wording.question != shipped[0]):
        return wording.question, wording.language
    return sentence("consent_keys", wording.language) if keys_alone else shipped
