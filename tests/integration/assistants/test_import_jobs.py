"""Imports in a worker: previews of files and accounts, confirmation, cancelling, a lost worker."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from assistants import import_jobs
from assistants.import_services import ImportFile
from assistants.models import Assistant, ImportRun, Squad
from assistants.vapi_api import VapiApiError
from tests import factories
from tests import vapi_account as vapi
from tests.vapi_account import KEY, VapiAccount
from tests.vapi_account_server import AccountServer, served
from tools.models import Tool
from voiceplatform.base import jobs
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.models import Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

TOOL_ID, DESK_ID = vapi.object_id(2, 1), vapi.object_id(1, 0)


def assistant(name: str, **more: Any) -> dict[str, Any]:
    prompt = {"messages": [{"role": "system", "content": "Be kind."}]}
    return {"name": name, "firstMessage": "Hello", "model": prompt, **more}


def files(count: int) -> list[ImportFile]:
    return [
        ImportFile(f"{i:03}.json", json.dumps(assistant(f"Desk {i}")).encode())
        for i in range(count)
    ]


@pytest.fixture(autouse=True)
def pokes(monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """Collect pokes: there is no broker here."""
    poked: list[uuid.UUID] = []
    monkeypatch.setattr(JobBell, "poke", lambda _, job_id: poked.append(job_id))
    return poked


@pytest.fixture
def account(settings: LazySettings) -> Iterator[AccountServer]:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    first = vapi.assistant(0, firstMessage="Hello", model={"toolIds": [TOOL_ID]})
    team = {"id": vapi.object_id(3, 1), "createdAt": vapi.at(1), "name": "Team"}
    objects = {
        "tool": [vapi.tool(1)],
        "assistant": [first, *(vapi.assistant(i) for i in range(1, 131))],
        "squad": [{**team, "members": [{"assistantId": DESK_ID}]}],
        "workflow": [{"id": vapi.object_id(4, 1), "createdAt": vapi.at(1), "name": "Old flow"}],
    }
    with served(VapiAccount(objects)) as server:
        yield server


def preview(count: int = 3) -> Job:
    return import_jobs.preview_start(
        organisation=factories.default_organisation(), files=files(count), actor=None
    )


def read_account(account: AccountServer, key: str = KEY) -> Job:
    return import_jobs.api_preview_start(
        organisation=factories.default_organisation(),
        api_key=key,
        base_url=account.base_url,
        actor=factories.make_user(),
    )


def done(job: Job | None) -> Job:
    assert job is not None
    import_jobs.job_run(job.pk)
    return Job.objects.get(pk=job.pk)


def result_of(job: Job) -> ImportRun:
    assert job.result is not None
    return ImportRun.objects.get(pk=job.result["id"])


def test_files_become_a_preview_and_then_an_import() -> None:
    job = done(preview())
    assert (job.state, job.done_count, job.total_count) == ("done", 3, 3)
    run = result_of(job)
    assert (run.state, ImportRun.objects.count()) == ("preview", 1)
    assert not Assistant.objects.exists()
    job = done(import_jobs.confirm_start(run=run, actor=None))
    assert (job.state, job.message) == ("done", "Imported: 3 created.")
    assert Assistant.objects.count() == 3
    report = result_of(job)
    assert (report.state, ImportRun.objects.count()) == ("done", 1)


def test_a_preview_is_confirmed_once() -> None:
    run = result_of(done(preview()))
    assert import_jobs.confirm_start(run=run, actor=None) is not None
    assert import_jobs.confirm_start(run=run, actor=None) is None
    assert import_jobs.open_job_of(run) is not None


def test_an_account_is_read_shown_and_imported_as_it_was_shown(account: AccountServer) -> None:
    job = done(read_account(account))
    assert (job.state, job.message) == ("done", "Read. Nothing has been written yet.")
    run = result_of(job)
    assert (run.state, run.source) == ("preview", "api")
    assert not Assistant.objects.exists()
    asked = len(account.account.asked)
    account.account.objects["assistant"][0]["firstMessage"] = "Changed meanwhile"
    job = done(import_jobs.confirm_start(run=run, actor=None))
    assert len(account.account.asked) == asked
    assert (Assistant.objects.count(), Tool.objects.count(), Squad.objects.count()) == (131, 1, 1)
    desk = Assistant.objects.get(pk=DESK_ID)
    assert desk.current_revision is not None
    assert desk.current_revision.first_message == "Hello"
    assert [str(tool.pk) for tool in desk.current_revision.tools.all()] == [TOOL_ID]
    report = result_of(job)
    stays = [entry for entry in report.objects_json if entry["kind"] == "stays-behind"]
    assert any("uses workflows" in entry["reason"] for entry in stays)
    number = next(
        index
        for index, entry in enumerate(report.objects_json)
        if entry["kind"] == "stays-behind" and entry["name"] == "workflows"
    )
    assert report.findings.filter(object_number=number, state="unsupported").exists()
    again = result_of(done(read_account(account)))
    outcomes = {e["outcome"] for e in again.objects_json if e["kind"] not in ("stays-behind",)}
    assert outcomes == {"unchanged", "updated"}


def test_a_key_is_sealed_while_it_is_needed_and_gone_afterwards(account: AccountServer) -> None:
    job = read_account(account)
    assert KEY not in str(Job.objects.values().get())
    done(job)
    row = str(Job.objects.values().get())
    assert (KEY in row, "sealed" in row) == (False, False)
    assert KEY not in str(list(ImportRun.objects.values("objects_json", "files")))


def test_a_refused_key_and_an_address_that_is_none_are_told(account: AccountServer) -> None:
    job = done(read_account(account, key="wrong"))
    assert job.state == "failed"
    assert "refuses this key" in job.message
    assert not ImportRun.objects.exists()
    with pytest.raises(VapiApiError):
        import_jobs.api_preview_start(
            organisation=factories.default_organisation(),
            api_key=KEY,
            base_url="file:///etc/passwd",
            actor=None,
        )


@pytest.mark.parametrize(
    "more", ["//u:SECRET@", "?token=SECRET", "#SECRET", ";token=SECRET", "?SECRET"]
)
def test_a_base_url_with_a_secret_is_refused_and_an_old_one_not_shown(more: str) -> None:
    place = more[2:] if more.startswith("//") else ""
    base_url = f"https://{place}api.vapi.test/{'' if place else more}"
    with pytest.raises(VapiApiError, match="leave out user, password and parameters") as refused:
        import_jobs.api_preview_start(
            organisation=factories.default_organisation(),
            api_key=KEY,
            base_url=base_url,
            actor=None,
        )
    assert "SECRET" not in str(refused.value)
    assert not Job.objects.exists()
    if "=" in more or place:
        stored = factories.make_job(parameters={"base_url": base_url, "source": "api"})
        admin = Client()
        admin.force_login(factories.make_superuser())
        page = admin.get(reverse("admin:base_job_change", args=[stored.pk])).content.decode()
        assert "api.vapi.test" in page
        assert "SECRET" not in page


def test_a_private_address_is_not_asked(account: AccountServer, settings: LazySettings) -> None:
    settings.EGRESS_ALLOW = []
    job = done(read_account(account))
    assert job.state == "failed"
    assert "loopback" in job.message
    assert account.account.asked == []


def test_a_cancelled_preview_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    job = preview()
    monkeypatch.setattr(jobs, "_BEAT_SECONDS", 0.0)
    monkeypatch.setattr(jobs.RunningJob, "cancelled", lambda self: True)
    job = done(job)
    assert (job.state, job.message) == ("cancelled", "Cancelled. Nothing was written.")
    assert not ImportRun.objects.exists()


def test_a_cancelled_import_keeps_what_it_stored_and_can_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = result_of(done(preview(4)))
    job = import_jobs.confirm_start(run=run, actor=None)
    with monkeypatch.context() as patch:
        patch.setattr(jobs.RunningJob, "cancelled", lambda self: Assistant.objects.count() >= 2)
        job = done(job)
    assert job.state == "cancelled"
    assert Assistant.objects.count() == 2
    assert (job.done_count, job.total_count) == (2, 4)
    assert result_of(job).state == "done"
    job = done(import_jobs.confirm_start(run=run, actor=None))
    assert job.message == "Imported: 2 created, 2 unchanged."
    assert Assistant.objects.count() == 4


def test_an_import_whose_worker_died_is_finished_by_another() -> None:
    run = result_of(done(preview()))
    job = import_jobs.confirm_start(run=run, actor=None)
    assert job is not None
    assert jobs.job_claim(job.pk) is not None  # a worker that is never heard of again
    import_jobs.job_run(job.pk)
    assert Job.objects.get(pk=job.pk).state == "running"
    assert import_jobs.BELL.poke_waiting() == 0
    row = Job.objects.get(pk=job.pk)
    row.parameters["lease"]["until"] = time.time() - 1
    row.save()
    assert import_jobs.BELL.poke_waiting() == 1
    assert done(job).state == "done"
    assert Assistant.objects.count() == 3


def test_a_preview_that_is_gone_fails_its_import() -> None:
    run = result_of(done(preview()))
    job = import_jobs.confirm_start(run=run, actor=None)
    run.delete()
    assert done(job).message.startswith("The preview is gone")


def test_the_next_job_is_begun_when_one_ends(
    pokes: list[uuid.UUID], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        first, second = preview(), preview()
    assert pokes == [first.pk, second.pk]
    done(first)
    assert pokes[2:] == [second.pk]


@pytest.fixture
def staff_client(client: Client) -> Client:
    client.force_login(factories.make_staff(permissions="all"))
    return client


def account_form(account: AccountServer, **more: Any) -> dict[str, Any]:
    return {
        "api_key": KEY,
        "base_url": account.base_url,
        "organisation": factories.default_organisation().pk,
        **more,
    }


UPLOAD = "/admin/assistants/assistant/import/"


def test_the_form_starts_a_job_that_its_person_may_watch(
    client: Client, account: AccountServer
) -> None:
    client.force_login(factories.make_staff(permissions=["assistants.add_assistant"]))
    response = client.post(UPLOAD, account_form(account), follow=True)
    job = Job.objects.get()
    assert response.redirect_chain[-1][0] == reverse("admin:base_job_change", args=[job.pk])
    assert response.status_code == 200
    assert KEY not in response.content.decode()


def test_a_form_without_a_key_is_refused_unless_the_installation_has_one(
    client: Client, account: AccountServer, settings: LazySettings
) -> None:
    settings.VAPI_API_KEY, settings.VAPI_BASE_URL = KEY, account.base_url
    client.force_login(factories.make_staff(permissions="all"))
    empty = account_form(account, api_key="")
    assert "Enter the private key" in client.post(UPLOAD, empty).content.decode()
    client.force_login(factories.make_superuser())
    elsewhere = {**empty, "base_url": "https://elsewhere.example"}
    assert "belongs to this address" in client.post(UPLOAD, elsewhere).content.decode()
    assert not Job.objects.exists()
    client.post(UPLOAD, empty)
    assert done(Job.objects.get()).state == "done"


def test_a_large_preview_is_confirmed_by_a_job(
    staff_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_jobs, "DIRECT_OBJECTS", 2)
    run = result_of(done(preview()))
    url = reverse("admin:assistants_importrun_confirm", args=[run.pk])
    job_page = staff_client.post(url)["Location"]
    assert "/base/job/" in job_page
    assert staff_client.post(url)["Location"] == job_page
    page = reverse("admin:assistants_importrun_change", args=[run.pk])
    text = staff_client.get(page).content.decode()
    assert "A worker is busy with it" in text
    assert "Import 3 objects" not in text
