"""What a number's form refuses, each with what to do instead."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import CallPolicy, PhoneNumber
from calls.services.number_routes import RouteOrder, route_set
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def _save(client: Client, number: PhoneNumber, **changes: object) -> str:
    page = reverse("admin:calls_phonenumber_change", args=[number.pk])
    form = {
        "organisation": number.organisation_id,
        "number_e164": number.number_e164,
        "route": number.route,
        "canary_percent": 5,
        "patience_ms": 4_000,
        "assistant": number.assistant_id or "",
        "policy": number.policy_id or "",
        "connection": number.connection_id or "",
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


def test_a_canary_needs_to_know_where_calls_went_before(staff: Client) -> None:
    number = factories.make_number(route="vapi")
    assert "none can be handed back" in _save(staff, number, route="canary")
    number.refresh_from_db()
    assert number.route == "vapi"
    canary = {"route": "canary", "canary_sticky": "hour", "route_why": "try it"}
    _save(staff, number, old_url="https://old.example.com/voice?token=t", **canary)
    number.refresh_from_db()
    assert (number.route, number.canary_percent, number.canary_sticky) == ("canary", 5, "hour")
    change = number.changes.get()
    assert (change.why, change.kind, number.version) == ("try it", "route", 1)
    page = staff.get(f"/admin/calls/phonenumber/{number.pk}/change/").content.decode()
    assert "token=t" not in page
    assert "vapi -&gt; canary 5%, the same ones for an hour (try it)" in page


def test_a_form_that_was_open_while_the_guard_changed_the_route_is_refused(staff: Client) -> None:
    number = factories.make_number(route="direct")
    shown = {"seen_version": number.version, "route": "direct", "canary_percent": 0}
    route_set(number_id=number.pk, order=RouteOrder("vapi"), actor="guard", why="calls failed")
    answer = _save(staff, number, **shown, name="New name")
    assert "guard at" in answer and "calls failed" in answer
    number.refresh_from_db()
    assert (number.route, number.name == "New name") == ("vapi", False)
    _save(staff, number, **{**shown, "seen_version": 1, "route": "vapi"}, name="New name")
    number.refresh_from_db()
    assert (number.route, number.name, number.version) == ("vapi", "New name", 1)


def test_who_stands_in_for_the_old_stack_is_said_in_the_form(staff: Client) -> None:
    number = factories.make_number(route="vapi")
    _save(staff, number, is_qualified="on", patience_ms=9_000)
    number.refresh_from_db()
    assert number.qualified_at is not None
    assert number.qualified_by.startswith("user:")
    assert "Twilio gives up" in _save(staff, number, route="vapi", patience_ms=20_000)
    _save(staff, number)
    number.refresh_from_db()
    again = PhoneNumber.objects.get(pk=number.pk)
    assert again.qualified_at is None
    assert again.patience_ms == 4_000


def test_the_address_of_the_old_stack_is_none_of_ours(staff: Client) -> None:
    number = factories.make_number(route="vapi")
    own = "https://voice.example.com/twilio/voice"
    assert "our own webhook" in _save(staff, number, old_url=own)


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
