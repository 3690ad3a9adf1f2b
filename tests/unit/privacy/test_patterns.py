"""What is masked in text and what is not, kind by kind; and the bound on own patterns."""

from __future__ import annotations

import json

import pytest

from calls.privacy.custom import CustomPatternError, compiled
from calls.privacy.patterns import (
    BIRTH,
    CARD,
    EMAIL,
    KINDS,
    LONGEST_BODY,
    LONGEST_TEXT,
    PHONE,
    SSN,
    Redactor,
    has_masks,
    is_card,
)

pytestmark = pytest.mark.unit

ALL = Redactor(KINDS, year=2026)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 415-555-1212 now", "call [phone] now"),
        ("+1 (415) 555-1212.", "[phone]."),
        ("tel:+4915112345678", "tel:[phone]"),
        ("it's 0171 2345678 at home", "it's [phone] at home"),
        ("555-1212", "[phone]"),
        ("06 12 34 56 78", "[phone]"),
        ("four one five five five five one two one two", "[phone]"),
        ("four fifteen, five fifty-five, twelve twelve", "[phone]"),
        ("eight hundred, five five five, oh one double two", "[phone]"),
        ("415, 555, 1212", "[phone]"),
        ("card 4242 4242 4242 4242 exp 12/29", "card [card] exp 12/29"),
        ("3782-822463-10005", "[card]"),
        ("four two four two " * 4, "[card] "),
        ("my social is 123-45-6789", "my social is [ssn]"),
        ("SSN 123456789", "SSN [ssn]"),
        ("one two three four five six seven eight nine", "[ssn]"),
        ("john.o'hara+x@mail.example.co.uk!", "[email]!"),
        ("john dot smith at example dot com", "[email]"),
        ("born 05/17/1980", "born [date]"),
        ("1980-05-17", "[date]"),
        ("May 17th, 1980", "[date]"),
        ("the seventeenth of May nineteen eighty-two", "[date]"),
        ("5/17/80", "[date]"),
        ("birthday: 5/17/2026", "birthday: [date]"),
        ("date of birth 05171980", "date of birth [date]"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    assert ALL.text(text) == masked
    assert ALL.text(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "a table for 4 at 7:30 on 2026-11-22 14:30",
        "June 1st 2027 at five",
        "12/24/2026",
        "order 1,234,567.89",
        "5 10 15 20 25",
        "room 1204, 3rd floor",
        "call_9876543210abcdef",
        "550e8400-e29b-41d4-a716-446655440000",
        "1764000000000",
        "4242 4242 4242 4241",  # Luhn's sum is wrong
        "look at me, dot by dot",
        "",
    ],
)
def test_what_is_no_personal_data_stays(text: str) -> None:
    assert Redactor({CARD, EMAIL, SSN, BIRTH, PHONE}, year=2026).text(text) in (
        text,
        # Sixteen digits that are no card are still too many to be anything but private.
        "[phone] 4241",
    )


def test_only_the_kinds_that_are_asked_for_are_masked() -> None:
    text = "a@b.co 415-555-1212 4242424242424242 123-45-6789 5/17/1980"
    assert Redactor({EMAIL}, year=2026).text(text).startswith("[email] 415-555-1212 4242")
    assert Redactor((), year=2026).text(text) == text
    assert Redactor({SSN}, year=2026).text("123-45-6789") == "[ssn]"
    assert Redactor({PHONE}, year=2026).text("123-45-6789") == "[phone]"


@pytest.mark.parametrize(
    ("digits", "card"),
    [
        ("4242424242424242", True),
        ("378282246310005", True),
        ("4242424242424241", False),
        ("1234567812345670", False),  # no card begins with 1
        ("42424242", False),
        ("6011000990139424", True),
    ],
)
def test_luhn(digits: str, card: bool) -> None:
    assert is_card(digits) is card


def test_a_turn_and_its_unheard_rest_are_one_text() -> None:
    assert ALL.turn("your number is 415 55", "5 1212, right?") == (
        "your number is [phone]",
        ", right?",
    )
    assert ALL.turn("hello", "call 415-555-1212") == ("hello", "call [phone]")
    assert ALL.turn("415-555-1212", "thanks") == ("[phone]", "thanks")


def test_a_turn_of_nothing_but_digits_is_masked_because_people_tell_numbers_in_pieces() -> None:
    assert ALL.turn("Four one five.")[0] == "[number]."
    assert ALL.turn("1212")[0] == "[number]"
    assert ALL.turn("At 12.")[0] == "At 12."
    assert Redactor({EMAIL}, year=2026).turn("1212")[0] == "1212"


def test_a_text_that_goes_on_hides_the_beginning_of_a_number() -> None:
    assert ALL.partial("my number is 415 55") == "my number is [number]"
    assert ALL.partial("my number is four one") == "my number is [number]"
    assert ALL.partial("write to john@exam") == "write to [email]"
    assert ALL.partial("I have 2 dogs") == "I have 2 dogs"
    assert ALL.turn("it is 415 5", goes_on=True)[0] == "it is [number]"


def test_json_is_masked_value_by_value_and_stays_json() -> None:
    body = {
        "phone": 4155551212,
        "dob": "05171980",
        "ok": True,
        "when": "2026-11-22",
        "at": 1764000000000,
        "+14155551212": [None, 1.5, "x@y.example"],
        "arguments": '{"card": "4242424242424242", "n": 4155551212}',
    }
    made = json.loads(ALL.body(json.dumps(body)))
    assert made == {
        "phone": "[phone]",
        "dob": "[date]",
        "ok": True,
        "when": "2026-11-22",
        "at": 1764000000000,
        "[phone]": [None, 1.5, "[email]"],
        "arguments": '{"card": "[card]", "n": "[phone]"}',
    }


def test_json_without_personal_data_keeps_its_form() -> None:
    assert ALL.body('{"a":1,  "b": [ ]}') == '{"a":1,  "b": [ ]}'
    assert ALL.body("[call 415-555-1212") == "[call [phone]"


def test_what_is_too_long_is_not_kept() -> None:
    assert ALL.body("x" * (LONGEST_BODY + 1)) == ""
    assert ALL.text("x" * (LONGEST_TEXT + 1)) == "[hidden]"
    assert ALL.text("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT


def test_own_patterns_are_masked_first() -> None:
    own = Redactor({PHONE}, ["[A-Z]{2}\\d{6}", "order-\\d+"], year=2026)
    assert own.text("member ab123456, ORDER-4155551212") == "member [hidden], [hidden]"
    assert has_masks(own.text("AB123456")) and not has_masks("[sic]")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "empty"),
        ("(a+)+b", "cannot stand"),
        ("a|b", "cannot stand"),
        ("^ab", "cannot stand"),
        ("\\1a", "cannot stand"),
        ("\\d", "single character"),
        ("a{40}", "out of range"),
        ("a{3,2}", "out of range"),
        ("a{0,9}b{0,9}c{0,9}dd", "open counts"),
        ("x" * 201, "longer than"),
        ("[z-a]{2}", "cannot be read"),
    ],
)
def test_a_pattern_that_could_be_slow_or_means_nothing_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(CustomPatternError, match=words) as caught:
        compiled(pattern)
    assert "Fix:" in str(caught.value)


def test_own_patterns_match_as_people_expect() -> None:
    assert compiled("MRN[: -]?\\d{6,8}").search("my mrn 1234567")
    assert compiled("[A-Z]+-\\d+").search("ref ABC-77")
    assert not compiled("[A-Z]{2}\\d{6}").search("A12345")
