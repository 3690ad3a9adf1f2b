"""Long imports as jobs: a preview of many files or of a Vapi account, and what a person confirms.

Owns which steps run in a worker, what is sealed while they do, and how one that lost its worker
goes on: an import stores object by object and a second run finds those unchanged. What an import
does to rows is ``assistants.import_services``'s. It must not know pages.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from django.db import transaction

from assistants.import_api import import_from_api
from assistants.import_results import ImportFile, ImportReport
from assistants.import_runs import run_delete, run_store, run_uploads
from assistants.import_services import import_files, previews_sweep
from assistants.models import Finding, ImportRun
from assistants.vapi_api import VapiApi
from assistants.vapi_recorder import VapiRecorder
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job, Organisation

PREVIEW_KIND: Final = "import-preview"
IMPORT_KIND: Final = "import"
# One of them at a time: the worker has two processes, and events must not wait behind two imports.
KINDS: Final = (PREVIEW_KIND, IMPORT_KIND)
# What a request does itself takes a second or two; more goes to a worker.
DIRECT_BYTES: Final = 200 * 1024
DIRECT_OBJECTS: Final = 40
TASK: Final = "assistants.tasks.run_import_job"
SOFT_LIMIT_SECONDS: Final = 55 * 60

_UPLOAD: Final = "upload"
_API: Final = "api"
_STAYS_BEHIND: Final = "stays-behind"
_NOTHING_WRITTEN: Final = "Cancelled. Nothing was written."
_TOO_LONG: Final = (
    "It took longer than 55 minutes and was stopped. What it stored is kept. Fix: start it again; "
    "what is stored already costs no time."
)

BELL: Final = JobBell(TASK, KINDS, too_long=_TOO_LONG)


def is_long(files: Sequence[ImportFile]) -> bool:
    """Tell whether a preview of ``files`` belongs into a worker."""
    return sum(len(file.raw) for file in files) > DIRECT_BYTES


def preview_start(*, organisation: Organisation, files: Sequence[ImportFile], actor: Any) -> Job:
    """Queue the preview of uploaded files, which are sealed at once."""
    previews_sweep()
    with transaction.atomic():
        holder = run_store(
            organisation=organisation,
            results=(),
            actor=actor,
            source=_UPLOAD,
            state=ImportRun.State.PREVIEW,
            uploads=files,
        )
        return _queued(
            job_create(
                organisation=organisation,
                kind=PREVIEW_KIND,
                actor=actor,
                parameters={"run": str(holder.pk), "files": len(files), "source": _UPLOAD},
            )
        )


def api_preview_start(
    *, organisation: Organisation, api_key: str, base_url: str, actor: Any
) -> Job:
    """Queue the preview of a Vapi account; the key is sealed and gone when it has been read.

    What is read is sealed with the preview, so that what a person confirms is what they saw.

    Raises:
        VapiApiError: the key or the address is none that can be asked.
    """
    VapiApi(api_key=api_key, base_url=base_url).close()
    with transaction.atomic():
        return _queued(
            job_create(
                organisation=organisation,
                kind=PREVIEW_KIND,
                actor=actor,
                parameters={"base_url": base_url, "source": _API},
                secret=api_key,
            )
        )


def confirm_start(*, run: ImportRun, actor: Any) -> Job | None:
    """Queue the import of a preview; None when it is gone or somebody confirmed it already.

    The preview stays until the import is complete, so one that was cancelled can be confirmed
    again.
    """
    with transaction.atomic():
        rows = ImportRun.objects.select_for_update().filter(
            pk=run.pk, state=ImportRun.State.PREVIEW
        )
        row = rows.select_related("organisation").defer("files").first()
        if row is None or open_job_of(row) is not None:
            return None
        return _queued(
            job_create(
                organisation=row.organisation,
                kind=IMPORT_KIND,
                actor=actor,
                parameters={"run": str(row.pk), "source": row.source},
                total=len(row.objects_json),
            )
        )


def open_job_of(run: ImportRun) -> Job | None:
    """Return the job that reads or imports a preview and has not ended."""
    open_jobs = Job.objects.filter(
        kind__in=KINDS,
        organisation=run.organisation,
        state__in=(Job.State.QUEUED, Job.State.RUNNING),
    )
    return next((job for job in open_jobs if job.parameters.get("run") == str(run.pk)), None)


def _queued(job: Job) -> Job:
    transaction.on_commit(lambda: BELL.poke(job.pk))
    return job


def job_run(job_id: uuid.UUID | str) -> None:
    """Do one job to its end; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _do)


