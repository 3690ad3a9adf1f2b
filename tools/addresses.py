"""Addresses with templates in them, filled in so that a value stays a value.

Owns the rule that what a model or a caller said can fill a place in a path or a query and nothing
else: neither another host, scheme or port, nor another step in the path. Pure; the renderers of
templates come in as functions.
"""

from __future__ import annotations

import re
import secrets
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from tools.defaults import Render

_PART: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_ENCODES: Final = re.compile(r"\|\s*(?:url_encode|cgi_escape|uri_escape)\b")
_NOTHING_ELSE: Final = re.compile(r"[/?#\\]")
# Around what a template says, to be found again in what was rendered. Nobody can know them.
_NONCE: Final = secrets.token_hex(12)
_PLAIN, _CODED, _END = (f"({_NONCE}{each}" for each in "pce")
_FILLED: Final = re.compile(
    f"({re.escape(_PLAIN)}|{re.escape(_CODED)})(.*?){re.escape(_END)}", re.S
)


class AddressRefused(ValueError):
    """A value would change where the request goes."""


def filled_address(template: str, own: Render, given: Render) -> str:
    """Return ``template`` filled in; '' and other nonsense where it says no address.

    Values are percent-encoded, but for a base address that stands at the very beginning.

    Args:
        own: renders with what the operator and the call say; it alone fills in the host.
        given: renders with the model's arguments as well.

    Raises:
        AddressRefused: a value would change the host or lead up the path.
    """
    template = template.strip()
    if "{%" in template:
        origin = _filled(template, own)
        address = _filled(template, given)
    else:
        head, rest = _split(template)
        origin = own(head) if head.startswith("{{") else _filled(head, own, safe=":")
        address = origin + _filled(rest, given)
    if _origin(address) != _origin(origin) or _NONCE in address:
        raise AddressRefused
    path = address.partition("?")[0].partition("#")[0]
    if any(unquote(step) in {".", ".."} for step in path.split("/")):
        raise AddressRefused
    return address


def template_address(template: str, own: Render) -> str:
    """Return what may be shown of an address: its host filled in, the places behind it named."""
    template = template.strip()
    if "{%" in template:
        return _PART.sub("", template)
    head, rest = _split(template)
    return own(head) + rest


def plain_origin(template: str) -> str:
    """Return scheme, host and port of an address, '' where only a call can tell them."""
    head, _ = _split(template.strip())
    return "" if _PART.search(head) or "{%" in template else head


def _split(template: str) -> tuple[str, str]:
    """Return what stands before the path, and the rest."""
    plain = _PART.sub(lambda found: "x" * len(found[0]), template)
    scheme = re.match(r"[^/?#]*://", plain)
    end = _NOTHING_ELSE.search(plain, scheme.end() if scheme else 0)
    at = end.start() if end else len(template)
    return template[:at], template[at:]


def _filled(template: str, render: Render, *, safe: str = "") -> str:
    def marked(found: re.Match[str]) -> str:
        part = found[0]
        if part.startswith("{%"):
            return part
        return f"{_CODED if _ENCODES.search(part) else _PLAIN}{part}{_END}"

    def encoded(found: re.Match[str]) -> str:
        # What its author encodes already is not encoded twice.
        return quote(found[2], safe="%+" if found[1] == _CODED else safe)

    return _FILLED.sub(encoded, render(_PART.sub(marked, template)))


def _origin(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return "", ""
    return parts.scheme.lower(), parts.netloc.lower()
