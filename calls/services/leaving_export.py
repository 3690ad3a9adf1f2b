"""Everything of an organisation as files: configuration, calls, sound, and what Vapi still has.

Owns what is exported, in which files, and what is said of what could not be. Goes on where an
interrupted run stopped. Configuration comes without secrets (``assistants.export``), calls in
Vapi's shape without the addresses that open a recording; what was said is in the files, so who has
the folder has that. Rows are read only; the one thing written is the folder.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone

from assistants.export_services import export_of, left_out
from assistants.vapi_api import VapiApi, VapiApiError, VapiCancelled
from calls.models import Call, Recording
from calls.selectors.records import call_list, call_names, with_spoken
from calls.services.export_folder import ExportFolder
from calls.services.recording_files import sound_read
from calls.services.vapi_objects import artifact_object, call_object, cost_breakdown
from tools.loose_json import as_object, as_text
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Organisation
from voiceplatform.base.redaction import redact

FORMAT: Final = 1
ABOUT_FILE: Final = "ABOUT.json"
_BATCH: Final = 100
_SEALED_OF_ACCOUNTS: Final = ("auth_token", "auth_token_secondary", "api_key_secret")
# A recording of four hours in two channels at 16 bits and 16 kHz, and some more.
_LARGEST_SOUND: Final = 1024 * 1024 * 1024
_MOST_NAMED: Final = 500
_ENDINGS: Final = frozenset({"wav", "mp3", "ogg", "flac"})
_PLACES: Final = {
    "config/": "assistants, tools, squads, numbers and the rest, for import_vapi; no secrets",
    "calls/": "calls that were answered here or handed over by us, with what was said",
    "recordings/": "recordings of these calls, named by call",
    "vapi/calls/": "Vapi's own records of calls",
    "vapi/recordings/": "recordings that Vapi made, named by call",
}

Progress = Callable[[int, int, str], None]


@dataclass(slots=True)
class ExportReport:
    """What an export has done. ``missing`` names what it could not write, ``vapi_calls`` is None
    where Vapi's records were not read to their end; ``digest`` is '' until it is complete.
    """

    counts: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    missing_count: int = 0
    vapi_calls: int | None = None
    vapi_problem: str = ""
    digest: str = ""
    files: int = 0
    size_bytes: int = 0
    is_cancelled: bool = False
    vapi_usd: Decimal = Decimal(0)
    vapi_seconds: float = 0.0

    def lacks(self, words: str) -> None:
        """Note something that could not be written."""
        self.missing_count += 1
        if len(self.missing) < _MOST_NAMED:
            self.missing.append(words)


def everything_export(
    *,
    organisation: Organisation,
    folder: Path,
    vapi: VapiApi | None = None,
    progress: Progress = lambda done, total, label: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> ExportReport:
    """Export everything into ``folder``, or go on with an export that was interrupted there.

    A repetition of a complete export reads and writes everything anew.

    Args:
        vapi: the account at Vapi, whose records and recordings come along; None leaves them out.

    Raises:
        FolderRefused: the folder is somebody else's, or the disk does not take it.
    """
    report = ExportReport()
    target = ExportFolder(folder)
    try:
        run = _Run(organisation, target, report, progress, cancelled)
        run.config()
        run.calls()
        if vapi is not None and not report.is_cancelled:
            run.vapi(vapi)
        if report.is_cancelled:
            return report
        about = _about(organisation, report)
        target.write(ABOUT_FILE, [_json(about)])
        report.digest, verified = target.finish(lambda: run.beat("Reading back"))
        report.files, report.size_bytes = verified.files, verified.size_bytes
        for problem in verified.problems:
            report.lacks(f"{problem}: it was not there when it was read back")
        return report
    finally:
        target.close()


class _Run:
    def __init__(
        self,
        organisation: Organisation,
        target: ExportFolder,
        report: ExportReport,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        self.organisation = organisation
        self.target = target
        self.report = report
        self.progress = progress
        self.cancelled = cancelled
        self.done = 0
        self.total = 0

    def _stops(self, label: str) -> bool:
        self.done += 1
        self.progress(self.done, max(self.total, self.done), label)
        self.report.is_cancelled = self.report.is_cancelled or self.cancelled()
        return self.report.is_cancelled

    def beat(self, label: str) -> None:
        """Say that it goes on, while something takes long."""
        self.progress(self.done, max(self.total, self.done), label)

    def config(self) -> None:
        """Write the configuration; it is small, so always anew."""
        for path, text in export_of(self.organisation).files.items():
            self.target.write(f"config/{path}", [text.encode()])
            self.report.counts["config"] += 1

    def calls(self) -> None:
        """Write each call that is over, and its recording."""
        ended = Call.objects.for_organisation(self.organisation).filter(status=Call.Status.ENDED)
        self.total = ended.count()
        for call in _in_batches(self.organisation):
            if isinstance(call, Call):
                self._call(call)
            else:
                self.report.lacks(f"calls/{call}: no key opens what was kept of the call")
            if self._stops("Calls"):
                return

    def _call(self, call: Call) -> None:
        path = f"calls/{call.created_at:%Y-%m-%d}/{call.pk}.json"
        sound = f"recordings/{call.pk}.wav"
        row: Recording | None = getattr(call, "recording", None)
        has_sound = row is not None and row.state == Recording.State.STORED
        if path not in self.target:
            try:
                document = _call_document(call, sound if has_sound else "")
            except DecryptionError:
                self.report.lacks(f"{path}: no key opens what was kept of the call")
                return
            self.target.write(path, [_json(document)])
        self.report.counts["calls"] += 1
        if row is not None and has_sound:
            self._sound(row, sound)

    def _sound(self, row: Recording, path: str) -> None:
        if path not in self.target or self.target.digest(path) != row.sha256:
            try:
                digest = self.target.write(path, sound_read(row.call_id))
            except (OSError, DecryptionError) as error:
                self.report.lacks(f"{path}: the sound cannot be read ({type(error).__name__})")
                return
            if row.sha256 and digest != row.sha256:
                self.report.lacks(f"{path}: it is not the sound that Twilio gave")
                return
        self.report.counts["recordings"] += 1

    def vapi(self, vapi: VapiApi) -> None:
        """Write Vapi's records of calls and the recordings that they name."""
        seen = 0
        vapi.cancelled = self.cancelled
        try:
            for row in vapi.objects("call"):
                seen += 1
                self._vapi_call(vapi, row)
                if self._stops("Vapi's records of calls"):
                    return
        except VapiCancelled:
            self.report.is_cancelled = True
            return
        except VapiApiError as error:
            self.report.vapi_problem = str(error)
            self.report.lacks(f"vapi/calls: {error}")
            return
        self.report.vapi_calls = seen

    def _vapi_call(self, vapi: VapiApi, row: dict[str, Any]) -> None:
        call_id = _safe_id(row.get("id"))
        day = as_text(row.get("createdAt"))[:10]
        day = day if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else "undated"
        path = f"vapi/calls/{day}/{call_id}.json"
        _measure(self.report, row)
        if path not in self.target:
            self.target.write(path, [_json(redact(row))])
        self.report.counts["vapi_calls"] += 1
        url = _recording_url(row)
        if not url:
            return
        sound = f"vapi/recordings/{call_id}.{_ending(url)}"
        if sound not in self.target and not self._vapi_sound(vapi, call_id, url, sound):
            return
        self.report.counts["vapi_recordings"] += 1

    def _taking(self, write: Callable[[bytes], object]) -> Callable[[bytes], None]:
        """Return what takes a piece of a download; it may take longer than a job's lease."""

        def take(piece: bytes) -> None:
            write(piece)
            self.beat("A recording at Vapi")

        return take

    def _vapi_sound(self, vapi: VapiApi, call_id: str, url: str, path: str) -> bool:
        waiting = self.target.folder / ".download.part"
        problem = ""
        # The API's own route opens what a bare address no longer does.
        for address in (url, vapi.call_file(call_id, "stereo-recording")):
            try:
                with waiting.open("wb") as file:
                    vapi.download(address, self._taking(file.write), most_bytes=_LARGEST_SOUND)
                self.target.write(path, _pieces(waiting))
                return True
            except VapiApiError as error:
                problem = str(error)
            finally:
                waiting.unlink(missing_ok=True)
        self.report.lacks(f"{path}: {problem}")
        return False


