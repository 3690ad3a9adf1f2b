"""The addresses Twilio is told; built from ``PUBLIC_BASE_URL``, never from a request (T8)."""

from __future__ import annotations

from django.conf import settings


def public_url(path: str) -> str:
    """Return the public http(s) URL of a path."""
    return f"{settings.PUBLIC_BASE_URL}{path}"


def stream_url(path: str) -> str:
    """Return the public ws(s) URL of a path; no query string survives on it (T9)."""
    return public_url(path).replace("http", "ws", 1)


def media_path(call_id: object, token: str) -> str:
    """Return the path of one stream's socket."""
    return f"/twilio/media/{call_id}/{token}"


def after_dial_path(call_id: object) -> str:
    """Return the path that answers what comes after a transfer."""
    return f"/twilio/after-dial/{call_id}"


def after_stream_path(call_id: object) -> str:
    """Return the path that answers what comes after a stream."""
    return f"/twilio/after-stream/{call_id}"


def consent_path(call_id: object) -> str:
    """Return the path that takes the answer of a caller who was asked for consent."""
    return f"/twilio/consent/{call_id}"


def key_path(call_id: object) -> str:
    """Return the path that is told of a key pressed while Twilio speaks."""
    return f"/twilio/key/{call_id}"


def shadow_path(shadow_id: object, token: str) -> str:
    """Return the path of the socket that hears a call of the old stack along."""
    return f"/twilio/shadow/{shadow_id}/{token}"


def shadow_status_path(shadow_id: object) -> str:
    """Return the path that is told what becomes of a fork."""
    return f"/twilio/shadow-status/{shadow_id}"
