"""Hostile input: whatever is given, a finding or a reason, nothing half-written, bounded memory."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from assistants.import_paths import PathProblem, read_paths
from assistants.import_services import ImportFile, ImportReport, import_files
from assistants.models import Assistant, AssistantRevision, ImportRun, Squad, StoredResource
from assistants.wire.files import MAX_BYTES
from tests import factories
from tests.vapi_account import assistant, object_id, tool
from tools.models import Tool

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

GOOD = json.dumps(assistant(1)).encode()
HTML = b"<!doctype html>\n<html><head><title>Vapi</title></head><body>Sign in</body></html>"
REFUSAL = b'{"message":"Invalid Key. Hint, ...","error":"Unauthorized","statusCode":401}'
ALIASES = (
    b"name: Bomb\nmodel: {}\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
    b"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
    b"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
    b"g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n"
)
LONG_ALIASES = b"name: B\nmodel: {}\na: &a " + b"x" * 100_000 + b"\nb: [" + b"*a," * 5000 + b"*a]\n"
CIRCLE = b"name: Circle\nmodel: &m {again: *m}\n"


def run(*files: tuple[str, bytes], **options: Any) -> ImportReport:
    return import_files(
        organisation=factories.default_organisation(),
        files=[ImportFile(name, raw) for name, raw in files],
        actor=None,
        source="command",
        **options,
    )


def rows() -> list[int]:
    models: tuple[Any, ...] = (Assistant, AssistantRevision, Tool, Squad, StoredResource)
    return [model.objects.count() for model in models]


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("a.json", b"not json at all", "not JSON"),
        ("a.json", b'{"name": "x", ', "not JSON"),
        ("a.json", HTML, "web page"),
        ("a.yml", HTML, "web page"),
        ("a.json", b"\xef\xbb\xbf<!-- saved -->\n<html>", "web page"),
        ("a.json", REFUSAL, "private one"),
        ("a.json", b"x" * (MAX_BYTES + 1), "over 10 MiB"),
        ("a.json", b"[" * 10_000 + b"]" * 10_000, "nested"),
        ("a.json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested"),
        ("a.yml", b"[" * 10_000, "nested"),
        ("a.yml", b"- " * 10_000 + b"x", "nested"),
        ("a.yml", ALIASES, "over 300000 values"),
        ("a.yml", LONG_ALIASES, "characters when read"),
        ("a.yml", CIRCLE, "recursive"),
        ("a.yml", b"{a: 1, b", "not YAML"),
        ("a.yml", b"!!python/object/apply:os.system [id]", "no assistant"),
        ("a.json", b'{"name": "x", "model": ' + b"9" * 10_000 + b"}", "digits"),
        ("a.json", b"\x00" * 1000, "not JSON"),
        ("a.json", bytes(range(256)) * 10, "not "),
    ],
)
def test_what_is_no_export_is_refused_with_a_reason_and_the_rest_goes_on(
    name: str, raw: bytes, words: str
) -> None:
    report = run((f"bad/{name}", raw), ("good.json", GOOD))
    bad, good = report.results
    assert bad.outcome in ("refused", "ignored")
    assert words in bad.reason
    assert bad.outcome == "ignored" or [(f.path, f.state) for f in bad.findings] == [
        ("$", "invalid")
    ]
    assert good.outcome == "created"
    assert rows() == [1, 1, 0, 0, 0]
    assert ImportRun.objects.count() == 1


def test_nul_and_lone_surrogates_are_replaced_and_said() -> None:
    raw = b'{"name":"a\\u0000b","firstMessage":"\\ud83d!","model":{"\\u0000k":"\\udc00"}}'
    (result,) = run(("a.json", raw)).results
    assert result.outcome == "created"
    assert any("replaced" in f.message for f in result.findings)
    revision = AssistantRevision.objects.get()
    assert revision.assistant.name == "a\ufffdb"
    assert revision.first_message == "\ufffd!"


def test_one_id_several_times_in_one_import() -> None:
    same, other = assistant(1), assistant(1, firstMessage="Other")
    as_tool = {**tool(1), "id": assistant(1)["id"]}
    values = [same, same, other, as_tool]
    report = run(("all.json", json.dumps(values).encode()))
    assert [r.outcome for r in report.results] == ["created", "unchanged", "refused", "refused"]
    assert "the same object as in all.json $[0]" in report.results[1].reason
    assert "another object with this id" in report.results[2].reason
    assert rows() == [1, 1, 0, 0, 0]


ODD: tuple[Any, ...] = (None, 7, True, -1.5, "", "text", [], [[]], [None, 7, {}], {}, {"a": [{}]})
FIELDS = (
    *("id", "orgId", "createdAt", "updatedAt", "name", "model", "voice", "transcriber", "server"),
    *("firstMessage", "firstMessageMode", "serverMessages", "hooks", "artifactPlan", "credentials"),
    *("endCallPhrases", "maxDurationSeconds", "members", "membersOverrides", "destinations"),
    *("function", "messages", "parameters", "type", "number", "provider", "twilioAccountSid"),
    *("assistantId", "squadId", "schema", "personalityId", "scenarioId", "simulationIds"),
    *("evaluations", "instructions", "assistantIds", "assistant_ids", "message", "statusCode"),
)


@pytest.mark.parametrize(
    "folder",
    ["assistants", "tools", "squads", "phone-numbers", "structuredOutputs", "simulations/suites"],
)
def test_wrong_types_everywhere(folder: str) -> None:
    """Every field in every wrong type: each file shifts the types by one."""
    values = [
        {field: ODD[(place + shift) % len(ODD)] for place, field in enumerate(FIELDS)}
        for shift in range(len(ODD))
    ]
    few = [{"name": "N", **dict(list(value.items())[-7:])} for value in values]
    files = [
        (f"{folder}/{number}.json", json.dumps(value).encode())
        for number, value in enumerate((*values, *few))
    ]
    first, second = run(*files), run(*files)
    assert len(first.results) == len(files)
    assert {r.outcome for r in first.results} <= {"created", "refused", "ignored", "unchanged"}
    for one, two in zip(first.results, second.results, strict=True):
        assert one.outcome not in ("refused", "ignored") or one.reason
        assert two.outcome == ("unchanged" if one.outcome == "created" else one.outcome)


def test_an_array_of_ten_thousand_objects_is_read_within_bounds() -> None:
    """Small tools, so that the count is what is tested; the limit on values holds for larger."""
    values = [{"type": "endCall", "id": object_id(2, n)} for n in range(10_000)]
    raw = json.dumps(values).encode()
    with CaptureQueriesContext(connection) as queries:
        report = run(("all.json", raw), dry_run=True)
    assert report.counts()["created"] == 10_000
    assert len(queries) < 250
    assert all(len(result.packed_leaves) < 200 for result in report.results)
    assert rows() == [0, 0, 0, 0, 0]


def test_a_file_of_50_megabytes_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "big.json").open("wb") as handle:
        handle.truncate(50 * 2**20)
    tracemalloc.start()
    with pytest.raises(CommandError):
        call_command("import_vapi", str(tmp_path / "big.json"), json=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MAX_BYTES
    assert ImportRun.objects.get().objects_json[0]["reason"].startswith("over 10 MiB")


def test_devices_pipes_and_links_that_lead_away_are_not_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_bytes(GOOD)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "in.json").write_bytes(GOOD)
    (folder / "same.json").symlink_to(folder / "in.json")
    (folder / "away.json").symlink_to(outside / "secret.json")
    (folder / "zero.json").symlink_to("/dev/zero")
    (folder / "lost.json").symlink_to(folder / "nowhere.json")
    (folder / "round.json").symlink_to(folder / "round.json")
    (folder / "up").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    files, is_folder = read_paths([str(folder)])
    assert (sorted(file.name for file in files), is_folder) == (["in.json", "same.json"], True)
    for path in ("/dev/zero", str(folder / "pipe.json")):
        with pytest.raises(PathProblem, match="device or a pipe"):
            read_paths([path])


def test_files_that_are_too_many_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (tmp_path / f"{number}.json").write_bytes(GOOD)
    monkeypatch.setattr("assistants.import_paths.MAX_ALL_BYTES", 2 * len(GOOD))
    with pytest.raises(CommandError, match="together") as caught:
        call_command("import_vapi", str(tmp_path))
    assert caught.value.returncode == 2
    assert rows() == [0, 0, 0, 0, 0]
    monkeypatch.setattr("assistants.import_paths.MAX_FILES", 2)
    with pytest.raises(CommandError, match="over 2 files"):
        call_command("import_vapi", str(tmp_path))


def test_what_is_more_than_one_import_holds_is_refused_file_by_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assistants.import_services.MOST_VALUES", 20)
    files = [(f"{n}.json", json.dumps(assistant(n)).encode()) for n in range(5)]
    report = run(*files)
    assert [r.outcome for r in report.results] == ["created"] * 2 + ["refused"] * 3
    assert "in one import" in report.results[-1].reason
