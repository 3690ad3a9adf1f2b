"""Imports of call logs on their way: from the API, by upload, by command; stopped or failed."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from calls.models import (
    Call,
    CallLogImport,
    CallLogPiece,
)
from calls.services import call_log_reading, call_logs
from calls.services.call_log_reading import Report, import_continue_api
from calls.services.erasure import caller_erase
from tests import factories
from tests.integration.parity.log_files import run_files
from tests.vapi_account import KEY, VapiAccount, whole_call
from voiceplatform.base.jobs import job_cancel
from voiceplatform.base.models import AuditEntry, Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def account_of(count: int) -> VapiAccount:
    return VapiAccount({"call": [whole_call(number) for number in range(count)]})


def read(account: VapiAccount, row: CallLogImport, **watched: Any) -> Report:
    with account.client() as client:
        return import_continue_api(row, client, **watched)


def api_row(**columns: Any) -> CallLogImport:
    return factories.make_log_import(
        **{"source": "api", "label": "api.vapi.test", "finished_at": None, "cursor": {},
           "counts": {}, "problems": []} | columns
    )  # fmt: skip


def begun_at_the_api() -> CallLogImport:
    """Begin an import of an account as the admin does: its worker has the key, sealed."""
    return call_logs.api_import_begin(
        organisation=factories.default_organisation(),
        api_key=KEY,
        base_url="https://api.vapi.test",
        actor=None,
        since=None,
    )


def begun_by_upload() -> CallLogImport:
    """Begin an import of one file with one call."""
    return call_logs.upload_import_begin(
        organisation=factories.default_organisation(),
        files=[("calls.json", [json.dumps(whole_call(1)).encode()])],
        actor=None,
        since=None,
    )


def test_an_account_is_read_page_by_page_and_a_killed_import_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_log_reading, "_BEAT_SECONDS", 3600.0)  # by their number alone
    account = account_of(130)
    row = api_row(since=timezone.now() - dt.timedelta(days=30))
    seen = 0

    def killed() -> bool:
        nonlocal seen
        seen += 1
        if seen > 70:
            raise KeyboardInterrupt  # as a worker that is killed: nothing is tidied up
        return False

    with pytest.raises(KeyboardInterrupt):
        read(account, row, cancelled=killed)
    row.refresh_from_db()
    assert row.finished_at is None and row.counts["created"] == 50
    report = read(account, row)
    row.refresh_from_db()
    assert row.finished_at is not None and Call.objects.count() == 130
    assert report.counts["created"] == 130 and report.counts["unchanged"] <= 1
    assert all("createdAtGe" in each for each in account.asked)
    newest = max(each["createdAt"] for each in account.objects["call"])
    assert Call.objects.order_by("-created_at").first().created_at.isoformat()[:19] in newest  # type: ignore[union-attr]


def test_a_cancelled_import_and_its_rest_give_what_one_import_gives() -> None:
    account = account_of(8)
    row = api_row()
    report = read(account, row, cancelled=lambda: Call.objects.count() >= 3)
    assert report.is_cancelled and Call.objects.count() == 3
    row.refresh_from_db()
    report = read(account, row)
    assert not report.is_cancelled and Call.objects.count() == 8


def test_calls_that_go_on_are_left_to_the_next_import() -> None:
    live = {**whole_call(0), "status": "in-progress", "endedAt": None, "endedReason": None}
    account = VapiAccount({"call": [live, whole_call(1)]})
    report = read(account, api_row())
    assert report.counts == {"going_on": 1, "created": 1}
    account.objects["call"][0] = whole_call(0)
    assert read(account, api_row()).counts["created"] == 1


def test_an_api_that_fails_says_so_and_keeps_what_was_stored() -> None:
    account = account_of(5)
    account.before = lambda request: (
        httpx.Response(401, json={"message": "Invalid Key"}) if account.requests() else None
    )
    report = read(account, api_row())
    assert "refuses this key" in report.problem


def test_uploads_are_sealed_read_by_a_worker_and_gone(
    django_capture_on_commit_callbacks: Any,
) -> None:
    lines = [json.dumps(whole_call(number)) for number in range(3)] + ["broken"]
    raw = "\n".join(lines).encode()
    row = call_logs.upload_import_begin(
        organisation=factories.default_organisation(),
        files=[("calls.ndjson", [raw[:100], raw[100:]])],
        actor=factories.make_superuser(),
        since=None,
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM calls_calllogpiece")
        assert b"Order" not in bytes(cursor.fetchone()[0])
    assert row.job is not None and CallLogPiece.objects.count() == 1
    call_logs.import_job_run(row.job.pk)
    row.refresh_from_db()
    assert row.job is not None
    assert row.job.state == Job.State.DONE and row.job.message == "Imported: 3 new, 1 wrong."
    assert row.problems == [
        {
            "file": "calls.ndjson",
            "line": 4,
            "why": "the line is no JSON: Expecting value, character 1",
        }
    ]
    assert not CallLogPiece.objects.exists() and row.finished_at is not None
    assert AuditEntry.objects.filter(action="call_logs.import").count() == 1
    call_logs.import_job_run(row.job.pk)  # another worker, late
    assert Call.objects.count() == 3


def test_an_erasure_names_an_import_from_the_api_that_goes_on() -> None:
    row = begun_at_the_api()

    def problems() -> list[str]:
        organisation = factories.default_organisation()
        return caller_erase(organisation=organisation, number="+14155550142", actor=None).problems

    assert [each for each in problems() if "(api.vapi.test) is not through" in each]
    assert row.job is not None and job_cancel(job=row.job, actor=None)
    assert not [each for each in problems() if "is not through" in each]


def test_a_job_that_is_cancelled_before_it_begins_stores_nothing() -> None:
    row = begun_by_upload()
    assert row.job is not None and job_cancel(job=row.job, actor=None)
    call_logs.import_job_run(row.job.pk)
    assert not Call.objects.exists() and CallLogPiece.objects.exists()
    assert call_logs.uploads_drop() == 1 and not CallLogPiece.objects.exists()


def test_of_an_import_that_failed_no_file_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    row = begun_by_upload()
    assert row.job is not None and call_logs.uploads_drop() == 0  # it waits for its worker
    monkeypatch.setattr(
        call_logs, "import_continue_files", lambda *args, **kwargs: Report(problem="it broke off")
    )
    call_logs.import_job_run(row.job.pk)
    row.job.refresh_from_db()
    assert row.job.state == Job.State.FAILED and not CallLogPiece.objects.exists()


def test_a_key_is_in_no_row_but_sealed_until_the_job_ends() -> None:
    row = begun_at_the_api()
    assert row.job is not None and KEY not in json.dumps(row.job.parameters)
    with pytest.raises(call_logs.ImportRefused, match="Fix"):
        call_logs.api_import_begin(
            organisation=factories.default_organisation(),
            api_key="",
            base_url="https://api.vapi.test",
            actor=None,
            since=None,
        )


def test_the_command_imports_a_folder_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(
        "\n".join(json.dumps(whole_call(number)) for number in range(3)), encoding="utf-8"
    )
    (tmp_path / "notes.md").write_text("no log", encoding="utf-8")
    for created, unchanged in ((3, 0), (0, 3)):
        out = io.StringIO()
        call_command("import_call_logs", str(tmp_path), "--json", stdout=out)
        body = json.loads(out.getvalue())
        counts = body["counts"]
        assert body["ok"]
        assert (counts.get("created", 0), counts.get("unchanged", 0)) == (created, unchanged)
    assert Call.objects.count() == 3


def test_the_command_fails_where_nothing_is_a_call_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"name": "Desk", "model": {}}', encoding="utf-8")
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("import_call_logs", str(path), stdout=out)
    assert ended.value.code == 1 and "neither a call nor a webhook body" in out.getvalue()


def test_an_import_on_sqlite_lets_who_else_has_to_write_have_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(call_log_reading.time, "sleep", pauses.append)
    monkeypatch.setattr(call_log_reading, "_BATCH", 2)
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join(json.dumps(whole_call(number)) for number in range(5)), "utf-8")
    assert run_files(path).counts["created"] == 5
    # Longer than the 100 ms after which SQLite lets a waiting writer look again.
    on_sqlite = connection.vendor == "sqlite"
    assert len(pauses) == (2 if on_sqlite else 0) and all(pause > 0.1 for pause in pauses)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give files or folders, or --from-api, not both"),
        (["a.json", "--from-api"], "give files or folders, or --from-api, not both"),
        (["nowhere.json"], "nowhere.json: there is no such file or folder"),
        (["a.json", "--since", "soon"], "--since 'soon': a number of days, or: all"),
    ],
)
def test_bad_usage_of_the_command_is_told_before_anything_is_read(
    words: list[str], told: str
) -> None:
    with pytest.raises(CommandError, match=told) as refused:
        call_command("import_call_logs", *words)
    assert refused.value.returncode == 2
    assert not CallLogImport.objects.exists()
