"""The pages of an import and of missing secrets: filters, fields, the report as a file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from assistants.import_services import ImportFile, import_files, preview_create
from assistants.models import AssistantRevision, ImportRun
from assistants.services import assistant_publish
from tests import factories
from tools.models import Tool
from tools.services import tool_document, tool_store
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

VALUE = "the-secret-of-the-parrot"
SECRETS = "/admin/assistants/importrun/missing-secrets/"


def assistant(name: str, **more: Any) -> dict[str, Any]:
    prompt = {"messages": [{"role": "system", "content": "Be kind."}]}
    return {"name": name, "firstMessage": "Hello", "model": prompt, **more}


def file(name: str, document: Any) -> ImportFile:
    return ImportFile(name, json.dumps(document).encode())


def imported(*documents: Any, is_preview: bool = False) -> ImportRun:
    files = [file(f"{index:03}.json", each) for index, each in enumerate(documents)]
    organisation = factories.default_organisation()
    if is_preview:
        return preview_create(organisation=organisation, files=files, actor=None)
    report = import_files(
        organisation=organisation, files=files, actor=None, source="command", is_folder=False
    )
    assert report.run is not None
    return report.run


@pytest.fixture
def staff_client(client: Client) -> Client:
    client.force_login(factories.make_staff(permissions="all"))
    return client


def change(run: ImportRun) -> str:
    return reverse("admin:assistants_importrun_change", args=[run.pk])


def test_a_long_report_comes_in_pages_with_filters_and_few_queries(staff_client: Client) -> None:
    documents = [assistant(f"Desk {index}") for index in range(40)]
    run = imported(*documents, {"hello": "world"}, assistant("Odd", voice={"provider": "x"}))
    with CaptureQueriesContext(connection) as queries:
        text = staff_client.get(change(run)).content.decode()
    assert len(queries) <= 20
    assert text.count('class="vp-finding"') >= 25
    assert "1 to 25 of 42 objects" in text
    assert "26 to 42 of 42" in staff_client.get(change(run) + "?page=2").content.decode()
    text = staff_client.get(change(run) + "?outcome=refused").content.decode()
    assert ("Desk 1<" in text, "041.json" in text, "1 to" in text) == (False, False, False)
    text = staff_client.get(change(run) + "?state=invalid").content.decode()
    assert "040.json" in text
    odd = staff_client.get(change(run) + "?state=nonsense&outcome=x&page=zzz")
    assert "1 to 25 of 42 objects" in odd.content.decode()
    both = staff_client.get(change(run) + "?outcome=refused&state=caller-audible")
    assert "No object matches both choices" in both.content.decode()


@pytest.mark.parametrize("is_preview", [True, False])
def test_every_field_of_an_object_has_its_value_and_state(
    staff_client: Client, is_preview: bool
) -> None:
    document = assistant(
        "Desk <b>",
        metadata={"team": "<script>alert(1)</script>"},
        server={"url": "https://x.example/?token=abcdef", "secret": VALUE},
    )
    run = imported(document, is_preview=is_preview)
    url = reverse("admin:assistants_importrun_object", args=[run.pk])
    text = staff_client.get(f"{url}?number=0").content.decode()
    assert "Be kind." in text
    assert "works as before" in text
    assert 'title="$.model.messages[0].content"' in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert(1)" not in text
    assert (VALUE in text, "abcdef" in text) == (False, False)
    for number in ("1", "-1", "x", ""):
        assert staff_client.get(f"{url}?number={number}").status_code == 404


def test_the_report_is_a_file_with_every_leaf(staff_client: Client) -> None:
    run = imported(assistant("Desk"), {"hello": "world"})
    response = staff_client.get(reverse("admin:assistants_importrun_json", args=[run.pk]))
    assert "attachment" in response["Content-Disposition"]
    report = response.json()
    assert report["counts"]["created"] == 1
    paths = [leaf["path"] for leaf in report["objects"][0]["leaves"]]
    assert paths == [
        "$.name",
        "$.firstMessage",
        "$.model.messages[0].role",
        "$.model.messages[0].content",
    ]
    assert report["objects"][1]["findings"][0]["state"] == "invalid"


def test_a_report_that_lacks_leaves_shows_its_findings(staff_client: Client) -> None:
    run = imported(assistant("Desk", voice={"provider": "x"}))
    ImportRun.objects.filter(pk=run.pk).update(files=None)
    url = reverse("admin:assistants_importrun_object", args=[run.pk])
    text = staff_client.get(f"{url}?number=0").content.decode()
    assert "are not kept with this import" in text
    assert "callers hear it" in text


# An address that the policy refuses before anybody is asked.
def server(**more: Any) -> dict[str, Any]:
    return {"server": {"url": "https://127.0.0.1:9/vapi", **more}}


def make_documents(**more: Any) -> Tool:
    organisation = factories.default_organisation()
    tool = {"type": "function", "function": {"name": "f"}, **server(secret="***", **more)}
    assistant_publish(
        organisation=organisation,
        document=assistant("Desk", **server(secret="***")),
        source="import",
        actor=None,
    )
    return tool_store(organisation=organisation, document=tool, actor=None)


def key_on(text: str) -> str:
    return text.split('name="key" value="')[1].split('"')[0]


def test_a_secret_is_entered_once_and_never_comes_back(staff_client: Client) -> None:
    tool = make_documents()
    text = staff_client.get(SECRETS).content.decode()
    assert "1 secret missing" in text
    assert "2 places" in text
    body = {
        "organisation": factories.default_organisation().pk,
        "key": key_on(text),
        "value": VALUE,
        "do": "store",
    }
    text = staff_client.post(SECRETS, body).content.decode()
    assert "Stored in 2 places" in text
    assert "No secret is known to be missing" in text
    assert VALUE not in text
    assert tool_document(Tool.objects.get(pk=tool.pk))["server"]["secret"] == VALUE
    assert AssistantRevision.objects.count() == 2
    again = staff_client.post(SECRETS, body, follow=True).content.decode()
    assert "Nothing lacks this secret" in again
    assert VALUE not in str(list(AuditEntry.objects.values()))
    assert "already entered" in text


def test_a_value_that_no_header_carries_is_told_and_not_shown(staff_client: Client) -> None:
    make_documents()
    key = key_on(staff_client.get(SECRETS).content.decode())
    body = {"organisation": factories.default_organisation().pk, "key": key, "do": "store"}
    text = staff_client.post(SECRETS, {**body, "value": "käse-parrot"}).content.decode()
    assert "no header can carry" in text
    assert "käse-parrot" not in text
    assert "Enter the secret." in staff_client.post(SECRETS, body).content.decode()
    assert AssistantRevision.objects.count() == 1
    gone = staff_client.post(SECRETS, {**body, "key": "x"}, follow=True)
    assert "Nothing lacks this secret" in gone.content.decode()


def test_who_may_see_or_write_secrets(client: Client) -> None:
    make_documents()
    client.force_login(factories.make_staff())
    assert client.get(SECRETS).status_code == 403
    client.force_login(factories.make_staff(permissions=["assistants.view_assistant"]))
    text = client.get(SECRETS).content.decode()
    assert "127.0.0.1:9" in text
    assert 'name="value"' not in text
    body = {"organisation": factories.default_organisation().pk, "key": "x", "do": "store"}
    assert client.post(SECRETS, body).status_code == 403
    other = factories.make_organisation()
    client.force_login(factories.make_staff(other, "all"))
    assert "127.0.0.1:9" not in client.get(SECRETS).content.decode()
    assert client.get(f"{SECRETS}?organisation={body['organisation']}").status_code == 403
    assert client.post(SECRETS, body).status_code == 403


def test_a_superuser_chooses_the_organisation(client: Client) -> None:
    make_documents()
    other = factories.make_organisation()
    client.force_login(factories.make_superuser())
    assert 'name="organisation"' in client.get(SECRETS).content.decode()
    text = client.get(f"{SECRETS}?organisation={other.pk}").content.decode()
    assert "127.0.0.1:9" not in text
