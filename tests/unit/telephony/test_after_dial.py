"""What follows a dialled transfer (twilio.md 4.4)."""

from __future__ import annotations

import pytest

from calls.telephony.next_step import MAX_STREAMS, after_dial, next_step
from calls.wire.twilio_voice import dial
from voiceplatform.base.phones import dialable

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("status", ["completed", "answered"])
def test_a_transfer_that_was_taken_ends_the_call_with_us(status: str) -> None:
    assert after_dial(dial_status=status, stream_count=1) == ("hangup", "assistant-forwarded-call")


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled", "", "new-word"])
def test_a_transfer_that_failed_brings_the_caller_back(status: str) -> None:
    assert after_dial(dial_status=status, stream_count=1) == ("resume", "")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("busy", "call.forwarding.operator-busy"),
        ("no-answer", "call.forwarding.no-answer"),
        ("failed", "call.in-progress.error-transfer-failed"),
    ],
)
def test_without_another_stream_the_reason_is_vapis_word(status: str, reason: str) -> None:
    assert after_dial(dial_status=status, stream_count=MAX_STREAMS) == ("apologise", reason)


def test_a_stored_dial_is_dialled_however_often_twilio_asks() -> None:
    for count in (1, MAX_STREAMS):
        assert next_step(stored="dial", ended=False, stream_count=count) == "dial"
    assert next_step(stored="dial", ended=True, stream_count=1) == "hangup"


def test_the_twiml_names_number_caller_id_and_action() -> None:
    text = dial(to="+15550100042", caller_id="+15550100001", action_url="https://v.e/x")
    assert "<Number>+15550100042</Number>" in text
    assert 'action="https://v.e/x"' in text
    assert 'callerId="+15550100001"' in text


@pytest.mark.parametrize(
    "text", ["911", "112", "+1911", "", "sip:a@b", "+1 900 555 0100", "5550100"]
)
def test_emergency_premium_and_unreadable_numbers_are_never_dialled(text: str) -> None:
    assert dialable(text) == ""


def test_a_number_is_dialled_in_its_normal_form() -> None:
    assert dialable("+1 (555) 010-0042") == "+15550100042"
