"""``import_vapi`` against the database: ids, revisions, secrets that stay, and what is printed."""

from __future__ import annotations

import datetime as dt
import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from assistants.models import Assistant, AssistantRevision, Finding, ImportRun, Squad
from assistants.selectors import revision_tools
from assistants.services import assistant_delete, revision_document
from calls.standins.scenario import load_scenario
from tests import factories
from tests.unit.house.source_tree import ROOT
from tools.models import Tool
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

DEMO = ROOT / "calls" / "demo"
OWN = ROOT / "tests" / "fixtures" / "vapi" / "own"
ASSISTANT_ID = "a0000000-0000-4000-8000-00000000000a"
TOOL_ID = "b0000000-0000-4000-8000-00000000000b"


def run(
    *paths: Path | str, code: int = 0, capsys: pytest.CaptureFixture[str], **options: Any
) -> Any:
    """Run the command and return its JSON (or its text with ``json=False``)."""
    capsys.readouterr()
    as_json = options.pop("json", True)
    try:
        call_command("import_vapi", *map(str, paths), json=as_json, **options)
        returned = 0
    except CommandError as error:
        returned = error.returncode
    assert returned == code
    out = capsys.readouterr().out
    return json.loads(out) if as_json and out else out


def outcomes(report: Any) -> list[str]:
    return [each["outcome"] for each in report["objects"]]


def document(**fields: Any) -> dict[str, Any]:
    return {
        "id": ASSISTANT_ID,
        "createdAt": "2026-01-02T03:04:05.000Z",
        "name": "Front desk",
        "model": {
            "provider": "openai",
            "messages": [{"role": "system", "content": "Be kind."}],
            "toolIds": [TOOL_ID],
        },
        "server": {"url": "https://hooks.example.com/vapi", "secret": "first-secret"},
        **fields,
    }


def tool(**fields: Any) -> dict[str, Any]:
    return {
        "id": TOOL_ID,
        "type": "function",
        "function": {"name": "look_up"},
        "server": {"url": "https://tools.example.com/x", "secret": "tool-secret"},
        **fields,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "desk.json").write_text(json.dumps(document()))
    (tmp_path / "tool.json").write_text(json.dumps([tool()]))
    return tmp_path


def write(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value))


def test_ids_times_and_links_of_the_export_are_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcomes(run(folder, capsys=capsys)) == ["created", "created"]
    assistant = Assistant.objects.get(pk=ASSISTANT_ID)
    assert assistant.created_at == dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    revision = assistant.current_revision
    assert revision is not None
    assert (revision.number, revision.source) == (1, "import")
    assert [str(each.pk) for each in revision_tools(revision)] == [TOOL_ID]
    assert revision.server_secret == "first-secret"
    assert Tool.objects.get(pk=TOOL_ID).server_secret == "tool-secret"
    assert AuditEntry.objects.filter(action="import.run").count() == 1


def test_the_same_import_twice_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, capsys=capsys)
    before = list(Assistant.objects.values_list("updated_at"))
    assert outcomes(run(folder, capsys=capsys)) == ["unchanged", "unchanged"]
    assert AssistantRevision.objects.count() == 1
    assert list(Assistant.objects.values_list("updated_at")) == before


def test_a_change_publishes_a_revision_and_keeps_secrets_the_file_lacks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, capsys=capsys)
    new = document(firstMessage="Hello", server={"url": "https://hooks.example.com/vapi"})
    write(folder, "desk.json", new)
    write(folder, "tool.json", tool(server={"url": "https://tools.example.com/y"}))
    report = run(folder, capsys=capsys)
    assert outcomes(report) == ["updated", "updated"]
    states = {f["state"] for each in report["objects"] for f in each["findings"]}
    assert "secret-missing" not in states
    revision = Assistant.objects.get(pk=ASSISTANT_ID).current_revision
    assert revision is not None
    assert (revision.number, revision.first_message) == (2, "Hello")
    assert revision.server_secret == "first-secret"
    assert Tool.objects.get(pk=TOOL_ID).server_secret == "tool-secret"
    assert outcomes(run(folder, capsys=capsys)) == ["unchanged", "unchanged"]


def test_an_explicit_null_clears_a_secret(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, capsys=capsys)
    server = {"url": "https://hooks.example.com/vapi", "secret": None}
    write(folder, "desk.json", document(server=server))
    assert outcomes(run(folder, capsys=capsys))[0] == "updated"
    revision = Assistant.objects.get(pk=ASSISTANT_ID).current_revision
    assert revision is not None
    assert revision.server_secret == ""


def test_a_dry_run_says_the_same_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dry = run(folder, dry_run=True, capsys=capsys)
    tables = (Assistant, Tool, AssistantRevision, ImportRun, Finding, AuditEntry)
    assert [model.objects.count() for model in tables] == [0] * len(tables)
    wet = run(folder, capsys=capsys)
    assert dry["dry_run"] is True
    assert dry["objects"] == wet["objects"]
    write(folder, "desk.json", document(firstMessage="Hello"))
    assert outcomes(run(folder, dry_run=True, capsys=capsys)) == ["updated", "unchanged"]
    assert AssistantRevision.objects.count() == 1


