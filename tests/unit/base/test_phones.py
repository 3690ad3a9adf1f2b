"""The form of a phone number."""

from __future__ import annotations

import pytest

from voiceplatform.base.phones import is_e164

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("text", ["+15550100001", "+4915112345678", "+1234567", "+" + "9" * 15])
def test_e164(text: str) -> None:
    assert is_e164(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "15550100001", "+05550100001", "+123456", "+" + "9" * 16, "+1555 010 0001"),
        *("+15550100001\n", "+1555010000a", "+1\u0665\u0665\u0665\u0660\u0661\u0660\u0660", "+"),
    ],
)
def test_not_e164(text: str) -> None:
    assert not is_e164(text)
