"""From the bytes of an uploaded file to what is searched: which reader takes it, and the bounds.

Owns the kinds of files that are read. Pure but for the process in which PDF and Word files are
opened (``apart``); it must not know rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from assistants.knowledge import texts
from assistants.knowledge.apart import parts_apart
from assistants.knowledge.passages import Part, Passage, passages_of
from assistants.knowledge.texts import Unreadable

MOST_CHARACTERS: Final = 8_000_000
MOST_PASSAGES: Final = 12_000
KINDS: Final = "txt, md, csv, json, yaml, html, log, pdf or docx"

TextReader = Callable[[str], Iterable[Part]]
_TEXTS: Final[Mapping[str, TextReader]] = {
    **dict.fromkeys(("txt", "log", "yaml", "yml", "text"), texts.plain_parts),
    **dict.fromkeys(("md", "markdown"), texts.markdown_parts),
    **dict.fromkeys(("csv", "tsv"), texts.table_parts),
    **dict.fromkeys(("json",), texts.json_parts),
    **dict.fromkeys(("html", "htm", "xml", "xhtml"), texts.page_parts),
}
_APART: Final = frozenset({"pdf", "docx"})
_BY_TYPE: Final[Mapping[str, str]] = {
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/json": "json",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "application/xml": "xml",
    "application/xhtml+xml": "xhtml",
    "text/markdown": "md",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/html": "html",
    "text/xml": "xml",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says; ``pages`` is 0 where it has none, ``is_cut`` where not all was taken."""

    passages: tuple[Passage, ...]
    characters: int
    pages: int
    is_cut: bool = False


def kind_of(name: str, mimetype: str) -> str:
    """Return the kind by which a file is read, '' where none fits; its name counts most."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if ending in _TEXTS or ending in _APART:
        return ending
    said = mimetype.partition(";")[0].strip().lower()
    return _BY_TYPE.get(said) or ("txt" if said.startswith("text/") else "")


def file_read(name: str, mimetype: str, content: bytes) -> Reading:
    """Read a file.

    Raises:
        Unreadable: no text can be taken from it.
    """
    kind = kind_of(name, mimetype)
    if not content:
        raise Unreadable("It is empty. Fix: upload a file with text.")
    if kind in _APART:
        parts: Iterable[Part] = parts_apart(kind, content)
    elif kind:
        parts = _TEXTS[kind](texts.decoded(content))
    else:
        ending = name.rpartition(".")[2][:20] if "." in name else mimetype or "unknown"
        raise Unreadable(f"Files of the kind {ending} are not read. Fix: upload it as {KINDS}.")
    bounded = _Bounded(parts)
    passages = tuple(itertools.islice(passages_of(bounded), MOST_PASSAGES + 1))
    if not passages:
        raise Unreadable("It has no text. Fix: upload a file with text.")
    return Reading(
        passages=passages[:MOST_PASSAGES],
        characters=bounded.characters,
        pages=bounded.pages,
        is_cut=bounded.is_cut or len(passages) > MOST_PASSAGES,
    )


class _Bounded:
    """Counts what goes through and ends it at the bound."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = parts
        self.characters = 0
        self.pages = 0
        self.is_cut = False

    def __iter__(self) -> Iterator[Part]:
        for part in self._parts:
            left = MOST_CHARACTERS - self.characters
            self.is_cut = len(part.text) > left
            self.pages = max(self.pages, part.page)
            self.characters += min(len(part.text), left)
            yield Part(_storable(part.text[:left]), part.page, _storable(part.heading))
            if self.is_cut:
                return


def _storable(text: str) -> str:
    """Return text that every database takes: PostgreSQL refuses NUL, both lone surrogates."""
    return text.replace("\x00", " ").encode("utf-8", "replace").decode()
