"""Twilio's signatures (twilio.md 1.4-1.7): the one place that decides what Twilio really sent.

The SDK's validator raises on odd input (trap T28); here odd input is simply not signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs, urlsplit

from twilio.request_validator import RequestValidator

# What ``doctor`` sends to see itself refused; it is no news.
PROBE_SIGNATURE = "doctor"


def _validates(
    tokens: Iterable[str], url: str, params: Mapping[str, object] | str, signature: str
) -> bool:
    if not signature:
        return False
    return any(
        RequestValidator(token).validate(url, params, signature) for token in tokens if token
    )


def form_signature_valid(
    tokens: Iterable[str], url: str, form: Mapping[str, object], signature: str
) -> bool:
    """Check a form request (or a GET, with an empty form) against any of the account's tokens."""
    return _validates(tokens, url, form, signature)


def json_signature_valid(tokens: Iterable[str], url: str, body: bytes, signature: str) -> bool:
    """Check a JSON request: the URL carries the body's SHA-256."""
    if "bodySHA256" not in parse_qs(urlsplit(url).query):
        return False
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _validates(tokens, url, text, signature)


def stream_signature_valid(tokens: Iterable[str], url: str, signature: str) -> bool:
    """Check a media handshake; ``url`` is the ``wss://`` text of the TwiML (trap T7).

    Also tried with an explicit ``:443``, which the SDK assumes for https only (1.7).
    """
    parts = urlsplit(url)
    candidates = [url]
    if parts.scheme == "wss" and parts.port is None:
        candidates.append(parts._replace(netloc=f"{parts.netloc}:443").geturl())
    kept = list(tokens)
    return any(_validates(kept, candidate, {}, signature) for candidate in candidates)
