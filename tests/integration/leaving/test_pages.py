"""The page that leads through leaving Vapi: its permission, its steps as jobs, its answers."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.models import Departure
from calls.services import leaving_jobs
from tests import factories
from voiceplatform.base.models import Job, Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

ASKED = {
    "code": "scripts",
    "weight": "ask",
    "subject": "",
    "cause": "nobody can see who uses Vapi",
    "fix": "look",
}
KEY = "vapi-private-key-0xC0FFEE"


@pytest.fixture
def organisation() -> Organisation:
    made: Organisation = factories.make_organisation()
    return made


@pytest.fixture
def departure(organisation: Organisation) -> Departure:
    return factories.make_departure(
        organisation, found={"items": [ASKED]}, looked_at=timezone.now()
    )


def url(departure: Departure) -> str:
    return reverse("admin:calls_departure_leave", args=[departure.pk])


def posted(client: Client, departure: Departure, **data: Any) -> str:
    answer = client.post(url(departure), data, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_only_who_may_leave_is_let_in_and_only_a_post_begins(
    client: Client, organisation: Organisation, departure: Departure
) -> None:
    client.force_login(factories.make_staff(organisation, ["calls.view_departure"]))
    assert client.get(url(departure)).status_code == 403
    begin = reverse("admin:calls_departure_begin")
    assert client.post(begin, {"organisation": str(organisation.pk)}).status_code == 403
    client.force_login(factories.make_staff(organisation, "all"))
    client.get(begin)
    client.get(url(departure))
    assert not Job.objects.filter(kind__startswith="leaving").exists()
    answer = client.post(begin, {"organisation": str(organisation.pk)})
    assert answer["Location"] == url(departure)
    other = factories.make_organisation()
    assert client.post(begin, {"organisation": str(other.pk)}).status_code == 404
    assert not Departure.objects.filter(organisation=other).exists()


def test_answers_are_kept_with_who_and_why(
    client: Client, organisation: Organisation, departure: Departure
) -> None:
    client.force_login(factories.make_staff(organisation, "all"))
    assert "1 thing to settle" in client.get(url(departure)).content.decode()
    assert "Why is empty" in posted(client, departure, step="accept", key="scripts", why=" ")
    text = posted(client, departure, step="accept", key="scripts", why="looked <b>twice</b>")
    assert "looked &lt;b&gt;twice&lt;/b&gt;" in text and "nothing is in the way" in text


def test_a_step_is_a_job_one_at_a_time_and_the_key_is_in_nothing(
    client: Client, organisation: Organisation, departure: Departure
) -> None:
    client.force_login(factories.make_staff(organisation, "all"))
    assert KEY not in posted(client, departure, step="look", vapi_key=KEY)
    job = Job.objects.get(kind="leaving-look")
    assert KEY not in str(job.parameters)
    assert "A step is under way" in posted(client, departure, step="export")
    assert Job.objects.filter(kind__startswith="leaving").count() == 1
    job.state = Job.State.CANCELLED
    job.save()
    assert "The confirmation is not right" in posted(client, departure, step="leave", typed="yes")
    assert "Why is empty" in posted(client, departure, step="undo")


def test_a_job_that_is_refused_says_why_and_a_look_says_what_is_left(
    organisation: Organisation, departure: Departure
) -> None:
    job = leaving_jobs.step_begin(departure=departure, step="leave", actor=None, typed="leave vapi")
    leaving_jobs.step_run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.message) == ("failed", "2 things keep you from leaving Vapi.") or (
        job.state == "failed" and "keep you from leaving" in job.message
    )
    job = leaving_jobs.step_begin(departure=departure, step="look", actor=None)
    leaving_jobs.step_run(job.pk)
    job.refresh_from_db()
    assert job.state == "done" and "keep you from leaving" in job.message
    assert job.result == {"model": "calls.departure", "id": str(departure.pk)}


def test_an_export_by_job_goes_to_the_instances_own_folder(
    organisation: Organisation, departure: Departure
) -> None:
    job = leaving_jobs.step_begin(departure=departure, step="export", actor=None)
    leaving_jobs.step_run(job.pk)
    job.refresh_from_db()
    assert job.state == "done", job.message
    folder = leaving_jobs.export_folder_of(departure)
    assert (folder / "SHA256SUMS").is_file()
    departure.refresh_from_db()
    assert departure.export_folder == str(folder)


def test_the_first_page_reminds_of_what_is_due(
    client: Client, organisation: Organisation, departure: Departure
) -> None:
    due = timezone.now()
    Departure.objects.filter(pk=departure.pk).update(
        state="left", left_at=due, token_due_at=due, key_due_at=due, key_done_at=due
    )
    client.force_login(factories.make_staff(organisation, "all"))
    text = client.get(reverse("admin:index")).content.decode()
    assert "Replace Twilio&#x27;s auth token" in text or "Replace Twilio's auth token" in text
    assert "Revoke Vapi" not in text
    page = client.get(url(departure)).content.decode()
    assert "Undo the leave" in page and "I answer for it" not in page
