"""Tools, squads and resources imported again: changed there, here or on both sides; the choice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from assistants.findings import leaves
from assistants.import_services import ImportFile, ImportReport, import_files
from assistants.import_sides import row_document
from assistants.models import Assistant, ImportedObject, Squad, StoredResource
from assistants.resource_services import resource_patch
from assistants.services import assistant_patch
from assistants.squad_services import squad_delete, squad_patch
from tests import factories
from tests.vapi_account import assistant, at, object_id
from tools.models import Tool
from tools.services import tool_delete, tool_edit, tool_patch
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

HUSH = "hush-hush"
KINDS = ("tool", "squad", "resource")
_VALUES: dict[str, dict[str, Any]] = {
    "tool": {
        "id": object_id(2, 1),
        "createdAt": at(1),
        "type": "function",
        "function": {"name": "book", "description": "one"},
        "server": {"url": "https://tools.example.com"},
    },
    "squad": {
        "id": object_id(3, 1),
        "name": "one",
        "members": [{"assistant": {"name": "A", "server": {"url": "https://a.example.com"}}}],
    },
    "resource": {
        "id": object_id(4, 1),
        "name": "one",
        "type": "ai",
        "schema": {"type": "string"},
    },
}
_MODELS: dict[str, Any] = {"tool": Tool, "squad": Squad, "resource": StoredResource}


def value(kind: str, text: str) -> dict[str, Any]:
    whole = json.loads(json.dumps(_VALUES[kind]))
    if kind == "tool":
        whole["function"]["description"] = text
    else:
        whole["name"] = text
    return dict(whole)


def run(*values: dict[str, Any], **options: Any) -> ImportReport:
    return import_files(
        organisation=factories.default_organisation(),
        files=[ImportFile("all.json", json.dumps(values).encode())],
        actor=None,
        source="command",
        **options,
    )


def row_of(kind: str) -> Any:
    found: Model = _MODELS[kind].objects.get()
    return found


def edit(kind: str, text: str) -> None:
    """Change the row as REST does."""
    row = row_of(kind)
    patch = {"name": text}
    if kind == "tool":
        tool_patch(tool=row, patch={"function": value(kind, text)["function"]}, actor=None)
    elif kind == "squad":
        squad_patch(squad=row, patch=patch, actor=None)
    else:
        resource_patch(resource=row, patch=patch, actor=None)


def text_of(kind: str) -> str:
    document = row_document(row_of(kind))
    return str(document["function"]["description"] if kind == "tool" else document["name"])


def said(report: ImportReport) -> tuple[str, list[str]]:
    """Return the outcome and what is said of the whole object; no leaf is unaccounted for."""
    (result,) = report.results
    assert all(state for _, state in result.leaves)
    whole = [f.message for f in result.findings if f.path == "$" and "import" in f.message]
    return result.outcome, whole


def conflict(kind: str) -> ImportReport:
    run(value(kind, "one"))
    edit(kind, "ours")
    return run(value(kind, "theirs"))


@pytest.mark.parametrize("kind", KINDS)
def test_changed_on_neither_side(kind: str) -> None:
    run(value(kind, "one"))
    assert said(run(value(kind, "one"))) == ("unchanged", [])
    assert not ImportedObject.objects.filter(waits=True).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_changed_only_there_is_stored(kind: str) -> None:
    run(value(kind, "one"))
    for outcome in ("updated", "unchanged"):
        assert said(run(value(kind, "theirs"))) == (outcome, [])
        assert text_of(kind) == "theirs"


@pytest.mark.parametrize("kind", KINDS)
def test_changed_only_here_stays(kind: str) -> None:
    run(value(kind, "one"))
    edit(kind, "ours")
    for _ in range(2):
        outcome, words = said(run(value(kind, "one")))
        assert outcome == "unchanged" and "changed here since the last import" in words[0]
        assert text_of(kind) == "ours"
    assert not ImportedObject.objects.filter(waits=True).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_changed_on_both_sides_keeps_ours_and_waits_for_a_person(kind: str) -> None:
    run(value(kind, "one"))
    edit(kind, "ours")
    before = row_document(row_of(kind))
    dry = run(value(kind, "theirs"), dry_run=True)
    assert not ImportedObject.objects.filter(waits=True).exists()
    report = run(value(kind, "theirs"))
    assert dry.results == report.results
    outcome, words = said(report)
    assert outcome == "updated"
    assert "Both sides changed it" in words[0] and "Fix: open Imported versions" in words[0]
    assert [f.state for f in report.results[0].findings if f.message == words[0]] == [
        "mapped-lossy"
    ]
    listed = [path for path, _ in report.results[0].leaves]
    assert listed == list(leaves(value(kind, "theirs")))
    assert row_document(row_of(kind)) == before
    again = said(run(value(kind, "theirs")))
    assert again == ("unchanged", words)
    assert ImportedObject.objects.get().waits
    assert row_document(row_of(kind)) == before


def test_an_edit_in_the_admin_form_is_a_change_of_ours() -> None:
    run(value("tool", "one"))
    tool_edit(tool=row_of("tool"), changes={"description": "ours"}, actor=None)
    assert "Both sides" in said(run(value("tool", "theirs")))[1][0]
    assert text_of("tool") == "ours"


@pytest.mark.parametrize("entered", [{"secret": HUSH}, {"headers": {"x-api-key": HUSH}}])
def test_a_secret_entered_here_is_no_change_of_ours_and_survives(entered: dict[str, Any]) -> None:
    run(value("tool", "one"))
    server = {**_VALUES["tool"]["server"], **entered}
    tool_patch(tool=row_of("tool"), patch={"server": server}, actor=None)
    assert said(run(value("tool", "theirs"))) == ("updated", [])
    assert row_document(row_of("tool"))["server"] == server
    assert text_of("tool") == "theirs"


@pytest.mark.parametrize("kind", KINDS)
def test_both_coming_to_the_same_is_no_conflict_then_or_later(kind: str) -> None:
    conflict(kind)
    edit(kind, "theirs")
    assert said(run(value(kind, "theirs"))) == ("unchanged", [])
    assert not ImportedObject.objects.get().waits
    assert said(run(value(kind, "three"))) == ("updated", [])
    assert text_of(kind) == "three"


def test_what_was_deleted_here_comes_back_without_a_question() -> None:
    conflict("tool")
    conflict("squad")
    tool_delete(tool=row_of("tool"), actor=None)
    squad_delete(squad=row_of("squad"), actor=None)
    report = run(value("tool", "back"), value("squad", "back"))
    assert [r.outcome for r in report.results] == ["updated", "updated"]
    assert [text_of("tool"), text_of("squad")] == ["back", "back"]
    assert row_of("tool").deleted_at is None
    assert not ImportedObject.objects.filter(waits=True).exists()


def page(name: str, imported: ImportedObject) -> str:
    return reverse(f"admin:assistants_importedobject_{name}", args=[imported.pk])


@pytest.mark.parametrize("kind", KINDS)
def test_a_person_compares_and_takes_the_one_from_vapi(client: Client, kind: str) -> None:
    conflict(kind)
    imported = ImportedObject.objects.get()
    client.force_login(factories.make_superuser())
    shown = client.get(page("change", imported)).content.decode()
    assert "ours" in shown and "theirs" in shown
    client.post(page("take", imported))
    assert text_of(kind) == "theirs"
    assert AuditEntry.objects.filter(action="import.take").count() == 1
    assert said(run(value(kind, "theirs"))) == ("unchanged", [])
    assert client.post(page("take", imported)).status_code == 404


def test_a_person_keeps_ours_and_is_not_asked_again(client: Client) -> None:
    conflict("squad")
    imported = ImportedObject.objects.get()
    client.force_login(factories.make_superuser())
    client.post(page("keep", imported))
    outcome, words = said(run(value("squad", "theirs")))
    assert (outcome, text_of("squad")) == ("unchanged", "ours")
    assert "not at Vapi" in words[0]
    assert "Both sides" in said(run(value("squad", "four")))[1][0]


def test_taking_keeps_the_secret_of_today_and_only_who_may_change_may_choose(
    client: Client,
) -> None:
    run(value("tool", "one"))
    tool_edit(tool=row_of("tool"), changes={"server_secret": "old"}, actor=None)
    edit("tool", "ours")
    run(value("tool", "theirs"))
    tool_edit(tool=row_of("tool"), changes={"server_secret": HUSH}, actor=None)
    imported = ImportedObject.objects.get()
    reader = factories.make_staff(
        factories.default_organisation(), ["assistants.view_importedobject"]
    )
    client.force_login(reader)
    shown = client.get(page("change", imported)).content.decode()
    assert "Keep ours" not in shown and HUSH not in shown
    assert client.post(page("take", imported)).status_code == 403
    client.force_login(factories.make_superuser())
    client.get(page("take", imported))
    assert text_of("tool") == "ours"
    client.post(page("take", imported))
    assert (text_of("tool"), row_of("tool").server_secret) == ("theirs", HUSH)


def test_a_deleted_tool_is_not_taken(client: Client) -> None:
    conflict("tool")
    tool_delete(tool=row_of("tool"), actor=None)
    imported = ImportedObject.objects.get()
    client.force_login(factories.make_superuser())
    assert "Take the one" not in client.get(page("change", imported)).content.decode()
    answer = client.post(page("take", imported), follow=True).content.decode()
    assert "was deleted here" in answer
    assert ImportedObject.objects.get().waits


def test_an_assistant_that_both_sides_made_alike_is_followed_again() -> None:
    run(assistant(1, firstMessage="one"))
    assistant_patch(assistant=Assistant.objects.get(), patch={"firstMessage": "same"}, actor=None)
    run(assistant(1, firstMessage="same"))
    report = run(assistant(1, firstMessage="three"))
    row = Assistant.objects.get()
    assert [r.outcome for r in report.results] == ["updated"]
    assert row.draft_revision is None and row.current_revision is not None
    assert row.current_revision.first_message == "three"
