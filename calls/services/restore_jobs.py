"""All numbers back at once: begun together, then put back one by one, the busiest first.

One that fails does not hold up the others: Twilio's silence is tried again in a second round, and
what needs a person is named at the end. Works in any process; as a job it has a worker's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from django.db import transaction

from calls.models import NumberMove, PhoneNumber
from calls.numbers.switch.voice import UnreadableNumber
from calls.services.number_moves import RestoreResult, restorable, restore_begin, restore_try
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.services import audit_write

KIND: Final = "restore_numbers"
TASK: Final = "calls.tasks.restore_numbers"
BELL: Final = JobBell(TASK, (KIND,))
SOFT_LIMIT_SECONDS: Final = 20 * 60
# Of one number in the first round, and in the second, when all others have had their turn.
FIRST_SECONDS: Final = 3.0
SECOND_SECONDS: Final = 45.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Restored:
    """What came of each number, by its E.164 name."""

    results: dict[str, RestoreResult] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, RestoreResult]:
        """Return those that are not back."""
        settled = ("done", "nothing")
        return {name: each for name, each in self.results.items() if each.state not in settled}


def restore_all_begin(*, organisation: Organisation, actor: Any, why: str) -> Job:
    """Order every number of an organisation back; a worker does it and shows how far it is."""
    numbers = restorable(organisation.pk)
    with transaction.atomic():
        audit_write(
            actor=actor,
            action="number.restore_all",
            organisation=organisation,
            details={"numbers": len(numbers), "why": why[:500]},
        )
        job = job_create(
            organisation=organisation,
            kind=KIND,
            actor=actor,
            parameters={"why": why[:500]},
            total=len(numbers),
        )
        transaction.on_commit(lambda: BELL.poke(job.pk))
    return job


def restore_all(
    numbers: list[PhoneNumber],
    *,
    actor: Any,
    why: str,
    told: Callable[[PhoneNumber, RestoreResult], None] = lambda number, result: None,
    is_stopped: Callable[[], bool] = lambda: False,
    tells_workers: bool = True,
) -> Restored:
    """Put numbers back, in their order; return what came of each.

    All are begun before the first is written: from then on their calls are handed over here.

    Args:
        told: hears of each number once it is settled, or not to be settled now.
        is_stopped: asked between numbers; True leaves the rest to the beat.
        tells_workers: False where Redis may be away.
    """
    done = Restored()
    begun: list[tuple[PhoneNumber, NumberMove | None]] = []
    for number in numbers:
        try:
            move = restore_begin(number=number, actor=actor, why=why, tells_workers=tells_workers)
        except (DecryptionError, UnreadableNumber) as error:
            move, result = None, RestoreResult("person", f"its snapshot cannot be read: {error}")
        else:
            result = RestoreResult("nothing", "there is nothing to put back")
        if move is None:
            done.results[number.number_e164] = result
            told(number, result)
        begun.append((number, move))
    for within_seconds in (FIRST_SECONDS, SECOND_SECONDS):
        is_last = within_seconds == SECOND_SECONDS
        for number, move in begun:
            earlier = done.results.get(number.number_e164)
            if move is None or (earlier is not None and earlier.state != "again"):
                continue
            if is_stopped():
                return done
            result = restore_try(move.pk, within_seconds=within_seconds)
            done.results[number.number_e164] = result
            if is_last or result.state != "again":
                told(number, result)
    return done


def restores_run(job_id: uuid.UUID | str) -> None:
    """Do one job to its end; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _run)


def _run(running: RunningJob) -> None:
    job = running.job
    owner = job.organisation_id
    assert owner is not None, "a column that is never null"
    numbers = restorable(owner)
    total, settled = len(numbers), 0

    def told(number: PhoneNumber, result: RestoreResult) -> None:
        nonlocal settled
        settled += 1
        running.progress(settled, total, f"{settled} of {total} are settled")

    why = str(job.parameters.get("why", ""))
    actor = job.created_by
    done = restore_all(numbers, actor=actor, why=why, told=told, is_stopped=running.cancelled)
    if job.cancel_requested or running.cancelled():
        words = "Cancelled; what was begun goes on by itself. Each number shows its own state."
        running.end(Job.State.CANCELLED, words, counts=(settled, total))
        return
    failed = done.failed
    back = len(done.results) - len(failed)
    words = f"{back} of {total} are back as they were."
    if failed:
        words += " Not yet: " + ", ".join(sorted(failed)) + ". Look at each for the reason."
    state = Job.State.FAILED if failed else Job.State.DONE
    result = {"model": "calls.phonenumber", "is_list": True}
    running.end(state, words, counts=(back, total), result=result)
