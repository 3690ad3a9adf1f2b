"""The addresses by which a live call is listened to and controlled (vapi.md 6.6).

The address itself is the secret, as at Vapi: tool servers get it with every envelope. Its token is
derived from the call, so the database holds nothing that opens anything, and it is worth nothing
once the call is over. ``monitorPlan`` of the assistant switches each off, or asks for a key beside.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Literal

from django.conf import settings

from calls.models import Call

Purpose = Literal["listen", "control"]


def monitor_token(call_id: object, purpose: Purpose) -> str:
    """Return the token that opens one of a call's addresses."""
    text = f"monitor:{purpose}:{call_id}".encode()
    digest = hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).digest()
    return urlsafe_b64encode(digest[:24]).decode()


def token_fits(call_id: object, purpose: Purpose, token: str) -> bool:
    """Tell whether a token opens this address."""
    expected = monitor_token(call_id, purpose).encode()
    return hmac.compare_digest(expected, token.encode("utf-8", "replace"))


def _plan(call: Call) -> Mapping[str, Any]:
    document = call.revision.document_redacted if call.revision is not None else None
    plan = document.get("monitorPlan") if isinstance(document, dict) else None
    return plan if isinstance(plan, dict) else {}


def is_enabled(call: Call, purpose: Purpose) -> bool:
    """Tell whether the assistant lets its calls be listened to, or controlled."""
    return _plan(call).get(f"{purpose}Enabled") is not False


def needs_key(call: Call, purpose: Purpose) -> bool:
    """Tell whether the address alone is not enough."""
    return _plan(call).get(f"{purpose}AuthenticationEnabled") is True


def monitor_object(call: Call) -> dict[str, str]:
    """Return ``call.monitor``; empty where this platform does not carry the call's audio."""
    if call.stack != Call.Stack.DIRECT or call.revision is None:
        return {}
    base = settings.PUBLIC_BASE_URL.rstrip("/")
    found: dict[str, str] = {}
    if is_enabled(call, "listen"):
        socket = base.replace("http", "ws", 1)
        found["listenUrl"] = f"{socket}/call/{call.pk}/listen?token={_token(call, 'listen')}"
    if is_enabled(call, "control"):
        found["controlUrl"] = f"{base}/call/{call.pk}/control?token={_token(call, 'control')}"
    return found


def _token(call: Call, purpose: Purpose) -> str:
    return monitor_token(call.pk, purpose)
