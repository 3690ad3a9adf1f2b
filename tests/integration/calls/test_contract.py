"""A number marked PHI or EU opens no session elsewhere: not at the start, not later."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.doctor import checks
from calls.models import PhoneNumber, ProviderConnection
from calls.services.call_plan import endpoint_for
from calls.services.call_start import call_start, media_token
from calls.services.contract import ContractForbids, contract_problem
from calls.services.media_open import MediaRefused, media_open
from calls.telephony.addresses import media_path, stream_url
from calls.wire.twilio_voice import voice_request
from tests import factories
from tests.integration.calls.rig import TOKEN, sign

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SIGNED = {
    "baa_signed_by": "C. Ounsel",
    "baa_signed_on": dt.date(2026, 5, 1),
    "zero_retention": True,
}


def _number(marks: dict[str, Any], **terms: Any) -> PhoneNumber:
    return factories.make_number(
        connection=factories.make_connection(**terms),
        twilio_account=factories.make_account(auth_token=TOKEN),
        **marks,
    )


def _ring(number: PhoneNumber) -> Any:
    form = {
        "CallSid": factories.sid("CA"),
        "AccountSid": number.twilio_account.account_sid,
        "From": "+15550107777",
        "To": number.number_e164,
        "CallStatus": "ringing",
        "Direction": "inbound",
    }
    return call_start(request=voice_request(form), account=number.twilio_account, live_calls=0)


@pytest.mark.parametrize("half", ["baa_signed_by", "baa_signed_on"])
def test_half_a_signature_is_none(half: str) -> None:
    number = _number({"health_data": True}, **{**SIGNED, half: "" if half.endswith("by") else None})
    assert number.connection is not None
    assert "BAA" in contract_problem(number, number.connection)


def test_a_call_of_a_marked_number_is_declined_and_never_reaches_a_model() -> None:
    forbidden = _number({"health_data": True})
    start = _ring(forbidden)
    assert (start.answer, start.ticket) == ("decline", None)
    assert (start.call.status, start.call.route_code) == ("ended", "contract")
    assert (start.call.connection, start.call.stream_count) == (None, 0)
    allowed = _number({"health_data": True}, **SIGNED)
    assert _ring(allowed).answer == "direct"
    # Also where the connection is the organisation's default one.
    assert forbidden.connection is not None
    forbidden.connection.is_default = True
    forbidden.connection.save()
    PhoneNumber.objects.filter(pk=forbidden.pk).update(connection=None)
    assert _ring(forbidden).answer == "decline"


def test_a_contract_that_ends_during_a_call_opens_no_further_session() -> None:
    number = _number({"eu_data": True}, region="EU", dpa_signed_on=dt.date(2026, 5, 1))
    start = _ring(number)
    assert start.answer == "direct"
    ProviderConnection.objects.update(region="us")
    start.call.connection.refresh_from_db()
    with pytest.raises(ContractForbids, match="region"):
        endpoint_for(start.call)
    url = stream_url(media_path(start.call.pk, media_token(start.call)))
    with pytest.raises(MediaRefused, match="region"):
        media_open(
            call_id=str(start.call.pk),
            token=media_token(start.call),
            url=url,
            signature=sign(url, {}),
        )


def test_the_number_s_form_refuses_the_connection(client: Client) -> None:
    number = _number({}, region="us")
    client.force_login(factories.make_superuser())
    form = {
        "organisation": number.organisation_id,
        "number_e164": number.number_e164,
        "route": "direct",
        "canary_percent": 0,
        "patience_ms": 10_000,
        "assistant": number.assistant_id,
        "policy": number.policy_id,
        "connection": number.connection_id,
        "max_call_seconds": 600,
        "max_tool_calls": 10,
        "max_spend_usd": "1.00",
        "twilio_account": number.twilio_account_id,
        "eu_data": "on",
    }
    page = reverse("admin:calls_phonenumber_change", args=[number.pk])
    assert "region is not eu" in client.post(page, form).content.decode()
    number.refresh_from_db()
    assert not number.eu_data
    ProviderConnection.objects.update(region="eu", dpa_signed_on=timezone.now().date())
    assert client.post(page, form).status_code == 302
    number.refresh_from_db()
    assert number.eu_data


def test_doctor_names_the_number_whose_calls_are_declined() -> None:
    number = _number({"health_data": True})
    found = [result for result in checks._numbers() if "BAA" in result.detail]
    assert [(each.check, each.state) for each in found] == [
        (f"number {number.number_e164}", "failed")
    ]
