"""What an answer to the question of consent means: in doubt it is no yes (design.md 11)."""

from __future__ import annotations

import random

import pytest

from calls.bridge.phrases import says
from calls.numbers.consent import MOST_QUESTIONS, Verdict, speech_language, verdict
from calls.numbers.phrases import words

pytestmark = pytest.mark.unit


def _judge(digits: str = "", speech: str = "", questions: int = 1, **more: str) -> Verdict:
    return verdict(digits=digits, speech=speech, questions=questions, **more)


def test_keys_are_a_yes_and_a_no_and_count_before_words() -> None:
    assert _judge("1") == Verdict("granted", "key", "1")
    assert _judge("2") == Verdict("refused", "key", "2")
    assert _judge("2", "Yes.") == Verdict("refused", "key", "2")
    assert _judge("9", refusal_key="9") == Verdict("refused", "key", "9")
    # A key that means nothing is no answer, whatever is said beside it.
    assert _judge("9", "Yes.") == Verdict("again")


@pytest.mark.parametrize(
    ("language", "speech", "outcome"),
    [
        ("en", "Yes, sure.", "granted"),
        ("en", "Uh, I agree", "granted"),
        ("en", "No.", "refused"),
        ("en", "I do not want that", "again"),  # "I do" and "do not": both lists
        ("en", "I'm not sure", "again"),
        ("en", "No, I don't agree", "refused"),
        ("en", "What did you say?", "again"),
        ("es-MX", "Sí, claro", "granted"),
        ("es", "No, gracias", "refused"),
        ("fr", "Oui.", "granted"),
        ("fr", "Je ne suis pas d'accord", "again"),
        ("de", "Ja, gerne", "granted"),
        ("de", "Nein", "refused"),
        ("pl", "yes", "granted"),
        ("en", "", "again"),
    ],
)
def test_words_are_a_yes_only_where_nothing_speaks_against_it(
    language: str, speech: str, outcome: str
) -> None:
    assert _judge(speech=speech, language=language).outcome == outcome


def test_what_is_kept_of_words_is_our_phrase_and_never_the_caller_s() -> None:
    said = "Yes, this is Jane Roe, of course"
    assert _judge(speech=said) == Verdict("granted", "spoken", "yes")


def test_a_caller_without_an_answer_is_asked_once_more_and_then_refuses() -> None:
    assert MOST_QUESTIONS == 2
    for digits, speech in (("", ""), ("7", ""), ("", "what?")):
        assert _judge(digits, speech, 1) == Verdict("again")
        assert _judge(digits, speech, 2) == Verdict("refused")


def test_no_mixture_of_words_is_a_yes_that_holds_a_no() -> None:
    chance = random.Random(11)
    for language in ("en", "es", "fr", "de"):
        no = words("disagree", language)
        pieces = [*words("agree", language), *no, "well", "the line", "recorded", "42"]
        for _ in range(300):
            said = " ".join(chance.choices(pieces, k=chance.randint(1, 5)))
            found = _judge(speech=said, language=language)
            assert found.outcome != "granted" or not says(said, no), said
            assert found.value in {"", *pieces}


def test_twilio_listens_in_a_language_with_its_country_or_takes_keys_alone() -> None:
    assert [speech_language(each) for each in ("en", "de-ch", "es_MX", "pl", "")] == [
        *("en-US", "de-CH", "es-MX", "", ""),
    ]
