"""An erasure that somebody began in the admin, as a job; the number is sealed while it waits.

Owns queueing and the words at the end. A worker that died is followed by another: what is erased
already is not there to be found again. What is erased is ``calls.services.erasure``'s.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

import structlog
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from kombu.exceptions import OperationalError

from calls.services.erasure import CallerIsOnCall, NotANumber, caller_erase, caller_number
from voiceplatform.base.jobs import JobLost, RunningJob, job_claim, job_create, jobs_to_take
from voiceplatform.base.models import Job, Organisation

KIND: Final = "erase-caller"
TASK: Final = "calls.tasks.run_erasure"
SOFT_LIMIT_SECONDS: Final = 25 * 60

_POKE_EXPIRES_SECONDS: Final = 30
_TOO_LONG: Final = "It took longer than 25 minutes and was stopped. Fix: start it again."

log = structlog.get_logger(__name__)


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
        transaction.on_commit(lambda: poke(job.pk))
    return job


def poke(job_id: uuid.UUID) -> None:
    """Tell a worker of a job; a lost poke costs seconds, since the beat looks too."""
    try:
        # By name: a service must not import a task, which is a door.
        current_app.send_task(TASK, args=[str(job_id)], expires=_POKE_EXPIRES_SECONDS, retry=False)
    except (OperationalError, OSError) as error:
        log.info("erasure_poke_lost", error=type(error).__name__)


def erasures_poke() -> int:
    """Tell a worker of erasures that nobody works on; return how many wait."""
    waiting = jobs_to_take((KIND,))
    for job_id in waiting:
        poke(job_id)
    return len(waiting)


def erasure_run(job_id: uuid.UUID | str) -> None:
    """Do one erasure to its end; harmless when another worker has it or it has ended."""
    running = job_claim(job_id)
    if running is None:
        return
    try:
        with running:
            try:
                _erase(running)
            except (CallerIsOnCall, NotANumber) as refusal:
                words = str(refusal)
                running.end(Job.State.FAILED, f"{words[:1].upper()}{words[1:]}")
            except SoftTimeLimitExceeded:
                running.end(Job.State.FAILED, _TOO_LONG)
    except JobLost:
        log.warning("erasure_lost", job_id=str(running.job.pk))


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
