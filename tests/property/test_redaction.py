"""The redactor on any text: it ends, it is done after one pass, and no planted number is left."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calls.privacy.patterns import KINDS, Redactor, is_card

pytestmark = pytest.mark.property

ALL = Redactor(KINDS, ["[A-Z]{2}\\d{6}"], year=2026)
_BITS = st.sampled_from(
    [*"0123456789", " ", "-", ".", ", ", "(", ")", "+", "/", "@", "a", "é", "\n", "[", "]"]
    + ["four", "double ", "oh ", "twenty-", "hundred ", "[phone]", " at ", " dot ", ".com", "１"]
    + ["born ", "May ", "1980", "19", "ssn ", "AB123456", '"', "{", "\\", "_", ":"]
)
TEXTS = st.one_of(st.text(max_size=40), st.lists(_BITS, max_size=30).map("".join))
_WORDS = dict(enumerate("zero one two three four five six seven eight nine".split()))


@given(TEXTS)
@example("000000000TWENTY/00000")
@example("3 4 5 6 7 8 9May 5 1980")
@example("5551234567the 5 May 1980")
@example("May 5 1980four five six seven eight nine ten")
@example("dob 19801980four five six seven eight nine ten")
@example("1 2 3 4 5 6 7 8 9, x 123456789")
def test_a_second_pass_changes_nothing(text: str) -> None:
    once = ALL.text(text)
    assert ALL.text(once) == once
    # A mask is never much longer than the shortest text it can stand for.
    assert len(once) <= 3 * len(text)


@given(TEXTS, TEXTS)
def test_a_turn_is_masked_whichever_part_was_heard(heard: str, unheard: str) -> None:
    first, rest = ALL.turn(heard, unheard)
    assert ALL.text(first) == first or first == heard
    assert ALL.turn(first, "")[0] == ALL.turn(first, "")[0]
    assert len(first) + len(rest) <= 3 * (len(heard) + len(unheard)) + 10


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS


@settings(max_examples=25)
@given(st.dictionaries(TEXTS, _LEAVES | st.lists(_LEAVES, max_size=2), max_size=2) | _LEAVES)
def test_a_body_stays_json_and_is_done_after_one_pass(value: object) -> None:
    once = ALL.body(json.dumps(value))
    if isinstance(value, list | dict):
        json.loads(once)
    assert ALL.body(once) == once


@st.composite
def numbers(draw: st.DrawFn) -> str:
    digits = draw(st.from_regex(r"[2-9][0-9]{2}[2-9][0-9]{6}", fullmatch=True))
    form = draw(st.sampled_from(["{}{}{}", "{}-{}-{}", "({}) {}-{}", "+1 {} {} {}", "{}.{}.{}"]))
    if draw(st.booleans()):
        return " ".join(_WORDS[int(digit)] for digit in digits)
    return form.format(digits[:3], digits[3:6], digits[6:])


@given(
    st.text(alphabet="abc ,.!?é", max_size=30), numbers(), st.text(alphabet=" ,.!?x", max_size=9)
)
def test_no_planted_number_is_left(before: str, number: str, after: str) -> None:
    text = f"{before} {number}{after}" if number[-1].isdigit() else f"{before} {number} {after}"
    assert number not in ALL.text(text)
    assert "[" in ALL.text(text)


@settings(max_examples=25)
@given(st.from_regex(r"[3-6][0-9]{12,17}", fullmatch=True))
def test_every_card_number_is_masked_and_luhn_decides(digits: str) -> None:
    check = next(d for d in "0123456789" if is_card(digits + d))
    whole = digits + check
    assert ALL.text(f"it is {whole}.") == "it is [card]."
    grouped = " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
    assert ALL.text(grouped) == "[card]"


@pytest.mark.parametrize(
    "bit", ["1 ", "a@", "a dot ", "four ", "1-", "twenty-", "x", "May 1 ", "4242 x ", "AB12345 "]
)
def test_a_hostile_text_takes_time_that_grows_with_its_length_alone(bit: str) -> None:
    def seconds(characters: int) -> float:
        text = (bit * characters)[:characters]
        best = 9.0
        for _ in range(2):
            began = time.process_time()
            ALL.text(text)
            best = min(best, time.process_time() - began)
        return best

    assert seconds(4_000) < 12 * seconds(1_000) + 0.05
