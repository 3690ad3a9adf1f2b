"""Addresses in TwiML of the previous stack: relative ones made absolute, nothing else touched.

Twilio resolves them against the URL it fetched the document from, which is ours by then. Owns which
attributes and elements hold addresses (twilio.md 2.2, 4.4, 4.5) and edits them in place; the
document is never written anew. A document type is refused, so there are no entities to
expand. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit
from xml.parsers import expat

# Every attribute of the SDK's TwiML that takes a URL ends so, and no other does.
ADDRESS_SUFFIXES: Final = ("url", "action", "callback")
ADDRESS_TEXTS: Final = frozenset({"Redirect", "Play"})
# Without an action they ask the document's own URL: https://www.twilio.com/docs/api/twiml/gather
# and /record, stored copies read 2026-11-23. A relative address that is not even written.
SELF_ASKING: Final = frozenset({"Gather", "Record"})
# Twilio opens a socket to these; a relative one stands for ws or wss.
SOCKETS: Final = frozenset({"Stream", "ConversationRelay", "AiSession"})
_SPACE: Final = " \t\r\n"

# For documents that expat has found well-formed: there these alternatives are exact.
_TOKEN: Final = re.compile(
    r"<!--.*?-->"
    r"|<!\[CDATA\[(?P<cdata>.*?)\]\]>"
    r"|<\?.*?\?>"
    r"|</(?P<close>[^\s>]+)\s*>"
    r"|<(?P<open>[^\s/>!?]+)(?P<attributes>(?:[^\"'>]|\"[^\"]*\"|'[^']*')*)>"
    r"|(?P<text>[^<]+)",
    re.DOTALL,
)
_ATTRIBUTE: Final = re.compile(r"\s(?P<name>[^\s=]+)\s*=\s*(?P<value>\"[^\"]*\"|'[^']*')")
_REFERENCE: Final = re.compile(r"&(?:#x(?P<hex>[0-9a-fA-F]+)|#(?P<dec>[0-9]+)|(?P<name>\w+));")
_NAMED: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


class NotTwiml(ValueError):
    """Twilio could not run it (12100); the text says why. Let somebody else answer."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A document, and how many of its addresses were made absolute; 0: it is what it was."""

    text: str
    changed: int


@dataclass(slots=True)
class _Piece:
    """Text of an element: ``raw`` as it stands at ``start``, ``value`` as it is meant."""

    start: int
    raw: str
    value: str
    is_cdata: bool


@dataclass(slots=True)
class _Open:
    name: str
    content_at: int
    pieces: list[_Piece] = field(default_factory=list)


Edit = tuple[int, int, str]


def with_absolute_urls(text: str, base_url: str) -> Rewritten:
    """Return TwiML whose relative addresses are absolute, as seen from ``base_url``.

    All else stays letter for letter, and without a relative address so does everything. An empty
    address stays empty (``waitUrl=""`` is silence), but where it stands for the document itself:
    ``<Redirect>``, and the action of ``<Gather>`` and ``<Record>``, written or not.

    Raises:
        NotTwiml: not well-formed, with a document type, or no ``<Response>``.
    """
    _check(text)
    base = base_url.partition("#")[0]
    edits = list(_edits(text, base))
    pieces, at = [], 0
    for start, end, replacement in sorted(edits):
        pieces += [text[at:start], replacement]
        at = end
    # An edit that takes away is part of the one that writes.
    changed = sum(1 for _, _, replacement in edits if replacement)
    return Rewritten("".join((*pieces, text[at:])), changed)


def _check(text: str) -> None:
    root: list[str] = []

    def doctype(*_: object) -> None:
        raise NotTwiml("it has a document type, which TwiML has not")

    def start(name: str, _: object) -> None:
        if not root:
            root.append(name)

    # The text is decoded already: what the declaration says of bytes is not to be heeded.
    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = start
    try:
        parser.Parse(text.encode("utf-8"), True)
    except expat.ExpatError as error:
        raise NotTwiml(f"line {error.lineno}: {expat.ErrorString(error.code)}") from None
    except UnicodeEncodeError:
        raise NotTwiml("it holds half of a character") from None
    if _local(root[0]) != "Response":
        raise NotTwiml(f"its root is <{root[0][:40]}>, not <Response>")


