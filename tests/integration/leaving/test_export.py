"""Everything as files: whole, without secrets, gone on with, checked, and refused where it must."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db.models import TextField, Value

from calls.models import Call, TwilioAccount
from calls.services import leaving_export
from calls.services.export_folder import (
    LIST_FILE,
    OPEN_FILE,
    ExportFolder,
    FolderRefused,
    export_verify,
)
from calls.services.leaving_export import everything_export
from tests import factories
from tests.integration.admin.planted import plant
from tests.integration.admin.rows import SPOKEN, UNHEARD, make_world
from tests.vapi_account import KEY, VapiAccount, at, object_id

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SECRET = "sk-planted-4f1b09e6d2"
SOUND = b"RIFF" + b"\x01" * 5000


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def vapi_call(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": object_id(7, number),
        "orgId": object_id(9, 1),
        "type": "inboundPhoneCall",
        "createdAt": at(number),
        "startedAt": at(number),
        "endedAt": at(number + 2),
        "cost": 0.26,
        **fields,
    }


def account(*calls: dict[str, Any]) -> VapiAccount:
    """Return an account whose recordings lie at another host, which must not see the key."""
    found = VapiAccount({"call": list(calls)})

    def storage(request: httpx.Request) -> httpx.Response | None:
        if request.url.host != "storage.test":
            return None
        assert KEY not in str(request.headers)
        if request.url.path.startswith("/moved"):
            return httpx.Response(302, headers={"location": "https://storage.test/a.wav"})
        if request.url.path.startswith("/gone"):
            return httpx.Response(403)
        return httpx.Response(200, content=SOUND)

    found.before = storage
    return found


@pytest.fixture
def world() -> dict[str, Any]:
    """An organisation with a secret in every place of a tool, and a call with a recording."""
    made = make_world()
    plant(made["tools.tool"], "https://tools.example.com/hook", SECRET)
    return made


def test_everything_is_there_no_secret_is_and_the_list_is_right(
    world: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    vapi = account(
        vapi_call(1, artifact={"recordingUrl": f"https://storage.test/a.wav?token={SECRET}"}),
        vapi_call(2, assistant={"server": {"url": "https://x.test", "secret": SECRET}}),
    )
    report = everything_export(
        organisation=world["base.organisation"], folder=folder, vapi=vapi.client()
    )
    call: Call = world["calls.call"]
    found = files_of(folder)
    assert report.digest == hashlib.sha256(found[LIST_FILE]).hexdigest()
    assert (report.missing, report.vapi_calls) == ([], 2)
    exported = json.loads(found[f"calls/{call.created_at:%Y-%m-%d}/{call.pk}.json"])
    assert SPOKEN in json.dumps(exported["artifact"]) and exported["voiceplatform"]["stack"]
    assert exported["artifact"]["recordingFile"] == f"recordings/{call.pk}.wav"
    assert found[f"recordings/{call.pk}.wav"][:4] == b"RIFF"
    assert found[f"vapi/recordings/{object_id(7, 1)}.wav"] == SOUND
    assert json.loads(found["ABOUT.json"])["counts"]["vapi_recordings"] == 1
    assert any(path.startswith("config/tools/") for path in found)
    everything = b"\n".join(found.values())
    assert SECRET.encode() not in everything
    # Addresses that open a recording by themselves are in no call.
    assert not [path for path, text in found.items() if b"/call/" in text and b"expires=" in text]
    assert UNHEARD.encode() not in everything  # nobody heard it
    # What anybody has at hand finds the same.
    checked = subprocess.run(
        ["/usr/bin/sha256sum", "--check", "--quiet", LIST_FILE], cwd=folder, capture_output=True
    )
    assert checked.returncode == 0, checked.stdout
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*.json")} == {0o600}


def test_an_export_that_was_cut_off_goes_on_and_fetches_nothing_twice(
    world: dict[str, Any], tmp_path: Path
) -> None:
    folder, organisation = tmp_path / "export", world["base.organisation"]
    vapi = account(
        *(
            vapi_call(n, artifact={"recordingUrl": f"https://storage.test/{n}.wav"})
            for n in range(6)
        )
    )
    stops: Iterator[bool] = iter([False] * 4 + [True] * 99)
    first = everything_export(
        organisation=organisation,
        folder=folder,
        vapi=vapi.client(),
        cancelled=lambda: next(stops),
    )
    assert first.is_cancelled and not first.digest
    with pytest.raises(FolderRefused, match="no finished export"):
        export_verify(folder)
    before = vapi.requests()
    report = everything_export(organisation=organisation, folder=folder, vapi=vapi.client())
    assert report.digest and not (folder / OPEN_FILE).exists()
    sounds = {path: n for path, n in vapi.requests().items() if path.endswith(".wav")}
    assert sounds == {f"{n}.wav": 1 for n in range(6)}
    assert any(path.endswith(".wav") for path in before)
    assert export_verify(folder).problems == ()


def test_what_cannot_be_had_is_named_and_the_rest_is_there(
    world: dict[str, Any], tmp_path: Path
) -> None:
    call: Call = world["calls.call"]
    other = factories.make_call(number=world["calls.phonenumber"], status="ended")
    # As it is stored, past the field, which would seal it.
    raw = Value("gAAAAAno-key-of-ours-made-this", output_field=TextField())
    Call.objects.filter(pk=call.pk).update(variable_values=raw)
    TwilioAccount.objects.filter(pk=world["calls.phonenumber"].twilio_account_id).update(
        auth_token=raw
    )
    vapi = account(
        vapi_call(1, recordingUrl="https://storage.test/gone.wav"),
        vapi_call(2, recordingUrl="https://storage.test/moved.wav"),
    )
    report = everything_export(
        organisation=world["base.organisation"], folder=tmp_path / "export", vapi=vapi.client()
    )
    assert report.missing_count == len(report.missing) == 2
    assert report.missing[0] == f"calls/{call.pk}: no key opens what was kept of the call"
    assert report.missing[1].startswith(f"vapi/recordings/{object_id(7, 1)}.wav: status 404")
    written = {path.rpartition("/")[2] for path in files_of(tmp_path / "export")}
    assert f"{other.pk}.json" in written and f"{call.pk}.json" not in written
    assert report.counts["vapi_recordings"] == 1 and report.digest


def test_vapis_records_that_end_early_are_no_whole_export(
    world: dict[str, Any], tmp_path: Path
) -> None:
    vapi = account(vapi_call(1))
    vapi.before = lambda request: httpx.Response(401, json={"message": "Invalid Key"})
    report = everything_export(
        organisation=world["base.organisation"], folder=tmp_path / "export", vapi=vapi.client()
    )
    assert report.vapi_calls is None and "refuses this key" in report.vapi_problem


def test_a_recording_that_is_not_what_twilio_gave_is_said_to_be(
    world: dict[str, Any], tmp_path: Path
) -> None:
    recording = world["calls.recording"]
    type(recording).objects.filter(pk=recording.pk).update(sha256="0" * 64)
    report = everything_export(organisation=world["base.organisation"], folder=tmp_path / "e")
    assert "not the sound that Twilio gave" in report.missing[0]


def test_a_changed_or_missing_file_is_found_and_written_anew(tmp_path: Path) -> None:
    folder = ExportFolder(tmp_path)
    for name in ("a", "b/c", "b/d"):
        folder.write(name, [name.encode()])
    (tmp_path / "a").write_bytes(b"else")
    (tmp_path / "b/d").unlink()
    digest, verified = folder.finish()
    assert digest == "" and verified.files == 1
    assert verified.problems == ("a was changed", "b/d is not there")
    again = ExportFolder(tmp_path)
    assert ["a" in again, "b/c" in again, "b/d" in again] == [False, True, False]
    for name in ("a", "b/d"):
        again.write(name, [name.encode()])
    digest, verified = again.finish()
    assert digest and verified.problems == () and verified.files == 3
    (tmp_path / "b/c").write_bytes(b"later")
    assert export_verify(tmp_path).problems == ("b/c was changed",)


def test_a_file_that_failed_half_way_is_not_there(tmp_path: Path) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"half"
        raise FileNotFoundError("theirs")

    folder = ExportFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="theirs"):
        folder.write("a", breaks())
    assert files_of(tmp_path) == {OPEN_FILE: b""}
    for path in ("../a", "/a", ""):
        with pytest.raises(ValueError, match="in its folder"):
            folder.write(path, [b""])
    folder.close()


def test_somebody_elses_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FolderRefused, match="no export wrote"):
        everything_export(organisation=factories.make_organisation(), folder=tmp_path)
    assert files_of(tmp_path) == {"mine.txt": b"mine"}


def test_memory_holds_a_batch_of_calls_and_no_more(
    world: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving_export, "_BATCH", 2)
    for _ in range(5):
        factories.make_call(number=world["calls.phonenumber"], status="ended")
    report = everything_export(organisation=world["base.organisation"], folder=tmp_path / "e")
    ended = Call.objects.filter(organisation=world["base.organisation"], status="ended")
    assert report.counts["calls"] == ended.count() >= 6
