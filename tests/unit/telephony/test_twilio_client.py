"""Ending a call at Twilio: what counts as ended, and how long it may take (T16, T27)."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from twilio.base.exceptions import TwilioRestException
from twilio.rest.api.v2010.account.call import CallContext

from calls.telephony import twilio_client
from calls.telephony.twilio_client import TIMEOUT_SECONDS, TwilioAccess, client_for, complete_call

pytestmark = pytest.mark.unit

ACCESS = TwilioAccess("AC" + "1" * 32, "token", "http://127.0.0.1:9")


def _answering(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = []

    def update(self: CallContext, **fields: Any) -> None:
        asked.append(fields)
        if error is not None:
            raise error

    monkeypatch.setattr(CallContext, "update", update)
    return asked


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (None, True),
        (TwilioRestException(404, "/x", code=20404), True),
        (TwilioRestException(400, "/x", code=21220), True),
        (TwilioRestException(404, "/x"), True),
        (TwilioRestException(401, "/x", code=20003), False),
        (TwilioRestException(429, "/x", code=20429), False),
        (TwilioRestException(500, "/x"), False),
        (requests.ConnectionError(), False),
        (requests.Timeout(), False),
    ],
)
def test_t16_a_call_that_is_gone_has_ended(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, ended: bool
) -> None:
    asked = _answering(monkeypatch, error)
    assert complete_call(ACCESS, "CA" + "1" * 32) is ended
    assert asked == [{"status": "completed"}]


def test_t27_every_client_has_a_timeout_and_reads_no_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWILIO_REGION", "nowhere")
    monkeypatch.setenv("TWILIO_EDGE", "nowhere")
    client = client_for(ACCESS)
    assert client.http_client.timeout == TIMEOUT_SECONDS
    assert (client.region, client.edge) == (None, None)
    assert client.api.base_url == "http://127.0.0.1:9"
    assert client_for(TwilioAccess("AC1", "t")).api.base_url == "https://api.twilio.com"


def test_nothing_here_can_delete_a_number() -> None:
    with open(twilio_client.__file__, encoding="utf-8") as source:
        text = source.read()
    assert ".delete(" not in text
