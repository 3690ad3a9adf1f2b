"""Secrets in addresses: masked, and listed so that an echo of them can be masked too.

Owns what of a URL is secret (user part, secret values of query, fragment and matrix parameters),
with and without a scheme. Pure; time grows with the text alone. Documents are ``redaction``'s.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_plus

MASK: Final = "***"

Part = tuple[str, bool]  # a piece of a text, and whether it is secret

_SECRET_NAME: Final = re.compile(
    r"(?i)token|secret|password|passwd|signature|credential|^(sig|auth|authorization|code|key|pwd)$"
    r"|(api|access|account|private|signing|subscription|function)[-_]?key"
)
# Liquid may hold blanks and question marks: `https://host/{{ id }}?api_key=…`. Nothing is tried
# twice (`*+`), so that no text, however long, takes longer than reading it.
_LIQUID: Final = r"\{\{[^{}]*+\}\}|\{(?!\{[^{}]*+\}\})"
_REST: Final = (
    rf"(?P<place>(?:[^?#\s{{]|{_LIQUID})*+\??+)"
    rf"(?P<query>(?:[^#\s{{]|{_LIQUID})*+)(?P<tail>(?:\#(?:[^\s{{]|{_LIQUID})*+)?+\s*+)"
)
_URL: Final = re.compile(
    r"(?P<head>\s*+(?:[a-zA-Z][a-zA-Z0-9+.-]*+:)?//)"
    rf"(?P<user>(?:[^/?#\s@{{]|{_LIQUID})*+@)?+{_REST}"
)
# Without a scheme it is an address when parameters follow something that looks like a place: no
# blank in it, and none of the signs of regular expressions.
_BARE: Final = re.compile(
    rf"(?P<head>\s*+)(?=(?:[^?#;\s{{^\\()|*<>\"'\[\]$]|{_LIQUID})*+[?#;]){_REST}"
)
_PASSWORD: Final = re.compile(r"\s*+[^\s/?#@:;{]++:(?P<password>[^\s/?#@]++)@[^\s/?#@:]++[/?:]")
# `sip:desk@host` names a person and not a password; `data:` holds no parameters.
_PERSON: Final = re.compile(
    r"(?i)\s*+(?:sips?|mailto|tel|xmpp|im):[^\s/?#@:]*+(?::(?P<password>[^\s/?#@]++)@)?+"
)
_DATA: Final = re.compile(r"(?i)\s*+data:")
_ORIGIN: Final = re.compile(r"\s*+((?:[a-zA-Z][a-zA-Z0-9+.-]*+:)?//|)(?:[^/?#\s]*@)?([^/?#\s]*)")
_SIGNS: Final = re.compile(r"[?#;@=]")
_PAIR_ENDS: Final = re.compile(r"([&;])")
_STEP_ENDS: Final = re.compile(r"([;/])")
# The same inside an address that stands escaped inside another, once or more than once.
_ESCAPED_ENDS: Final = re.compile(r"(%(?:25)*+(?:26|3[bB]|3[fF]|23))")
_ESCAPED_EQUALS: Final = re.compile(r"%(?:25)*+3[dD]")
_MOST_NESTED: Final = 3


def redact_url(url: str) -> str:
    """Return ``url`` with its user part and the values of its secret parameters masked.

    Everything else stays as it is, character for character; text that is no URL is returned.
    """
    if not _SIGNS.search(url):
        return url
    return "".join(MASK if is_secret else text for text, is_secret in _parts(url, 0))


def url_parts(url: str) -> list[Part]:
    """Return ``url`` in pieces that join to it again, each with whether ``redact_url`` masks it."""
    return [part for part in _parts(url, 0) if part[0]]


def url_secrets(url: str) -> frozenset[str]:
    """Return what ``redact_url`` masks, in the forms in which a server may repeat it."""
    found: set[str] = set()
    for text, is_secret in _parts(url, 0):
        for form in {text, unquote(text), unquote_plus(text)} if is_secret else ():
            found |= {form, base64.b64encode(form.encode("utf-8", "replace")).decode()}
    match = _URL.fullmatch(url)
    if match is not None and match["user"]:
        user = match["user"][:-1]
        found |= {form for each in user.split(":", 1) for form in (each, unquote(each))}
    return frozenset(found - {""})


def keep_url_secrets(new: str, stored: str) -> str:
    """Return ``new`` with each mask in it replaced by the secret that stands there in ``stored``.

    An address that was shown, edited and sent back. At another host nothing is put in: a secret
    belongs to its address.
    """
    if MASK not in new or new == stored:
        return new
    known: dict[str, list[str]] = {}
    for label, secret in _labelled(url_parts(stored)):
        known.setdefault(label, []).append(secret)
    if not known or url_origin(new) != url_origin(stored):
        return new
    parts = url_parts(new)
    kept = iter([_next(known, label, text) for label, text in _labelled(parts)])
    return "".join(next(kept) if is_secret else text for text, is_secret in parts)


def _labelled(parts: list[Part]) -> Iterator[tuple[str, str]]:
    """Yield each secret with the name that stands before it."""
    before = ""
    for text, is_secret in parts:
        if is_secret:
            yield before, text
        before = text


def _next(known: dict[str, list[str]], label: str, text: str) -> str:
    return known[label].pop(0) if text == MASK and known.get(label) else text


def url_origin(url: str) -> tuple[str, ...]:
    """Return scheme and host in lower case."""
    match = _ORIGIN.match(url)
    return tuple(each.lower() for each in match.groups()) if match else ()


def _parts(text: str, depth: int) -> Iterator[Part]:
    """Yield ``text`` in pieces that join to it again, some of them empty."""
    match = _URL.fullmatch(text)
    if match is not None:
        yield match["head"], False
        if match["user"]:
            yield match["user"][:-1], True
            yield "@", False
    elif _DATA.match(text):
        yield text, False
        return
    else:
        named = _PERSON.match(text) or _PASSWORD.match(text)
        if named is not None and named["password"]:
            yield text[: named.start("password")], False
            yield named["password"], True
            text = text[named.end("password") :]
        match = _BARE.fullmatch(text)
        if match is None:
            yield text, False
            return
        yield match["head"], False
    place, query, tail = match.group("place", "query", "tail")
    path = place.rstrip("?")
    yield from _pairs(path, _STEP_ENDS, depth)
    yield place[len(path) :], False
    yield from _pairs(query, _PAIR_ENDS, depth)
    if tail.startswith("#"):
        yield "#", False
        tail = tail[1:]
    yield from _pairs(tail, _PAIR_ENDS, depth)


def _pairs(text: str, ends: re.Pattern[str], depth: int) -> Iterator[Part]:
    for piece in ends.split(text):
        name, equals, value = piece.partition("=")
        yield name + equals, False
        plain = value.rstrip()
        if plain and _SECRET_NAME.search(unquote_plus(name)):
            yield plain, True
        elif depth < _MOST_NESTED and _SIGNS.search(plain):
            yield from _parts(plain, depth + 1)
        else:
            yield from _escaped(plain)
        yield value[len(plain) :], False


def _escaped(text: str) -> Iterator[Part]:
    """Yield a value that may be an escaped address."""
    if "%" not in text:
        yield text, False
        return
    for piece in _ESCAPED_ENDS.split(text):
        equals = _ESCAPED_EQUALS.search(piece)
        if equals is None or not _SECRET_NAME.search(piece, 0, equals.start()):
            yield piece, False
        else:
            yield piece[: equals.end()], False
            yield piece[equals.end() :], piece[equals.end() :] != ""
