"""“Where events go”: entered by people, secrets shown once, addresses never again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from calls.admin import event_destinations as page
from calls.events.signature import is_secret
from calls.models import DeliveryAttempt, EventDestination, OutboxEvent
from tests import factories
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

ADD = "admin:calls_eventdestination_add"
CHANGE = "admin:calls_eventdestination_change"
URL = "https://hooks.example.com/planted-path-7f3a"
HEADER = "planted-header-7f3a"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def form(**changes: Any) -> dict[str, Any]:
    return {
        "organisation": str(factories.default_organisation().pk),
        "name": "Call log",
        "url": URL,
        "kinds": ["call.ended"],
        "timeout_seconds": "20",
        "enabled": "on",
        **changes,
    }


def step(name: str, row: EventDestination) -> str:
    return reverse(f"admin:calls_eventdestination_{name}", args=[row.pk])


def test_a_receiver_is_entered_and_its_secret_shown_once(staff: Client) -> None:
    answer = staff.post(reverse(ADD), form(headers_entered=f"X-Team: {HEADER}"))
    row = EventDestination.objects.get()
    assert is_secret(row.secret)
    assert row.secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert (row.url, row.url_host, row.headers) == (URL, "hooks.example.com", {"X-Team": HEADER})
    shown = staff.get(reverse(CHANGE, args=[row.pk])).content.decode()
    shown += staff.get(reverse("admin:calls_eventdestination_changelist")).content.decode()
    for hidden in (row.secret, "planted-path", HEADER):
        assert hidden not in shown
    assert "planted" not in str(list(AuditEntry.objects.values_list("details", flat=True)))


def test_what_is_left_empty_stays_and_what_is_cleared_goes(staff: Client) -> None:
    staff.post(reverse(ADD), form(headers_entered=f"X-Team: {HEADER}"))
    row = EventDestination.objects.get()
    since = row.active_since
    assert staff.post(reverse(CHANGE, args=[row.pk]), form(url="", name="Log")).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.url, row.headers) == ("Log", URL, {"X-Team": HEADER})
    assert row.active_since == since
    changes = {"url": "", "headers_entered-clear": "1", "kinds": ["status-update"]}
    assert staff.post(reverse(CHANGE, args=[row.pk]), form(**changes)).status_code == 302
    row.refresh_from_db()
    assert (row.headers, row.url_host) == (None, "hooks.example.com")
    assert row.active_since > since  # what it did not want before is not told of afterwards


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "http://hooks.example.com/"}, "https"),
        ({"url": "nonsense"}, "Fix:"),
        ({"timeout_seconds": "31"}, "1 to 30"),
        ({"kinds": []}, "required"),
        ({"headers_entered": "no header"}, "is no header"),
        ({"headers_entered": "Webhook-Id: 1"}, "set by this platform"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(
    staff: Client, changes: dict[str, Any], words: str
) -> None:
    answer = staff.post(reverse(ADD), form(**changes))
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not EventDestination.objects.exists()


def test_numbers_of_another_organisation_are_refused(staff: Client) -> None:
    foreign = factories.make_number(factories.make_organisation())
    answer = staff.post(reverse(ADD), form(numbers=[str(foreign.pk)]))
    assert "belongs to another organisation" in answer.content.decode()
    assert not EventDestination.objects.exists()


@pytest.mark.parametrize("text", ["X Y: z", "X: ünd", "X: a\tb\x7f", ": z", "X:", "Host: a"])
def test_a_header_that_http_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        page.headers_from(text)


def test_a_new_secret_is_shown_once_and_the_earlier_one_can_be_ended(staff: Client) -> None:
    row = factories.make_destination()
    answer = staff.post(step("renew", row))
    old = row.secret
    row.refresh_from_db()
    assert row.secret in answer.content.decode() and old not in answer.content.decode()
    assert row.earlier_secret == old
    assert "signs too" in staff.get(reverse(CHANGE, args=[row.pk])).content.decode()
    staff.post(step("end-earlier", row))
    row.refresh_from_db()
    assert row.earlier_secret == ""


def test_a_test_event_says_what_came_of_it(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    row = factories.make_destination(enabled=False)
    event = factories.make_event(kind="test", receiver=row, state="dead")
    outcomes: list[DeliveryAttempt | None] = [
        DeliveryAttempt(event=event, number=1, duration_ms=7, status_code=204),
        DeliveryAttempt(event=event, number=1, duration_ms=7, error="ConnectError"),
        None,
    ]
    told = replace(page.EventDestinationAdmin.steps, test=lambda **_: outcomes.pop(0))
    monkeypatch.setattr(page.EventDestinationAdmin, "steps", told)
    for words in ("status 204 after 7 ms", "not taken: ConnectError", "A worker sends it"):
        assert words in staff.post(step("test", row), follow=True).content.decode()


def test_one_that_is_gone_is_named_on_the_first_page_until_it_is_on_again(staff: Client) -> None:
    row = factories.make_destination(name="Ledger of Anna", enabled=False)
    EventDestination.objects.update(switched_off_at=row.created_at)
    factories.make_event(state="dead")
    home = staff.get(reverse("admin:index")).content.decode()
    assert "Ledger of Anna" in home and "1 event that nobody took" in home
    staff.post(step("switch-on", row))
    assert "Ledger of Anna" not in staff.get(reverse("admin:index")).content.decode()
    row.refresh_from_db()
    assert row.enabled


def test_one_is_removed_without_its_events(staff: Client) -> None:
    row = factories.make_destination()
    done = factories.make_event(receiver=row, destination={}, state="delivered")
    where = reverse("admin:calls_eventdestination_delete", args=[row.pk])
    assert staff.get(where).status_code == 200
    staff.post(where, {"post": "yes"})
    assert not EventDestination.objects.exists()
    assert OutboxEvent.objects.get(pk=done.pk).receiver_id is None


@pytest.mark.parametrize("name", ["test", "renew", "end-earlier", "switch-on"])
def test_who_may_only_look_changes_nothing(client: Client, name: str) -> None:
    client.force_login(factories.make_staff(permissions=["calls.view_eventdestination"]))
    row = factories.make_destination()
    shown = client.get(reverse(CHANGE, args=[row.pk]))
    assert shown.status_code == 200
    assert row.secret not in shown.content.decode() and "hooks.example.com/log" not in str(
        shown.content
    )
    assert client.post(step(name, row)).status_code == 403
