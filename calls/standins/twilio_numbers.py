"""Phone numbers of the Twilio stand-in: resources, precedence of their voice configuration and the
rules of an update (twilio.md 5.1 to 5.4). It must not place calls or speak HTTP.
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

    def find(self, e164: str) -> dict[str, Any] | None:
        """Return the resource of a number."""
        return next((r for r in self.resources.values() if r["phone_number"] == e164), None)

    def update(self, sid: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Apply an update; a trunk deletes the application and the reverse (5.2)."""
        resource = self.resources[sid]
        self.updates.append((sid, dict(form)))
        for name, value in form.items():
            key = _WRITABLE.get(name)
            if key is None:
                continue
            resource[key] = None if key in _NULL_WHEN_EMPTY and not value else value
        if form.get("TrunkSid"):
            resource["voice_application_sid"] = None
        elif form.get("VoiceApplicationSid"):
            resource["trunk_sid"] = None
        return resource

    def effective(self, e164: str) -> VoiceConfig | None:
        """Return what answers a call to a number by the precedence of 5.2; None: not ours."""
        resource = self.find(e164)
        if resource is None:
            return None
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
