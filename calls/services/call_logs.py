"""Imports of call logs: from Vapi's API, from uploads, from files of a command.

Owns how one begins, what is sealed until it ends, and the job that carries it out. How it reads is
``call_log_reading``'s. It must not know pages or commands.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from assistants.vapi_api import VapiApi, VapiApiError
from calls.models import CallLogImport, CallLogPiece
from calls.services.call_log_reading import (
    Source,
    import_continue_api,
    import_continue_files,
    words_of,
)
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.rest import iso
from voiceplatform.base.services import audit_write

KIND: Final = "call-logs"
TASK: Final = "calls.tasks.run_call_logs"
SOFT_LIMIT_SECONDS: Final = 55 * 60
BELL: Final = JobBell(TASK, (KIND,))  # one that takes too long is given back and goes on

USUAL_DAYS: Final = 30
LONGEST_DAYS: Final = 1000
_UPLOAD_TAKES: Final = dt.timedelta(hours=1)
MOST_UPLOAD: Final = 256 * 2**20
PIECE_BYTES: Final = 256 * 1024


class ImportRefused(ValueError):
    """The import cannot begin; the text says why and what to do."""


def since_of(days: int | None, now: dt.datetime | None = None) -> dt.datetime | None:
    """Return from when on calls are imported; None for all.

    Raises:
        ImportRefused: the days are none that can be counted back.
    """
    if days is None:
        return None
    if not 1 <= days <= LONGEST_DAYS:
        raise ImportRefused(f"since: {days} days. Fix: give 1 to {LONGEST_DAYS} days")
    return (now or timezone.now()) - dt.timedelta(days=days)


def api_import_begin(
    *,
    organisation: Organisation,
    api_key: str,
    base_url: str,
    actor: Any,
    since: dt.datetime | None,
) -> CallLogImport:
    """Queue an import from Vapi's API; the key is sealed and gone when the job ends.

    Raises:
        ImportRefused: the key or the address cannot be used, or an import is under way.
    """
    try:
        VapiApi(api_key=api_key, base_url=base_url).close()
    except VapiApiError as error:
        raise ImportRefused(f"{error}") from error
    label = urlsplit(base_url).hostname or base_url
    with transaction.atomic():
        row = _begin(organisation, CallLogImport.Source.API, label, since, actor)
        return _queued(row, actor, secret=api_key, base_url=base_url)


def upload_import_begin(
    *,
    organisation: Organisation,
    files: Sequence[tuple[str, Iterable[bytes]]],
    actor: Any,
    since: dt.datetime | None,
) -> CallLogImport:
    """Queue an import of uploaded files, which are sealed in pieces and gone when it is through.

    Args:
        files: name and bytes of each.

    Raises:
        ImportRefused: no file, too much, or an import is under way.
    """
    if not files:
        raise ImportRefused("no file was given. Fix: choose a file of call logs")
    names = ", ".join(name for name, _ in files)[:300]
    with transaction.atomic():
        row = _begin(organisation, CallLogImport.Source.UPLOAD, names, since, actor)
    try:
        _pieces_store(row, files)
    except ImportRefused:
        pieces_drop(row)
        row.delete()
        raise
    with transaction.atomic():
        return _queued(row, actor)


def _pieces_store(row: CallLogImport, files: Sequence[tuple[str, Iterable[bytes]]]) -> None:
    ordinal, size = 0, 0
    for name, chunks in files:
        for piece in _in_pieces(chunks):
            size += len(piece)
            if size > MOST_UPLOAD:
                raise ImportRefused(
                    f"the files are over {MOST_UPLOAD // 2**20} MiB. Fix: pack them with gzip, or "
                    "use the command import_call_logs"
                )
            CallLogPiece.objects.create(
                log_import=row, file_name=name[:200], ordinal=ordinal, data=piece
            )
            ordinal += 1


def _in_pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PIECE_BYTES:
            yield bytes(waiting[:PIECE_BYTES])
            del waiting[:PIECE_BYTES]
    if waiting:
        yield bytes(waiting)


def pieces_drop(row: CallLogImport) -> None:
    """Delete the uploaded files of an import, a few pieces at a time."""
    while found := list(row.pieces.values_list("pk", flat=True)[:20]):
        CallLogPiece.objects.filter(pk__in=found).delete()


def files_import_begin(
    *, organisation: Organisation, label: str, actor: Any, since: dt.datetime | None
) -> CallLogImport:
    """Make the row of an import that its caller carries out, or find the one that was stopped.

    The same label and start (to the day) continue it; a finished one is not found again.
    """
    day = since.date() if since is not None else None
    rows = CallLogImport.objects.for_organisation(organisation).filter(
        source=CallLogImport.Source.FILES, label=label[:300], finished_at__isnull=True
    )
    for row in rows.order_by("-created_at")[:20]:
        if (row.since.date() if row.since is not None else None) == day:
            found: CallLogImport = row
            return found
    with transaction.atomic():
        return _begin(organisation, CallLogImport.Source.FILES, label, since, actor)


def api_import_here(
    *, organisation: Organisation, label: str, actor: Any, since: dt.datetime | None
) -> CallLogImport:
    """Make the row of an import from the API that its caller carries out, or find a stopped one."""
    rows = CallLogImport.objects.for_organisation(organisation).filter(
        source=CallLogImport.Source.API, label=label, job__isnull=True, finished_at__isnull=True
    )
    row: CallLogImport | None = rows.order_by("-created_at").first()
    if row is not None and row.cursor and (since is None) == (row.since is None):
        if row.since is None or since is None or row.since <= since:
            return row
    with transaction.atomic():
        return _begin(organisation, CallLogImport.Source.API, label, since, actor)


def _begin(
    organisation: Organisation,
    source: CallLogImport.Source,
    label: str,
    since: dt.datetime | None,
    actor: Any,
) -> CallLogImport:
    row: CallLogImport = CallLogImport.objects.create(
        organisation=organisation,
        source=source,
        label=label[:300],
        since=since,
        created_by=actor if isinstance(actor, get_user_model()) else None,
    )
    audit_write(
        actor=actor,
        action="call_logs.import",
        organisation=organisation,
        target=row,
        details={"source": str(source), "since": iso(since)},
    )
    return row


def _queued(
    row: CallLogImport, actor: Any, *, secret: str = "", base_url: str = ""
) -> CallLogImport:
    job = job_create(
        organisation=row.organisation,
        kind=KIND,
        actor=actor,
        parameters={"import": str(row.pk)} | ({"base_url": base_url} if base_url else {}),
        secret=secret,
    )
    row.job = job
    row.save(update_fields=["job"])
    transaction.on_commit(lambda: BELL.poke(job.pk))
    return row


# ---- in a worker --------------------------------------------------------------------------------


def import_job_run(job_id: uuid.UUID | str) -> None:
    """Do one import to its end; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _do)


