"""What the previous stack answered: whether Twilio could run it, and what Twilio is given.

Owns content types, sizes, encodings and compression (twilio.md 1.2, 1.3); the code of a failure is
the one Twilio would report. Sound and plain text pass through untouched. Pure.
"""

from __future__ import annotations

import codecs
import re
import zlib
from dataclasses import dataclass, field
from typing import Final, Literal

from calls.previous.twiml import NotTwiml, with_absolute_urls

Kind = Literal["xml", "audio", "text"]

MOST_TWIML_BYTES: Final = 64 * 1024
# Twilio plays what it gets and hangs up; eight minutes of telephone sound are enough of a message.
MOST_AUDIO_BYTES: Final = 4 * 1024 * 1024
# https://www.twilio.com/docs/api/twiml/your_response, a stored copy read 2026-11-23: plain text
# is read to the caller; HTML is taken for TwiML.
_XML_TYPES: Final = frozenset({"text/xml", "application/xml", "text/html"})
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_DECLARED: Final = re.compile(rb"\A<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]+)[\"']")
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Others would be a way to have decoders run that nobody looks at.
_ENCODINGS: Final = frozenset(
    {"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252", "utf-16", "utf-16-le", "utf-16-be"}
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What Twilio is given."""

    content_type: str
    body: bytes = field(repr=False)
    absolute_made: int = 0


@dataclass(frozen=True, slots=True)
class Unusable:
    """Twilio could not have run it; ``code`` is Twilio's, ``cause`` for people."""

    code: int
    cause: str


def kind_of(content_type: str) -> Kind | None:
    """Return how Twilio reads a content type, None if it refuses it (12300)."""
    plain = content_type.partition(";")[0].strip().lower()
    if not plain or plain in _XML_TYPES:
        return "xml"
    if plain.startswith("audio/"):
        return "audio"
    return "text" if plain == "text/plain" else None


def most_bytes(content_type: str) -> int:
    """Return how much of an answer of this type is read; what is longer is no answer."""
    return MOST_AUDIO_BYTES if kind_of(content_type) == "audio" else MOST_TWIML_BYTES


def usable(
    body: bytes, *, content_type: str, content_coding: str, base_url: str
) -> Answer | Unusable:
    """Return what Twilio is given of a successful answer of ``base_url``, or why nothing.

    TwiML without a relative address, sound and text are given byte for byte.
    """
    kind, limit = kind_of(content_type), most_bytes(content_type)
    if kind is None:
        shown = content_type.partition(";")[0].strip()[:60]
        return Unusable(12300, f"its content type {shown!r} is none that Twilio runs")
    clear = opened(body, content_coding, limit)
    if clear is None:
        return Unusable(11200, "its compression could not be undone")
    if len(clear) > limit:
        return Unusable(11750, f"it is longer than {limit} bytes")
    if kind != "xml":
        return Answer(content_type, clear)
    read = decoded(clear, content_type)
    if read is None:
        return Unusable(12100, "its text is not in the encoding that it names")
    text, encoding = read
    try:
        rewritten = with_absolute_urls(text, base_url)
    except NotTwiml as error:
        return Unusable(12100, f"it is no TwiML: {error}")
    if rewritten.changed:
        # An address may hold what the encoding has no byte for; XML has another way to write it.
        clear = rewritten.text.encode(encoding, "xmlcharrefreplace")
        if len(clear) > limit:
            return Unusable(11750, f"with absolute addresses it is longer than {limit} bytes")
    return Answer(content_type.strip() or "text/xml", clear, rewritten.changed)


def opened(body: bytes, coding: str, limit: int) -> bytes | None:
    """Undo gzip or deflate, up to a byte more than ``limit``; None where it cannot be undone."""
    plain = coding.strip().lower()
    if plain in {"", "identity"}:
        return body
    if plain not in {"gzip", "x-gzip", "deflate"}:
        return None
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, whichever its first bytes say
    try:
        clear = reader.decompress(body, limit + 1)
    except zlib.error:
        return None
    return clear if reader.eof or len(clear) > limit else None


def decoded(body: bytes, content_type: str) -> tuple[str, str] | None:
    """Return text and its encoding: by mark, header, declaration or UTF-8, in this order.

    None where it is not in the encoding that it names, or in one that is not read here.
    RFC 7303 3: a byte order mark wins over the header, the header over the declaration.
    """
    named = next((name for mark, name in _MARKS if body.startswith(mark)), "")
    if not named and (found := _CHARSET.search(content_type)):
        named = found[1]
    if not named and (declared := _DECLARED.match(body)):
        named = declared[1].decode("ascii")
    try:
        encoding = codecs.lookup(named or "utf-8").name
        if encoding not in _ENCODINGS:
            return None
        return body.decode(encoding), encoding
    except (LookupError, UnicodeError):
        return None
