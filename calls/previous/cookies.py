"""Cookies of the previous stack, kept for one call as Twilio keeps them (twilio.md 1.2).

Owns which cookie goes to which address (RFC 6265). They never reach Twilio, which would bring them
to us, nor another call. A call is shorter than a cookie's life, so of dates only those that
delete matter. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

MOST_COOKIES: Final = 20
MOST_CHARACTERS: Final = 4_096
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x21-\x3a\x3c-\x7e \x80-\xff]*")
_ADDRESS: Final = re.compile(r"[0-9.]+|.*:.*")
# What programs write to delete a cookie: the beginning of Unix time, or a year before it.
_LONG_PAST: Final = re.compile(r"[ -]1[69]\d\d\b|[ -]2000\b")


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie; ``is_host_only`` when it names no domain, so that no other host gets it."""

    name: str
    value: str = field(repr=False)
    domain: str
    path: str
    is_host_only: bool
    is_secure: bool

    def as_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads; its value is a secret."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cookie:
        """Return the cookie that ``as_json`` was made of.

        Raises:
            KeyError: it is no such value.
        """
        return cls(
            name=str(value["name"]),
            value=str(value["value"]),
            domain=str(value["domain"]),
            path=str(value["path"]),
            is_host_only=bool(value["is_host_only"]),
            is_secure=bool(value["is_secure"]),
        )


def kept_cookies(
    known: Sequence[Cookie], url: str, set_cookie: Iterable[str]
) -> tuple[Cookie, ...]:
    """Return the cookies after an answer of ``url`` with these ``Set-Cookie`` headers.

    The newest of a name, domain and path wins; at most ``MOST_COOKIES``, the oldest go.
    """
    kept = {(each.name, each.domain, each.path): each for each in known}
    for text in set_cookie:
        found = _read(text, url)
        if found is None:
            continue
        cookie, is_deleted = found
        key = (cookie.name, cookie.domain, cookie.path)
        kept.pop(key, None)
        if not is_deleted:
            kept[key] = cookie
    return tuple(kept.values())[-MOST_COOKIES:]


def cookie_header(cookies: Iterable[Cookie], url: str) -> str:
    """Return the ``Cookie`` header for a request of ``url``, '' if none of them goes there."""
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower(), parts.path or "/"
    going = [
        each
        for each in cookies
        if (host == each.domain or (not each.is_host_only and _is_under(host, each.domain)))
        and _is_below(path, each.path)
        and (parts.scheme.lower() == "https" or not each.is_secure)
    ]
    going.sort(key=lambda each: -len(each.path))  # RFC 6265 5.4: the longest path first
    return "; ".join(f"{each.name}={each.value}" for each in going)


def _read(text: str, url: str) -> tuple[Cookie, bool] | None:
    if len(text) > MOST_CHARACTERS:
        return None
    pair, *rest = text.split(";")
    name, equals, value = (piece.strip(" \t") for piece in pair.partition("="))
    if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        return None
    settings = {}
    for piece in rest:
        key, _, setting = piece.partition("=")
        settings[key.strip().lower()] = setting.strip()
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    domain = settings.get("domain", "").lower().lstrip(".")
    if domain and domain != host and not _is_under(host, domain):
        return None
    path = settings.get("path", "")
    if not path.startswith("/"):
        path = (parts.path.rpartition("/")[0] or "/") if parts.path.startswith("/") else "/"
    is_secure = "secure" in settings
    if is_secure and parts.scheme.lower() != "https":
        return None
    age = settings.get("max-age")
    is_deleted = (
        age.startswith("-") or age == "0"
        if age
        else bool(_LONG_PAST.search(settings.get("expires", "")))
    )
    return Cookie(name, value, domain or host, path, not domain, is_secure), is_deleted


def _is_under(host: str, domain: str) -> bool:
    # A domain of one label, or an address, has no hosts under it.
    return "." in domain and not _ADDRESS.fullmatch(host) and host.endswith(f".{domain}")


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
