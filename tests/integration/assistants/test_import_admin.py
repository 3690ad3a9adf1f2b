"""The upload page: a preview that writes nothing, a confirmation that imports once."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assistants.models import Assistant, ImportRun
from tests import factories
from tools.models import Tool
from voiceplatform.base.models import Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

UPLOAD = "/admin/assistants/assistant/import/"
PLANTED = "<script>alert(1)</script>"
DOCUMENT: dict[str, Any] = {
    "name": f"Desk {PLANTED}",
    "firstMessage": "Hello",
    "model": {"messages": [{"role": "system", "content": "Be kind."}]},
    "voice": {"provider": "11labs", "voiceId": "21m00Tcm4TlvDq8ikWAM"},
}
TOOL = {"type": "function", "function": {"name": "look_up"}, "server": {"url": "https://x.example"}}


def upload(client: Client, *contents: Any, organisation: Organisation | None = None) -> Any:
    organisation = organisation or factories.default_organisation()
    files = [
        SimpleUploadedFile(
            "export.json", each if isinstance(each, bytes) else json.dumps(each).encode()
        )
        for each in contents
    ]
    body = {"uploads": files, "organisation": organisation.pk}
    return client.post(UPLOAD, body, follow=True)


@pytest.fixture
def staff_client(client: Client) -> Client:
    client.force_login(factories.make_staff(permissions="all"))
    return client


def confirm_url(run: ImportRun) -> str:
    return reverse("admin:assistants_importrun_confirm", args=[run.pk])


def test_the_list_of_assistants_leads_to_the_page(staff_client: Client) -> None:
    page = staff_client.get(reverse("admin:assistants_assistant_changelist")).content.decode()
    assert f'href="{UPLOAD}"' in page
    text = staff_client.get(UPLOAD).content.decode()
    assert 'type="file"' in text
    assert "multiple" in text
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\w", text.split("vp-page")[1])


def test_a_preview_shows_findings_and_writes_nothing(staff_client: Client) -> None:
    response = upload(staff_client, DOCUMENT, TOOL)
    text = response.content.decode()
    assert response.status_code == 200
    assert "callers hear it" in text
    assert "11labs Rachel" in text
    assert "a secret is missing" in text
    assert "Import 2 objects" in text
    assert PLANTED not in text
    assert (Assistant.objects.count(), Tool.objects.count()) == (0, 0)
    assert ImportRun.objects.get().state == "preview"


def test_a_confirmation_imports_once_and_drops_the_files(staff_client: Client) -> None:
    upload(staff_client, DOCUMENT, TOOL)
    preview = ImportRun.objects.get()
    assert staff_client.get(confirm_url(preview)).status_code == 302
    assert not Assistant.objects.exists()
    response = staff_client.post(confirm_url(preview), follow=True)
    assert "2 created" in response.content.decode()
    assistant = Assistant.objects.get()
    assert assistant.current_revision is not None
    assert assistant.current_revision.created_by is not None
    done = ImportRun.objects.get()
    assert (done.state, done.source) == ("done", "upload")
    assert "uploads" not in (done.files or {})
    assert staff_client.post(confirm_url(preview)).status_code == 404
    assert "already the same" in upload(staff_client, DOCUMENT, TOOL).content.decode()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b"\x00" * 50])
def test_a_file_that_is_no_export_gets_a_reason(staff_client: Client, content: bytes) -> None:
    text = upload(staff_client, content).content.decode()
    assert "Fix:" in text or "left out" in text
    assert "There is nothing to import" in text


def test_no_file_and_too_much_are_form_errors(
    staff_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"organisation": factories.default_organisation().pk}
    assert "required" in staff_client.post(UPLOAD, body).content.decode()
    monkeypatch.setattr("assistants.admin.import_forms.MOST_BYTES", 10)
    assert "More than 20 MiB" in upload(staff_client, DOCUMENT).content.decode()
    assert not ImportRun.objects.exists()


def test_people_import_into_their_own_organisation_only(client: Client) -> None:
    other = factories.make_organisation()
    client.force_login(factories.make_staff(permissions="all"))
    upload(client, DOCUMENT, organisation=other)
    assert not ImportRun.objects.exists()
    upload(client, DOCUMENT)
    run = ImportRun.objects.get()
    client.force_login(factories.make_staff(other, "all"))
    assert client.post(confirm_url(run)).status_code == 404
    assert client.get(f"/admin/assistants/importrun/{run.pk}/change/").status_code == 404


def test_who_may_not_add_assistants_may_not_import(client: Client) -> None:
    client.force_login(factories.make_staff(permissions="all"))
    upload(client, DOCUMENT)
    run = ImportRun.objects.get()
    looker = ["assistants.view_assistant", "assistants.view_importrun"]
    client.force_login(factories.make_staff(permissions=looker))
    assert client.get(UPLOAD).status_code == 403
    assert client.post(confirm_url(run)).status_code == 403
    assert (
        "Import 1 object"
        not in client.get(
            reverse("admin:assistants_importrun_change", args=[run.pk])
        ).content.decode()
    )
    assert not Assistant.objects.exists()


def test_previews_nobody_confirmed_go_after_a_day(staff_client: Client) -> None:
    upload(staff_client, DOCUMENT)
    old = timezone.now() - dt.timedelta(days=2)
    ImportRun.objects.update(created_at=old)
    upload(staff_client, TOOL)
    assert ImportRun.objects.count() == 1
