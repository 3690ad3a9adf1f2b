"""The pages for personal data: plain words, own patterns refused with their line, erasing only when
the number was typed twice by somebody who may.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import Call, RedactionRule, RetentionRule
from tests import factories
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NUMBER = "+14155550133"
ERASE = "calls.erase_caller"


@pytest.fixture(autouse=True)
def poked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    rung: list[Any] = []
    monkeypatch.setattr(JobBell, "poke", lambda _, job_id: rung.append(job_id))
    return rung


def _page(client: Client, name: str, *arguments: object) -> str:
    return str(client.get(reverse(f"admin:{name}", args=arguments)).content.decode())


def test_a_rule_is_made_and_a_pattern_that_cannot_be_used_names_its_line(client: Client) -> None:
    client.force_login(factories.make_superuser())
    organisation = factories.default_organisation()
    url = reverse("admin:calls_redactionrule_add")
    given = {
        "organisation": organisation.pk,
        "effective_from": "2026-01-01",
        "phone_numbers": "on",
        "custom_patterns": "[A-Z]{2}\\d{6}\n(a+)+b",
    }
    text = client.post(url, given).content.decode()
    assert "Line 2: “(a+)+b” cannot stand in a pattern. Fix:" in text
    assert not RedactionRule.objects.exists()
    answer = client.post(url, given | {"custom_patterns": "[A-Z]{2}\\d{6}\n\n MRN\\d+"})
    assert answer.status_code == 302
    rule = RedactionRule.objects.get()
    assert rule.custom_patterns == ["[A-Z]{2}\\d{6}", "MRN\\d+"]
    assert rule.phone_numbers and not rule.birth_dates
    text = _page(client, "calls_redactionrule_changelist")
    assert "Every other assistant" in text and "phone numbers, 2 own" in text


def test_the_page_of_retention_says_what_goes_when(client: Client) -> None:
    client.force_login(factories.make_superuser())
    rule = RetentionRule.objects.create(organisation=factories.default_organisation())
    text = _page(client, "calls_retentionrule_change", rule.pk)
    assert "What was said: kept for ever" in text
    assert "Recorded inputs, with audio where it is kept: of 0 calls at the next run" in text


def test_a_caller_is_erased_once_the_number_is_typed_twice(
    client: Client, poked: list[Any]
) -> None:
    call = factories.make_call(caller=NUMBER, status="ended", turns=[{}])
    organisation = call.organisation
    client.force_login(factories.make_staff(organisation, ["calls.view_erasure", ERASE]))
    assert reverse("admin:calls_erasure_erase") in _page(client, "calls_erasure_changelist")
    url = reverse("admin:calls_erasure_erase")
    given = {"organisation": organisation.pk, "number": NUMBER}
    text = client.post(url, given | {"confirmation": ""}).content.decode()
    assert "What would go" in text and "calls.turn" in text and not Job.objects.exists()
    text = client.post(url, given | {"confirmation": "+14155550100"}).content.decode()
    assert f"This is not {NUMBER}. Fix:" in text and not Job.objects.exists()
    text = client.post(url, {**given, "number": "0171"}).content.decode()
    assert "This is no phone number in international form. Fix:" in text
    answer = client.post(url, given | {"confirmation": NUMBER})
    job = Job.objects.get()
    assert answer.status_code == 302 and answer["Location"].endswith(f"/{job.pk}/change/")
    assert NUMBER not in str(job.parameters)
    assert Call.objects.exists()  # a worker does it


def test_a_live_call_is_named_before_anything_begins(client: Client) -> None:
    call = factories.make_call(caller=NUMBER)
    client.force_login(factories.make_superuser())
    given = {"organisation": call.organisation_id, "number": NUMBER, "confirmation": NUMBER}
    text = client.post(reverse("admin:calls_erasure_erase"), given).content.decode()
    assert "Fix: end the call" in text and not Job.objects.exists()


def test_nobody_erases_without_the_permission_or_in_another_organisation(client: Client) -> None:
    call = factories.make_call(caller=NUMBER, status="ended")
    url = reverse("admin:calls_erasure_erase")
    given = {"organisation": call.organisation_id, "number": NUMBER, "confirmation": NUMBER}
    client.force_login(factories.make_staff(call.organisation, ["calls.view_erasure"]))
    assert url not in _page(client, "calls_erasure_changelist")
    assert client.post(url, given).status_code == 403
    client.force_login(factories.make_staff(factories.make_organisation(), [ERASE]))
    text = client.post(url, given).content.decode()
    assert "Select a valid choice" in text
    assert not Job.objects.exists() and Call.objects.exists()
