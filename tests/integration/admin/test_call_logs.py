"""The pages of call logs: import, what was wrong, recordings for a purpose, recording addresses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from calls.models import CallLogImport, ToolShim
from calls.services import call_logs
from tests import factories
from tests.vapi_account import whole_call
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

IMPORT = "admin:calls_calllogimport_import"
FETCH = "admin:calls_importedcall_changelist"
KEY = "planted-key-of-the-parrot"


def staff(client: Client, *permissions: str, organisation: Any = None) -> Any:
    user = factories.make_staff(
        organisation or factories.default_organisation(),
        "all" if permissions == ("all",) else permissions,
    )
    client.force_login(user)
    return user


def test_an_upload_becomes_a_job_whose_problems_are_shown(client: Client) -> None:
    staff(client, "all")
    raw = f"{json.dumps(whole_call(1))}\n<script>alert(1)</script>\n".encode()
    body = {
        "organisation": str(factories.default_organisation().pk),
        "days": "",
        "logs": [SimpleUploadedFile("a.ndjson", raw), SimpleUploadedFile("a.ndjson", raw)],
    }
    response = client.post(reverse(IMPORT), body)
    row = CallLogImport.objects.get()
    assert row.job is not None and row.label == "a.ndjson, again-a.ndjson"
    assert response["Location"] == reverse("admin:base_job_change", args=[row.job.pk])
    call_logs.import_job_run(row.job.pk)
    row.refresh_from_db()
    assert row.counts == {"created": 1, "unchanged": 1, "wrong": 2}
    page = client.get(reverse("admin:calls_calllogimport_change", args=[row.pk]))
    text = page.content.decode()
    assert (
        "The line is no JSON" in text and "again-a.ndjson" in text and "<script>alert" not in text
    )
    job = client.get(reverse("admin:base_job_change", args=[row.job.pk])).content.decode()
    assert "1 new, 1 unchanged, 2 wrong" in job


def test_a_key_is_on_no_page_and_in_no_plain_row(client: Client) -> None:
    staff(client, "all")
    body = {"organisation": str(factories.default_organisation().pk), "days": "30", "api_key": KEY}
    response = client.post(reverse(IMPORT), body, follow=True)
    job = Job.objects.get()
    assert KEY not in response.content.decode() and KEY not in json.dumps(job.parameters)
    wrong = client.post(reverse(IMPORT), body | {"days": "0", "api_key": "with space"})
    assert wrong.status_code == 200 and Job.objects.count() == 1
    assert (
        KEY not in wrong.content.decode() and "Fix: copy the private key" in wrong.content.decode()
    )


def test_whoever_may_not_import_cannot(client: Client) -> None:
    staff(client, "calls.view_calllogimport", "calls.view_toolshim", "calls.view_importedcall")
    assert client.get(reverse("admin:calls_calllogimport_changelist")).status_code == 200
    assert client.get(reverse(IMPORT)).status_code == 403
    assert client.post(reverse(IMPORT), {}).status_code == 403
    assert client.get(reverse("admin:calls_toolshim_make")).status_code == 403
    steps = reverse("admin:calls_toolshim_steps", args=[factories.make_shim().pk])
    assert client.get(steps).status_code == 403
    row = factories.make_imported_call()
    body = {"action": "fetch_recordings", "_selected_action": str(row.pk), "purpose": "x" * 20}
    client.post(reverse(FETCH), body)
    assert not Job.objects.exists()


def test_an_import_cannot_be_made_for_another_organisation(client: Client) -> None:
    staff(client, "all")
    other = factories.make_organisation()
    body = {"organisation": str(other.pk), "days": "30", "api_key": KEY}
    assert client.post(reverse(IMPORT), body).status_code == 200
    assert not CallLogImport.objects.exists()


def test_recordings_are_asked_for_with_a_purpose(client: Client) -> None:
    staff(client, "all")
    row = factories.make_imported_call(recordings={"mono": "https://x.example/secret-token.wav"})
    theirs = factories.make_imported_call(organisation=factories.make_organisation())
    body: dict[str, Any] = {"action": "fetch_recordings", "_selected_action": [row.pk, theirs.pk]}
    page = client.post(reverse(FETCH), body)
    text = page.content.decode()
    assert "recordings of 1 call" in text and "consent not known" in text
    assert "secret-token" not in text and not Job.objects.exists()
    short = client.post(reverse(FETCH), body | {"purpose": "x"})
    assert short.status_code == 200 and not Job.objects.exists()
    done = client.post(reverse(FETCH), body | {"purpose": "Parity; consent in the contract"})
    job = Job.objects.get()
    assert done["Location"] == reverse("admin:base_job_change", args=[job.pk])
    assert job.parameters["calls"] == [str(row.call_id)] and "sealed" not in job.parameters
    client.post(reverse(FETCH), body | {"purpose": "Parity; consent again", "api_key": "key-1"})
    job = Job.objects.exclude(pk=job.pk).get()
    assert "key-1" not in str(job.parameters) and "sealed" in job.parameters


def test_an_address_is_made_shown_ended_and_not_taken_away_while_it_is_used(client: Client) -> None:
    staff(client, "all")
    make = reverse("admin:calls_toolshim_make")
    body = {
        "organisation": str(factories.default_organisation().pk), "name": "Bookings", "days": "7",
        "target_url": "https://tools.example.com/book?token=parrot-secret",
    }  # fmt: skip
    assert "Fix" in client.post(make, body | {"target_url": "ftp://x"}).content.decode()
    page = client.post(make, body, follow=True)
    row = ToolShim.objects.get()
    text = page.content.decode()
    assert f"/tool-shim/{row.token}" in text and "tools.example.com" in text
    assert "parrot-secret" not in text
    steps = reverse("admin:calls_toolshim_steps", args=[row.pk])
    listed = client.get(reverse("admin:calls_toolshim_change", args=[row.pk])).content.decode()
    assert row.token not in listed and "parrot-secret" not in listed
    client.post(steps, {"step": "stop"})
    row.refresh_from_db()
    assert row.stopped_at is not None
    ToolShim.objects.update(last_request_at=row.stopped_at)
    refused = client.post(steps, {"step": "remove"}, follow=True)
    assert "still entered at Vapi" in refused.content.decode()
    assert client.get(steps).status_code == 200
    client.post(steps, {"step": "remove", "sure": "yes"})
    assert not ToolShim.objects.exists()


def test_the_page_of_an_imported_call_says_where_it_is_from(client: Client) -> None:
    client.force_login(factories.make_superuser())
    assistant = factories.make_assistant(name="Booking desk")
    row = factories.make_imported_call(
        turns=(("user", "Hello there"),), tools=("find",), assistant=assistant, is_whole=False
    )
    text = client.get(reverse("admin:calls_call_change", args=[row.call_id])).content.decode()
    for words in ("imported from its log", "only a part is known", "Booking desk", "Hello there"):
        assert words in text
    assert client.get(reverse("admin:calls_call_why", args=[row.call_id])).status_code == 200
