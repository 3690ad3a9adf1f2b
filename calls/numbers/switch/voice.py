"""The voice configuration of a number at Twilio, as a value: what is set, and what thereby answers.

Owns the list of voice fields, their reading from Twilio's resource, the precedence of trunk, TwiML
app and address (twilio.md 5.2), and the snapshot that a way back is made of. Pure. It must not
know a field of text messages, and decides nothing: what is written is ``writes``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Kind = Literal["trunk", "app", "url", "none"]

URL_FIELDS: Final = ("voice_url", "voice_fallback_url", "status_callback")
METHOD_FIELDS: Final = ("voice_method", "voice_fallback_method", "status_callback_method")
# To set one deletes the other (twilio.md 5.2).
EXCLUSIVE_FIELDS: Final = ("trunk_sid", "voice_application_sid")
VOICE_FIELDS: Final = (
    *("voice_url", "voice_method", "voice_fallback_url", "voice_fallback_method"),
    *("status_callback", "status_callback_method", "voice_application_sid", "trunk_sid"),
    *("voice_caller_id_lookup", "voice_receive_mode"),
)
_VERSION: Final = 1


class UnreadableNumber(ValueError):
    """What Twilio, or a row, says of a number makes no sense; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class VoiceConfig:
    """A number and its voice fields; '' where Twilio has none, be it null or empty (5.4).

    Equal values are equal configurations. Addresses may hold tokens and are in no repr.
    """

    sid: str
    account_sid: str
    number_e164: str = field(repr=False)
    voice_url: str = field(default="", repr=False)
    voice_method: str = "POST"
    voice_fallback_url: str = field(default="", repr=False)
    voice_fallback_method: str = "POST"
    status_callback: str = field(default="", repr=False)
    status_callback_method: str = "POST"
    voice_application_sid: str = ""
    trunk_sid: str = ""
    voice_caller_id_lookup: str = "false"
    voice_receive_mode: str = "voice"

    def voice(self) -> dict[str, str]:
        """Return the voice fields by Twilio's names, in the order of ``VOICE_FIELDS``."""
        return {name: str(getattr(self, name)) for name in VOICE_FIELDS}

    def fingerprint(self) -> str:
        """Return 64 hex digits that stand for exactly this number with exactly these fields."""
        text = json.dumps([self.sid, self.voice()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def as_json(self) -> dict[str, str]:
        """Return what ``read`` makes this value of again."""
        return {
            "sid": self.sid,
            "account_sid": self.account_sid,
            "phone_number": self.number_e164,
            **self.voice(),
        }


def read(resource: Mapping[str, Any]) -> VoiceConfig:
    """Return the configuration that a resource of Twilio's states; other fields are passed over.

    A missing method reads as POST and a missing mode as voice: Twilio's defaults (twilio.md 1.1).

    Raises:
        UnreadableNumber: it is no number, or it has a trunk and an app at once.
    """
    sid, number_e164 = _text(resource, "sid"), _text(resource, "phone_number")
    if not sid or not number_e164:
        raise UnreadableNumber("this is no number of Twilio's: it has no sid or no phone_number")
    values = {name: _text(resource, name) for name in VOICE_FIELDS}
    for name in METHOD_FIELDS:
        values[name] = values[name].upper() or "POST"
    values["voice_caller_id_lookup"] = values["voice_caller_id_lookup"].lower() or "false"
    values["voice_receive_mode"] = values["voice_receive_mode"].lower() or "voice"
    if values["trunk_sid"] and values["voice_application_sid"]:
        raise UnreadableNumber(
            f"{number_e164} has a trunk and a TwiML app at once, which Twilio does not allow; "
            "fetch the number again"
        )
    return VoiceConfig(sid, _text(resource, "account_sid"), number_e164, **values)


def _text(resource: Mapping[str, Any], name: str) -> str:
    value = resource.get(name)
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Application:
    """A TwiML app's voice fields. It may serve other numbers too: it is read and never written."""

    sid: str
    voice_url: str = field(default="", repr=False)
    voice_method: str = "POST"
    voice_fallback_url: str = field(default="", repr=False)
    voice_fallback_method: str = "POST"
    status_callback: str = field(default="", repr=False)
    status_callback_method: str = "POST"


def read_application(resource: Mapping[str, Any]) -> Application:
    """Return a TwiML app of Twilio's ``Applications`` resource.

    Raises:
        UnreadableNumber: it has no sid.
    """
    sid = _text(resource, "sid")
    if not sid:
        raise UnreadableNumber("this is no TwiML app of Twilio's: it has no sid")
    values = {name: _text(resource, name) for name in (*URL_FIELDS, *METHOD_FIELDS)}
    for name in METHOD_FIELDS:
        values[name] = values[name].upper() or "POST"
    return Application(sid, **values)


@dataclass(frozen=True, slots=True)
class Target:
    """What answers a call to a number; ``sid`` is the trunk's or the app's.

    ``is_known`` is false for an app whose fields were not read: where its calls go is not known.
    """

    kind: Kind
    sid: str = ""
    url: str = field(default="", repr=False)
    method: str = "POST"
    fallback_url: str = field(default="", repr=False)
    fallback_method: str = "POST"
    status_callback: str = field(default="", repr=False)
    status_callback_method: str = "POST"
    is_known: bool = True


def target_of(config: VoiceConfig, application: Application | None = None) -> Target:
    """Return what answers, by precedence: trunk, then app, then address (twilio.md 5.2).

    Args:
        application: the app that the number names, if it was read; another one counts as none.
    """
    if config.trunk_sid:
        return Target("trunk", config.trunk_sid)
    if config.voice_application_sid:
        if application is None or application.sid != config.voice_application_sid:
            return Target("app", config.voice_application_sid, is_known=False)
        return _target("app", application.sid, application)
    return _target("url" if config.voice_url else "none", "", config)


def _target(kind: Kind, sid: str, fields: VoiceConfig | Application) -> Target:
    return Target(
        kind=kind,
        sid=sid,
        url=fields.voice_url,
        method=fields.voice_method,
        fallback_url=fields.voice_fallback_url,
        fallback_method=fields.voice_fallback_method,
        status_callback=fields.status_callback,
        status_callback_method=fields.status_callback_method,
    )


def routes_of(kind: Kind) -> tuple[str, ...]:
    """Return the routes that a number can have whose calls were answered by such a target.

    A trunk sends no webhook, so there is no address to hand a call over to: a number of a trunk
    is wholly there or wholly here.
    """
    if kind == "trunk":
        return ("vapi", "direct")
    return ("vapi", "canary", "direct", "paused")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How a number was before it was moved: what a way back is made of.

    Args:
        application: the fields of its app then; they say where to hand calls over, not what to
            write back.
        voice_region: whose record this is (twilio.md 5.6), in lower case; '' if not known.
        taken_at: an ISO 8601 time with its zone.
        taken_by: who ordered it.
    """

    config: VoiceConfig
    application: Application | None
    voice_region: str
    taken_at: str
    taken_by: str

    def as_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads."""
        app = self.application
        names = ("sid", *URL_FIELDS, *METHOD_FIELDS)
        return {
            "version": _VERSION,
            "config": self.config.as_json(),
            "application": app and {name: getattr(app, name) for name in names},
            "voice_region": self.voice_region,
            "taken_at": self.taken_at,
            "taken_by": self.taken_by,
            "fingerprint": self.config.fingerprint(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Snapshot:
        """Return the value that ``as_json`` was made of.

        Raises:
            UnreadableNumber: it is none, or its fields are not those that its fingerprint was
                taken of. Nothing may be written to Twilio from it.
        """
        try:
            if value["version"] != _VERSION:
                raise UnreadableNumber(f"this snapshot has the version {value['version']}")
            config, app = read(value["config"]), value["application"]
            snapshot = cls(
                config=config,
                application=None if app is None else read_application(app),
                voice_region=str(value["voice_region"]),
                taken_at=str(value["taken_at"]),
                taken_by=str(value["taken_by"]),
            )
            is_same = config.fingerprint() == value["fingerprint"]
        except (KeyError, TypeError, AttributeError) as error:
            raise UnreadableNumber("this is no snapshot of a number") from error
        if not is_same:
            raise UnreadableNumber(
                f"the snapshot of {config.number_e164} was altered after it was taken"
            )
        return snapshot