def test_a_tool_that_arrives_later_is_linked_by_the_next_import(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder / "desk.json", capsys=capsys)
    assert Finding.objects.filter(state="invalid", path="$.model.toolIds[0]").exists()
    assert outcomes(run(folder, capsys=capsys)) == ["updated", "created"]
    revision = Assistant.objects.get(pk=ASSISTANT_ID).current_revision
    assert revision is not None
    assert [str(each.pk) for each in revision_tools(revision)] == [TOOL_ID]


def test_what_was_deleted_here_comes_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, capsys=capsys)
    assistant_delete(assistant=Assistant.objects.get(pk=ASSISTANT_ID), actor=None)
    Tool.objects.filter(pk=TOOL_ID).update(deleted_at=dt.datetime.now(tz=dt.UTC))
    assert outcomes(run(folder, capsys=capsys)) == ["updated", "updated"]
    assert Assistant.objects.get(pk=ASSISTANT_ID).deleted_at is None
    assert Tool.objects.get(pk=TOOL_ID).deleted_at is None


def test_objects_without_ids_are_updated_by_the_next_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = {key: value for key, value in document().items() if key != "id"}
    write(tmp_path, "a.json", without)
    run(tmp_path, capsys=capsys)
    write(tmp_path, "a.json", {**without, "firstMessage": "Hello"})
    assert outcomes(run(tmp_path, capsys=capsys)) == ["updated"]
    assert Assistant.objects.count() == 1


def test_another_organisation_s_id_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, capsys=capsys)
    other = factories.make_organisation("Other")
    write(folder, "desk.json", document(firstMessage="Taken over"))
    write(folder, "tool.json", tool(description="Taken over"))
    report = run(folder, organisation="Other", code=1, capsys=capsys)
    assert outcomes(report) == ["refused", "refused"]
    assert not Assistant.objects.for_organisation(other).exists()
    assert Assistant.objects.get(pk=ASSISTANT_ID).revisions.count() == 1


def test_a_tool_cannot_change_its_type(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, capsys=capsys)
    write(folder, "tool.json", {"id": TOOL_ID, "type": "endCall"})
    report = run(folder, code=1, capsys=capsys)
    assert outcomes(report) == ["unchanged", "refused"]
    assert "type is function" in report["objects"][1]["reason"]


def test_a_switch_beside_the_saved_tool_it_stands_for_adds_no_second_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "a.json", document(endCallFunctionEnabled=True))
    write(tmp_path, "b.json", {"id": TOOL_ID, "type": "endCall"})
    run(tmp_path, capsys=capsys)
    revision = AssistantRevision.objects.get()
    assert [each.type for each in revision_tools(revision)] == ["endCall"]


def test_numbers_start_on_vapi_once_their_account_is_known(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from calls.models import PhoneNumber

    account = factories.make_account()
    number = {
        "id": "c0000000-0000-4000-8000-00000000000c",
        "provider": "twilio",
        "number": "+15550107777",
        "twilioAccountSid": account.account_sid,
        "twilioAuthToken": "planted-token",
        "name": "Main line",
        "assistantId": ASSISTANT_ID,
    }
    unknown = {**number, "number": "+15550107778", "id": None, "twilioAccountSid": "AC0"}
    write(folder, "number.json", [number, unknown])
    report = run(folder, capsys=capsys)
    assert outcomes(report) == ["created"] * 4
    assert (
        "Fix: add the account under Twilio accounts"
        in report["objects"][2]["findings"][0]["message"]
    )
    row = PhoneNumber.objects.get()
    assert (str(row.pk), row.route, str(row.assistant_id)) == (number["id"], "vapi", ASSISTANT_ID)
    # Where Vapi has Twilio send the calls (vapi.md 7.2); with an assistant it asks no server first.
    assert row.previous_voice_url == "https://api.vapi.ai/twilio/inbound_call"
    assert row.previous_target["status_callback"] == "https://api.vapi.ai/twilio/status"
    assert row.previous_asks is False
    write(folder, "number.json", {**number, "name": "Front line"})
    assert outcomes(run(folder, capsys=capsys))[1] == "updated"
    assert outcomes(run(folder, capsys=capsys))[1] == "unchanged"


def test_bad_usage_and_refusals_have_their_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "gone", code=2, capsys=capsys)
    run(tmp_path, organisation="Nobody", code=1, capsys=capsys)
    (tmp_path / "a.json").write_bytes(b"{")
    assert "line 1" in run(tmp_path / "a.json", code=1, json=False, capsys=capsys)
    with pytest.raises(CommandError) as caught:
        call_command("import_vapi")
    assert caught.value.returncode in (1, 2)


def test_hidden_files_and_links_are_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "x.json").write_text("{")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    assert len(run(folder, capsys=capsys)["objects"]) == 2