def _in_batches(organisation: Organisation) -> Iterator[Call | uuid.UUID]:
    """Yield the calls that are over, a short query at a time: an export may take hours.

    Of a call that no key opens its id is yielded.
    """
    rows = with_spoken(call_list(organisation)).filter(status=Call.Status.ENDED).order_by("pk")
    # What is sealed of numbers and accounts stands in no call, and must not hide one.
    rows = rows.select_related("recording", "activation", "number__twilio_account").defer(
        *("revision__document", "revision__server_url", "revision__server_secret"),
        *("connection__api_key", "number__previous_target"),
        *(f"number__twilio_account__{name}" for name in _SEALED_OF_ACCOUNTS),
    )
    ended = Call.objects.for_organisation(organisation).filter(status=Call.Status.ENDED)
    ids = ended.order_by("pk").values_list("pk", flat=True)
    last: uuid.UUID | None = None
    while batch := list((ids if last is None else ids.filter(pk__gt=last))[:_BATCH]):
        names = call_names(organisation, batch)
        for found in _readable(rows, batch):
            if isinstance(found, Call):
                found.__dict__["given_name"] = names.get(found.pk, "")
            yield found
        last = batch[-1]


def _readable(rows: QuerySet[Call], batch: list[uuid.UUID]) -> Iterator[Call | uuid.UUID]:
    """Yield the calls of a batch; one row that no key opens would fail the query of all."""
    try:
        found = list(rows.filter(pk__in=batch))
    except DecryptionError:
        for pk in batch:
            try:
                yield from rows.filter(pk=pk)
            except DecryptionError:
                yield pk
    else:
        yield from found


