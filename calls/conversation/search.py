"""What a person looks for in what was said, and the words around it; pure.

Owns how a search is read and which piece of a text is shown. Nothing in a search is syntax but
quotes and a star, and no text is an error. Which texts hold the words the database says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tools.words import WORD, Term, folded

MOST_TERMS: Final = 12
MOST_CHARACTERS: Final = 200
_SHORTEST_BEGINNING: Final = 3  # shorter ones begin half of all words
_SHORTEST_STARRED: Final = 2
_LONGEST_WORD: Final = 40
_QUOTED: Final = re.compile(r'["“”„«»]([^"“”„«»]*)["“”„«»]?|([^\s"“”„«»]+)')
_BEFORE: Final = 60
_SHOWN: Final = 220


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a snippet; ``found`` where it is a word that was looked for."""

    text: str
    found: bool = False


def terms_of(search: str) -> tuple[Term, ...]:
    """Return what ``search`` looks for: all of them have to be in one text; at most 12.

    A word of three letters or more stands for longer ones that begin with it as well, so does one
    of two that ends in a star. What is in quotes is looked for as it stands.
    """
    found: dict[Term, None] = {}
    for quoted, loose in _QUOTED.findall(search[:MOST_CHARACTERS]):
        words = tuple(WORD.findall(folded(quoted or loose)))
        if not words:
            continue
        words = tuple(word[:_LONGEST_WORD] for word in words[:MOST_TERMS])
        shortest = _SHORTEST_STARRED if loose.endswith("*") else _SHORTEST_BEGINNING
        found[Term(words, begins=bool(loose) and len(words[-1]) >= shortest)] = None
    return tuple(found)[:MOST_TERMS]


def snippet_of(text: str, terms: Sequence[Term]) -> tuple[Part, ...]:
    """Return the words around the first place where ``terms`` are found, those marked.

    The beginning of the text where none is. Plain text: whoever shows it escapes it.
    """
    marked = sorted(_places(text, terms))
    start = _word_begin(text, marked[0][0] - _BEFORE) if marked else 0
    end = _word_end(text, max(start + _SHOWN, marked[0][1] if marked else 0))
    parts: list[Part] = [Part("… ")] if start else []
    at = start
    for begins, ends in marked:
        if begins < at or ends > end:
            continue
        parts += [Part(text[at:begins]), Part(text[begins:ends], found=True)]
        at = ends
    parts += [Part(text[at:end]), Part(" …" if end < len(text) else "")]
    return tuple(part for part in parts if part.text)


def _places(text: str, terms: Sequence[Term]) -> Iterator[tuple[int, int]]:
    """Yield where each word of a found term begins and ends."""
    words = [(folded(each[0]), each.start(), each.end()) for each in WORD.finditer(text)]
    for term in terms:
        size = len(term.words)
        for at in range(len(words) - size + 1):
            run = words[at : at + size]
            before = tuple(word for word, _, _ in run[:-1])
            if before == term.words[:-1] and term.fits(run[-1][0]):
                yield from ((begins, ends) for _, begins, ends in run)


def _word_begin(text: str, at: int) -> int:
    """Return where the first whole word at or behind ``at`` begins."""
    if at <= 0:
        return 0
    space = text.find(" ", at, at + _BEFORE)
    return at if space < 0 else space + 1


def _word_end(text: str, at: int) -> int:
    if at >= len(text):
        return len(text)
    space = text.rfind(" ", max(0, at - _BEFORE), at)
    return at if space <= 0 else space