def _edits(text: str, base: str) -> Iterator[Edit]:
    opened: list[_Open] = []
    for token in _TOKEN.finditer(text):
        if token["open"] is not None:
            is_empty = token["attributes"].endswith("/")
            yield from _attribute_edits(token, base)
            element = _Open(token["open"], token.end())
            if not is_empty:
                opened.append(element)
            elif _local(element.name) == "Redirect":
                slash = token.end() - 2
                yield slash, token.end(), f">{_escaped(base)}</{element.name}>"
        elif token["close"] is not None:
            yield from _text_edits(opened.pop(), base)
        elif opened and (token["text"] is not None or token["cdata"] is not None):
            group = "text" if token["text"] is not None else "cdata"
            raw, is_cdata = token[group], group == "cdata"
            value = raw if is_cdata else _resolved(raw)
            opened[-1].pieces.append(_Piece(token.start(group), raw, value, is_cdata))


def _attribute_edits(token: re.Match[str], base: str) -> Iterator[Edit]:
    element = _local(token["open"])
    offset = token.start("attributes")
    has_action = False
    for found in _ATTRIBUTE.finditer(token["attributes"]):
        name = found["name"]
        if ":" in name or not name.lower().endswith(ADDRESS_SUFFIXES):
            continue
        stands_for_itself = name == "action" and element in SELF_ASKING
        has_action = has_action or stands_for_itself
        quote = found["value"][0]
        value = _resolved(found["value"][1:-1])
        absolute = _absolute(value, base, is_self=stands_for_itself)
        if absolute and name == "url" and element in SOCKETS:
            absolute = "ws" + absolute.removeprefix("http")
        if absolute:
            start, end = found.span("value")
            yield offset + start, offset + end, f"{quote}{_escaped(absolute)}{quote}"
    if element in SELF_ASKING and not has_action:
        yield offset, offset, f' action="{_escaped(base)}"'


def _text_edits(element: _Open, base: str) -> Iterator[Edit]:
    name = _local(element.name)
    if name not in ADDRESS_TEXTS:
        return
    value = "".join(piece.value for piece in element.pieces)
    absolute = _absolute(value, base, is_self=name == "Redirect")
    if not absolute:
        return
    written = [piece for piece in element.pieces if piece.value.strip(_SPACE)]
    if not written:
        yield element.content_at, element.content_at, _escaped(absolute)
        return
    # The first piece gets it all: an address may be cut by a comment or a CDATA section.
    for index, piece in enumerate(written):
        start, end = _without_space(piece)
        if index:
            yield start, end, ""
        elif not piece.is_cdata:
            yield start, end, _escaped(absolute)
        else:
            yield start, end, absolute.replace("]]>", "]]%3E")


def _without_space(piece: _Piece) -> tuple[int, int]:
    start = piece.start + len(piece.raw) - len(piece.raw.lstrip(_SPACE))
    return start, piece.start + len(piece.raw.rstrip(_SPACE))


def _absolute(value: str, base: str, *, is_self: bool) -> str:
    """Return the absolute address of a relative one, '' if it is none."""
    address = value.strip(_SPACE)
    if not address:
        return base if is_self else ""
    try:
        if urlsplit(address).scheme:
            return ""
        joined = urljoin(base, address)
        parts = urlsplit(joined)
    except ValueError:
        return ""
    return joined if parts.scheme in {"http", "https"} and parts.netloc else ""


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _resolved(raw: str) -> str:
    return _REFERENCE.sub(_character, raw)


def _character(found: re.Match[str]) -> str:
    if found["hex"]:
        return chr(int(found["hex"], 16))
    # Expat has refused every other name, and numbers of no character.
    return chr(int(found["dec"])) if found["dec"] else _NAMED[found["name"]]


def _escaped(value: str) -> str:
    for character, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "apos")):
        value = value.replace(character, f"&{name};")
    return value
