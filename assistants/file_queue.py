"""Which uploaded files are to be read, and by whom: the rows of readings as a queue.

Owns noting a file, claiming one and entering what came of it; a claim is a lease, so a worker that
dies on a file loses it to the next one. Reading itself is ``assistants.file_work``'s.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from assistants.models import FileReading, StoredResource
from voiceplatform.base.job_bell import Doorbell, task_tell

TASK: Final = "assistants.tasks.read_files"
# Longer than a worker may take for one file.
LEASE: Final = dt.timedelta(minutes=6)
MOST_ATTEMPTS: Final = 3

_DIED: Final = (
    "Reading it was given up after three attempts that never ended. Fix: save it again with less "
    "in it, or as text, and upload that."
)

_doorbell = Doorbell("file-poke")


def reading_want(file: StoredResource) -> None:
    """Note that the bytes of ``file`` are to be read; belongs into the transaction of its upload.

    What was read of earlier bytes is found no longer.
    """
    FileReading.objects.update_or_create(
        file=file,
        defaults={
            "organisation": file.organisation,
            "state": FileReading.State.PROCESSING,
            "problem": "",
            "attempts": 0,
            "lease_until": None,
            "finished_at": None,
        },
    )
    transaction.on_commit(poke)


def poke() -> None:
    """Tell a worker that there is something to read, from a thread; a lost poke costs seconds.

    Whoever uploads does not wait for a broker that is away, and pokes of many files fold into one.
    """
    _doorbell.press(lambda: task_tell(TASK))


def reading_claim() -> FileReading | None:
    """Take the oldest file that waits; None when there is none, or another worker reads one.

    One at a time: events must not wait behind files.
    """
    while True:
        now = timezone.now()
        is_free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
        with transaction.atomic():
            waiting = FileReading.objects.filter(state=FileReading.State.PROCESSING)
            if waiting.filter(lease_until__gt=now).exists():
                return None
            free = waiting.filter(is_free).order_by("created_at", "pk")
            row: FileReading | None = free.select_for_update().first()
            if row is None:
                return None
            if row.attempts < MOST_ATTEMPTS:
                row.attempts += 1
                row.lease_until = now + LEASE
                row.save(update_fields=["attempts", "lease_until"])
                return row
        reading_fail(row, _DIED)


def reading_fail(row: FileReading, problem: str) -> None:
    """Enter that a file cannot be read, with the reason and the fix in words."""
    _end(row, state=FileReading.State.FAILED, problem=problem[:500])


def reading_done(
    row: FileReading, *, passages: int, characters: int, pages: int, note: str
) -> None:
    """Enter what was read; from now on it is found."""
    _end(
        row,
        state=FileReading.State.DONE,
        problem=note,
        passage_count=passages,
        character_count=characters,
        page_count=pages,
    )


def _end(row: FileReading, **columns: object) -> None:
    # Not over other bytes that came meanwhile, nor over a worker that has taken it since.
    held = FileReading.objects.filter(
        pk=row.pk, state=FileReading.State.PROCESSING, attempts=row.attempts
    )
    held.update(lease_until=None, finished_at=timezone.now(), **columns)
