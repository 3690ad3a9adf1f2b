"""Standard Webhooks: how a receiver knows that an event comes from us; pure.

Owns the form of a secret and of the three headers (standardwebhooks.com, version 1.0.0, read
2026-11-22). Two secrets may sign at once, so that a receiver changes over without losing an event.
It must not know where secrets are kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
_SECRET_BYTES = 32  # the specification asks for 24 to 64


def new_secret() -> str:
    """Return a new secret, ``whsec_`` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


def is_secret(text: str) -> bool:
    """Tell whether ``text`` is a secret of 24 to 64 bytes in the form above."""
    try:
        key = _key(text)
    except binascii.Error:
        return False
    return text.startswith(PREFIX) and 24 <= len(key) <= 64


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)


def signed_headers(
    keys: Sequence[str], *, event_id: str, at_seconds: int, body: bytes
) -> dict[str, str]:
    """Return the headers of one attempt, a signature for each secret in ``keys``.

    Args:
        event_id: the same for every attempt; it must not contain a full stop.
        at_seconds: when this attempt is made, since the epoch: receivers refuse old ones.
    """
    content = f"{event_id}.{at_seconds}.".encode() + body
    signatures = (
        base64.b64encode(hmac.new(_key(key), content, hashlib.sha256).digest()).decode("ascii")
        for key in keys
    )
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
