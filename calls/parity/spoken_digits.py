"""Digits as people say and write them: "five five five, oh one", "double four", "(555) 0102".

Pure. Owns the words of digits and the runs they make in a text, with where each stands. English;
another language gives no runs of words, its written digits are found all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_UNITS: Final = {
    word: str(digit)
    for digit, words in enumerate(
        ("zero oh o nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    )
    for word in words.split()
}
_TEENS: Final = {
    word: str(number)
    for number, word in enumerate(
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(),
        10,
    )
}
_TENS: Final = {
    word: str(tens)
    for tens, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_TIMES: Final = {"double": 2, "triple": 3, "treble": 3}
# Said between digits without ending the number.
_FILLERS: Final = frozenset({"uh", "um", "er", "erm", "dash", "hyphen", "then", "area", "code"})
_TOKEN: Final = re.compile(r"\+|[0-9]+|[A-Za-z]+|[^\sA-Za-z0-9+]")
_JOINS: Final = frozenset("-.,()/ ")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a run of digits or a sign, and where it stands in its text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Digits:
    """A number that was said in one go; ``plus``: in international form."""

    digits: str
    start: int
    end: int
    plus: bool = False


def tokens_of(text: str) -> list[Token]:
    """Return the words, numbers and signs of a text."""
    return [Token(each[0].lower(), each.start(), each.end()) for each in _TOKEN.finditer(text)]


def digit_of(word: str) -> str:
    """Return the digit or digits that one word stands for, '' for none."""
    return word if word.isdigit() else _UNITS.get(word) or _TEENS.get(word, "")


def runs_of(text: str) -> Iterator[Digits]:
    """Yield every number of a text, however it is said."""
    tokens = tokens_of(text)
    at = 0
    while at < len(tokens):
        run, after = _run(tokens, at)
        if run is None:
            at += 1
            continue
        yield run
        at = after


def _run(tokens: list[Token], at: int) -> tuple[Digits | None, int]:
    digits: list[str] = []
    plus, end, after = False, 0, at
    start = tokens[at].start
    while at < len(tokens):
        word = tokens[at].text
        if not digits and word in {"+", "plus"}:
            plus = True
            at += 1
            continue
        found, used = _digits_at(tokens, at)
        if found:
            digits.append(found)
            at += used
            end, after = tokens[at - 1].end, at
        elif digits and (word in _JOINS or word in _FILLERS):
            at += 1
        elif not digits and word == "(":
            at += 1
        else:
            break
    if not digits:
        return None, after
    return Digits("".join(digits), start, end, plus), after


def _digits_at(tokens: list[Token], at: int) -> tuple[str, int]:
    """Return the digits that begin at a token, and how many tokens say them."""
    word = tokens[at].text
    following = tokens[at + 1].text if at + 1 < len(tokens) else ""
    if word in _TIMES:
        one = _UNITS.get(following) or (following if len(following) == 1 else "")
        return (one * _TIMES[word], 2) if one.isdigit() else ("", 0)
    if word in _TENS:
        step = 2 if following == "-" else 1
        unit = _UNITS.get(tokens[at + step].text, "") if at + step < len(tokens) else ""
        if unit and unit != "0":
            return _TENS[word] + unit, step + 1
        return _TENS[word] + "0", 1
    found = digit_of(word)
    if found and following == "hundred":
        return found + "00", 2
    return found, 1 if found else 0
