"""Reads the plain kinds of files: text, Markdown, tables, JSON and web pages.

Owns how their bytes become text and where their headings are. Pure; never raises for what a file
says but ``Unreadable``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, Final

from assistants.knowledge.passages import Part

_MOST_COLUMNS: Final = 200
_MOST_DEPTH: Final = 60
_HEADING: Final = re.compile(r"\s{0,3}(#{1,6})\s+(.+?)\s*#*\s*")
_FENCE: Final = re.compile(r"\s{0,3}(```|~~~)")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


class Unreadable(Exception):
    """No text can be taken from a file; the text says why and what to do."""


def decoded(content: bytes) -> str:
    """Return the text of ``content``: by its mark, else UTF-8, else Western European.

    Raises:
        Unreadable: these bytes are no text.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16", "replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", "replace")
    if len(_CONTROL.findall(text[:20_000])) > len(text[:20_000]) // 50:
        raise Unreadable(
            "Its bytes are no text. Fix: upload it as txt, md, csv, json, yaml, html, pdf or docx."
        )
    return _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))


def plain_parts(text: str) -> Iterator[Part]:
    """Yield a text as it stands."""
    yield Part(text)


def markdown_parts(text: str) -> Iterator[Part]:
    """Yield the sections of Markdown; what is fenced is no heading."""
    heading, held, is_fenced = "", [""], False
    for line in text.split("\n"):
        if _FENCE.match(line):
            is_fenced = not is_fenced
        found = None if is_fenced else _HEADING.fullmatch(line)
        if found is None:
            held.append(line)
            continue
        yield Part("\n".join(held), heading=heading)
        heading, held = found[2], []
    yield Part("\n".join(held), heading=heading)


def table_parts(text: str) -> Iterator[Part]:
    """Yield the rows of a table, each value with the name of its column."""
    try:
        dialect: Any = csv.Sniffer().sniff(text[:4096], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        rows = csv.reader(io.StringIO(text), dialect)
        names = [name.strip() for name in next(rows, [])[:_MOST_COLUMNS]]
        lines = []
        for row in rows:
            pairs = zip([*names, *[""] * len(row)], row[:_MOST_COLUMNS], strict=False)
            lines.append("; ".join(_pair(name, value) for name, value in pairs if value.strip()))
    except csv.Error:
        yield Part(text)
        return
    yield Part("\n\n".join(lines) if lines else "; ".join(names))


def _pair(name: str, value: str) -> str:
    return f"{name}: {value.strip()}" if name else value.strip()


def json_parts(text: str) -> Iterator[Part]:
    """Yield every object of JSON as one paragraph; other text as it stands."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        yield Part(text)
        return
    yield Part("\n\n".join(_paragraphs(whole, (), 0)))


def _paragraphs(node: Any, path: tuple[str, ...], depth: int) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        return
    if isinstance(node, dict):
        plain = {key: value for key, value in node.items() if not isinstance(value, dict | list)}
        if plain:
            place = f"{' '.join(path)}: " if path else ""
            yield place + "; ".join(f"{key}: {_scalar(value)}" for key, value in plain.items())
        for key, value in node.items():
            if isinstance(value, dict | list):
                yield from _paragraphs(value, (*path, str(key)), depth + 1)
    elif isinstance(node, list):
        plain_ones = [each for each in node if not isinstance(each, dict | list)]
        if plain_ones:
            place = f"{' '.join(path)}: " if path else ""
            yield place + ", ".join(map(_scalar, plain_ones))
        for each in node:
            if isinstance(each, dict | list):
                yield from _paragraphs(each, path, depth + 1)
    else:
        yield _scalar(node)


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Page(HTMLParser):
    """Collects what a reader of a web page sees."""

    _SILENT: Final = frozenset({"script", "style", "noscript", "template", "svg"})
    _HEADINGS: Final = frozenset({"title", "h1", "h2", "h3", "h4", "h5", "h6"})
    _BLOCKS: Final = frozenset(
        {
            *("p", "div", "section", "article", "li", "ul", "ol", "table", "tr", "dt", "dd", "dl"),
            *("blockquote", "pre", "header", "footer", "main", "nav", "form", "br", "hr"),
        }
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[Part] = []
        self._held: list[str] = []
        self._heading = ""
        self._silent = 0
        self._said: list[str] | None = None  # the words of a heading that is open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a paragraph, a heading or what nobody sees."""
        if tag in self._SILENT:
            self._silent += 1
        elif tag in self._HEADINGS:
            self.close_part()
            self._said = []
        elif tag in self._BLOCKS:
            self._held.append("\n" if tag in ("br", "tr", "li") else "\n\n")
        elif tag in ("td", "th"):
            self._held.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """End it."""
        if tag in self._SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in self._HEADINGS and self._said is not None:
            self._heading, self._said = " ".join("".join(self._said).split()), None
        elif tag in self._BLOCKS and tag not in ("br", "li", "tr"):
            self._held.append("\n\n")

    def handle_data(self, data: str) -> None:
        """Take words."""
        if self._silent:
            return
        (self._held if self._said is None else self._said).append(data)

    def close_part(self) -> None:
        """Put what was collected below the heading that stood above it."""
        if self._said is not None:  # a heading that was never closed
            self._held[:0] = self._said
            self._said = None
        text = "".join(self._held)
        if text.strip():
            self.parts.append(Part(text, heading=self._heading))
        self._held = []


def page_parts(text: str) -> Iterator[Part]:
    """Yield the sections of a web page without its scripts and styles."""
    page = _Page()
    page.feed(text)
    page.close()
    page.close_part()
    yield from page.parts
