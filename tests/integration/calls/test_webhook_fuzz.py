"""Any form, however odd, is answered with TwiML, 204 or a refusal: never a 500 (T28)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from calls.media.pool import pool
from calls.models import PhoneNumber
from tests import factories
from tests.integration.calls.rig import PUBLIC, TOKEN, sign

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

ENCODABLE = st.text(st.characters(codec="utf-8"), max_size=60)
NAMES = st.sampled_from(
    ["From", "To", "CallStatus", "Direction", "CallDuration", "SequenceNumber", "ErrorCode",
     "StreamSid", "StreamEvent", "StreamError", "Digits", "StirVerstat", "Caller"]
)  # fmt: skip
VALUES = st.one_of(
    ENCODABLE,
    st.sampled_from(
        ["ringing", "completed", "in-progress", "failed", "busy", "stream-error", "-1", "0",
         "99999999999999999999", "anonymous", "stream-started", "MZ" + "a" * 32]
    ),
)  # fmt: skip
PATHS = st.sampled_from(
    ["/twilio/voice", "/twilio/status", "/twilio/stream-status", "/twilio/recording", "after"]
)
EXPECTED = {200, 204, 400, 403, 404, 413}


@pytest.fixture
def number(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> PhoneNumber:
    """A number that answers, without sockets to a model."""
    monkeypatch.setattr(pool, "open", lambda *_: None)
    return factories.make_number(twilio_account=factories.make_account(auth_token=TOKEN))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    extra=st.dictionaries(st.one_of(NAMES, ENCODABLE.filter(bool)), VALUES, max_size=8),
    path=PATHS,
    signed=st.sampled_from([True, True, True, False]),
    known=st.booleans(),
)
@example({"From": "a\x00b"}, "/twilio/voice", True, False)
@example({"To": "\x00"}, "/twilio/voice", True, False)
@example({"ErrorCode": "\x00"}, "/twilio/status", True, True)
@example(
    {"StreamEvent": "stream-error", "StreamError": "\x00"}, "/twilio/stream-status", True, True
)
@example(
    {"StreamEvent": "stream-started", "StreamSid": "\x00"}, "/twilio/stream-status", True, True
)
def test_no_form_is_a_server_error(
    number: PhoneNumber,
    caplog: pytest.LogCaptureFixture,
    extra: dict[str, str],
    path: str,
    signed: bool,
    known: bool,
) -> None:
    caplog.clear()
    call = factories.make_call(number=number, stream_count=1) if known else None
    if path == "after":
        path = f"/twilio/after-stream/{call.pk if call else '00000000-0000-4000-8000-000000000000'}"
    form: dict[str, Any] = {
        "CallSid": call.call_sid if call else factories.sid("CA"),
        "To": number.number_e164,
        **extra,
        "AccountSid": number.twilio_account.account_sid,
    }
    headers = {"X-Twilio-Signature": sign(PUBLIC + path, form) if signed else "wrong"}
    client = Client(raise_request_exception=True, headers={"Host": "localhost"})
    response = client.post(path, form, headers=headers)
    assert response.status_code in EXPECTED
    assert signed or response.status_code in {400, 403}
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.binary(max_size=300),
    kind=st.sampled_from(
        ["application/json", "application/x-www-form-urlencoded", "multipart/form-data",
         "multipart/form-data; boundary=b", "text/plain", "", "x" * 200,
         "application/x-www-form-urlencoded; charset=utf-7", "application/json; charset=nonsense"]
    ),
)  # fmt: skip
def test_no_body_is_a_server_error(
    number: PhoneNumber, caplog: pytest.LogCaptureFixture, body: bytes, kind: str
) -> None:
    caplog.clear()
    client = Client(raise_request_exception=True, headers={"Host": "localhost"})
    for path in ("/twilio/voice", "/twilio/voice?bodySHA256=x"):
        response = client.generic(
            "POST", path, body, content_type=kind, headers={"X-Twilio-Signature": "x"}
        )
        assert response.status_code in {400, 403}
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]
