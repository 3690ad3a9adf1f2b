"""The form of operator destinations: hours as people write them, errors that say what to do."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import OperatorDesk
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def _form(**changes: Any) -> dict[str, Any]:
    return {
        "organisation": factories.default_organisation().pk,
        "name": "Front desk",
        "destination": "+1 555 010 0042",
        "key": "0",
        "zone": "America/New_York",
        "hours_mon": "9:00-12.30, 13:30 to 17:00",
        "holidays": "2026-12-25 Christmas",
        "outside": "message",
        "unanswered": "assistant",
        "ring_seconds": 30,
        "shows_caller": "on",
        **changes,
    }


def _errors(client: Client, **changes: Any) -> dict[str, list[str]]:
    answer = client.post(reverse("admin:calls_operatordesk_add"), _form(**changes))
    assert answer.status_code == 200, "it was saved"
    assert not OperatorDesk.objects.exists()
    errors: dict[str, list[str]] = answer.context["adminform"].form.errors
    return errors


def test_hours_are_kept_in_one_form_and_shown_again(staff: Client) -> None:
    answer = staff.post(reverse("admin:calls_operatordesk_add"), _form())
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    desk = OperatorDesk.objects.get()
    assert desk.destination == "+15550100042"
    assert desk.hours == {"mon": "09:00-12:30, 13:30-17:00"}
    page = staff.get(reverse("admin:calls_operatordesk_change", args=[desk.pk])).content.decode()
    assert 'value="09:00-12:30, 13:30-17:00"' in page
    assert "Right now a caller would" in page
    assert (
        "Right now a caller would"
        in staff.get(reverse("admin:calls_operatordesk_changelist")).content.decode()
    )


@pytest.mark.parametrize(
    ("changes", "field", "cause"),
    [
        ({"destination": "911"}, "destination", "emergency"),
        ({"destination": "sip:911@pbx.example.com"}, "destination", "emergency"),
        ({"destination": "+1 900 555 0100"}, "destination", "premium"),
        ({"hours_tue": "nine to five"}, "hours_tue", "Tuesday: “nine to five” is not a time span"),
        ({"holidays": "Christmas"}, "holidays", "does not begin with a date"),
        ({"key": "x"}, "key", "no key of a telephone"),
        ({"zone": "Mars/Olympus"}, "zone", "Select a valid choice"),
        ({"ring_seconds": 3}, "ring_seconds", "5 to 600"),
        ({"hours_mon": ""}, "always_open", "nobody would ever be there"),
        ({"outside": "number"}, "outside_destination", "none is entered"),
        ({"outside": "number", "outside_destination": "112"}, "outside_destination", "emergency"),
        ({"unanswered": "number"}, "unanswered_destination", "none is entered"),
        (
            {"unanswered": "number", "unanswered_destination": "911"},
            "unanswered_destination",
            "emergency",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_a_fix(
    staff: Client, changes: dict[str, Any], field: str, cause: str
) -> None:
    errors = _errors(staff, **changes)
    assert list(errors) == [field]
    assert cause in errors[field][0]
    assert "Fix:" in errors[field][0] or field == "zone"


def test_a_new_destination_offers_the_key_0(staff: Client) -> None:
    form = staff.get(reverse("admin:calls_operatordesk_add")).context["adminform"].form
    assert (form["key"].value(), form["zone"].value()) == ("0", "UTC")


def test_a_sip_address_is_a_destination(staff: Client) -> None:
    place = "sip:desk@pbx.example.com:5061;transport=tls"
    staff.post(reverse("admin:calls_operatordesk_add"), _form(destination=place))
    assert OperatorDesk.objects.get().destination == place


def test_there_is_one_default(staff: Client) -> None:
    factories.make_desk(name="Night desk", is_default=True)
    answer = staff.post(reverse("admin:calls_operatordesk_add"), _form(is_default="on"))
    assert "“Night desk” is the default already" in answer.content.decode()
    assert OperatorDesk.objects.count() == 1


def test_who_may_only_look_sees_the_hours(client: Client) -> None:
    desk = factories.make_desk(always_open=False, hours={"sat": "10:00-12:00"})
    client.force_login(factories.make_staff(permissions=["calls.view_operatordesk"]))
    page = client.get(reverse("admin:calls_operatordesk_change", args=[desk.pk])).content.decode()
    assert "Saturday 10:00-12:00" in page


def test_a_number_says_whom_its_callers_reach(staff: Client) -> None:
    number = factories.make_number()
    page = reverse("admin:calls_phonenumber_change", args=[number.pk])
    assert "there is no destination" in staff.get(page).content.decode()
    factories.make_desk(is_default=True)
    assert "would reach +15550100042" in staff.get(page).content.decode()
    number.operator_desk = factories.make_desk(destination="+15550100044")
    number.save()
    assert "would reach +15550100044" in staff.get(page).content.decode()
    deleted = staff.post(
        reverse("admin:calls_operatordesk_delete", args=[number.operator_desk.pk]), {"post": "yes"}
    )
    assert deleted.status_code in {200, 403}, "a number still names it"


def test_a_number_is_not_tied_to_a_desk_of_another_organisation(staff: Client) -> None:
    number = factories.make_number()
    theirs = factories.make_desk(factories.make_organisation())
    form = {
        "organisation": number.organisation_id,
        "number_e164": number.number_e164,
        "route": number.route,
        "canary_percent": 5,
        "assistant": number.assistant_id,
        "policy": number.policy_id,
        "max_call_seconds": 600,
        "max_tool_calls": 10,
        "max_spend_usd": "1.00",
        "twilio_account": number.twilio_account_id,
        "operator_desk": theirs.pk,
    }
    url = reverse("admin:calls_phonenumber_change", args=[number.pk])
    answer = staff.post(url, form)
    assert answer.status_code == 200
    assert "operator_desk" in answer.context["adminform"].form.errors
    number.refresh_from_db()
    assert number.operator_desk_id is None
