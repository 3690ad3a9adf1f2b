"""One form for each kind of value, so that what means the same compares equal.

Pure. Owns the normalisation that docs/parity.md states, kind by kind. It must not guess: what can
be read in two ways (03/04/2026, "tomorrow") stays as it was written and differs from what was
written otherwise. Every form normalises to itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

import phonenumbers

from calls.parity.moments import moment
from calls.parity.sequence import canonical_arguments

Kind = Literal["phone", "email", "name", "date", "id", "number", "text"]

DEFAULT_REGION: Final = "US"
# Longer values are prose, and no pattern here is to meet them.
_LONGEST: Final = 2_000
_SPACES: Final = re.compile(r"\s+")
_ADDRESS: Final = re.compile(r"<([^<>\s]+@[^<>\s]+)>")
_BETWEEN_ADDRESSES: Final = re.compile(r"[\s,;]+")
_APOSTROPHES: Final = re.compile(r"['\u2019\u02bc`\u00b4]")
_NO_LETTER: Final = re.compile(r"[\W_]+")
# Accents of the Latin, Greek and Cyrillic scripts; the signs of other scripts are letters.
_ACCENTS: Final = re.compile("[\u0300-\u036f]")


def normalise(kind: Kind, value: Any, region: str = DEFAULT_REGION) -> str:
    """Return the one form of ``value``; '' for what says nothing (missing, null, empty).

    Args:
        region: where a phone number without a country code belongs, ISO 3166.
    """
    text = as_said(value)
    if not text or len(text) > _LONGEST:
        return text
    # Without differences of case some accents are two characters again.
    return unicodedata.normalize("NFC", _form(kind, text, region))


def _form(kind: Kind, text: str, region: str) -> str:
    if kind == "phone":
        return _phone(text, region)
    if kind == "email":
        return _email(text)
    if kind == "name":
        return plain_name(text)
    if kind == "date":
        return moment(text)
    if kind == "number":
        return _number(text)
    return text if kind == "id" else plain_text(text)


def as_said(value: Any) -> str:
    """Return a JSON value as text without spaces around it; '' for null and what is empty.

    An accent is one character or two, which nobody sees: here one (NFC). Whole numbers lose their
    fraction (12.0 is 12). Objects and lists become JSON in one order.
    """
    if value is None or value == "" or (isinstance(value, Mapping | list) and not value):
        return ""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", _SPACES.sub(" ", value).strip())
    text = canonical_arguments(value)
    return "" if text == "null" else text


def plain_text(text: str) -> str:
    """Return text without differences of case and white space."""
    return _SPACES.sub(" ", text.casefold()).strip()


def plain_name(text: str) -> str:
    """Return a name without case, accents, punctuation and apostrophes; its words in their order.

    "O'Brien" is "OBrien", "Anne-Marie" is "Anne Marie", "Müller" is "Muller" but not "Mueller".
    """
    folded = _APOSTROPHES.sub("", unicodedata.normalize("NFKD", text.casefold()))
    letters = unicodedata.normalize("NFKC", _ACCENTS.sub("", folded)).casefold()
    plain = _NO_LETTER.sub(" ", letters).strip()
    return plain or plain_text(text)


def in_region(text: str, region: str) -> str:
    """Return a number as people write it in ``region`` (ISO 3166, e.g. ``US``) as E.164, or ''.

    An extension follows as ``;ext=12``. Digits that cannot be a number there give '': the length
    is judged, not whether anybody answers.
    """
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return ""
    # A number without its area code is dialled inside the area only; nobody knows which it is.
    whole = phonenumbers.ValidationResult.IS_POSSIBLE
    if phonenumbers.is_possible_number_with_reason(number) != whole:
        return ""
    e164: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{e164};ext={number.extension}" if number.extension else e164


def country_code(digits: str) -> str:
    """Return the country's code that an international number begins with, '' for none.

    Args:
        digits: the number without its plus.
    """
    try:
        return str(phonenumbers.parse(f"+{digits}", None).country_code)
    except phonenumbers.NumberParseException:
        return ""


def region_of(number_e164: str) -> str:
    """Return the region that a number in E.164 belongs to, ISO 3166; the default for none."""
    try:
        number = phonenumbers.parse(number_e164, None)
    except phonenumbers.NumberParseException:
        return DEFAULT_REGION
    # Several regions share +1 and +44: the number tells them apart, if it can be anybody's.
    region = phonenumbers.region_code_for_number(
        number
    ) or phonenumbers.region_code_for_country_code(number.country_code or 0)
    # "001" is a number of no country, e.g. a satellite's; "ZZ" of nobody.
    return str(region) if str(region).isalpha() and region != "ZZ" else DEFAULT_REGION


def _phone(text: str, region: str) -> str:
    found = in_region(text, region)
    if found:
        return found
    digits = "".join(str(unicodedata.digit(each)) for each in text if each.isdigit())
    return digits or plain_text(text)


def _email(text: str) -> str:
    named = _ADDRESS.findall(text)
    parts = named or _BETWEEN_ADDRESSES.split(text)
    found = [part.casefold().removeprefix("mailto:").strip("<>.") for part in parts]
    return ",".join(each for each in found if each) or plain_text(text)


def _number(text: str) -> str:
    try:
        number = Decimal(text.replace(" ", ""))
    except InvalidOperation:
        return plain_text(text)
    if not number.is_finite() or abs(number.adjusted()) > 50:
        return plain_text(text)
    plain = format(number.normalize(), "f")
    return "0" if plain in {"-0", "0"} else plain
