"""Phone numbers as text: one normal form, E.164."""

from __future__ import annotations

import phonenumbers


def normalised(text: str) -> str:
    """Return ``text`` as E.164 if it is a phone number in international form, else unchanged.

    Twilio's From and To may also be ``client:``, ``sip:`` or words like ``anonymous``.
    """
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return text
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