def _do(running: RunningJob) -> None:
    rows = CallLogImport.objects.select_related("organisation")
    row = rows.filter(
        pk=running.job.parameters.get("import"), organisation=running.job.organisation_id
    ).first()
    if row is None:
        running.end(Job.State.FAILED, "The import is gone.")
        return
    watched: dict[str, Any] = {
        "progress": running.progress,
        "cancelled": running.cancelled,
        "hold": running.hold,
    }
    if row.source == CallLogImport.Source.API:
        base_url = str(running.job.parameters.get("base_url", ""))
        with VapiApi(api_key=running.secret(), base_url=base_url) as client:
            report = import_continue_api(row, client, **watched)
    else:
        report = import_continue_files(row, uploaded_files(row), **watched)
    result = {"model": "calls.calllogimport", "id": str(row.pk)}
    counts = (report.read, report.read)
    words = words_of(report)
    if report.is_cancelled:
        text = f"Cancelled: {words}. What was stored stays; begun again, it is not read twice."
        running.end(Job.State.CANCELLED, text, result=result, counts=counts)
    elif report.problem:
        text = f"{report.problem}. Stored so far: {words}"
        running.end(Job.State.FAILED, text, result=result, counts=counts)
    else:
        running.end(Job.State.DONE, f"Imported: {words}.", result=result, counts=counts)
    # Whatever came of it: nobody begins it again, and the files hold callers' words.
    pieces_drop(row)


def uploads_drop() -> int:
    """Delete uploaded files whose import ended where nobody read them; return of how many imports.

    Given up after workers had died on it, cancelled while it waited, its job cleared away; or the
    upload itself broke off, an hour ago at least.
    """
    rows = CallLogImport.objects.filter(pieces__isnull=False).filter(
        Q(job__finished_at__isnull=False)
        | Q(job__isnull=True, created_at__lt=timezone.now() - _UPLOAD_TAKES)
    )
    found = list(rows.distinct())
    for row in found:
        pieces_drop(row)
    return len(found)


def uploaded_files(row: CallLogImport) -> list[Source]:
    """Return the uploaded files of an import, to be opened piece by piece."""
    names: dict[str, None] = dict.fromkeys(
        row.pieces.order_by("ordinal").values_list("file_name", flat=True)
    )

    def pieces(name: str) -> Iterator[bytes]:
        pks = row.pieces.filter(file_name=name).order_by("ordinal").values_list("pk", flat=True)
        for pk in list(pks):
            yield CallLogPiece.objects.get(pk=pk).data

    return [Source(name, lambda name=name: pieces(name)) for name in names]  # type: ignore[misc]
