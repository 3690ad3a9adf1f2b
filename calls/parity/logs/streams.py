"""A file of logs as documents: one JSON value, an array of them, or one on each line.

Pure: bytes in pieces go in, documents come out, and memory stays bounded whatever the file is.
Owns unpacking, encodings and lines. Lines are cut at line feeds alone, since transcripts hold
U+2028 and other characters that Python's ``splitlines`` cuts at. What cannot be read is a document
too, one that says why and where; it never ends the file, unless nothing after it can be told apart.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from calls.parity.logs.reading import documents_in

MOST_LINE: Final = 32 * 2**20  # characters; Vapi's largest call is a few MB
MOST_WHOLE: Final = 128 * 2**20  # of a file that is one JSON value
MOST_UNPACKED: Final = 4 * 2**30
_BEGIN: Final = re.compile(r"\s*[{\[]")
_GZIP: Final = b"\x1f\x8b"
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One document, or why there is none. ``line`` counts from 1; 0: the whole file."""

    line: int
    document: Any = None
    problem: str = ""


class FileUnreadable(ValueError):
    """The file as a whole cannot be read, or only to a point; the text says why."""


def items_in(pieces: Iterable[bytes]) -> Iterator[Item]:
    """Yield the documents of a file in order.

    The last item has a problem where the file breaks off.
    """
    texts = _texts(pieces)
    try:
        head, rest = _head(texts)
    except FileUnreadable as error:
        yield Item(0, problem=str(error))
        return
    if not head.strip():
        yield Item(0, problem="the file is empty")
        return
    line = head.partition("\n")[0]
    if _value(line)[0] or not _may_be_whole(line):
        yield from _lines(head, rest)
        return
    yield from _whole(head, rest)


def _may_be_whole(line: str) -> bool:
    """Tell whether a first line that is no JSON value may be the begin of one over many lines."""
    text = line.strip()
    return not text or text in {"{", "[", "[{"} or text.endswith((",", "{", "[", ":", '"'))


def _whole(head: str, rest: Iterator[str]) -> Iterator[Item]:
    parts, size = [head], len(head)
    try:
        for text in rest:
            parts.append(text)
            size += len(text)
            if size > MOST_WHOLE:
                limit = MOST_WHOLE // 2**20
                yield Item(
                    0,
                    problem=f"it is one JSON value of over {limit} MiB. Fix: write one call on "
                    "each line (NDJSON), e.g. with `jq -c '.[]'`",
                )
                return
    except FileUnreadable as error:
        yield Item(0, problem=str(error))
        return
    text = "".join(parts)
    is_json, value, problem = _value(text)
    if is_json:
        yield from (Item(0, each) for each in documents_in(value))
    elif several := _several(text):
        yield from (Item(0, each) for each in several)
    elif any(_value(each)[0] for each in text.split("\n", 20)[1:20] if each.strip("\r ,[]{}")):
        # The first line alone is broken; the others are calls.
        yield from _lines(text, iter(()))
    else:
        yield Item(0, problem=f"it is no JSON: {problem}. Fix: export it again")


def _lines(head: str, rest: Iterator[str]) -> Iterator[Item]:
    number, waiting, is_skipping = 0, head, False
    while True:
        *whole, waiting = waiting.split("\n")
        for line in whole:
            number += 1
            if is_skipping:
                is_skipping = False
                continue
            yield from _line(number, line)
        if len(waiting) > MOST_LINE and not is_skipping:
            limit = MOST_LINE // 2**20
            yield Item(number + 1, problem=f"the line is over {limit} million characters long")
            is_skipping = True
        if is_skipping:
            waiting = ""
        try:
            text = next(rest, None)
        except FileUnreadable as error:
            yield Item(number + 1, problem=str(error))
            return
        if text is None:
            break
        waiting += text
    if waiting and not is_skipping:
        yield from _line(number + 1, waiting)


def _line(number: int, line: str) -> Iterator[Item]:
    text = line.strip(" \t\r\ufeff")
    if text in {"", "[", "]"}:
        return
    is_json, value, problem = _value(text.removesuffix(","))
    if is_json:
        yield from (Item(number, each) for each in documents_in(value))
    elif several := _several(text.removeprefix("data:")):
        yield from (Item(number, each) for each in several)
    else:
        yield Item(number, problem=f"the line is no JSON: {problem}")


def _several(text: str) -> list[Any]:
    """Return the documents of JSON values that stand one behind the other, as jq prints them.

    Nothing where it is anything else.
    """
    found: list[Any] = []
    decoder, place = json.JSONDecoder(strict=False), 0
    while match := _BEGIN.match(text, place):
        try:
            value, place = decoder.raw_decode(text, match.end() - 1)
        except (ValueError, RecursionError):
            return []
        found += documents_in(value)
    return [] if text[place:].strip() else found


def _value(text: str) -> tuple[bool, Any, str]:
    """Return whether ``text`` is JSON, the value, and why not; a bare word or number is none."""
    try:
        value = json.loads(text, strict=False)
    except RecursionError:
        return False, None, "it is nested too deep"
    except ValueError as error:
        where = f", character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        words = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return False, None, f"{words[:100]}{where}"
    if not isinstance(value, dict | list):
        return False, None, "it is neither an object nor an array"
    return True, value, ""


def _head(texts: Iterator[str]) -> tuple[str, Iterator[str]]:
    """Return the begin of a file up to its first line feed at least, and the rest."""
    head = ""
    for text in texts:
        head += text
        if "\n" in head.lstrip() or len(head) > MOST_LINE:
            break
    return head.lstrip("\ufeff\r\n\t "), texts


def _texts(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of a file: UTF-8, or UTF-16 where its first bytes say so."""
    decoder: codecs.IncrementalDecoder | None = None
    start = b""
    for piece in _unpacked(pieces):
        if decoder is None:
            start += piece
            if len(start) < 3:
                continue
            decoder, piece = _decoder(start)
        yield decoder.decode(piece)
    if decoder is None:
        decoder, start = _decoder(start)
        yield decoder.decode(start)
    yield decoder.decode(b"", True)


def _decoder(start: bytes) -> tuple[codecs.IncrementalDecoder, bytes]:
    for mark, name in _BOMS:
        if start.startswith(mark):
            return codecs.getincrementaldecoder(name)("replace"), start[len(mark) :]
    return codecs.getincrementaldecoder("utf-8")("replace"), start


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked where it is a gzip; several joined ones too.

    Raises:
        FileUnreadable: the gzip is broken or breaks off, or is a bomb.
    """
    source = iter(pieces)
    first = b""
    while len(first) < 2 and (piece := next(source, b"")):
        first += piece
    if not first.startswith(_GZIP):
        if first:
            yield first
        yield from source
        return
    size = 0
    stream = zlib.decompressobj(wbits=31)
    waiting = first
    while True:
        try:
            found = stream.decompress(waiting, 2**20)
        except zlib.error as error:
            raise FileUnreadable("the gzip is broken. Fix: pack it again") from error
        size += len(found)
        if size > MOST_UNPACKED:
            raise FileUnreadable("it is over 4 GiB unpacked. Fix: import it in parts")
        if found:
            yield found
        waiting = stream.unconsumed_tail
        if stream.eof:
            waiting = stream.unused_data or next(source, b"")
            if not waiting.strip(b"\x00"):
                return
            stream = zlib.decompressobj(wbits=31)
        elif not waiting and not found:
            waiting = next(source, b"")
            if not waiting:
                raise FileUnreadable("the gzip breaks off. Fix: copy it again")
