"""Importing again: what changed there, here, or on both sides; squads, resources, stored leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistants.findings import leaves
from assistants.import_runs import run_delete, run_leaves
from assistants.import_services import (
    ImportFile,
    ImportReport,
    import_files,
    preview_confirm,
    preview_create,
)
from assistants.models import (
    Assistant,
    AssistantRevision,
    Finding,
    ImportRun,
    Squad,
    StoredResource,
)
from assistants.services import assistant_edit, assistant_patch, revision_document
from assistants.squad_services import squad_delete
from tests import factories
from tests.vapi_account import assistant, at, object_id, tool

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def run(*values: dict[str, Any], **options: Any) -> ImportReport:
    return import_files(
        organisation=factories.default_organisation(),
        files=[ImportFile("all.json", json.dumps(values).encode())],
        actor=None,
        source="command",
        **options,
    )


def desk() -> Assistant:
    return Assistant.objects.get(pk=object_id(1, 1))


def first_message(row: Assistant) -> str:
    assert row.current_revision is not None
    return str(row.current_revision.first_message)


def on_whole(report: ImportReport) -> list[str]:
    return [f.state for f in report.results[0].findings if f.path == "$"]


def squad(**fields: Any) -> dict[str, Any]:
    return {
        "id": object_id(3, 1),
        "createdAt": at(1),
        "name": "Front",
        "members": [{"assistantId": object_id(1, 1)}],
        **fields,
    }


def test_what_changed_only_there_is_published() -> None:
    run(assistant(1, firstMessage="one"))
    report = run(assistant(1, firstMessage="two"))
    assert [r.outcome for r in report.results] == ["updated"]
    assert first_message(desk()) == "two"
    assert desk().imported_revision == desk().current_revision


@pytest.mark.parametrize("place", ["secret", "headers"])
def test_a_secret_entered_for_an_old_server_url_survives_the_next_import(place: str) -> None:
    old = {"serverUrl": "https://hook.example.com", "isServerUrlSecretSet": True}
    value = assistant(1, firstMessage="one", **old)
    value.pop("server", None)
    run(value)
    entered: Any = "s3cret" if place == "secret" else {"x-api-key": "s3cret"}
    assistant_patch(assistant=desk(), patch={"server": {place: entered}}, actor=None)
    assert run(value).results[0].outcome == "unchanged"
    report = run({**value, "firstMessage": "two"})
    assert (first_message(desk()), desk().draft_revision) == ("two", None)
    assert report.results[0].outcome == "updated"
    assert desk().current_revision is not None
    assert revision_document(desk().current_revision)["server"] == {place: entered}


def test_what_changed_only_here_stays() -> None:
    run(assistant(1, firstMessage="one"))
    assistant_patch(assistant=desk(), patch={"firstMessage": "ours"}, actor=None)
    report = run(assistant(1, firstMessage="one"))
    assert [r.outcome for r in report.results] == ["unchanged"]
    assert on_whole(report) == ["mapped"]
    assert first_message(desk()) == "ours"
    assert AssistantRevision.objects.count() == 2


def test_what_both_changed_becomes_a_draft_and_calls_hear_ours() -> None:
    run(assistant(1, firstMessage="one"))
    assistant_patch(assistant=desk(), patch={"firstMessage": "ours"}, actor=None)
    dry = run(assistant(1, firstMessage="theirs"), dry_run=True)
    report = run(assistant(1, firstMessage="theirs"))
    assert dry.results == report.results
    assert [r.outcome for r in report.results] == ["updated"]
    assert on_whole(report) == ["mapped-lossy"]
    row = desk()
    assert first_message(row) == "ours"
    assert row.draft_revision is not None
    assert row.draft_revision.first_message == "theirs"
    assert row.imported_revision == row.draft_revision
    again = run(assistant(1, firstMessage="theirs"))
    assert [r.outcome for r in again.results] == ["unchanged"]
    assert AssistantRevision.objects.count() == 3


def test_both_sides_coming_to_the_same_is_no_conflict() -> None:
    run(assistant(1, firstMessage="one"))
    assistant_patch(assistant=desk(), patch={"firstMessage": "same"}, actor=None)
    report = run(assistant(1, firstMessage="same"))
    assert [r.outcome for r in report.results] == ["unchanged"]
    assert AssistantRevision.objects.count() == 2


def test_a_secret_entered_here_is_no_change_of_ours() -> None:
    server = {"url": "https://hooks.example.com/vapi"}
    run(assistant(1, server=server))
    assistant_edit(assistant=desk(), changes={"server_secret": "entered-here"}, actor=None)
    report = run(assistant(1, server=server, firstMessage="theirs"))
    assert [r.outcome for r in report.results] == ["updated"]
    row = desk()
    assert row.draft_revision is None
    assert row.current_revision is not None
    assert row.current_revision.first_message == "theirs"
    assert row.current_revision.server_secret == "entered-here"


def test_a_row_older_than_the_mark_of_imports_is_compared_with_its_last_import() -> None:
    run(assistant(1, firstMessage="one"))
    assistant_patch(assistant=desk(), patch={"firstMessage": "ours"}, actor=None)
    Assistant.objects.update(imported_revision=None)
    assert on_whole(run(assistant(1, firstMessage="theirs"))) == ["mapped-lossy"]


def test_squads_and_resources_are_stored_once_updated_and_brought_back() -> None:
    output = {"id": object_id(4, 1), "name": "o", "type": "ai", "schema": {"type": "string"}}
    first = run(assistant(1), squad(), output)
    assert [r.outcome for r in first.results] == ["created"] * 3
    again = run(assistant(1), squad(), output)
    assert [r.outcome for r in again.results] == ["unchanged"] * 3
    changed = run(assistant(1), squad(name="Back"), {**output, "description": "new"})
    assert [r.outcome for r in changed.results] == ["unchanged", "updated", "updated"]
    row = Squad.objects.get()
    assert (str(row.pk), row.name) == (object_id(3, 1), "Back")
    assert str(row.created_at.minute) == "1"
    assert StoredResource.objects.get().kind == "structured-output"
    squad_delete(squad=row, actor=None)
    back = run(squad(name="Back"))
    assert [r.outcome for r in back.results] == ["updated"]
    assert Squad.objects.get().deleted_at is None


def test_ids_of_another_organisation_are_refused_for_every_kind() -> None:
    output = {"id": object_id(4, 1), "name": "o", "type": "ai", "schema": {}}
    values = (assistant(1), tool(1), squad(), output)
    run(*values)
    other = factories.make_organisation("Other")
    report = import_files(
        organisation=other,
        files=[ImportFile("all.json", json.dumps(values).encode())],
        actor=None,
        source="command",
    )
    assert [r.outcome for r in report.results] == ["refused"] * 4
    for result in report.results:
        assert any(f.path == "$" and f.state == "invalid" for f in result.findings)
    assert not Squad.objects.filter(organisation=other).exists()


def test_the_state_of_every_leaf_is_stored_with_the_run() -> None:
    value = assistant(1, metadata={"a": [1, {"b": None}], "odd key\n\ud800": ""})
    report = run(value, squad())
    assert report.run is not None
    stored = ImportRun.objects.get(pk=report.run.pk)
    clean = json.loads(json.dumps(value).replace("\\ud800", "\\ufffd"))
    listed = run_leaves(stored, 0)
    assert listed == report.results[0].leaves
    assert [path for path, _ in listed or ()] == list(leaves(clean))
    assert run_leaves(stored, 1) == report.results[1].leaves
    assert run_leaves(stored, 2) is None
    assert "leaves" not in json.dumps(stored.objects_json)


def test_leaves_are_dropped_before_a_run_grows_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistants.import_runs.MOST_LEAF_BYTES", 250)
    report = run(*(assistant(n) for n in range(3)))
    assert report.run is not None
    assert run_leaves(report.run, 0)
    assert run_leaves(report.run, 2) is None


def test_a_preview_is_confirmed_once_and_its_findings_go_in_small_steps() -> None:
    values = [assistant(n) for n in range(30)]
    files = [ImportFile("all.json", json.dumps(values).encode())]
    organisation = factories.default_organisation()
    preview = preview_create(organisation=organisation, files=files, actor=None)
    assert run_leaves(preview, 29)
    assert preview.findings.count() > 200
    report = preview_confirm(run=preview, actor=None)
    assert report is not None
    assert report.counts()["created"] == 30
    assert preview_confirm(run=preview, actor=None) is None
    done = ImportRun.objects.get()
    assert done.state == "done"
    run_delete(done)
    assert not Finding.objects.exists()


def test_a_document_that_comes_back_from_an_import_is_what_was_sent() -> None:
    value = assistant(1, metadata={"deep": [[1.5, None, True, "ü"]]}, unknownField={"x": 1})
    run(value)
    revision = desk().current_revision
    assert revision is not None
    computed = {"id", "orgId", "createdAt", "updatedAt"}
    assert revision_document(revision) == {k: v for k, v in value.items() if k not in computed}
