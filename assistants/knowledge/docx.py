"""Reads the text of Word files (docx), within bounds.

Owns what of such a file is looked at: the paragraphs of its body, with headings and tables. The XML
is read piece by piece and may declare no entities, so neither its size nor what it refers to
matters. Runs in a process of its own (``apart``).
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from assistants.knowledge.passages import Part
from assistants.knowledge.texts import Unreadable

_BODY: Final = "word/document.xml"
_MOST_ENTRIES: Final = 20_000
_MOST_XML_BYTES: Final = 200 * 1024 * 1024
_STEP_BYTES: Final = 64 * 1024
_BROKEN: Final = "It is no Word file that can be read. Fix: save it again as docx or pdf."
_LARGE: Final = "Unpacked it is too large to be read. Fix: take out what is no text, or split it."
# Word names its styles in the language of whoever wrote the file; the id mostly stays English.
_HEADING: Final = re.compile(r"(heading|title|berschrift|titre|titel|ttulo|titulo)\d?", re.I)


class _Body:
    """Collects paragraphs while expat reads."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._heading = ""
        self._style = ""
        self._words: list[str] = []
        self._lines: list[str] = []
        self._cells: list[str] | None = None
        self._is_text = False
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._take
        self._parser.EntityDeclHandler = self._refuse

    def feed(self, data: bytes, *, is_last: bool = False) -> None:
        self._parser.Parse(data, is_last)

    def _refuse(self, *_: object) -> None:
        raise Unreadable(_BROKEN)

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        match _local(name):
            case "p":
                self._words, self._style = [], ""
            case "pStyle":
                self._style = next((v for k, v in attributes.items() if _local(k) == "val"), "")
            case "t":
                self._is_text = True
            case "tab":
                self._words.append(" ")
            case "br" | "cr":
                self._words.append("\n")
            case "tr":
                self._cells = []

    def _take(self, data: str) -> None:
        if self._is_text:
            self._words.append(data)

    def _end(self, name: str) -> None:
        match _local(name):
            case "t":
                self._is_text = False
            case "p":
                self._paragraph("".join(self._words).strip())
            case "tr" if self._cells is not None:
                self._lines.append("; ".join(self._cells))
                self._cells = None

    def _paragraph(self, text: str) -> None:
        self._words = []
        if not text:
            return
        if self._cells is not None:
            self._cells.append(text)
        elif _HEADING.match(self._style):
            self.close_part()
            self._heading = text
        else:
            self._lines.append(text)

    def close_part(self) -> None:
        if self._lines:
            self.parts.append(Part("\n\n".join(self._lines), heading=self._heading))
        self._lines = []


def _local(name: str) -> str:
    """Return a name of Word's own vocabulary, '' of any other."""
    place, _, local = name.rpartition(" ")
    return local if place.endswith("/main") and "wordprocessingml" in place else ""


def docx_parts(content: bytes) -> Iterator[Part]:
    """Yield the sections of a Word file.

    Raises:
        Unreadable: it is broken, too large, or has no text.
    """
    body = _Body()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if len(packed.infolist()) > _MOST_ENTRIES:
                raise Unreadable(_LARGE)
            left = _MOST_XML_BYTES
            with packed.open(_BODY) as document:
                while data := document.read(_STEP_BYTES):
                    left -= len(data)
                    if left < 0:
                        raise Unreadable(_LARGE)
                    body.feed(data)
            body.feed(b"", is_last=True)
    except (zipfile.BadZipFile, zlib.error, KeyError, expat.ExpatError) as error:
        raise Unreadable(_BROKEN) from error
    except (NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise Unreadable(_BROKEN) from error
    body.close_part()
    if not body.parts:
        raise Unreadable("It has no text. Fix: upload a file with text.")
    yield from body.parts
