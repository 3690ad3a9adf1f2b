"""What a move changes at Twilio: the configuration to come, its difference from the one there is,
and the fields of the one request that makes it.

Pure. Text messages have no word here, and nothing is ever deleted (twilio.md 5.1). Who asks for a
move and when it is made is ``steps``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from calls.numbers.switch.net import Net, Overrides, with_overrides
from calls.numbers.switch.voice import (
    EXCLUSIVE_FIELDS,
    METHOD_FIELDS,
    URL_FIELDS,
    VOICE_FIELDS,
    Target,
    VoiceConfig,
)

# Masks what is secret in an address; handed in, so that this stays pure (ADR 0014).
Mask = Callable[[str], str]

VOICE_PATH: Final = "/twilio/voice"
STATUS_PATH: Final = "/twilio/status"

# The fields of the REST request, by the names of the resource (twilio.md 5.3).
FORM_NAMES: Final = {
    "voice_url": "VoiceUrl",
    "voice_method": "VoiceMethod",
    "voice_fallback_url": "VoiceFallbackUrl",
    "voice_fallback_method": "VoiceFallbackMethod",
    "status_callback": "StatusCallback",
    "status_callback_method": "StatusCallbackMethod",
    "voice_application_sid": "VoiceApplicationSid",
    "trunk_sid": "TrunkSid",
    "voice_caller_id_lookup": "VoiceCallerIdLookup",
    "voice_receive_mode": "VoiceReceiveMode",
}
_LABELS: Final = {
    "voice_url": "the address that is asked when a call comes in",
    "voice_method": "the method of that request",
    "voice_fallback_url": "the address that is asked when the first one fails",
    "voice_fallback_method": "the method of that request",
    "status_callback": "the address that is told when a call is over",
    "status_callback_method": "the method of that message",
    "voice_application_sid": "the TwiML app",
    "trunk_sid": "the SIP trunk",
    "voice_caller_id_lookup": "the lookup of callers' names (paid)",
    "voice_receive_mode": "whether it takes calls or faxes",
}


def here(before: VoiceConfig, *, base_url: str, net: Net, overrides: Overrides) -> VoiceConfig:
    """Return how a number has to be configured for its calls to come to us.

    Args:
        before: how it is; what is no question of who answers stays as it is.
        base_url: our public origin, without a path (design.md 4).

    Raises:
        ValueError: ``base_url`` is no absolute address.
    """
    return replace(
        before,
        voice_url=with_overrides(base_url + VOICE_PATH, overrides),
        voice_method="POST",
        voice_fallback_url=net.url,
        voice_fallback_method=net.method,
        status_callback=base_url + STATUS_PATH,
        status_callback_method="POST",
        voice_application_sid="",
        trunk_sid="",
    )


def changes(wanted: VoiceConfig, *, over: VoiceConfig) -> dict[str, str]:
    """Return the one request that turns ``over`` into ``wanted``, by the resource's names.

    Empty when there is nothing to do. The addresses and methods are sent whole, so that they end
    as wanted whatever they were a moment ago: there is no ETag (twilio.md 5.5). ``''`` clears a
    field; None never occurs, the SDK would drop it (T25).

    Raises:
        ValueError: these are two different numbers.
    """
    if wanted.sid != over.sid:
        raise ValueError("a configuration is written to the number it was made for")
    new, old = wanted.voice(), over.voice()
    if new == old:
        return {}
    sent = {name: new[name] for name in (*URL_FIELDS, *METHOD_FIELDS)}
    for name in ("voice_caller_id_lookup", "voice_receive_mode"):
        if new[name] != old[name]:
            sent[name] = new[name]
    target = [name for name in EXCLUSIVE_FIELDS if new[name]]
    # The one that is set deletes the other. To clear the other beside it would depend on the
    # order in which Twilio reads a form, so '' is sent only where neither is wanted (5.5).
    sent |= {name: new[name] for name in target}
    if not target:
        sent |= {name: "" for name in EXCLUSIVE_FIELDS if old[name]}
    return sent


def as_form(sent: Mapping[str, str]) -> dict[str, str]:
    """Return ``changes`` as the fields of Twilio's REST request.

    Raises:
        KeyError: it holds a field that is none of the voice fields.
    """
    return {FORM_NAMES[name]: value for name, value in sent.items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field, before and after, for people: secrets in addresses are masked in all texts."""

    field: str
    label: str
    old: str
    new: str
    is_changed: bool
    words: str


def difference(old: VoiceConfig, new: VoiceConfig, *, mask: Mask) -> tuple[Difference, ...]:
    """Return every voice field, changed or not, in the order of ``VOICE_FIELDS``."""
    before, after = old.voice(), new.voice()
    return tuple(_difference(name, before[name], after[name], after, mask) for name in VOICE_FIELDS)


def changed(old: VoiceConfig, new: VoiceConfig) -> tuple[str, ...]:
    """Return the names of the fields that differ, in the order of ``VOICE_FIELDS``."""
    before, after = old.voice(), new.voice()
    return tuple(name for name in VOICE_FIELDS if before[name] != after[name])


def _difference(name: str, old: str, new: str, after: Mapping[str, str], mask: Mask) -> Difference:
    shown_old, shown_new, label = mask(old), mask(new), _LABELS[name]
    if old == new:
        words = f"{label} stays as it is"
    elif not new:
        words = f"{label} is taken off{_why_off(name, after)}"
    elif not old:
        words = f"{label} is set{_why_set(name)}"
    elif shown_old == shown_new:
        words = f"{label} changes in a part that is not shown, because it is a secret"
    else:
        words = f"{label} is replaced"
    return Difference(name, label, shown_old, shown_new, old != new, words)


def _why_off(name: str, after: Mapping[str, str]) -> str:
    if name not in EXCLUSIVE_FIELDS:
        return ""
    if any(after[other] for other in EXCLUSIVE_FIELDS):
        return ": Twilio does so by itself when the other one is set"
    return ": while it is set, Twilio passes over the number's own address"


def _why_set(name: str) -> str:
    return ": it then answers before the number's own address" if name in EXCLUSIVE_FIELDS else ""


def effect(before: Target, after: Target, *, mask: Mask) -> str:
    """Say in a sentence who answers now and who will; what of text messages, too."""
    return (
        f"A call is answered by {_answerer(before, mask)} now, and by {_answerer(after, mask)} "
        "afterwards. Calls in progress stay where they are. Text messages are not touched."
    )


def _answerer(target: Target, mask: Mask) -> str:
    if target.kind == "trunk":
        return f"the SIP trunk {target.sid}"
    if target.kind == "none":
        return "nobody (no address is set)"
    if target.kind == "app" and not target.is_known:
        return f"the TwiML app {target.sid}, whose address is not known"
    # What follows "#" tells Twilio how long to wait for the address; the table of fields shows it.
    address = mask(target.url).partition("#")[0] or "no address"
    return f"the TwiML app {target.sid} ({address})" if target.kind == "app" else address
