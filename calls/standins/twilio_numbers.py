"""Phone numbers of the Twilio stand-in: resources, precedence of their voice configuration, the
rules of an update and the record per region (twilio.md 5.1 to 5.6). It must not place calls or
speak HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_WRITABLE = {
    "FriendlyName": "friendly_name",
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "VoiceCallerIdLookup": "voice_caller_id_lookup",
    "VoiceReceiveMode": "voice_receive_mode",
    "VoiceApplicationSid": "voice_application_sid",
    "TrunkSid": "trunk_sid",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
    "SmsUrl": "sms_url",
    "SmsMethod": "sms_method",
    "SmsFallbackUrl": "sms_fallback_url",
    "SmsFallbackMethod": "sms_fallback_method",
    "SmsApplicationSid": "sms_application_sid",
}
_NULL_WHEN_EMPTY = frozenset({"voice_application_sid", "trunk_sid", "sms_application_sid"})
HOME_REGION = "us1"
REGIONS = (HOME_REGION, "ie1", "au1")
# What a region has a record of its own for; the rest of a number is the same everywhere.
_REGIONAL = frozenset(
    value for name, value in _WRITABLE.items() if name.startswith(("Voice", "Status", "Trunk"))
)
_CHOICES = {
    **dict.fromkeys(
        ("VoiceMethod", "VoiceFallbackMethod", "StatusCallbackMethod"), ("GET", "POST")
    ),
    "VoiceReceiveMode": ("voice", "fax"),
}

# Numbers that a stand-in of its own process owns, to rehearse moves with: the old stack answers.
MOVABLE = ("+15550100011", "+15550100012", "+15550100013")
OLD_VOICE_PATH = "/old/twilio/inbound_call"
OLD_STATUS_PATH = "/old/twilio/status"


@dataclass(frozen=True, slots=True)
class VoiceConfig:
    """What decides an incoming call. `source` is number, application, trunk or none."""

    voice_url: str = ""
    voice_method: str = "POST"
    voice_fallback_url: str = ""
    voice_fallback_method: str = "POST"
    status_callback: str = ""
    status_callback_method: str = "POST"
    source: str = "number"


@dataclass(slots=True)
class Numbers:
    """The numbers and TwiML apps of one account."""

    account_sid: str
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)  # by PN sid
    applications: dict[str, VoiceConfig] = field(default_factory=dict)  # by AP sid
    alarms: list[str] = field(default_factory=list)  # what must never be asked of Twilio
    updates: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    # The region whose record decides, by PN sid; the home region for those that are not named.
    voice_regions: dict[str, str] = field(default_factory=dict)
    _regional: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def add(self, e164: str, **fields: Any) -> dict[str, Any]:
        """Own a number; `fields` override the resource's defaults."""
        sid = "PN" + hashlib.sha256(e164.encode()).hexdigest()[:32]
        uri = f"/2010-04-01/Accounts/{self.account_sid}/IncomingPhoneNumbers/{sid}.json"
        resource: dict[str, Any] = {
            "sid": sid,
            "account_sid": self.account_sid,
            "phone_number": e164,
            "friendly_name": e164,
            "api_version": "2010-04-01",
            "beta": False,
            "origin": "twilio",
            "status": "in-use",
            "type": "local",
            "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
            "date_created": "Sun, 01 Nov 2026 09:00:00 +0000",
            "date_updated": "Sun, 01 Nov 2026 09:00:00 +0000",
            "voice_url": "",
            "voice_method": "POST",
            "voice_fallback_url": "",
            "voice_fallback_method": "POST",
            "voice_caller_id_lookup": False,
            "voice_receive_mode": "voice",
            "voice_application_sid": None,
            "trunk_sid": None,
            "status_callback": "",
            "status_callback_method": "POST",
            "sms_url": "",
            "sms_method": "POST",
            "sms_fallback_url": "",
            "sms_fallback_method": "POST",
            "sms_application_sid": None,
            "emergency_status": "Inactive",
            "emergency_address_sid": None,
            "emergency_address_status": "unregistered",
            "address_sid": None,
            "address_requirements": "none",
            "bundle_sid": None,
            "identity_sid": None,
            "uri": uri,
        }
        resource.update(fields)
        self.resources[sid] = resource
        return resource

    def add_movable(self, origin: str) -> None:
        """Own the numbers of ``MOVABLE``: two by an address, one by a TwiML app (5.2)."""
        by_url, by_app, by_get = MOVABLE
        voice_url, status_callback = origin + OLD_VOICE_PATH, origin + OLD_STATUS_PATH
        texts = {"sms_url": f"{origin}/old/sms", "sms_method": "GET"}
        self.add(by_url, voice_url=voice_url, status_callback=status_callback, **texts)
        self.add(by_get, voice_url=voice_url, voice_method="GET", **texts)
        app_sid = "AP" + "5" * 32
        self.applications[app_sid] = VoiceConfig(
            voice_url=voice_url, status_callback=status_callback, source="application"
        )
        self.add(by_app, voice_application_sid=app_sid, **texts)

    def find(self, e164: str) -> dict[str, Any] | None:
        """Return the resource of a number."""
        return next((r for r in self.resources.values() if r["phone_number"] == e164), None)

    def seen_from(self, sid: str, region: str) -> dict[str, Any]:
        """Return a number as the API of a region shows it: with that region's record (5.6)."""
        resource = self.resources[sid]
        return {**resource, **self._record(sid, region)}

    def _record(self, sid: str, region: str) -> dict[str, Any]:
        if region == HOME_REGION:
            return self.resources[sid]
        blank: dict[str, Any] = dict.fromkeys(_REGIONAL, "")
        blank |= {key: "POST" for key in _REGIONAL if key.endswith("_method")}
        blank |= dict.fromkeys(_NULL_WHEN_EMPTY & _REGIONAL)
        blank |= {"voice_caller_id_lookup": False, "voice_receive_mode": "voice"}
        return self._regional.setdefault((sid, region), blank)

    def why_not(self, form: Mapping[str, str]) -> str:
        """Return what is wrong with the values of an update, '' if nothing is."""
        for name, choices in _CHOICES.items():
            if form.get(name, choices[0]).upper() not in {each.upper() for each in choices}:
                return f"{name} is not one of {', '.join(choices)}"
        for name in ("VoiceUrl", "VoiceFallbackUrl", "StatusCallback"):
            if form.get(name) and not form[name].startswith(("http://", "https://")):
                return f"{name} is not a valid URL"
        for name, start in (("TrunkSid", "TK"), ("VoiceApplicationSid", "AP")):
            if form.get(name) and not form[name].startswith(start):
                return f"{name} is not a valid SID"
        return ""

    def update(
        self, sid: str, form: Mapping[str, str], region: str = HOME_REGION
    ) -> dict[str, Any]:
        """Apply an update; a trunk deletes the application and the reverse (5.2)."""
        self.updates.append((sid, dict(form)))
        for name, value in form.items():
            key = _WRITABLE.get(name)
            if key is None:
                continue
            record = self._record(sid, region) if key in _REGIONAL else self.resources[sid]
            record[key] = _stored(key, value)
        record = self._record(sid, region)
        if form.get("TrunkSid"):
            record["voice_application_sid"] = None
        elif form.get("VoiceApplicationSid"):
            record["trunk_sid"] = None
        return self.seen_from(sid, region)

    def effective(self, e164: str) -> VoiceConfig | None:
        """Return what answers a call to a number by the precedence of 5.2; None: not ours."""
        found = self.find(e164)
        if found is None:
            return None
        resource = self.seen_from(found["sid"], self.voice_regions.get(found["sid"], HOME_REGION))
        if resource["trunk_sid"]:
            return VoiceConfig(source="trunk")
        if resource["voice_application_sid"]:
            return self.applications.get(
                resource["voice_application_sid"], VoiceConfig(source="none")
            )
        if not resource["voice_url"]:
            return VoiceConfig(source="none")
        return VoiceConfig(
            voice_url=resource["voice_url"],
            voice_method=resource["voice_method"],
            voice_fallback_url=resource["voice_fallback_url"],
            voice_fallback_method=resource["voice_fallback_method"],
            status_callback=resource["status_callback"],
            status_callback_method=resource["status_callback_method"],
        )

    def application(self, sid: str) -> dict[str, Any] | None:
        """Return the resource of a TwiML app, None if there is none."""
        app = self.applications.get(sid)
        if app is None:
            return None
        return {
            "sid": sid,
            "account_sid": self.account_sid,
            "friendly_name": sid[:8],
            "api_version": "2010-04-01",
            "date_created": "Sun, 01 Nov 2026 09:00:00 +0000",
            "date_updated": "Sun, 01 Nov 2026 09:00:00 +0000",
            "voice_url": app.voice_url,
            "voice_method": app.voice_method,
            "voice_fallback_url": app.voice_fallback_url,
            "voice_fallback_method": app.voice_fallback_method,
            "voice_caller_id_lookup": False,
            "status_callback": app.status_callback,
            "status_callback_method": app.status_callback_method,
            "message_status_callback": "",
            "sms_url": "",
            "sms_method": "POST",
            "sms_fallback_url": "",
            "sms_fallback_method": "POST",
            "sms_status_callback": "",
            "public_application_connect_enabled": False,
            "uri": f"/2010-04-01/Accounts/{self.account_sid}/Applications/{sid}.json",
        }

    def route(self, e164: str) -> dict[str, Any] | None:
        """Return which region handles a number's calls, as Twilio's routes API says it (5.6)."""
        found = self.find(e164)
        if found is None:
            return None
        sid = found["sid"]
        return {
            "sid": "QQ" + sid[2:],
            "phone_number": e164,
            "account_sid": self.account_sid,
            "friendly_name": found["friendly_name"],
            "voice_region": self.voice_regions.get(sid, HOME_REGION),
            "url": f"https://routes.twilio.com/v2/PhoneNumbers/{e164}",
            "date_created": "2026-11-01T09:00:00Z",
            "date_updated": "2026-11-01T09:00:00Z",
        }


def _stored(key: str, value: str) -> Any:
    if key == "voice_caller_id_lookup":
        return value.lower() == "true"
    return None if key in _NULL_WHEN_EMPTY and not value else value
