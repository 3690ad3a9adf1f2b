"""What the official SDK makes of a write: exactly the form that the preview shows."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client

from calls.numbers.switch.net import Net, overrides_for
from calls.numbers.switch.voice import VOICE_FIELDS, VoiceConfig, read
from calls.numbers.switch.writes import as_form, changes, here
from calls.telephony.twilio_client import NO_ENVIRONMENT

pytestmark = pytest.mark.unit

RESOURCE = {"sid": "PN1", "account_sid": "AC1", "phone_number": "+15550001111"}


class Recorder(HttpClient):
    """Keeps the requests and answers with the number."""

    def __init__(self) -> None:
        super().__init__(logging.getLogger(__name__), is_async=False, timeout=1)
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def request(self, method: str, url: str, **kwargs: Any) -> Response:  # type: ignore[override]
        self.seen.append((method, dict(kwargs.get("data") or {})))
        return Response(200, json.dumps({**RESOURCE, **dict.fromkeys(VOICE_FIELDS)}))


def moves() -> list[tuple[VoiceConfig, VoiceConfig]]:
    found = []
    for fields in (
        {"voice_url": "https://vapi.example/in", "voice_method": "GET"},
        {"voice_application_sid": "AP1"},
        {"trunk_sid": "TK1", "voice_caller_id_lookup": True},
    ):
        before = read({**RESOURCE, **fields})
        net, base = Net("none"), "https://voice.example.com"
        wanted = here(before, base_url=base, net=net, overrides=overrides_for())
        found += [(wanted, before), (before, wanted)]
    somebody = read({**RESOURCE, "voice_caller_id_lookup": True, "voice_receive_mode": "fax"})
    return [*found, (read(RESOURCE), somebody)]


@pytest.mark.parametrize(("wanted", "over"), moves())
def test_t25_the_sdk_sends_the_form_and_what_is_cleared_too(
    wanted: VoiceConfig, over: VoiceConfig
) -> None:
    recorder = Recorder()
    client = Client("AC1", "token", http_client=recorder, environment=NO_ENVIRONMENT)
    sent = changes(wanted, over=over)
    number = client.incoming_phone_numbers(wanted.sid).update(**sent)
    assert recorder.seen == [("POST", as_form(sent))]
    assert "" in as_form(sent).values()
    # And what it answers reads as a configuration.
    resource = {name: getattr(number, name) for name in ("sid", "account_sid", "phone_number")}
    assert read({**resource, **{name: getattr(number, name) for name in VOICE_FIELDS}})
