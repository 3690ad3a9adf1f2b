"""``export_assistants`` and back: nothing changes, here or in an empty installation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from assistants import services
from assistants.export import EXAMPLE_FILE, EXPORTED_FROM
from assistants.export_services import LIST_FILE, export_of
from assistants.models import Assistant, AssistantRevision, Squad, StoredResource
from assistants.resource_services import resource_store
from assistants.secret_references import secrets_line, with_references
from assistants.selectors import revision_tools
from assistants.squad_services import squad_patch, squad_store
from calls.models import PhoneNumber
from calls.selectors.numbers import number_by_id
from calls.services.number_documents import number_create, number_document
from tests import factories
from tests.unit.house.source_tree import ROOT
from tools.models import Tool
from tools.services import tool_store

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FIXTURES = ROOT / "tests" / "fixtures" / "vapi"
HUSH = "hush-hush"


def run(command: str, *args: Any, code: int = 0, capsys: Any, **options: Any) -> str:
    capsys.readouterr()
    try:
        call_command(command, *map(str, args), **options)
        returned = 0
    except CommandError as error:
        assert error.returncode == code, error
        return str(error)
    assert returned == code
    return str(capsys.readouterr().out)


def imported(folder: Path, capsys: Any, *, code: int = 0, **options: Any) -> dict[str, Any]:
    capsys.readouterr()
    try:
        call_command("import_vapi", str(folder), json=True, **options)
    except CommandError as error:
        assert error.returncode == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def outcomes(report: dict[str, Any]) -> set[str]:
    return {each["outcome"] for each in report["objects"]}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def desk(**fields: Any) -> Assistant:
    organisation = factories.default_organisation()
    tool = tool_store(
        organisation=organisation,
        document={
            "type": "function",
            "function": {"name": "book"},
            "server": {"url": f"https://t.example.com/?token={HUSH}", "secret": f"{HUSH}-tool"},
        },
        actor=None,
    )
    document = {
        "name": "Desk",
        "model": {
            "provider": "openai",
            "model": "gpt-realtime-2.1",
            "messages": [{"role": "system", "content": "  Line\n\n  two  "}],
            "toolIds": [str(tool.pk)],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "inline"},
                    "server": {"url": "https://t.example.com", "secret": f"{HUSH}-inline"},
                }
            ],
        },
        "server": {"url": "https://hooks.example.com", "secret": f"{HUSH}-server"},
        "credentials": [{"provider": "11labs", "apiKey": f"{HUSH}-credential"}],
        **fields,
    }
    return services.assistant_publish(
        organisation=organisation, document=document, source="api", actor=None
    )


def the_rest(assistant: Assistant) -> None:
    organisation = assistant.organisation
    squad_store(
        organisation=organisation,
        document={"name": "Team", "members": [{"assistantId": str(assistant.pk)}]},
        actor=None,
    )
    resource_store(
        organisation=organisation,
        kind=StoredResource.Kind.STRUCTURED_OUTPUT,
        document={"name": "Mood", "type": "ai", "schema": {"type": "string"}},
        actor=None,
    )


def documents() -> dict[str, Any]:
    """Return every stored document by id, secrets included."""
    found: dict[str, Any] = {
        str(row.pk): services.revision_document(row.current_revision)
        for row in Assistant.objects.select_related("current_revision")
        if row.current_revision
    }
    for model in (Tool, Squad, StoredResource):
        rows = model._default_manager.all()
        if model is Tool:
            rows = rows.filter(is_inline=False)
        found |= {str(row.pk): row.document for row in rows}
    for number in PhoneNumber.objects.all():
        stored = number_by_id(number.organisation, number.pk)
        assert stored is not None
        found[str(number.pk)] = number_document(stored)
    return found


def secrets_of(folder: Path) -> str:
    """Return a filled ``secrets.env``, as an operator would write it from a vault."""
    lines: list[str] = []
    for path in sorted(folder.glob("*/*.json")):
        document = documents()[json.loads(path.read_text())["id"]]
        kind = path.parent.name.removesuffix("s")
        prefix = f"{kind}_{path.stem}".upper().replace("-", "_")
        values = with_references(document, prefix)[1]
        lines += [f"{secrets_line(name, value)}\n" for name, value in values.items()]
    example = (folder / EXAMPLE_FILE).read_text() if lines else ""
    assert {line.split("=")[0] for line in lines} == set(re.findall("(?m)^([A-Z].*)=", example))
    return "".join(lines)


def wipe() -> None:
    Assistant.objects.update(current_revision=None, draft_revision=None, imported_revision=None)
    for model in (AssistantRevision, Assistant, Squad, StoredResource, Tool):
        model._default_manager.all().delete()


def test_export_then_import_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assistant = desk()
    the_rest(assistant)
    before, revision = documents(), assistant.current_revision
    said = run("export_assistants", tmp_path, capsys=capsys)
    assert "6 written, 0 unchanged, 0 deleted" in said and "5 secrets left out" in said
    files = bytes_of(tmp_path)
    assert HUSH.encode() not in b"".join(files.values())
    report = imported(tmp_path, capsys)
    assert report["counts"]["unchanged"] == len(report["objects"]) == 4
    assert not [
        f for o in report["objects"] for f in o["findings"] if f["state"] == "secret-missing"
    ]
    assert documents() == before
    assert Assistant.objects.get().current_revision == revision
    said = run("export_assistants", tmp_path, capsys=capsys)
    assert "0 written, 6 unchanged" in said
    assert bytes_of(tmp_path) == files


def test_an_empty_installation_gets_everything_with_the_secrets_supplied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    the_rest(desk())
    run("export_assistants", tmp_path, capsys=capsys)
    files, before = bytes_of(tmp_path), documents()
    filled = secrets_of(tmp_path)
    wipe()
    (tmp_path / "secrets.env").write_text(filled)
    report = imported(tmp_path, capsys)
    assert outcomes(report) == {"created"}
    assert documents() == before
    revision = Assistant.objects.get().current_revision
    assert revision is not None and len(revision_tools(revision)) == 2
    (tmp_path / "secrets.env").unlink()
    run("export_assistants", tmp_path, capsys=capsys)
    assert bytes_of(tmp_path) == files


def test_without_secrets_each_missing_one_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    the_rest(desk())
    run("export_assistants", tmp_path, capsys=capsys)
    wipe()
    for _ in range(2):  # told again while it is missing
        report = imported(tmp_path, capsys)
        missing = {
            (each["kind"], finding["path"])
            for each in report["objects"]
            for finding in each["findings"]
            if finding["state"] == "secret-missing" and "names the secret" in finding["message"]
        }
        assert missing == {
            ("assistant", "$.server.secret"),
            ("assistant", "$.credentials"),
            ("assistant", "$.model.tools[0].server.secret"),
            ("tool", "$.server.url"),
            ("tool", "$.server.secret"),
        }
    assert "${" not in json.dumps(documents())


def test_a_copy_goes_into_another_organisation_of_the_same_installation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    the_rest(desk())
    other = factories.make_organisation("Other")
    run("export_assistants", tmp_path, portable=True, capsys=capsys)
    report = imported(tmp_path, capsys, organisation="Other")
    assert outcomes(report) == {"created"}
    copy = Assistant.objects.get(organisation=other)
    assert copy.current_revision is not None
    saved = [tool for tool in revision_tools(copy.current_revision) if not tool.is_inline]
    assert [tool.organisation for tool in saved] == [other]
    squad = Squad.objects.get(organisation=other)
    assert squad.document["members"] == [{"assistantId": str(copy.pk)}]
    assert outcomes(imported(tmp_path, capsys, organisation="Other")) == {"unchanged"}


def test_one_assistant_brings_what_it_points_at_and_deletes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    the_rest(desk())
    desk(name="Second")
    run("export_assistants", tmp_path, capsys=capsys)
    every = set(bytes_of(tmp_path))
    said = run("export_assistants", tmp_path, assistant=["Second"], capsys=capsys)
    assert "0 deleted" in said and set(bytes_of(tmp_path)) == every
    exported = export_of(factories.default_organisation(), only=["Second"])
    assert sorted({path.split("/")[0] for path in exported.files}) == [
        "assistants",
        EXAMPLE_FILE,
        "tools",
    ]
    said = run("export_assistants", tmp_path, assistant=["Nobody"], code=1, capsys=capsys)
    assert "no assistant 'Nobody'" in said


def test_a_file_goes_with_its_object_and_no_other_file_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = desk(), desk(name="Second"), desk(name="Third")
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / ".gitignore").write_text("mine too\n")
    run("export_assistants", tmp_path, capsys=capsys)
    edited = next(tmp_path.glob("assistants/third-*"))
    edited.write_text(edited.read_text() + "\n")
    for each in (second, third):
        services.assistant_delete(assistant=each, actor=None)
    said = run("export_assistants", tmp_path, capsys=capsys)
    assert f"deleted  assistants/second-{str(second.pk)[:8]}.json" in said
    assert f"left     assistants/third-{str(third.pk)[:8]}.json" in said
    left = sorted(path.name for path in tmp_path.glob("assistants/*"))
    assert left == [f"desk-{str(first.pk)[:8]}.json", edited.name]
    assert (tmp_path / "notes.md").read_text() == "mine"
    assert (tmp_path / ".gitignore").read_text() == "mine too\n"


def test_a_file_that_no_export_wrote_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assistant = desk()
    mine = tmp_path / "assistants" / f"desk-{str(assistant.pk)[:8]}.json"
    mine.parent.mkdir()
    mine.write_text("{}")
    said = run("export_assistants", tmp_path, code=1, capsys=capsys)
    assert "no export wrote it" in said
    assert bytes_of(tmp_path) == {f"assistants/{mine.name}": b"{}"}


@pytest.mark.parametrize("path", ["../outside.json", "/etc/x", "a/b/c.json"])
def test_a_damaged_list_cannot_delete_files_elsewhere(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / LIST_FILE).write_text(json.dumps({"files": {path: "0"}}))
    assert "is damaged" in run("export_assistants", tmp_path, code=1, capsys=capsys)


def test_a_file_edited_after_an_export_is_published_over_what_it_was_made_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Config as code: an edit in the admin, an export, an edit of the file, an import."""
    assistant = desk()
    run("export_assistants", tmp_path, capsys=capsys)
    (path,) = tmp_path.glob("assistants/*")
    first = path.read_text()
    path.write_text(first.replace("Line", "First"))
    assert imported(tmp_path, capsys)["counts"]["updated"] == 1

    services.assistant_edit(assistant=assistant, changes={"first_message": "Hi"}, actor=None)
    run("export_assistants", tmp_path, capsys=capsys)
    path.write_text(path.read_text().replace("First", "Second"))
    assert imported(tmp_path, capsys)["counts"]["updated"] == 1
    stored = Assistant.objects.get()
    assert stored.current_revision is not None and stored.draft_revision is None
    assert stored.current_revision.first_message == "Hi"
    assert stored.current_revision.instructions.strip().startswith("Second")
    assert stored.current_revision.server_secret == f"{HUSH}-server"
    assert EXPORTED_FROM not in services.revision_document(stored.current_revision)

    path.write_text(first.replace("Line", "Stale"))  # made from a state that is long gone
    services.assistant_edit(assistant=assistant, changes={"first_message": "Ho"}, actor=None)
    imported(tmp_path, capsys)
    stored = Assistant.objects.get()
    assert stored.draft_revision is not None
    assert stored.draft_revision.instructions.strip().startswith("Stale")


