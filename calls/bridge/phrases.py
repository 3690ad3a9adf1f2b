"""Whether somebody said a phrase: words compared without case, punctuation or apostrophes.

Owns how spoken text is compared with lists that people wrote (vapi.md 2.2 ``endCallPhrases``, 2.7).
Pure; it must not know who spoke or what follows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_WORDS = re.compile(r"\w+")
_APOSTROPHES = str.maketrans("", "", "'\u2019\u02bc")  # "don't" is written "dont" in Vapi's lists


def words_of(text: str) -> list[str]:
    """Return the words of a text, folded for comparison."""
    return _WORDS.findall(text.casefold().translate(_APOSTROPHES))


def says(text: str, phrases: Iterable[str]) -> bool:
    """Tell whether one of the phrases stands in a text as whole words."""
    said = " ".join(words_of(text))
    return any(_stands_in(" ".join(words_of(phrase)), said) for phrase in phrases)


def says_only(text: str, phrases: Iterable[str]) -> bool:
    """Tell whether a text is one of the phrases, or several of them, and nothing else."""
    left = f" {' '.join(words_of(text))} "
    if not left.strip():
        return False
    for phrase in sorted((" ".join(words_of(each)) for each in phrases), key=len, reverse=True):
        # Twice: two neighbours share the blank between them.
        left = left.replace(f" {phrase} ", "  ").replace(f" {phrase} ", "  ")
    return not left.strip()


def _stands_in(phrase: str, text: str) -> bool:
    if not phrase:
        return False
    # Chinese and Japanese set no blanks between words.
    wide = any(unicodedata.east_asian_width(each) in "WF" for each in phrase)
    return phrase in text if wide else f" {phrase} " in f" {text} "
