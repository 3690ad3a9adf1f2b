"""Where a number's calls went before, read from its row.

Owns the form in which that is stored: ``switch.voice.Target`` as JSON, or the bare voice URL of a
row that has no more. Writes nothing; ``number_routes.previous_set`` does. What a target can be
asked for is ``calls.previous.target``'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from django.conf import settings

from calls.models import PhoneNumber
from calls.numbers.switch.voice import Target
from calls.previous.target import PreviousTarget, previous_target
from voiceplatform.base.fields import DecryptionError

# What Vapi writes to a Twilio number that is imported there (vapi.md 7.2); the same for all.
VAPI_TARGET: Final = Target(
    kind="url",
    url="https://api.vapi.ai/twilio/inbound_call",
    status_callback="https://api.vapi.ai/twilio/status",
)

_UNREADABLE: Final = (
    "no key opens where the number's calls went before. Fix: put the lost key back into "
    "FIELD_ENCRYPTION_KEYS, or enter the previous URL"
)

log = structlog.get_logger(__name__)


def target_json(target: Target) -> dict[str, Any]:
    """Return what ``target_stored`` reads."""
    return asdict(target)


def target_stored(number: PhoneNumber) -> Target | None:
    """Return where the number's calls went before, None where that is not known.

    Raises:
        DecryptionError: no key opens it.
    """
    stored = number.previous_target
    if isinstance(stored, Mapping):
        try:
            return Target(**stored)
        except TypeError:  # written by another version
            pass
    return _bare(number)


def _bare(number: PhoneNumber) -> Target | None:
    url = number.previous_voice_url
    return Target("url", url=url) if url else None


def target_known(number: PhoneNumber) -> Target | None:
    """Return what ``target_stored`` does, of a target that no key opens its voice URL alone.

    For whoever answers a call or shows a number: they must not fail for a key that is lost.
    """
    try:
        return target_stored(number)
    except DecryptionError:
        return _bare(number)


def previous_of(number: PhoneNumber) -> PreviousTarget:
    """Return what is asked when a call of the number is handed over, or why nothing can be."""
    own_url = settings.PUBLIC_BASE_URL
    try:
        target = target_stored(number)
    except DecryptionError:
        log.error("previous_target_unreadable", number_id=str(number.pk))
        target = _bare(number)
        if target is None:
            return PreviousTarget("none", problem=_UNREADABLE, is_unreadable=True)
    if target is None:
        return previous_target({}, None, own_url=own_url)
    fields = {
        "voice_url": target.url,
        "voice_method": target.method,
        "voice_fallback_url": target.fallback_url,
        "voice_fallback_method": target.fallback_method,
        "status_callback": target.status_callback,
        "status_callback_method": target.status_callback_method,
    }
    if target.kind == "trunk":
        return previous_target({"trunk_sid": target.sid}, None, own_url=own_url)
    if target.kind == "app":
        number_fields = {"voice_application_sid": target.sid or "app"}
        return previous_target(number_fields, fields if target.is_known else None, own_url=own_url)
    return previous_target(fields, None, own_url=own_url)


def previous_problem(url: str) -> str:
    """Return why a URL cannot be where calls went before, '' if it can."""
    own_url = settings.PUBLIC_BASE_URL
    return previous_target({"voice_url": url}, None, own_url=own_url).problem


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL: what stands for one old stack; '' if it has none."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}{port}"[:300] if parts.hostname else ""
