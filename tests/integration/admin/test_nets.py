"""The page of a net: what it shows, what it takes, and a drill that asks first."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.models import NumberNet
from calls.services import net_drills, net_probes, nets
from tests import factories
from voiceplatform.base.models import AuditEntry, Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

URL = "https://handler.twilio.example/twiml/EHplanted7f3a"


@pytest.fixture
def staff(client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    for module in (net_probes, nets):
        monkeypatch.setattr(module, "task_tell", lambda task: None)
    monkeypatch.setattr(net_drills.JobBell, "poke", lambda self, job_id: None)
    client.force_login(factories.make_superuser())
    return client


def page(net: NumberNet, name: str = "change") -> str:
    return reverse(f"admin:calls_numbernet_{name}", args=[net.pk])


def form(net: NumberNet, **changes: Any) -> dict[str, Any]:
    row = NumberNet.objects.get(pk=net.pk)
    return {"method": row.method, "seen": nets.seen_of(row), **changes}


def test_the_four_parts_stand_above_the_form_with_their_dates(staff: Client) -> None:
    net = factories.make_net(
        probe_state="armed", probe_words="as it should", has_fallback=True, probed_at=timezone.now()
    )
    factories.make_firing(net.number, part="a", outcome="failed")
    factories.make_firing(net.number, part="a", kind="drill", seconds=3.2)
    text = staff.get(page(net)).content.decode()
    for expected in (
        *("Our site is dead while the phone rings", "The previous stack is dead", "as it should"),
        *("nobody answered", "somebody answered after 3.2 s", "never", "Look at Twilio now"),
    ):
        assert expected in text, expected
    assert "No drill now: A drill refuses one call on purpose" in text


def test_an_address_goes_in_and_never_comes_out(staff: Client) -> None:
    net = factories.make_net()
    assert staff.post(page(net), form(net, address=URL)).status_code == 302
    row = NumberNet.objects.get()
    assert (row.address, row.rearm_wanted, row.look_at) == (URL, True, None)
    shown = staff.get(page(net)).content.decode()
    shown += staff.get(reverse("admin:calls_numbernet_changelist")).content.decode()
    assert "planted" not in shown
    assert "planted" not in str(list(AuditEntry.objects.values_list("details", flat=True)))
    # An empty entry keeps it, a ticked box takes it off.
    assert staff.post(page(net), form(net, is_test="on")).status_code == 302
    row.refresh_from_db()
    assert (row.address, row.is_test) == (URL, True)
    assert staff.post(page(net), form(net, **{"address-clear": "1"})).status_code == 302
    row.refresh_from_db()
    assert row.address == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://person.example/twiml", "not encrypted"),
        ("https://voice.example.com/twilio/voice", "on this site"),
        ("person.example", "neither http nor https"),
    ],
)
def test_an_address_that_is_no_net_is_refused_with_the_fix(
    staff: Client, settings: Any, url: str, words: str
) -> None:
    settings.PUBLIC_BASE_URL = "https://voice.example.com"
    net = factories.make_net()
    answer = staff.post(page(net), form(net, address=url))
    assert answer.status_code == 200
    text = answer.content.decode()
    assert words in text and "Fix: " in text
    assert NumberNet.objects.get().address == ""


def test_a_form_that_was_open_meanwhile_undoes_nothing(staff: Client) -> None:
    net = factories.make_net()
    open_form = form(net, is_test="on")
    nets.net_set(net=net, address=URL, method="GET", is_test=False, actor=None)
    answer = staff.post(page(net), open_form, follow=True)
    assert "Somebody else has changed this net meanwhile" in answer.content.decode()
    row = NumberNet.objects.get()
    assert (row.address, row.method, row.is_test) == (URL, "GET", False)


def test_a_drill_asks_first_and_becomes_a_job(staff: Client) -> None:
    net = factories.make_net(is_test=True, probe_state="armed", has_fallback=True)
    assert "Fire it now" in staff.get(page(net, "drill")).content.decode()
    assert not Job.objects.exists()
    answer = staff.post(page(net, "drill"))
    job = Job.objects.get()
    assert answer["Location"] == reverse("admin:base_job_change", args=[job.pk])
    assert (job.kind, job.parameters["number_id"]) == ("net_drill", str(net.number.pk))
    assert AuditEntry.objects.filter(action="net.drill").count() == 1


def test_a_drill_of_a_number_of_customers_is_refused_with_the_reason(staff: Client) -> None:
    net = factories.make_net(probe_state="armed", has_fallback=True)
    text = staff.get(page(net, "drill")).content.decode()
    assert "for test numbers alone" in text and "Fire it now" not in text
    answer = staff.post(page(net, "drill"), follow=True)
    assert "for test numbers alone" in answer.content.decode()
    assert not Job.objects.exists()


def test_looking_now_is_a_post_and_makes_the_number_due(staff: Client) -> None:
    net = factories.make_net(look_at=timezone.now(), probe_state="armed")
    staff.get(page(net, "look"))
    assert NumberNet.objects.get().look_at is not None
    staff.post(page(net, "look"))
    assert NumberNet.objects.get().look_at is None


def test_who_may_only_look_can_neither_fire_nor_change(client: Client) -> None:
    organisation = factories.make_organisation()
    number = factories.make_number(organisation)
    net = factories.make_net(number, is_test=True, probe_state="armed", has_fallback=True)
    client.force_login(factories.make_staff(organisation, ["calls.view_numbernet"]))
    text = client.get(page(net)).content.decode()
    assert "Look at Twilio now" not in text and "Fire it" not in text
    for name in ("look", "drill"):
        assert client.post(page(net, name)).status_code == 403
    assert not Job.objects.exists()


def test_the_list_says_what_it_is_when_it_is_empty(staff: Client) -> None:
    text = staff.get(reverse("admin:calls_numbernet_changelist")).content.decode()
    assert "Every number has a row within a minute" in text