@pytest.mark.parametrize("kind", ["assistants", "tools", "squads", "own"])
def test_all_fixtures_go_out_and_come_back_unchanged(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = imported(FIXTURES / kind, capsys, code=1)
    run("export_assistants", tmp_path, capsys=capsys)
    files, before = bytes_of(tmp_path), documents()
    report = imported(tmp_path, capsys)
    assert outcomes(report) == {"unchanged"}
    stored = [each for each in first["objects"] if each["outcome"] == "created"]
    assert len(report["objects"]) == len({each["id"] for each in stored}) > 4 or kind == "squads"
    filled = secrets_of(tmp_path)
    wipe()
    (tmp_path / "secrets.env").write_text(filled)
    assert outcomes(imported(tmp_path, capsys)) == {"created"}
    assert documents() == before
    (tmp_path / "secrets.env").unlink()
    run("export_assistants", tmp_path, capsys=capsys)
    assert bytes_of(tmp_path) == files


def test_numbers_go_out_and_come_back_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assistant = desk()
    by_hand = factories.make_number(assistant=assistant, name="Front desk", route="vapi")
    account = by_hand.twilio_account
    document = {
        "provider": "twilio",
        "number": "+15550100009",
        "twilioAccountSid": account.account_sid,
        "twilioAuthToken": f"{HUSH}-number",
        "assistantId": str(assistant.pk),
        "hooks": [{"on": "call.ringing", "do": []}],
    }
    imported_one = number_create(organisation=assistant.organisation, document=document, actor=None)
    run("export_assistants", tmp_path, capsys=capsys)
    files = bytes_of(tmp_path)
    names = sorted(path for path in files if path.startswith("phone-numbers/"))
    assert names == [
        f"phone-numbers/15550100009-{str(imported_one.pk)[:8]}.json",
        f"phone-numbers/front-desk-{str(by_hand.pk)[:8]}.json",
    ]
    assert HUSH.encode() not in b"".join(files.values())
    assert outcomes(imported(tmp_path, capsys)) == {"unchanged"}
    filled = secrets_of(tmp_path)

    PhoneNumber.objects.all().delete()
    wipe()
    (tmp_path / "secrets.env").write_text(filled)
    report = imported(tmp_path, capsys)
    assert outcomes(report) == {"created"}
    back = number_by_id(assistant.organisation, imported_one.pk)
    assert back is not None and number_document(back) == document
    (tmp_path / "secrets.env").unlink()
    run("export_assistants", tmp_path, capsys=capsys)
    assert bytes_of(tmp_path) == files


def test_drafts_and_deleted_ones_are_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assistant = desk()
    services.assistant_edit(
        assistant=assistant, changes={"first_message": "Draft"}, actor=None, as_draft=True
    )
    services.assistant_publish(
        organisation=assistant.organisation,
        document={"name": "Never published"},
        source="admin",
        actor=None,
        as_draft=True,
    )
    said = run("export_assistants", tmp_path, capsys=capsys)
    assert "skipped  Never published" in said
    (path,) = tmp_path.glob("assistants/*")
    assert "firstMessage" not in json.loads(path.read_text())


def test_the_summary_counts_what_no_export_carries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assistant = desk(credentialIds=["c0000000-0000-4000-8000-000000000001"])
    said = run("export_assistants", tmp_path, capsys=capsys)
    assert "left out" not in said.replace("secrets left out", "")
    services.assistant_edit(
        assistant=assistant, changes={"first_message": "Draft"}, actor=None, as_draft=True
    )
    for _ in range(2):
        factories.make_resource(kind="credential")
    factories.make_resource(kind="file", content=b"x")
    factories.make_voice_choice()
    other = factories.make_organisation("Other")
    factories.make_resource(other, kind="file", content=b"x")
    said = run("export_assistants", tmp_path, capsys=capsys)
    for words in ("1 draft:", "2 credentials:", "1 uploaded file:", "1 voice decision:"):
        assert f"left out {words}" in said
    assert "imported version" not in said
    (path,) = tmp_path.glob("assistants/*")
    assert json.loads(path.read_text())["credentialIds"]


def test_a_tool_or_squad_edited_in_its_file_is_stored_over_what_it_was_made_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Config as code: an edit over REST, an export, an edit of the file, an import; then stale."""
    the_rest(desk())
    run("export_assistants", tmp_path, capsys=capsys)
    imported(tmp_path, capsys)
    (path,) = tmp_path.glob("squads/*")
    stale = path.read_text()
    squad_patch(squad=Squad.objects.get(), patch={"note": "here"}, actor=None)
    run("export_assistants", tmp_path, capsys=capsys)
    path.write_text(path.read_text().replace("Team", "Crew"))
    assert imported(tmp_path, capsys)["counts"]["updated"] == 1
    assert Squad.objects.get().name == "Crew"
    assert EXPORTED_FROM not in Squad.objects.get().document
    squad_patch(squad=Squad.objects.get(), patch={"note": "again"}, actor=None)
    path.write_text(stale.replace("Team", "Stale"))
    imported(tmp_path, capsys)
    assert Squad.objects.get().name == "Crew"
    assert "left out 1 imported version" in run("export_assistants", tmp_path, capsys=capsys)
