"""What a caller's answer to the question of consent means (design.md 11).

Owns the keys, how often is asked and which words are a yes; who asks and what follows is
``calls.services.consent``. Pure. In doubt it is no yes: words that hold both, or neither, are no
answer, and a caller without an answer is asked once more and then taken to refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from calls.bridge.phrases import says
from calls.numbers.phrases import words

YES_KEY: Final = "1"
NO_KEY: Final = "2"
MOST_QUESTIONS: Final = 2

# Twilio's recogniser is told a language with its country.
_SPEECH: Final = {"en": "en-US", "es": "es-US", "fr": "fr-FR", "de": "de-DE"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an answer; ``value`` is the key, or the phrase of our list that was heard."""

    outcome: Literal["granted", "refused", "again"]
    kind: Literal["key", "spoken", "none"] = "none"
    value: str = ""


def verdict(
    *, digits: str, speech: str, questions: int, language: str = "en", refusal_key: str = ""
) -> Verdict:
    """Judge an answer.

    Args:
        digits: the key that was pressed, '' if none; it counts before any words.
        speech: what Twilio understood, '' if nothing.
        questions: how often the caller has been asked, from 1.
        refusal_key: the policy's own key to refuse, beside 2.
    """
    if digits:
        if digits in {NO_KEY, refusal_key}:
            return Verdict("refused", "key", digits)
        if digits == YES_KEY:
            return Verdict("granted", "key", digits)
    else:
        yes, no = _heard("agree", speech, language), _heard("disagree", speech, language)
        if no and not yes:
            return Verdict("refused", "spoken", no)
        if yes and not no:
            return Verdict("granted", "spoken", yes)
    return Verdict("again" if questions < MOST_QUESTIONS else "refused")


def _heard(kind: Literal["agree", "disagree"], speech: str, language: str) -> str:
    """Return the first phrase of a list that stands in ``speech``, '' if none does."""
    return next((each for each in words(kind, language) if says(speech, (each,))), "")


def speech_language(language: str) -> str:
    """Return the language that Twilio is to listen in, '' where keys alone can be understood."""
    primary, _, country = language.replace("_", "-").partition("-")
    known = _SPEECH.get(primary.lower(), "")
    return f"{primary.lower()}-{country.upper()}" if known and len(country) == 2 else known
