"""An erasure that somebody began in the admin, as a job; the number is sealed while it waits.

Owns queueing and the words at the end. A worker that died is followed by another: what is erased
already is not there to be found again. What is erased is ``calls.services.erasure``'s.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.db import transaction

from calls.services.erasure import CallerIsOnCall, NotANumber, caller_erase, caller_number
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job, Organisation

KIND: Final = "erase-caller"
TASK: Final = "calls.tasks.run_erasure"
SOFT_LIMIT_SECONDS: Final = 25 * 60

_TOO_LONG: Final = "It took longer than 25 minutes and was stopped. Fix: start it again."

BELL: Final = JobBell(TASK, (KIND,), is_alone=False, too_long=_TOO_LONG)


def erasure_start(*, organisation: Organisation, number: str, actor: Any) -> Job:
    """Queue the erasure of a caller.

    Raises:
        NotANumber: ``number`` is none.
    """
    number = caller_number(number)
    with transaction.atomic():
        job = job_create(
            organisation=organisation, kind=KIND, actor=actor, parameters={}, secret=number
        )
        transaction.on_commit(lambda: BELL.poke(job.pk))
    return job


def erasure_run(job_id: uuid.UUID | str) -> None:
    """Do one erasure to its end; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _erase_or_refuse)


def _erase_or_refuse(running: RunningJob) -> None:
    try:
        _erase(running)
    except (CallerIsOnCall, NotANumber) as refusal:
        words = str(refusal)
        running.end(Job.State.FAILED, f"{words[:1].upper()}{words[1:]}")


def _erase(running: RunningJob) -> None:
    tombstone = caller_erase(
        organisation=running.job.organisation,
        number=running.secret(),
        actor=running.job.created_by,
        progress=lambda done, total: running.progress(done, total, "Erasing calls"),
    )
    calls = tombstone.counts.get("calls.call", 0)
    words = f"Erased, with {calls} {'call' if calls == 1 else 'calls'}."
    if tombstone.problems:
        words = f"{words} Something is left: open what came of it."
    running.end(
        Job.State.DONE,
        words,
        result={"model": "calls.erasure", "id": str(tombstone.pk)},
        counts=(calls, calls),
    )
