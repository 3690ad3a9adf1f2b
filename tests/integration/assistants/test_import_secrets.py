"""A planted secret is nowhere to be read: no text column, no output, no page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from assistants.models import Assistant, ImportRun
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SECRET = "planted-secret-0xC0FFEE"
OURS = ("base", "tools", "assistants", "calls")


def files() -> dict[str, Any]:
    inner = {
        "type": "transferCall",
        "destinations": [
            {
                "type": "number",
                "number": "+15550100001",
                "transferPlan": {"assistant": {"serverUrlSecret": SECRET, "apiKey": SECRET}},
                "sipHeaders": {"x": 1},
            }
        ],
        "messages": [{"type": "request-start", "content": "x", "authToken": SECRET}],
    }
    function = {
        "type": "function",
        "function": {"name": "a", "parameters": {"type": "object", "properties": {}}},
        "server": {
            "url": f"https://user:{SECRET}@x.example/?token={SECRET}",
            "secret": SECRET,
            "headers": {"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET},
        },
    }
    return {
        "desk.json": {
            "name": "Desk",
            "serverUrl": f"https://hooks.example.com/?key={SECRET}",
            "serverUrlSecret": SECRET,
            "credentials": [{"provider": "openai", "apiKey": SECRET, "note": SECRET}],
            "model": {
                "tools": [inner, function],
                "functions": [{"name": "b", "serverUrlSecret": SECRET}],
            },
        },
        "tool.json": [{**function, "function": {"name": "c"}}, inner],
        "number.json": {"provider": "twilio", "number": "+15550100001", "twilioAuthToken": SECRET},
        "refused.json": {"statusCode": 401, "message": "Unauthorized", "token": SECRET},
    }


def every_stored_text() -> str:
    """Return every value of every table of ours, as the database holds it."""
    texts = []
    with connection.cursor() as cursor:
        for app in OURS:
            for model in apps.get_app_config(app).get_models():
                table = connection.ops.quote_name(model._meta.db_table)
                cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 - a table of ours
                texts.append(repr(cursor.fetchall()))
    return "\n".join(texts)


@pytest.mark.parametrize("as_json", [True, False])
def test_command_output_and_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    for name, value in files().items():
        (tmp_path / name).write_text(json.dumps(value))
    for dry_run in (True, False, False):
        with pytest.raises(CommandError) as caught:
            call_command("import_vapi", str(tmp_path), json=as_json, dry_run=dry_run)
        assert SECRET not in str(caught.value)
    assert Assistant.objects.count() == 1
    out = capsys.readouterr()
    assert "Desk" in out.out
    assert SECRET not in out.out + out.err
    assert SECRET not in every_stored_text()


def test_pages_from_upload_to_confirmation(client: Client) -> None:
    client.force_login(factories.make_superuser())
    organisation = factories.default_organisation()
    uploads = [SimpleUploadedFile(n, json.dumps(v).encode()) for n, v in files().items()]
    response = client.post(
        "/admin/assistants/assistant/import/",
        {"uploads": uploads, "organisation": organisation.pk},
        follow=True,
    )
    preview = ImportRun.objects.get()
    texts = [response.content.decode()]
    assert "Desk" in texts[0]
    assert SECRET not in every_stored_text()
    confirm = reverse("admin:assistants_importrun_confirm", args=[preview.pk])
    texts.append(client.post(confirm, follow=True).content.decode())
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        if model._meta.app_label not in ("assistants", "tools", "base"):
            continue
        texts.append(client.get(reverse(f"{name}_changelist")).content.decode())
        for row in model._default_manager.all():
            texts.append(client.get(reverse(f"{name}_change", args=[row.pk])).content.decode())
    assert len(texts) > 20
    found = [text[max(0, text.find(SECRET) - 300) :][:600] for text in texts if SECRET in text]
    assert not found
    assert SECRET not in every_stored_text()


def test_who_may_only_look_sees_no_secret(client: Client) -> None:
    """Django shows fields of a row that cannot be changed as plain text, past every widget."""
    organisation = factories.make_organisation()
    rows = (
        factories.make_account(organisation, auth_token=SECRET, auth_token_secondary=SECRET),
        factories.make_connection(organisation, api_key=SECRET),
        factories.make_tool(organisation, server_secret=SECRET, server_url=f"https://{SECRET}"),
        factories.make_assistant(organisation, server_secret=SECRET, server_url=SECRET),
    )
    names = [f"{row._meta.app_label}.view_{row._meta.model_name}" for row in rows]
    client.force_login(factories.make_staff(organisation, names))
    for row in rows:
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
        response = client.get(reverse(name, args=[row.pk]))
        assert response.status_code == 200
        assert SECRET not in response.content.decode()
        row.refresh_from_db()
    assert rows[0].auth_token == SECRET
