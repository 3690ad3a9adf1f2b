"""Somebody else was faster than a form: a page with words, never an error page."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.admin import site
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assistants.file_services import file_upload
from assistants.models import Assistant, FileReading
from tests import factories
from tests.integration.admin.test_revisions import form_of

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def _overtake(monkeypatch: pytest.MonkeyPatch, model: Any, step: str) -> None:
    """Have the row deleted by somebody else between the check of a form and its write."""
    page = site.get_model_admin(model)
    write = getattr(page, step)

    def late(request: Any, obj: Any, *rest: Any) -> Any:
        row = getattr(obj, "file", obj)
        type(row).objects.filter(pk=row.pk).update(deleted_at=timezone.now())
        return write(request, obj, *rest)

    monkeypatch.setattr(page, step, late)


@pytest.mark.parametrize("kind", ["assistant", "tool", "squad", "resource", "file"])
def test_what_was_deleted_meanwhile_is_told_where_it_is_deleted_again(
    staff: Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    row = getattr(factories, f"make_{kind}")()
    _overtake(monkeypatch, type(row), "delete_model")
    name = f"{row._meta.app_label}_{row._meta.model_name}"
    url = reverse(f"admin:{name}_delete", args=[row.pk])
    page = staff.post(url, {"post": "yes"}, follow=True)
    assert page.redirect_chain == [(reverse(f"admin:{name}_changelist"), 302)]
    words = page.content.decode()
    assert "was not found. Somebody else was faster than you" in words
    assert "successfully" not in words


def test_an_assistant_that_was_deleted_meanwhile_is_not_saved(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant = factories.make_assistant()
    form = form_of(staff, assistant) | {"first_message": "New"}
    _overtake(monkeypatch, Assistant, "save_model")
    page = staff.post(
        reverse("admin:assistants_assistant_change", args=[assistant.pk]), form, follow=True
    )
    assert "Somebody else was faster than you; nothing was changed." in page.content.decode()
    assert assistant.revisions.count() == 1


def test_two_uploads_of_one_id_leave_one_file_and_a_message(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = uuid.uuid4()
    page = site.get_model_admin(FileReading)
    write = page.save_model

    def late(request: Any, obj: Any, form: Any, change: bool) -> None:
        first = {"name": "a.txt", "mimetype": "text/plain", "content": b"first", "actor": None}
        owner = form.cleaned_data["organisation"]
        file_upload(organisation=owner, file_id=file_id, **first)
        write(request, obj, form, change)

    monkeypatch.setattr(page, "save_model", late)
    form = {
        "organisation": factories.default_organisation().pk,
        "vapi_id": str(file_id),
        "upload": SimpleUploadedFile("b.txt", b"second"),
    }
    shown = staff.post(reverse("admin:assistants_filereading_add"), form, follow=True)
    assert f"The id {file_id} is taken. Somebody else was faster" in shown.content.decode()
