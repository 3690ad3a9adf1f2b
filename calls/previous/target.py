"""Where calls of a number went before, as its snapshot tells: trunk, TwiML App or URL.

Owns which of the recorded fields Twilio heeded (twilio.md 5.2) and what of that can be asked by
proxy. Reading a number at Twilio is ``calls.telephony.number_config``'s. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from calls.previous.addresses import host_of, leads_to, wire_url
from calls.previous.requests import Method

Kind = Literal["trunk", "app", "url", "none"]

_SOURCES: Final[Mapping[Kind, str]] = {
    "app": "the TwiML App's voice URL",
    "url": "the number's voice URL",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A URL with its method; falsy without one. The fragment is kept: it says how patient to be."""

    url: str = field(default="", repr=False)
    method: Method = "POST"

    def __bool__(self) -> bool:
        return bool(self.url)


@dataclass(frozen=True, slots=True)
class PreviousTarget:
    """What is asked for a call; ``problem`` says why nothing can be, and what to do about it.

    ``is_unreadable``: it was recorded, and no key opens it.
    """

    kind: Kind
    voice: Asked = Asked()
    fallback: Asked = Asked()
    status: Asked = Asked()
    problem: str = ""
    is_unreadable: bool = False


def previous_target(
    number: Mapping[str, str], app: Mapping[str, str] | None, *, own_url: str
) -> PreviousTarget:
    """Return what the number's calls went to, by Twilio's precedence.

    Args:
        number: the voice fields of the number's snapshot, '' where Twilio has none.
        app: those of the TwiML App that it names, in the same names; None if it was not recorded.
        own_url: PUBLIC_BASE_URL; a snapshot that leads here was taken too late.
    """
    if number.get("trunk_sid"):
        # No webhook, so nothing to forward: such a number knows only vapi and direct.
        return PreviousTarget(
            "trunk",
            problem="the number's calls went to a SIP trunk, which is not asked over HTTP. Fix: "
            "choose vapi (restore the trunk) or direct, not a canary",
        )
    kind: Kind = "url"
    fields = number
    if number.get("voice_application_sid"):
        if app is None:
            return PreviousTarget(
                "app",
                problem="the number used a TwiML App, and the App's URLs are not recorded. Fix: "
                "take the snapshot again while the App exists",
            )
        kind, fields = "app", app
    voice = _asked(fields, "voice_url", "voice_method")
    if not voice:
        return PreviousTarget(
            "none" if kind == "url" else kind,
            problem=f"{_SOURCES[kind]} is empty: nothing answered this number's calls before. Fix: "
            "enter the previous URL, or choose direct",
        )
    try:
        is_ours = leads_to(wire_url(voice.url), own_url)
    except ValueError as error:
        return PreviousTarget(
            kind,
            problem=f"{_SOURCES[kind]} cannot be asked: {error}. Fix: correct the previous URL",
        )
    if is_ours:
        return PreviousTarget(
            kind,
            problem=f"{_SOURCES[kind]} is our own webhook ({host_of(voice.url)}), so the snapshot "
            "was taken after the switch. Fix: enter where the calls went before",
        )
    return PreviousTarget(
        kind,
        voice,
        _other(fields, "voice_fallback_url", "voice_fallback_method", own_url),
        _other(fields, "status_callback", "status_callback_method", own_url),
    )


def _asked(fields: Mapping[str, str], url: str, method: str) -> Asked:
    # Twilio's default is POST (twilio.md 1.1).
    is_get = fields.get(method, "").strip().upper() == "GET"
    return Asked(fields.get(url, "").strip(), "GET" if is_get else "POST")


def _other(fields: Mapping[str, str], url: str, method: str, own_url: str) -> Asked:
    """Return a URL that helps but is not needed; none where it cannot or must not be asked."""
    found = _asked(fields, url, method)
    try:
        return Asked() if not found or leads_to(wire_url(found.url), own_url) else found
    except ValueError:
        return Asked()
