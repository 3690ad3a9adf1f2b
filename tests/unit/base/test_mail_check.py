"""The check of the mail server names what is wrong, and lets what works be."""

from __future__ import annotations

from typing import Any

import pytest

from voiceplatform.base.checks import check_mail

pytestmark = pytest.mark.unit


def faults(settings: Any, **values: str) -> str:
    names = {
        "EMAIL_HOST": "mail.example.com",
        "DEFAULT_FROM_EMAIL": "voice@example.com",
        "SMTP_SECURITY": "starttls",
        "EMAIL_HOST_USER": "",
        "EMAIL_HOST_PASSWORD": "",
    }
    for name, value in {**names, **values}.items():
        setattr(settings, name, value)
    return " ".join(f"{each.id} {each.msg}" for each in check_mail())


def test_a_server_that_can_be_used_and_none_at_all_are_fine(settings: Any) -> None:
    assert faults(settings) == ""
    assert faults(settings, EMAIL_HOST="", DEFAULT_FROM_EMAIL="") == ""
    assert faults(settings, EMAIL_HOST="127.0.0.1", SMTP_SECURITY="none") == ""
    assert faults(settings, EMAIL_HOST_USER="u", EMAIL_HOST_PASSWORD="p") == ""


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"DEFAULT_FROM_EMAIL": ""}, "MAIL_FROM"),
        ({"SMTP_SECURITY": "ssl"}, "SMTP_SECURITY"),
        ({"SMTP_SECURITY": "none"}, "in the clear"),
        ({"EMAIL_HOST_USER": "u"}, "SMTP_PASSWORD"),
    ],
)
def test_each_fault_is_named(settings: Any, values: dict[str, str], named: str) -> None:
    found = faults(settings, **values)
    assert "base.E007" in found
    assert named in found
