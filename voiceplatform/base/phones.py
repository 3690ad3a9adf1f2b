"""Phone numbers as text: one normal form, E.164."""

from __future__ import annotations

import re
from typing import Final

import phonenumbers

# ASCII digits: `\d` would take those of every script.
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")


def is_e164(text: str) -> bool:
    """Tell whether ``text`` has the form of E.164; that says nothing of who would answer."""
    return bool(_E164.fullmatch(text))


def normalised(text: str) -> str:
    """Return ``text`` as E.164 if it is a phone number in international form, else unchanged.

    Twilio's From and To may also be ``client:``, ``sip:`` or words like ``anonymous``.
    """
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return text
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def dialable(text: str) -> str:
    """Return a number as E.164 if the platform may dial it, else ''.

    Emergency and other short numbers have no international form, and premium-rate numbers are
    known by their type; neither is ever dialled (design.md 10).
    """
    if not text.strip().startswith("+"):
        return ""
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return ""
    kind = phonenumbers.number_type(number)
    if not phonenumbers.is_possible_number(number) or kind in {
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.SHARED_COST,
    }:
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
