"""Pages of incidents and of who is told: what they show, what they ask, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from calls.models import Incident, NoticeReceiver
from calls.numbers.old_stack import Health, standing
from calls.selectors.guards import guard_view
from calls.services import old_stacks
from calls.services.guards import guard_look, incident_open
from calls.services.notices import notice_enqueue
from tests import factories
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FAULT = "pipeline-error-openai-llm-failed"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def tripped() -> Incident:
    """Let a number that was never moved by us go bad, and return its incident."""
    number = factories.make_number(route="direct", previous_voice_url="https://old.example.com/v")
    guard_look()
    for _ in range(5):
        factories.make_call(number=number, status="ended", ended_reason=FAULT)
    guard_look()
    found = incident_open(number)
    assert found is not None
    return found


def page(admin: Client, row: Incident, step: str = "change") -> str:
    return admin.get(reverse(f"admin:calls_incident_{step}", args=[row.pk])).content.decode()


def seen(text: str) -> str:
    return text.split('name="seen" value="')[1].split('"')[0]


def test_an_incident_shows_its_calls_and_who_was_told_and_is_closed_with_a_reason(
    admin: Client,
) -> None:
    factories.make_notice_receiver(name="Desk on duty")
    row = tripped()
    text = page(admin, row)
    assert text.count(FAULT) == 5
    assert "Desk on duty" in text
    assert "callers who still come here are handed to the old stack" in text
    assert "Open incident: 1" in admin.get(reverse("admin:index")).content.decode()

    ask = reverse("admin:calls_incident_close", args=[row.pk])
    shown = seen(page(admin, row, "close"))
    assert "This field is required" in admin.post(ask, {"why": "", "seen": shown}).content.decode()
    assert admin.get(ask).status_code == 200
    row.refresh_from_db()
    assert row.closed_at is None
    admin.post(ask, {"why": "The key had expired", "seen": shown})
    row.refresh_from_db()
    assert row.closed_why == "The key had expired"
    assert "Open incident" not in admin.get(reverse("admin:index")).content.decode()
    assert "The key had expired" in page(admin, row)


def test_a_page_that_was_open_while_the_guard_went_on_does_nothing(admin: Client) -> None:
    row = tripped()
    shown = seen(page(admin, row, "close"))
    Incident.objects.filter(pk=row.pk).update(state="person", tries=3)
    ask = reverse("admin:calls_incident_close", args=[row.pk])
    answer = admin.post(ask, {"why": "Seen", "seen": shown}, follow=True)
    assert "The guard went on since you opened that page" in answer.content.decode()
    row.refresh_from_db()
    assert row.closed_at is None


def test_people_without_the_right_may_look_and_not_act(client: Client) -> None:
    row = tripped()
    viewer = factories.make_staff(row.organisation, permissions=["calls.view_incident"])
    client.force_login(viewer)
    text = page(client, row)
    assert "Close this incident" not in text
    assert FAULT not in text  # nor may they look at calls
    ask = reverse("admin:calls_incident_close", args=[row.pk])
    assert client.get(ask).status_code == 403
    assert client.post(ask, {"why": "x", "seen": "x"}).status_code == 403


def test_the_list_of_incidents_costs_no_query_per_row(admin: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert admin.get(reverse("admin:calls_incident_changelist")).status_code == 200
        return len(found)

    factories.make_incident()
    admin.get(reverse("admin:calls_incident_changelist"))
    few = queries()
    for _ in range(5):
        factories.make_incident()
    assert queries() <= few


def test_a_receiver_shows_its_secret_once_and_its_address_never(admin: Client) -> None:
    add = reverse("admin:calls_noticereceiver_add")
    own = factories.default_organisation().pk
    form = {"organisation": own, "name": "Desk", "kind": "webhook", "enabled": "on"}
    refused = admin.post(add, {**form, "address": "http://plain.example.com/x"})
    assert "it is not encrypted" in refused.content.decode()
    made = admin.post(add, {**form, "address": "https://hooks.example.com/T0PSECRET"})
    row = NoticeReceiver.objects.get()
    assert row.secret in made.content.decode()
    assert (row.address_hint, row.address) == (
        "hooks.example.com",
        "https://hooks.example.com/T0PSECRET",
    )
    for url in ("changelist", "change"):
        where = reverse(
            f"admin:calls_noticereceiver_{url}", args=[row.pk] if url == "change" else []
        )
        text = admin.get(where).content.decode()
        assert "hooks.example.com" in text
        assert "T0PSECRET" not in text
        assert row.secret not in text
    # A form without a new address keeps the stored one.
    change = reverse("admin:calls_noticereceiver_change", args=[row.pk])
    admin.post(change, {"name": "Desk two", "address": ""})
    row.refresh_from_db()
    assert (row.name, row.enabled) == ("Desk two", False)
    assert row.address.endswith("T0PSECRET")


def test_a_mailbox_needs_a_mail_server_and_a_right_address(admin: Client, settings: Any) -> None:
    add = reverse("admin:calls_noticereceiver_add")
    own = factories.default_organisation().pk
    form = {"organisation": own, "name": "Desk", "kind": "email", "enabled": "on"}
    assert "SMTP_HOST" in admin.post(add, {**form, "address": "a@example.com"}).content.decode()
    settings.EMAIL_HOST = "mail.test"
    assert "valid email" in admin.post(add, {**form, "address": "nobody"}).content.decode()
    admin.post(add, {**form, "address": "a@example.com"})
    assert NoticeReceiver.objects.get().address_hint == "example.com"


def test_a_number_shows_how_near_its_guard_is_to_an_alarm(admin: Client) -> None:
    number = factories.make_number(route="direct")
    assert [view.state for view in guard_view(number).stacks] == ["off"]
    guard_look()
    for _ in range(2):
        factories.make_call(number=number, status="ended", ended_reason=FAULT)
    [view] = guard_view(number).stacks
    assert (view.state, view.calls) == ("on", 2)
    assert [(each.bad, each.measured) for each in view.signals if each.bad] == [(2, 2)]
    share = max(each.share for each in view.signals)
    assert 0 < share < 100
    console = admin.get(reverse("admin:calls_phonenumber_console", args=[number.pk]))
    text = console.content.decode()
    assert "Calls answered here" in text
    assert f'<td class="vp-number">{share}%</td>' in text


def test_limits_of_a_number_win_over_the_organisations(admin: Client) -> None:
    number = factories.make_number(route="direct")
    own = number.organisation
    add = reverse("admin:calls_guardlimits_add")
    row = {"organisation": own.pk, "number": number.pk, "first_word_ms": 3000, "turn_ms": 3000}
    refused = admin.post(add, {**row, "early_seconds": 8, "usual_failed_percent": "70"})
    assert "Choose 0 to 50." in refused.content.decode()
    admin.post(add, {**row, "early_seconds": 8, "usual_failed_percent": "20"})
    guard_look()
    for _ in range(6):
        factories.make_call(number=number, status="ended", ended_reason=FAULT)
    guard_look()
    # A number of which a fifth fails on a good day is given longer.
    assert incident_open(number) is None
    number.guard_limits.delete()
    guard_look(timezone.now())
    assert incident_open(number) is not None


def test_told_receivers_that_are_gone_are_named_so(admin: Client) -> None:
    receiver = factories.make_notice_receiver(name="Desk on duty")
    row = factories.make_incident()
    with transaction.atomic():
        notice_enqueue(
            organisation=row.organisation,
            key="k",
            subject="S",
            words="W",
            ids={},
            incident=row,
        )
    receiver.delete()
    assert "removed" in page(admin, row)


def test_the_earlier_secret_of_a_receiver_signs_on_until_somebody_ends_it(admin: Client) -> None:
    row = factories.make_notice_receiver()
    old = row.secret

    def post(step: str) -> str:
        url = reverse(f"admin:calls_noticereceiver_{step}", args=[row.pk])
        return admin.post(url, follow=True).content.decode()

    text = post("renew")
    row.refresh_from_db()
    assert row.secret in text and old not in text
    assert "signs too for 24 hours" in text
    change = reverse("admin:calls_noticereceiver_change", args=[row.pk])
    shown = admin.get(change).content.decode()
    assert "signs too until" in shown and old not in shown and row.secret not in shown
    assert "Only the newest secret signs" in post("end-earlier")
    row.refresh_from_db()
    assert (row.earlier_secret, row.earlier_secret_until) == ("", None)


def test_a_person_says_that_the_old_stack_works_again_and_the_next_caller_is_handed_over(
    admin: Client, client: Client
) -> None:
    now = old_stacks.now_ms()
    down = Health("down", since_ms=now - 1_000, last_ms=now - 1_000)
    row = factories.make_old_stack(factories.default_organisation(), health=down.as_json())
    url = reverse("admin:calls_oldstack_mended", args=[row.pk])
    change = reverse("admin:calls_oldstack_change", args=[row.pk])
    assert url in admin.get(change).content.decode()
    assert "handed over at once" in admin.get(url).content.decode()
    row.refresh_from_db()
    assert old_stacks.health_of(row) == down, "a look changes nothing"
    admin.post(url)
    row.refresh_from_db()
    health = old_stacks.health_of(row)
    assert standing(health, call_sid="CA1", now_ms=old_stacks.now_ms()) == "probe"
    assert AuditEntry.objects.filter(action="oldstack.mended").count() == 1
    row.health = {}
    row.save()
    assert url not in admin.get(change).content.decode()
    assert "nothing was changed" in admin.post(url, follow=True).content.decode()
    looker = factories.make_staff(row.organisation, permissions=["calls.view_oldstack"])
    client.force_login(looker)
    assert client.post(url).status_code == 403
