"""What counts as a word when uploaded files are searched: one answer for texts and for questions.

Owns splitting and the small tolerance for endings, so that every database finds the same.
Pure; it must not know databases or files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tools.words import folded

MOST_TERMS: Final = 12
_MOST_LETTERS: Final = 40  # of a word; what is longer is no word that anybody says
_SHORTEST_STEM: Final = 4
_WORD: Final = re.compile(r"[^\W_]+")
# Written without spaces: searched by pairs of characters (kana, Han, Thai).
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f]+")
# What the ends of words do in the languages of most callers; the longest first.
_ENDINGS: Final = ("ungen", "ings", "ies", "ing", "ung", "ern", "ed", "es", "en", "er", "s", "y")
_ENDINGS_MORE: Final = ("e", "n")
_STOP: Final = frozenset(
    """
    a about an and any are as at be been but by can could did do does for from had has have how i if
    in is it its just may me might my no not of on or our please shall should so some tell than that
    the their them then there these they this those to us want was we were what when where which who
    whom whose why will with would you your
    aber als am auch auf aus bei bin bis bitte da das dass dein dem den der des die dies diese doch
    du ein eine einem einen einer eines er es fur gibt hat haben ich ihr im in ist ja kann kein
    keine konnen man mein mich mir mit nach nicht noch oder sein sich sie sind um und uns vom von
    wann war warum was welche welcher wenn wer werden wie wir wird wo zu zum zur
    au aux avec ce ces cette comment dans de des dois du elle en est et il ils je la le les leur
    mais mes moi mon ne nous ou par pas peut pour pourquoi quand que quel quelle quels qui sa se ses
    son sont sur un une vos votre vous
    al como con cual cuando de del donde el ella en es esta este hay la las lo los me mi mis no
    nos o para pero por puede puedo que quien se si sin son su sus tiene un una usted y yo
    """.split()
)


def words_of(text: str) -> list[str]:
    """Return the words of ``text`` as they are searched: without case and without accents."""
    return list(_words(text))


def _words(text: str) -> Iterator[str]:
    for found in _WORD.finditer(folded(text)):
        word = found[0]
        rest = _UNSPACED.sub(" ", word).split()
        for run in _UNSPACED.findall(word):
            yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))
        yield from (each[:_MOST_LETTERS] for each in rest)


def question_terms(question: str) -> tuple[str, ...]:
    """Return what a question looks for, most telling words first come first; at most 12.

    A term that ends in ``*`` stands for every word that begins like it. Little words count only
    where a question has no others.
    """
    words = list(dict.fromkeys(words_of(question)))
    telling = [word for word in words if word not in _STOP] or words
    return tuple(dict.fromkeys(_term(word) for word in telling))[:MOST_TERMS]


def _term(word: str) -> str:
    if word.isdigit() or not word.isascii() or len(word) < _SHORTEST_STEM:
        return word
    for ending in (*_ENDINGS, *_ENDINGS_MORE):
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return f"{word.removesuffix(ending)}*"
    return f"{word}*" if not word.endswith("s") else f"{word[:-1]}*"