def test_a_checkout_of_vapi_s_config_as_code_keeps_vapi_s_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state file is hidden and beside the resources; it is found in the folder all the same."""
    resources = tmp_path / "resources" / "dev"
    for folder in ("assistants", "tools", "squads"):
        (resources / folder).mkdir(parents=True)
    (resources / "assistants" / "desk.md").write_text(
        "---\nname: Desk\nmodel: {toolIds: [look-up]}\n---\nBe kind.\n"
    )
    (resources / "tools" / "look-up.yml").write_text("type: function\nfunction: {name: look_up}\n")
    (resources / "squads" / "all.yml").write_text("name: All\nmembers: [{assistantId: desk}]\n")
    state = {
        "assistants": {"desk": {"uuid": ASSISTANT_ID, "latestVersion": "v3"}},
        "tools": {"look-up": TOOL_ID},
        "squads": {},
    }
    write(tmp_path, ".vapi-state.dev.json", state)
    report = run(tmp_path, capsys=capsys)
    assert outcomes(report) == ["ignored", "created", "created", "created"]
    revision = Assistant.objects.get(pk=ASSISTANT_ID).current_revision
    assert revision is not None
    assert [str(each.pk) for each in revision_tools(revision)] == [TOOL_ID]
    assert Squad.objects.get().document["members"] == [{"assistantId": ASSISTANT_ID}]
    assert outcomes(run(tmp_path, capsys=capsys)) == ["ignored", *["unchanged"] * 3]


def test_a_squad_finds_its_members_among_the_stored_ones_by_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, capsys=capsys)
    write(tmp_path, "squad.json", {"name": "S", "members": [{"assistantId": "Front desk"}]})
    run(tmp_path / "squad.json", capsys=capsys)
    assert Squad.objects.get().document["members"] == [{"assistantId": ASSISTANT_ID}]


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_and_nowhere_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen, pipe = Terminal(), io.StringIO()
    call_command("import_vapi", str(folder), json=True, stderr=screen)
    call_command("import_vapi", str(folder), json=True, stderr=pipe)
    assert "] 2/2 " in screen.getvalue()
    assert screen.getvalue().endswith("\r")
    assert pipe.getvalue() == ""
    for line in capsys.readouterr().out.splitlines():
        json.loads(line)


def test_an_interrupt_keeps_what_was_stored_and_says_how_to_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting(Terminal):
        def write(self, text: str) -> int:
            if not self.getvalue():
                signal.raise_signal(signal.SIGINT)
            return super().write(text)

    with pytest.raises(CommandError, match="run it again to go on") as caught:
        call_command("import_vapi", str(folder), json=True, stderr=Interrupting())
    assert caught.value.returncode == 1
    report = json.loads(capsys.readouterr().out)
    assert report["cancelled"] is True
    assert [(each["kind"], each["outcome"]) for each in report["objects"]] == [("tool", "created")]
    assert outcomes(run(folder, capsys=capsys)) == ["created", "unchanged"]


def test_the_text_names_outcome_path_state_and_consequence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = run(folder, json=False, capsys=capsys)
    assert f"created    assistant Front desk {ASSISTANT_ID}  (desk.json)" in text
    assert "caller-audible $.voice" in text
    assert "callers hear the Realtime voice marin" in " ".join(text.split())
    assert "2 created, 0 updated" in text


def test_a_file_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "a.json", {"name": "\x1b[2J\rcreated", "voice": {"provider": "\x1b[1m"}})
    assert "\x1b" not in run(tmp_path, json=False, capsys=capsys)


def test_our_own_fixtures_come_in_and_answer_over_rest(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(OWN, capsys=capsys)
    assert set(outcomes(report)) == {"created", "ignored"}
    assert set(outcomes(run(OWN, capsys=capsys))) == {"unchanged", "ignored"}
    _, key = factories.make_api_key()
    headers = {"authorization": f"Bearer {key}"}
    for each in report["objects"]:
        if each["outcome"] == "created":
            answer = client.get(f"/{each['kind']}/{each['id']}", headers=headers)
            assert answer.status_code == 200
            assert answer.json()["id"] == each["id"]


def test_the_demo_s_samples_fit_the_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    report = run(DEMO, capsys=capsys)
    assert set(outcomes(report)) == {"created"}
    scenarios = DEMO.parent / "standins" / "scenarios"
    for name, scenario in (
        ("Harbour Dental reception", "booking"),
        ("Harbour Dental transfer desk", "transfer"),
    ):
        revision = Assistant.objects.get(name=name).current_revision
        assert revision is not None
        offered = {each.name for each in revision_tools(revision)}
        expected = load_scenario(scenarios / f"{scenario}.yaml").expect.tools
        assert set(expected or ()) <= offered
        assert revision.first_message
    desk = Assistant.objects.get(name="Harbour Dental reception").current_revision
    assert desk is not None
    assert '{{"now" | date' in desk.instructions
    assert revision_document(desk)["voice"]["voiceId"] == "21m00Tcm4TlvDq8ikWAM"
    assert desk.voice == "marin"
