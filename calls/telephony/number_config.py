"""How a number is configured at Twilio: read, pointed here, put back as it was (twilio.md 5).

Blocking. Twilio is asked for the voice fields only, one request each way, then looked at again: an
update may do nothing (T26). Nothing here deletes a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from twilio.rest import Client

from calls.telephony.addresses import public_url

FIELDS: Final = (
    *("voice_url", "voice_method", "voice_fallback_url", "voice_fallback_method"),
    *("status_callback", "status_callback_method", "voice_application_sid", "trunk_sid"),
)
# To set one deletes the other (5.2), so only one that is set is ever sent.
_EXCLUSIVE: Final = ("trunk_sid", "voice_application_sid")


class NumberConfigError(Exception):
    """The number is not as it should be; the message says how, for people."""


@dataclass(frozen=True, slots=True)
class NumberConfig:
    """The voice fields of a number; '' where Twilio has none."""

    sid: str
    number_e164: str
    fields: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NumberConfig:
        """Return the value that ``as_json`` was made of.

        Raises:
            KeyError: it is no such value.
        """
        fields = {name: str(value["fields"][name]) for name in FIELDS}
        return cls(str(value["sid"]), str(value["number_e164"]), fields)


def number_config(client: Client, number_e164: str) -> NumberConfig:
    """Return how a number is configured now.

    Raises:
        NumberConfigError: the account has no such number.
        TwilioException, RequestException: Twilio refused or was not reached.
    """
    rows = client.incoming_phone_numbers.list(phone_number=number_e164, limit=1)
    if not rows:
        raise NumberConfigError(f"the account has no number {number_e164}")
    return _config_of(rows[0])


def here(config: NumberConfig) -> NumberConfig:
    """Return how the number has to be configured for its calls to come here."""
    ours = {
        "voice_url": public_url("/twilio/voice"),
        "voice_method": "POST",
        "status_callback": public_url("/twilio/status"),
        "status_callback_method": "POST",
        "voice_fallback_method": "POST",
    }
    return NumberConfig(config.sid, config.number_e164, {**dict.fromkeys(FIELDS, ""), **ours})


def configure(client: Client, wanted: NumberConfig, *, over: NumberConfig) -> None:
    """Write ``wanted`` in one request if the number is as in ``over``, and look whether it took.

    Raises:
        NumberConfigError: somebody else has changed it meanwhile, or it did not take.
        TwilioException, RequestException: Twilio refused or was not reached.
    """
    number = client.incoming_phone_numbers(wanted.sid)
    now = _config_of(number.fetch())
    if now == wanted:
        return
    if now != over:
        changed = ", ".join(name for name in FIELDS if now.fields[name] != over.fields[name])
        raise NumberConfigError(f"somebody else has changed {changed} of {now.number_e164}")
    # '' clears; None would not be sent at all (T25).
    changes = {name: value for name, value in wanted.fields.items() if name not in _EXCLUSIVE}
    target = [name for name in _EXCLUSIVE if wanted.fields[name]]
    stale = [name for name in _EXCLUSIVE if not target and over.fields[name]]
    changes |= {name: wanted.fields[name] for name in (*target, *stale)}
    number.update(**changes)
    if _config_of(number.fetch()) != wanted:
        raise NumberConfigError(f"Twilio took the change of {now.number_e164} and did not make it")


def _config_of(row: Any) -> NumberConfig:
    fields = {name: getattr(row, name) or "" for name in FIELDS}
    return NumberConfig(row.sid, row.phone_number, fields)