def _call_document(call: Call, sound: str) -> dict[str, Any]:
    """Return a call in Vapi's shape; the recording is named by its file, not by an address."""
    document = call_object(call)
    document.pop("monitor", None)
    artifact = artifact_object(call)
    for name in ("recordingUrl", "stereoRecordingUrl", "recording"):
        artifact.pop(name, None)
    if sound:
        artifact["recordingFile"] = sound
    name = call.__dict__.get("given_name", "")
    return {
        **document,
        **({"name": name} if name else {}),
        "costBreakdown": cost_breakdown(call),
        "analysis": call.analysis or {},
        "artifact": artifact,
        "voiceplatform": {
            "stack": call.stack,
            "routeReason": call.route_reason,
            "durationSeconds": call.duration_seconds,
            "firstWordMs": call.first_word_ms,
            "turnLatencyP50Ms": call.turn_latency_p50_ms,
            "turnLatencyP95Ms": call.turn_latency_p95_ms,
            "policyPlayedAt": call.policy_played_at.isoformat() if call.policy_played_at else None,
            "consent": call.consent,
        },
    }


def _about(organisation: Organisation, report: ExportReport) -> dict[str, Any]:
    is_live = Call.objects.for_organisation(organisation).exclude(status=Call.Status.ENDED).count()
    return {
        "format": FORMAT,
        "organisation": {"id": str(organisation.pk), "name": organisation.name},
        "exportedAt": timezone.now().isoformat(),
        "counts": dict(report.counts),
        "vapiCalls": report.vapi_calls,
        "missing": report.missing,
        "missingCount": report.missing_count,
        "callsStillOn": is_live,
        "notInConfig": left_out(organisation),
        "places": _PLACES,
    }


def _json(document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=False, indent=1, default=str)
    # A lone surrogate, which a model may write, has no bytes in UTF-8.
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(256 * 1024):
            yield piece


def _safe_id(value: Any) -> str:
    """Return an id as a file's name; what is none gets a new one, so that no file is replaced."""
    text = as_text(value)
    is_plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", text)
    return text if is_plain else f"unnamed-{uuid.uuid4().hex[:12]}"


def _recording_url(row: dict[str, Any]) -> str:
    """Return where Vapi keeps a call's sound, both channels if it can be had (vapi.md 6.5)."""
    artifact = as_object(row.get("artifact"))
    recording = as_object(artifact.get("recording"))
    found = (
        *(recording.get("stereoUrl"), artifact.get("stereoRecordingUrl")),
        *(row.get("stereoRecordingUrl"), as_object(recording.get("mono")).get("combinedUrl")),
        *(artifact.get("recordingUrl"), row.get("recordingUrl")),
    )
    return next((as_text(each) for each in found if as_text(each)), "")


def _ending(url: str) -> str:
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    return ending if ending in _ENDINGS else "wav"


def _measure(report: ExportReport, row: dict[str, Any]) -> None:
    """Add what a call at Vapi cost and how long it was, where both are known."""
    cost, seconds = row.get("cost"), _seconds(row)
    if isinstance(cost, int | float) and not isinstance(cost, bool) and cost > 0 and seconds > 0:
        report.vapi_usd += Decimal(str(cost))
        report.vapi_seconds += seconds
        report.counts["vapi_measured"] += 1


def _seconds(row: dict[str, Any]) -> float:
    try:
        begun, ended = (
            dt.datetime.fromisoformat(as_text(row.get(name)).replace("Z", "+00:00"))
            for name in ("startedAt", "endedAt")
        )
        return max((ended - begun).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 0.0
