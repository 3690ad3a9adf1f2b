"""Uploaded files become passages: words, readers of each kind, borders, and what is refused."""

from __future__ import annotations

import io
import json
from typing import Any

import pypdf
import pytest

from assistants.knowledge import apart, docx, pdf, reading
from assistants.knowledge.passages import PASSAGE_CHARACTERS, Part, passages_of
from assistants.knowledge.texts import Unreadable, decoded
from assistants.knowledge.words import MOST_TERMS, question_terms, words_of
from tests.documents import docx_bytes, paragraph, pdf_bytes

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Öffnungszeiten: Straße 5a", ["offnungszeiten", "strasse", "5a"]),
        ("snake_case, E-Mail & naïve", ["snake", "case", "e", "mail", "naive"]),
        ("営業時間 9:00", ["営業", "業時", "時間", "9", "00"]),
        ("İstanbul \x00 don't", ["istanbul", "don", "t"]),
        ("", []),
    ],
)
def test_words_have_neither_case_nor_accents(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("question", "terms"),
    [
        ("What is your refund policy?", ("refund*", "polic*")),
        ("policies on refunds", ("polic*", "refund*")),
        ("Wann habt ihr sonntags geöffnet?", ("habt*", "ihr", "sonntag*", "geoffnet*")),
        ("the who", ("the", "who")),
        ("fee 2024 fee", ("fee", "2024")),
        ("?!", ()),
    ],
)
def test_a_question_looks_for_its_telling_words(question: str, terms: tuple[str, ...]) -> None:
    found = question_terms(question)
    assert found == tuple(each for each in terms if each != "ihr")
    assert len(question_terms(" ".join(f"word{n}x" for n in range(50)))) == MOST_TERMS


def test_passages_end_where_paragraphs_do_and_repeat_the_end_of_the_one_before() -> None:
    paragraphs = [f"Paragraph {n} begins. " + "It goes on and on. " * 15 for n in range(6)]
    found = list(passages_of([Part("\n\n".join(paragraphs), page=3)]))
    assert len(found) == 3 and {each.page for each in found} == {3}
    assert found[0].text.startswith("Paragraph 0 begins")
    for each in found[1:]:
        head, _, rest = each.text.partition("Paragraph ")
        assert "It goes on" in head and len(head) <= 130 and rest
    assert all(len(each.text) <= PASSAGE_CHARACTERS + 130 for each in found)


def test_what_has_no_borders_is_cut_and_nothing_is_lost() -> None:
    words = [f"w{n}" for n in range(2_000)]
    found = list(passages_of([Part(" ".join(words)), Part("x" * 2_000)]))
    assert all(len(each.text) <= PASSAGE_CHARACTERS + 130 for each in found)
    assert set(words) <= set(" ".join(each.text for each in found).split())
    assert sum(each.text.count("x") for each in found) >= 2_000


def test_a_heading_begins_a_passage_and_a_page_does_not() -> None:
    parts = [Part("a", 1, "One"), Part("b", 1, "Two"), Part("c", 2, "Two")]
    found = list(passages_of(parts))
    assert [(each.text, each.page, each.heading) for each in found] == [
        ("a", 1, "One"),
        ("b\nc", 1, "Two"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.txt", "Grüße".encode(), [("", "Grüße")]),
        ("a.txt", "Grüße".encode("cp1252"), [("", "Grüße")]),
        ("a.txt", "Grüße".encode("utf-16"), [("", "Grüße")]),
        ("a.md", b"intro\n# Hours #\nnine\n```\n# no\n```\n", [("", "intro"), ("Hours", None)]),
        ("a.csv", b"item;price\nSoup;5\nBread;2\n", [("", "item: Soup; price: 5\nitem: Bread")]),
        ("a.csv", b'"unclosed\n' * 3, [("", "unclosed")]),
        ("a.json", b'{"desk": {"open": 9, "days": ["mon"]}}', [("", "desk: open: 9\ndesk days")]),
        ("a.json", b"{broken", [("", "{broken")]),
        ("a.json", b'["a\\u0000b\\ud800c"]', [("", "a b?c")]),
        ("a.yaml", b"open: 9\n", [("", "open: 9")]),
        (
            "a.html",
            b"<head><title>Shop</title><style>p{}</style></head><p>Hi<script>x()</script>"
            b"<h2>Hours</h2><table><tr><td>Mon</td><td>nine</td></tr></table>",
            [("Shop", "Hi"), ("Hours", "Mon nine")],
        ),
    ],
)
def test_plain_kinds_are_read(
    name: str, content: bytes, texts: list[tuple[str, str | None]]
) -> None:
    found = reading.file_read(name, "", content).passages
    assert [each.heading for each in found] == [heading for heading, _ in texts]
    for each, (_, text) in zip(found, texts, strict=True):
        assert text is None or each.text.startswith(text), each.text


