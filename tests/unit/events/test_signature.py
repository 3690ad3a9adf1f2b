"""Signatures as Standard Webhooks defines them, checked by the official library."""

from __future__ import annotations

import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from calls.events.signature import is_secret, new_secret, signed_headers

pytestmark = pytest.mark.unit

BODY = b'{"type":"call.ended","text":"\\u6771"}'


def _headers(*secrets: str) -> dict[str, str]:
    return signed_headers(secrets, event_id="msg-1", at_seconds=int(time.time()), body=BODY)


def test_the_official_library_takes_what_we_sign() -> None:
    secret = new_secret()
    assert Webhook(secret).verify(BODY, _headers(secret))["type"] == "call.ended"


def test_both_secrets_open_it_while_one_is_renewed() -> None:
    old, new = new_secret(), new_secret()
    headers = _headers(new, old)
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(BODY, _headers(new))


@pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp"])
def test_id_time_and_body_are_signed(changed: str) -> None:
    secret = new_secret()
    headers, body = _headers(secret), BODY
    if changed == "body":
        body = BODY.replace(b"ended", b"begun")
    elif changed == "webhook-id":
        headers[changed] = "msg-2"
    else:
        headers[changed] = str(int(headers[changed]) + 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_secrets_are_new_each_time_and_of_the_right_form() -> None:
    made = {new_secret() for _ in range(20)}
    assert len(made) == 20
    assert all(map(is_secret, made))
    for wrong in ("", "whsec_", "whsec_AAAA", "whsec_!!", made.pop().removeprefix("whsec_")):
        assert not is_secret(wrong)
