"""What a number's form refuses, each with what to do instead."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import CallPolicy, PhoneNumber
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def _save(client: Client, number: PhoneNumber, **changes: object) -> str:
    page = reverse("admin:calls_phonenumber_change", args=[number.pk])
    form = {
        "organisation": number.organisation_id,
        "number_e164": number.number_e164,
        "route": number.route,
        "canary_percent": 5,
        "assistant": number.assistant_id or "",
        "policy": number.policy_id or "",
        "max_call_seconds": 600,
        "max_tool_calls": 10,
        "max_spend_usd": "1.00",
        "twilio_account": number.twilio_account_id,
        **changes,
    }
    return client.post(page, form).content.decode()


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def test_a_canary_waits_for_the_hand_over(staff: Client) -> None:
    number = factories.make_number()
    assert "hand-over to Vapi" in _save(staff, number, route="canary")
    number.refresh_from_db()
    assert number.route != "canary"


def test_a_policy_that_asks_can_be_served_unless_it_promises_a_person_whom_nobody_named(
    staff: Client,
) -> None:
    policy = factories.make_policy(recording_consent=CallPolicy.Consent.ASK, on_refusal="human")
    number = factories.make_number(route="vapi", policy=policy)
    assert "has no operator destination" in _save(staff, number, route="direct")
    number.refresh_from_db()
    assert number.route == "vapi"
    factories.make_desk(number.organisation, is_default=True)
    _save(staff, number, route="direct")
    number.refresh_from_db()
    assert number.route == "direct"


def test_the_form_shows_what_a_caller_hears_first(staff: Client) -> None:
    policy = factories.make_policy(recording_consent="ask", wordings={"en": "You hear a machine."})
    number = factories.make_number(policy=policy)
    page = staff.get(f"/admin/calls/phonenumber/{number.pk}/change/").content.decode()
    assert "You hear a machine. – Do you agree? Press 1" in page


def test_a_squad_needs_no_assistant_beside_it(staff: Client) -> None:
    number = factories.make_number(route="direct")
    squad = factories.make_squad(number.organisation)
    _save(staff, number, squad=squad.pk, assistant="")
    number.refresh_from_db()
    assert (number.squad, str(number.assistant)) == (squad, "Desk")
    # Saved again as the page shows it: an assistant that is written inside a squad is in no list.
    _save(staff, number, squad=squad.pk, max_tool_calls=11)
    number.refresh_from_db()
    assert (number.squad, number.max_tool_calls) == (squad, 11)


def test_a_squad_of_nobody_is_refused_with_the_fix(staff: Client) -> None:
    number = factories.make_number()
    squad = factories.make_squad(number.organisation, members=[])
    assert "Publish the first one" in _save(staff, number, squad=squad.pk, assistant="")