@pytest.mark.parametrize(
    ("name", "mimetype", "kind"),
    [
        ("a.PDF", "", "pdf"),
        ("menu", "text/csv; charset=utf-8", "csv"),
        ("menu", "text/plain", "txt"),
        ("menu.md", "application/octet-stream", "md"),
        ("song.mp3", "audio/mpeg", ""),
        ("v1.2", "application/octet-stream", ""),
    ],
)
def test_the_name_says_how_a_file_is_read(name: str, mimetype: str, kind: str) -> None:
    assert reading.kind_of(name, mimetype) == kind


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.mp3", b"x", "Files of the kind mp3 are not read"),
        ("a.txt", b"", "It is empty"),
        ("a.txt", b" \n ", "It has no text"),
        ("a.txt", bytes(range(256)) * 10, "no text"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_do(name: str, content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words) as found:
        reading.file_read(name, "", content)
    assert "Fix: " in str(found.value)


def test_a_file_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_CHARACTERS", 1_000)
    found = reading.file_read("a.txt", "", b"word " * 1_000)
    assert (found.characters, found.is_cut) == (1_000, True)
    monkeypatch.setattr(reading, "MOST_PASSAGES", 1)
    found = reading.file_read("a.txt", "", b"word " * 199)
    assert (len(found.passages), found.is_cut) == (1, True)


def test_word_files_are_read_with_headings_and_tables() -> None:
    row = f"<w:tr><w:tc>{paragraph('Soup')}</w:tc><w:tc>{paragraph('5')}</w:tc></w:tr>"
    deleted = "<w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del></w:p>"
    body = paragraph("Menu", "Heading1") + paragraph("Today &amp; always") + deleted
    found = list(docx.docx_parts(docx_bytes(f"{body}<w:tbl>{row}</w:tbl>")))
    assert [(each.heading, each.text) for each in found] == [("Menu", "Today & always\n\nSoup; 5")]


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK no zip", "no Word file"),
        (docx_bytes(paragraph("x"), before=ENTITIES), "no Word file"),
        (docx_bytes("<w:p>"), "no Word file"),
        (docx_bytes(""), "no text"),
        (docx_bytes(paragraph("x " * 5_000)), "too large"),
    ],
)
def test_hostile_word_files_are_refused(
    content: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docx, "_MOST_XML_BYTES", 5_000)
    with pytest.raises(Unreadable, match=words):
        list(docx.docx_parts(content))


def locked() -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_bytes(["x"])))
    writer.encrypt("secret", algorithm="RC4-128")
    whole = io.BytesIO()
    writer.write(whole)
    return whole.getvalue()


def test_pdf_files_are_read_page_by_page() -> None:
    found = json.loads(apart.answer("pdf", pdf_bytes(["Soup (5 euro)", "", "Bread"])))
    assert found == {"parts": [["Soup (5 euro)", 1, ""], ["Bread", 3, ""]]}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pdf_bytes(["", ""]), "OCR"),
        (lambda: b"%PDF-1.4 nothing", "no PDF"),
        (lambda: pdf_bytes(["x"] * 4), "4 pages, and 3 are read"),
        (locked, "password"),
    ],
)
def test_pdf_files_without_text_are_refused(
    make: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "MOST_PAGES", 3)
    assert words in json.loads(apart.answer("pdf", make()))["problem"]


def test_text_is_told_from_other_bytes() -> None:
    assert decoded(b"\xef\xbb\xbfa\r\nb\rc") == "a\nb\nc"
    with pytest.raises(Unreadable):
        decoded(b"\x00\x01\x02" * 100)
