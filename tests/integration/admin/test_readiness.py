"""The pages of readiness: the button, the exports, and limits that staff enter."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from calls.models import AccountFacts, ModelLimit
from calls.selectors.readiness import COLUMNS
from calls.services.model_limits import limits_seen
from tests import factories
from voiceplatform.base import job_bell
from voiceplatform.base.models import AuditEntry, Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

LIST = "admin:calls_numberreadiness_changelist"
VIEW = "calls.view_numberreadiness"


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_bell, "task_tell", lambda *arguments: None)


def test_an_export_comes_back_as_it_was_and_computes_nothing(client: Client) -> None:
    number = factories.make_number(name="=HYPERLINK(1)")
    row = factories.make_readiness(number, reason="@SUM(A1)")
    other = factories.make_organisation()
    factories.make_readiness(factories.make_number(other))
    client.force_login(factories.make_staff(number.organisation, [VIEW]))
    (told,) = json.loads(client.get(reverse("admin:calls_numberreadiness_json")).content)
    assert told["findings"] == row.findings and told["facts"] == row.facts
    response = client.get(reverse("admin:calls_numberreadiness_csv"))
    assert response["Content-Disposition"] == 'attachment; filename="readiness.csv"'
    text = response.content.decode()
    (line,) = csv.DictReader(io.StringIO(text, newline=""))
    assert tuple(line) == COLUMNS
    assert line["number"] == f"'{number.number_e164}" and line["name"] == "'=HYPERLINK(1)"
    plain = {name: value.removeprefix("'") for name, value in line.items()}
    for name in ("number", "name", "colour", "reason", "next_step", "checked_at", "twilio_sid"):
        assert plain[name] == told[name]


def test_the_list_names_step_and_reason_and_costs_the_same_for_many(client: Client) -> None:
    number = factories.make_number()
    factories.make_readiness(number)
    client.force_login(factories.make_staff(number.organisation, [VIEW]))
    client.get(reverse(LIST))
    with CaptureQueriesContext(connection) as one:
        text = client.get(reverse(LIST)).content.decode()
    assert "Its call policy is not reviewed" in text
    assert reverse("admin:calls_callpolicy_change", args=[number.policy_id]) in text
    assert "Check all numbers" not in text
    for _ in range(5):
        factories.make_readiness(factories.make_number(number.organisation))
    with CaptureQueriesContext(connection) as many:
        client.get(reverse(LIST), {"colour__exact": "red", "here": "yes"})
    assert len(many) <= len(one) + 1


def test_a_check_is_begun_by_a_post_of_those_who_may_and_leads_to_its_job(client: Client) -> None:
    organisation = factories.make_organisation()
    url = reverse("admin:calls_numberreadiness_check")
    form = {"organisation": str(organisation.pk)}
    client.force_login(factories.make_staff(organisation, [VIEW]))
    assert client.post(url, form).status_code == 403
    client.force_login(factories.make_staff(organisation, [VIEW, "calls.check_readiness"]))
    assert client.get(url).status_code == 302 and not Job.objects.filter(kind="readiness")
    theirs = {"organisation": str(factories.make_organisation().pk)}
    assert client.post(url, theirs).status_code == 404
    response = client.post(url, form)
    job = Job.objects.get(kind="readiness")
    assert response["Location"] == reverse("admin:base_job_change", args=[job.pk])
    assert job.organisation == organisation
    text = client.get(reverse(LIST)).content.decode()
    assert "Watch or cancel it" in text and "Check all numbers" not in text


def _form(client: Client, url: str) -> dict[str, Any]:
    form = client.get(url).context["adminform"].form
    return {
        name: "" if (value := form.get_initial_for_field(field, name)) is None else value
        for name, field in form.fields.items()
    }


def test_a_form_that_was_open_while_somebody_else_entered_undoes_nothing(client: Client) -> None:
    facts = factories.make_account_facts(factories.make_account())
    url = reverse("admin:calls_accountfacts_change", args=[facts.pk])
    client.force_login(factories.make_superuser())
    open_form = _form(client, url) | {"profile": "business"}
    stale = dict(open_form) | {"profile": "none"}
    AccountFacts.objects.update(numbers_listed=7, checked_at=timezone.now())  # a check meanwhile
    assert client.post(url, open_form).status_code == 302
    response = client.post(url, stale, follow=True)
    assert "Somebody else was faster" in response.content.decode()
    facts.refresh_from_db()
    assert (facts.profile, facts.numbers_listed) == ("business", 7)
    assert facts.entered_at is not None
    assert AuditEntry.objects.filter(action="accountfacts.enter").count() == 1


def test_a_limit_is_entered_and_entered_anew_and_one_that_was_seen_stays(client: Client) -> None:
    row = factories.make_connection()
    seen = {"tokens": {"limit": 40_000, "remaining": 39_000}}
    assert limits_seen(connection_id=row.pk, model=row.model, rate_limits=seen) == 1
    assert limits_seen(connection_id=row.pk, model=row.model, rate_limits=seen) == 0
    later = timezone.now() + dt.timedelta(seconds=61)
    assert limits_seen(connection_id=row.pk, model=row.model, rate_limits=seen, now=later) == 1
    client.force_login(factories.make_superuser())
    given = {
        "organisation": str(row.organisation_id),
        "connection": str(row.pk),
        "model": row.model,
        "name": "tokens",
        "limit": "90000",
    }
    add = reverse("admin:calls_modellimit_add")
    for limit in ("90000", "80000"):
        assert client.post(add, given | {"limit": limit}).status_code == 302
    limits = dict(ModelLimit.objects.values_list("source", "limit"))
    assert limits == {"live": 40_000, "entered": 80_000}
    live = ModelLimit.objects.get(source="live")
    url = reverse("admin:calls_modellimit_change", args=[live.pk])
    assert client.post(url, {"limit": "1"}).status_code == 403
    foreign = factories.make_connection(factories.make_organisation())
    response = client.post(add, given | {"connection": str(foreign.pk)})
    assert response.status_code == 200
    assert "belongs to another organisation" in response.content.decode()
