"""System checks: each id is found when it must be, and never with the value of a secret."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings

from voiceplatform.base.checks import check_keys, check_public_base_url, check_vendor_urls

pytestmark = pytest.mark.unit


def ids(found: list[Any]) -> list[str]:
    """Return the ids of messages; every one of them must name a fix."""
    assert all(message.hint for message in found)
    return [message.id for message in found]


def test_good_keys_are_silent() -> None:
    assert check_keys() == []


@override_settings(SECRET_KEY_MISSING=True, FIELD_ENCRYPTION_KEYS=[])
def test_missing_keys_are_both_named() -> None:
    assert ids(check_keys()) == ["base.E001", "base.E002"]


def test_a_malformed_field_key_is_named_by_position_and_not_shown() -> None:
    good, bad = Fernet.generate_key().decode(), "not-a-key-but-secret"
    with override_settings(FIELD_ENCRYPTION_KEYS=[good, bad]):
        found = check_keys()
    assert ids(found) == ["base.E002"]
    assert "position 2" in found[0].msg
    assert bad not in str(found[0])
    assert good not in str(found[0])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://voice.example.com", []),
        ("https://voice.example.com:8443", []),
        ("http://127.0.0.1:8000", []),
        ("http://localhost", []),
        ("http://[::1]:8000", []),
        ("http://voice.example.com", ["base.E004"]),
        ("http://127.0.0.1.example.com", ["base.E004"]),
        ("ftp://127.0.0.1", ["base.E004"]),
        ("https://voice.example.com/path", ["base.E005"]),
        ("https://voice.example.com?x=1", ["base.E005"]),
        ("https://voice.example.com#x", ["base.E005"]),
        ("https://user@voice.example.com", ["base.E005"]),
        ("https://voice.example.com:port", ["base.E005"]),
        ("https://voice.example.com ", ["base.E005"]),
        ("voice.example.com", ["base.E005"]),
        ("", ["base.E005"]),
    ],
)
def test_the_public_origin(url: str, expected: list[str]) -> None:
    with override_settings(PUBLIC_BASE_URL=url, DEBUG=False):
        assert ids(check_public_base_url()) == expected


@pytest.mark.parametrize(
    ("url", "expected"), [("https://voice.example.com", ["base.W001"]), ("http://127.0.0.1:1", [])]
)
def test_debug_on_a_public_origin_warns(url: str, expected: list[str]) -> None:
    with override_settings(PUBLIC_BASE_URL=url, DEBUG=True):
        assert ids(check_public_base_url()) == expected


@pytest.mark.parametrize("name", ["OPENAI_REALTIME_URL", "OPENAI_BASE_URL", "TWILIO_API_BASE_URL"])
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", []),
        ("wss://api.example.com/v1", []),
        ("https://api.example.com", []),
        ("ws://127.0.0.1:9100/v1", []),
        ("http://localhost:9100", []),
        ("ws://api.example.com/v1", ["base.E006"]),
        ("http://10.0.0.7", ["base.E006"]),
        ("api.example.com", ["base.E006"]),
    ],
)
def test_vendor_urls(name: str, url: str, expected: list[str]) -> None:
    with override_settings(**{name: url}):
        assert ids(check_vendor_urls()) == expected
