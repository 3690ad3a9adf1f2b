"""What a person looks for in what was said is read without syntax, and shown with its words."""

from __future__ import annotations

import pytest

from calls.conversation.search import MOST_TERMS, Part, snippet_of, terms_of
from tools.words import Term

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("search", "terms"),
    [
        ("Refund", [Term(("refund",), begins=True)]),
        ("no", [Term(("no",))]),
        ("no*", [Term(("no",), begins=True)]),
        ("n*", [Term(("n",))]),
        ('"Big Refund"', [Term(("big", "refund"))]),
        ("“big” refund", [Term(("big",)), Term(("refund",), begins=True)]),
        ("e-mail", [Term(("e", "mail"), begins=True)]),
        ("Straße GRÜSSE", [Term(("strasse",), begins=True), Term(("grusse",), begins=True)]),
        ("4711", [Term(("4711",), begins=True)]),
        ("refund refund", [Term(("refund",), begins=True)]),
        ('"open', [Term(("open",))]),
        ("NEAR(a b) AND -x OR ^y : * ' ; --", None),
        ("", []),
        (' "" * _ -- ', []),
    ],
)
def test_a_search_is_words_quotes_and_stars(search: str, terms: list[Term] | None) -> None:
    found = terms_of(search)
    assert found == tuple(terms) if terms is not None else all(term.words for term in found)


def test_a_search_is_bounded() -> None:
    assert len(terms_of(" ".join(f"a{n}" for n in range(99)))) == MOST_TERMS
    assert terms_of("x" * 500) == (Term(("x" * 40,), begins=True),)


def found(text: str, search: str) -> list[str]:
    return [part.text for part in snippet_of(text, terms_of(search)) if part.found]


@pytest.mark.parametrize(
    ("text", "search", "marked"),
    [
        ("Two refunds, please", "refund", ["refunds"]),
        ("Two refunds, please", '"refund"', []),
        ("In der Große Straße", "grosse strasse", ["Große", "Straße"]),
        ("cafe\u0301 au lait", "café", ["cafe\u0301"]),
        ("a big red car, a big refund", '"big refund"', ["big", "refund"]),
        ("my e-mail", "e-mail", ["e", "mail"]),
        ("order 4711", "47*", ["4711"]),
        ("nothing", "refund", []),
    ],
)
def test_the_words_that_were_found_are_marked(text: str, search: str, marked: list[str]) -> None:
    assert found(text, search) == marked


def test_a_snippet_is_the_words_around_the_first_place() -> None:
    text = "before " * 60 + "the refund is late " + "after " * 60
    parts = snippet_of(text, terms_of("refund"))
    whole = "".join(part.text for part in parts)
    assert len(whole) < 260
    assert whole.startswith("… before") and whole.endswith("after …")
    assert Part("refund", found=True) in parts
    assert whole.strip("… ") in text
    assert snippet_of("short", terms_of("x")) == (Part("short"),)
    assert snippet_of("x" * 900 + " refund", terms_of("refund"))[-1] == Part("refund", found=True)
