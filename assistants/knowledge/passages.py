"""Cuts what was read of a file into passages that a model can be given.

Owns where a passage begins and ends: at the borders of paragraphs, else of sentences, never across
a heading, with the end of the one before repeated. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

PASSAGE_CHARACTERS: Final = 800
_OVERLAP_CHARACTERS: Final = 120
_MOST_HEADING: Final = 200
_BLANK_LINE: Final = re.compile(r"\n\s*\n")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])\s+|\n+")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file in its order: of one page (0: the file has none) and below one heading."""

    text: str
    page: int = 0
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """What is found and shown as one; ``page`` is where it begins."""

    text: str
    page: int
    heading: str


def passages_of(parts: Iterable[Part]) -> Iterator[Passage]:
    """Yield the passages of a file, each at most a little over ``PASSAGE_CHARACTERS`` long."""
    held, page, heading, tail = "", 0, "", ""
    for part in parts:
        own = " ".join(part.heading.split())[:_MOST_HEADING]
        if own != heading:
            if held:
                yield _passage(tail, held, page, heading)
            held, tail, heading = "", "", own
        for paragraph in _paragraphs(part.text):
            for piece in _pieces(paragraph):
                if held and len(held) + len(piece) >= PASSAGE_CHARACTERS:
                    yield _passage(tail, held, page, heading)
                    held, tail = "", _tail(held)
                page = page if held else part.page
                held = f"{held}\n{piece}" if held else piece
    if held:
        yield _passage(tail, held, page, heading)


def _passage(tail: str, held: str, page: int, heading: str) -> Passage:
    return Passage(f"{tail} {held}" if tail else held, page, heading)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in _BLANK_LINE.split(text):
        lines = (" ".join(line.split()) for line in paragraph.splitlines())
        joined = "\n".join(line for line in lines if line)
        if joined:
            yield joined


def _pieces(paragraph: str) -> Iterator[str]:
    """Yield a paragraph in pieces that fit, cut behind sentences, else between words."""
    if len(paragraph) <= PASSAGE_CHARACTERS:
        yield paragraph
        return
    held = ""
    for sentence in _SENTENCE_END.split(paragraph):
        if held and len(held) + len(sentence) >= PASSAGE_CHARACTERS:
            yield held
            held = ""
        held = f"{held} {sentence}" if held else sentence
        while len(held) > PASSAGE_CHARACTERS:
            at = held.rfind(" ", PASSAGE_CHARACTERS // 2, PASSAGE_CHARACTERS)
            at = at if at > 0 else PASSAGE_CHARACTERS
            yield held[:at].rstrip()
            held = held[at:].lstrip()
    if held:
        yield held


def _tail(held: str) -> str:
    """Return the last words of a passage, from the beginning of a sentence where one is near."""
    if len(held) <= _OVERLAP_CHARACTERS:
        return ""
    last = held[-_OVERLAP_CHARACTERS:]
    sentences = _SENTENCE_END.split(last, maxsplit=1)
    cut = sentences[1] if len(sentences) > 1 and len(sentences[1]) > 20 else last.partition(" ")[2]
    return " ".join(cut.split())
