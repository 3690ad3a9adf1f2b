"""Reads the uploaded files that wait, and forgets what was read of deleted ones; a worker's work.

Owns the order of both. How bytes become passages is ``assistants.knowledge``'s, who has which file
is ``assistants.file_queue``'s.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from assistants.file_queue import reading_claim, reading_done, reading_fail
from assistants.knowledge.index import passages_drop, passages_store
from assistants.knowledge.reading import MOST_PASSAGES, file_read
from assistants.knowledge.texts import Unreadable
from assistants.models import FileReading, StoredResource

SOFT_LIMIT_SECONDS: Final = 240
_ENOUGH_SECONDS: Final = 60.0  # then others have their turn; the beat comes again
_MOST_PRUNED: Final = 20
_TOO_LONG: Final = (
    "It took longer than 4 minutes to read. Fix: split it, or save it as text, and upload that."
)
_CUT: Final = f"Only its first {MOST_PASSAGES:,} passages can be searched. Fix: split the file."

log = structlog.get_logger(__name__)


def files_work() -> int:
    """Read what waits and drop what is gone; return how many files were looked at."""
    readings_prune()
    count, until = 0, time.monotonic() + _ENOUGH_SECONDS
    while time.monotonic() < until:
        row = reading_claim()
        if row is None:
            break
        count += 1
        try:
            _read(row)
        except SoftTimeLimitExceeded:
            reading_fail(row, _TOO_LONG)
            break
    return count


def _read(row: FileReading) -> None:
    file = StoredResource.objects.filter(pk=row.pk, deleted_at__isnull=True).first()
    if file is None:
        reading_fail(row, "It was deleted before it was read.")
        return
    about = file.document_redacted
    name = about.get("originalName") or file.name
    began = time.monotonic()
    try:
        reading = file_read(str(name), str(about.get("mimetype", "")), bytes(file.content or b""))
    except Unreadable as problem:
        passages_drop(row.pk)
        reading_fail(row, str(problem))
        log.info("file_not_read", file_id=str(row.pk))
        return
    passages_drop(row.pk)  # of earlier bytes, or of a worker that died half way
    passages_store(row.pk, reading.passages)
    reading_done(
        row,
        passages=len(reading.passages),
        characters=reading.characters,
        pages=reading.pages,
        note=_CUT if reading.is_cut else "",
    )
    log.info(
        "file_read",
        file_id=str(row.pk),
        passages=len(reading.passages),
        duration_ms=round((time.monotonic() - began) * 1000),
    )


def readings_prune() -> int:
    """Forget what was read of files that were deleted; return how many they were."""
    gone = FileReading.objects.filter(file__deleted_at__isnull=False).order_by()
    ids = list(gone.values_list("pk", flat=True)[:_MOST_PRUNED])
    for pk in ids:
        passages_drop(pk)
        FileReading.objects.filter(pk=pk, file__deleted_at__isnull=False).delete()
    return len(ids)