def _do(running: RunningJob) -> None:
    parameters = running.job.parameters
    if running.job.kind == PREVIEW_KIND and parameters.get("source") == _API:
        _preview_account(running)
        return
    rows = ImportRun.objects.select_related("organisation")
    run = rows.filter(pk=parameters.get("run"), state=ImportRun.State.PREVIEW).first()
    if run is None:
        running.end(Job.State.FAILED, "The preview is gone: previews are kept for one day.")
    elif running.job.kind == PREVIEW_KIND:
        _preview_files(running, run)
    else:
        _import(running, run)


def _preview_files(running: RunningJob, holder: ImportRun) -> None:
    """Replace the holder of the files by the preview of what they would do."""
    files = run_uploads(holder)
    report = _imported(running, holder, files, dry_run=True)
    if not report.is_cancelled:
        _show(running, report, files)
    run_delete(holder)
    if report.is_cancelled:
        running.end(Job.State.CANCELLED, _NOTHING_WRITTEN)


def _preview_account(running: RunningJob) -> None:
    job = running.job
    base_url = str(job.parameters.get("base_url", ""))
    with VapiRecorder(api_key=running.secret(), base_url=base_url) as client:
        report = import_from_api(
            organisation=job.organisation,
            client=client,
            actor=job.created_by,
            source=_API,
            dry_run=True,
            progress=running.progress,
            cancelled=running.cancelled,
        )
        files = client.files()
    if report.is_cancelled:
        running.end(Job.State.CANCELLED, _NOTHING_WRITTEN)
    elif report.problem:
        running.end(Job.State.FAILED, f"{report.problem}. Nothing was written.")
    else:
        _show(running, report, files)


def _show(running: RunningJob, report: ImportReport, files: Sequence[ImportFile]) -> None:
    run = run_store(
        organisation=running.job.organisation,
        results=report.results,
        actor=running.job.created_by,
        source=str(running.job.parameters["source"]),
        state=ImportRun.State.PREVIEW,
        uploads=files,
    )
    _end(running, run, report, "Read. Nothing has been written yet.")


def _import(running: RunningJob, preview: ImportRun) -> None:
    report = _imported(running, preview, run_uploads(preview), dry_run=False)
    assert report.run is not None
    _carry_over(preview, report.run)
    if report.is_cancelled:
        counts = (len(report.results), running.job.total_count)
        running.end(
            Job.State.CANCELLED,
            f"Cancelled: {_words(report)}. The preview is still there to be imported.",
            result=_row(report.run),
            counts=counts,
        )
        return
    _end(running, report.run, report, f"Imported: {_words(report)}.")
    run_delete(preview)


def _carry_over(preview: ImportRun, run: ImportRun) -> None:
    """Repeat in the report what of an account stays behind; no file says it."""
    numbers = {
        number: len(run.objects_json) + place
        for place, number in enumerate(
            number
            for number, entry in enumerate(preview.objects_json)
            if entry["kind"] == _STAYS_BEHIND
        )
    }
    if not numbers:
        return
    run.objects_json = [*run.objects_json, *(preview.objects_json[each] for each in numbers)]
    run.save(update_fields=["objects_json"])
    Finding.objects.bulk_create(
        Finding(
            run=run,
            object_number=numbers[finding.object_number],
            path=finding.path,
            state=finding.state,
            message=finding.message,
        )
        for finding in preview.findings.filter(object_number__in=numbers)
    )


def _imported(
    running: RunningJob, run: ImportRun, files: Sequence[ImportFile], *, dry_run: bool
) -> ImportReport:
    return import_files(
        organisation=run.organisation,
        files=files,
        actor=running.job.created_by,
        source=run.source,
        dry_run=dry_run,
        progress=running.progress,
        cancelled=running.cancelled,
    )


def _end(running: RunningJob, run: ImportRun, report: ImportReport, words: str) -> None:
    total = len(report.results)
    running.end(Job.State.DONE, words, result=_row(run), counts=(total, total))


def _row(run: ImportRun) -> dict[str, str]:
    return {"model": "assistants.importrun", "id": str(run.pk)}


def _words(report: ImportReport) -> str:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts().items() if count)
    return counts or "nothing"
