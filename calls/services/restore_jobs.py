"""All numbers back at once: begun together, then put back some at a time, the busiest first.

One that fails holds up nobody: Twilio's silence is tried again in a second round, and what needs a
person is named at the end. Of one account only some are asked for at once, and one while Twilio
says that they are too many. Works in any process; as a job it has a worker's.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from django.db import connection, transaction

from calls.models import PhoneNumber, TwilioAccount
from calls.numbers.switch.voice import UnreadableNumber
from calls.services.number_moves import RestoreResult, restorable, restore_begin, restore_try
from calls.telephony.twilio_rest import is_busy
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
# A number is three requests one after the other, a second or two at Twilio. Twilio names no figure
# for how many are too many (20429, twilio.md 8.1).
OF_AN_ACCOUNT: Final = 8
AT_ONCE: Final = 16
_LOOK_SECONDS: Final = 0.5

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

    @property
    def back(self) -> int:
        """Return how many are as they were before they moved."""
        return sum(each.state == "done" for each in self.results.values())


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
    """Put numbers back, the first ones first; return what came of each of them.

    All are begun before the first is written: from then on their calls are handed over here. A
    single number is put back in this thread, several in threads with connections of their own.

    Args:
        told: hears, in this thread, of each number once it is settled, or not to be settled now.
        is_stopped: asked between numbers; True leaves the rest to the beat.
        tells_workers: False where Redis may be away.
    """
    done = Restored()
    begun: list[tuple[PhoneNumber, uuid.UUID]] = []
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
        else:
            begun.append((number, move.pk))
    for within_seconds in (FIRST_SECONDS, SECOND_SECONDS):
        open_ones = [
            (number, move_id)
            for number, move_id in begun
            if done.results.get(number.number_e164, _LEFT).state == "again"
        ]
        is_last = within_seconds == SECOND_SECONDS
        for number, result in _round(open_ones, within_seconds, is_stopped):
            done.results[number.number_e164] = result
            if is_last or result.state != "again":
                told(number, result)
    for number, _ in begun:
        done.results.setdefault(number.number_e164, _LEFT)
    return done


_LEFT: Final = RestoreResult("again", "it is begun, and goes on by itself")
_Begun = tuple[PhoneNumber, uuid.UUID]


def _round(
    begun: list[_Begun], within_seconds: float, is_stopped: Callable[[], bool]
) -> Iterator[tuple[PhoneNumber, RestoreResult]]:
    """Try each once and yield it as it ends; begin no other one when stopped."""
    if len(begun) == 1 and not is_stopped():
        [(number, move_id)] = begun
        yield number, restore_try(move_id, within_seconds=within_seconds)
        return
    sids = _account_sids(number for number, _ in begun)
    waiting, running = list(begun), dict[Future[RestoreResult], PhoneNumber]()
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="restore-all")
    try:
        while True:
            if is_stopped():
                waiting.clear()
            while found := _next(waiting, running, sids):
                waiting.remove(found)
                number, move_id = found
                running[pool.submit(_try, move_id, within_seconds)] = number
            if not running:
                return
            ended, _ = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for each in ended:
                number = running.pop(each)
                yield number, _result_of(each, number)
    finally:
        pool.shutdown(cancel_futures=True)


def _next(
    waiting: list[_Begun],
    running: Mapping[Future[RestoreResult], PhoneNumber],
    sids: Mapping[Any, str],
) -> _Begun | None:
    """Return the first one for which its account and this process have room, None without one."""
    if len(running) >= AT_ONCE:
        return None
    asked = Counter(number.twilio_account_id for number in running.values())
    for number, move_id in waiting:
        account = number.twilio_account_id
        room = 1 if is_busy(sids.get(account, "")) else OF_AN_ACCOUNT
        if asked[account] < room:
            return number, move_id
    return None


def _account_sids(numbers: Iterator[PhoneNumber]) -> dict[Any, str]:
    ids = {number.twilio_account_id for number in numbers}
    return dict(TwilioAccount.objects.filter(pk__in=ids).values_list("pk", "account_sid"))


def _try(move_id: uuid.UUID, within_seconds: float) -> RestoreResult:
    try:
        return restore_try(move_id, within_seconds=within_seconds)
    finally:
        connection.close()


def _result_of(tried: Future[RestoreResult], number: PhoneNumber) -> RestoreResult:
    error = tried.exception()
    if error is None:
        return tried.result()
    # Whatever it is, it is this number's alone; the beat takes its move up again.
    log.error("restore_broke_off", number_id=str(number.pk), error=type(error).__name__)
    return RestoreResult("again", f"it broke off ({type(error).__name__}) and is tried again")


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
    result = {"model": "calls.phonenumber", "is_list": True, "numbers": _told(done)}
    if job.cancel_requested or running.cancelled():
        words = f"Cancelled. {done.back} of {total} are back as they were; what was begun goes on "
        words += "by itself. Each number shows its own state."
        running.end(Job.State.CANCELLED, words, counts=(settled, total), result=result)
        return
    failed = done.failed
    words = f"{done.back} of {total} are back as they were."
    if failed:
        words += " Not yet: " + ", ".join(sorted(failed)) + ". Look at each for the reason."
    state = Job.State.FAILED if failed else Job.State.DONE
    running.end(state, words, counts=(done.back, total), result=result)


def _told(done: Restored) -> list[dict[str, str]]:
    return [
        {"number": name, "state": each.state, "words": each.words[:200]}
        for name, each in sorted(done.results.items())
    ]
