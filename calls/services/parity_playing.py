"""Playing what a run still lacks: claimed call by call, many at once, fenced by leases.

Owns the job of a run and what is stored of each call. Whoever lost a call's lease, or the job,
writes nothing more. What is played first follows from the order that was dealt; what came of it
does not, so a run that was cancelled and resumed says the same. How a call is played is a
runner's.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Final

import structlog
from django.db import DatabaseError, connections, transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from calls.models import ParityCall, ParityRun
from calls.parity.played import CallResult
from calls.parity.sequence import sequence_dump
from calls.services.parity_measuring import is_decided, run_measure
from calls.services.parity_runners import (
    CallHalted,
    CallLost,
    CallRefused,
    CallStopped,
    Registered,
    runner_of,
)
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob
from voiceplatform.base.models import Job

KIND: Final = "parity-run"
TASK: Final = "calls.tasks.play_parity_run"
SOFT_LIMIT_SECONDS: Final = 55 * 60
# After that nothing more is begun here, so that the calls at hand end before the limit above.
WORK_SECONDS: Final = 45 * 60
MOST_ATTEMPTS: Final = 3
# Longer than the longest call: a call whose worker died is played again then, or when its job is
# taken over, whichever comes first.
LEASE: Final = dt.timedelta(minutes=70)
_NO_JOB: Final = "Its job is gone. Fix: resume it; what was played is kept."
# What a defect, or a database that is away for a moment, raises where a call is played here.
_BROKEN: Final = (
    *(ArithmeticError, AssertionError, AttributeError, DatabaseError, DecryptionError),
    *(LookupError, OSError, RuntimeError, TypeError, ValueError),
)
# Of these the next attempt may know nothing.
_PASSING: Final = (DatabaseError, OSError)
_LOOK_SECONDS: Final = 0.2
_TOLD_SECONDS: Final = 0.5

# Given back at its time limit: what is left is played by the next worker.
BELL: Final = JobBell(TASK, (KIND,), is_alone=False)

log = structlog.get_logger(__name__)


def run_play(job_id: uuid.UUID | str) -> None:
    """Do one job of a run to its end; harmless when another worker has it or it has ended."""
    try:
        BELL.run(job_id, _play)
    finally:
        run = ParityRun.objects.filter(job__id=job_id).values_list("pk", flat=True).first()
        if run is not None:
            runs_settle(run)


def runs_settle(run_id: uuid.UUID | None = None) -> int:
    """Give runs whose job ended without them its end; return how many.

    A job may end where no run is asked: cancelled while nobody worked on it, or given up after
    workers had died on it.
    """
    rows = ParityRun.objects.filter(
        # A job that was cleared away ends nothing any more.
        Q(job__finished_at__isnull=False) | Q(job__isnull=True),
        state__in=(ParityRun.State.QUEUED, ParityRun.State.RUNNING),
    ).exclude(kind=ParityRun.Kind.SHADOW)  # callers play those, and no job ever held one
    rows = rows.filter(pk=run_id) if run_id is not None else rows
    settled = 0
    for run in rows.select_related("job"):
        job = run.job
        is_cancelled = job is not None and job.state == Job.State.CANCELLED
        state = ParityRun.State.CANCELLED if is_cancelled else ParityRun.State.FAILED
        settled += ParityRun.objects.filter(pk=run.pk, state=run.state, job=job).update(
            state=state,
            problem="" if is_cancelled else job.message if job is not None else _NO_JOB,
            finished_at=job.finished_at if job is not None else timezone.now(),
            **run_measure(run, state=state),
        )
    return settled


def calls_requeue(run: ParityRun) -> None:
    """Let the calls that failed, or that a worker left, be played again."""
    run.calls.exclude(state=ParityCall.State.DONE).update(
        state=ParityCall.State.WAITING,
        attempts=0,
        problem="",
        lease_token="",
        lease_until=None,
    )


def _play(running: RunningJob) -> None:
    run = (
        ParityRun.objects.select_related(
            *("organisation", "assistant", "revision__assistant__organisation"),
            *("number__twilio_account", "number__policy"),
        )
        .filter(job=running.job)
        .first()
    )
    if run is None:
        running.end(Job.State.FAILED, "The run is gone.")
        return
    registered = runner_of(run.kind)
    try:
        if registered is None:
            raise CallRefused(f"nothing here plays runs of kind {run.kind}")
        registered.prepare(run)
    except CallRefused as refused:
        _end(running, run, ParityRun.State.FAILED, str(refused))
        return
    with transaction.atomic():
        running.hold()
        ParityRun.objects.filter(pk=run.pk).update(
            state=ParityRun.State.RUNNING, begun_at=run.begun_at or timezone.now()
        )
        # Another worker's calls: it lost the job, so it stores nothing any more.
        run.calls.filter(state=ParityCall.State.RUNNING).update(
            state=ParityCall.State.WAITING,
            lease_token="",
        )
    _Playing(running, run, registered).play()


class _Playing:
    """A run in the hands of this worker."""

    def __init__(self, running: RunningJob, run: ParityRun, registered: Registered) -> None:
        self._running, self._run, self._registered = running, run, registered
        self._token = uuid.uuid4().hex
        self._left = self._sides_left()
        self._failed = 0
        self._stopped = ""
        self._halted = ""
        self._reserved: dict[int, Decimal] = {}
        self._has_played = False
        self._told_at: dt.datetime | None = None
        self._until = time.monotonic() + WORK_SECONDS

    def play(self) -> None:
        """Play until nothing is left, somebody cancels, or the money is spent."""
        stopped = ""
        with self._pool() as submit:
            under_way: dict[Future[CallResult], ParityCall] = {}
            while True:
                stopped = stopped or self._stopped or self._why_stop()
                if not stopped:
                    self._fill(submit, under_way)
                if not under_way:
                    break
                done, _ = wait(under_way, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    self._store(under_way.pop(future), future)
                self._tell()
        self._finish(stopped)

    @property
    def _plays_here(self) -> bool:
        # A rehearsal takes no time. A call of minutes in this thread would let the job's lease
        # run out, and the next worker would play, and pay, the same call again.
        return self._run.parallel == 1 and self._run.kind == ParityRun.Kind.REHEARSAL

    @contextmanager
    def _pool(self) -> Iterator[Any]:
        """Give a way to play calls beside this thread; a rehearsal one at a time is in it."""
        if self._plays_here:
            yield self._played_here
            return
        pool = ThreadPoolExecutor(self._run.parallel, thread_name_prefix="parity")
        try:
            yield lambda call: pool.submit(_beside, self._registered, call)
        finally:
            # What nobody waits for any more is not begun; what is under way ends by itself.
            pool.shutdown(wait=True, cancel_futures=True)

    def _played_here(self, call: ParityCall) -> Future[CallResult]:
        future: Future[CallResult] = Future()
        try:
            future.set_result(self._registered.play(call))
        except (CallRefused, CallLost, *_BROKEN) as error:
            future.set_exception(error)
        return future

    def _fill(self, submit: Any, under_way: dict[Future[CallResult], ParityCall]) -> None:
        while len(under_way) < self._run.parallel:
            if under_way and self._is_promised():
                return
            call = self._claim()
            if call is None:
                return
            self._reserved[call.pk] = self._registered.estimate(call)
            under_way[submit(call)] = call
            if self._plays_here:
                return

    def _is_promised(self) -> bool:
        """Tell whether the calls that are on may cost all that is left; they are waited for."""
        promised = sum(self._reserved.values(), Decimal(0))
        return bool(promised) and self._spent() + promised >= self._run.cost_limit_usd

    def _claim(self) -> ParityCall | None:
        """Take the next call in the order of dealing."""
        waiting = ParityCall.objects.filter(run=self._run, state=ParityCall.State.WAITING)
        call: ParityCall | None = waiting.order_by("position", "stack").first()
        if call is None:
            return None
        now = timezone.now()
        with transaction.atomic():
            self._running.hold()
            taken = waiting.filter(pk=call.pk).update(
                state=ParityCall.State.RUNNING,
                lease_token=self._token,
                lease_until=now + LEASE,
                begun_at=now,
                attempts=call.attempts + 1,
            )
        if not taken:
            return None
        call.attempts += 1
        call.run = self._run
        return call

    def _store(self, call: ParityCall, future: Future[CallResult]) -> None:
        error = future.exception()
        columns = _stored(future.result()) if error is None else self._failed_as(call, error)
        held = ParityCall.objects.filter(
            pk=call.pk, lease_token=self._token, state=ParityCall.State.RUNNING
        )
        kept = held.update(**columns, lease_token="", lease_until=None)
        self._reserved.pop(call.pk, None)
        if not kept:
            log.warning("parity_call_lost", run_id=str(self._run.pk), call_id=str(call.pk))
            return
        if columns["state"] != ParityCall.State.WAITING:
            self._left[call.position] -= 1
            self._has_played = True
        self._failed += columns["state"] == ParityCall.State.FAILED

    def _failed_as(self, call: ParityCall, error: BaseException) -> dict[str, Any]:
        """Return what is stored of a call that could not be played; a defect loses it alone."""
        if isinstance(error, CallRefused):
            return {
                "state": ParityCall.State.FAILED,
                "problem": str(error)[:300],
                "cost_usd": F("cost_usd") + error.cost_usd,
            }
        if isinstance(error, CallStopped):
            # The runner has seen it before this thread has: nothing more is begun.
            is_halted = isinstance(error, CallHalted)
            self._stopped = self._stopped or ("halted" if is_halted else "cancelled")
            self._halted = self._halted or (str(error) if is_halted else "")
            return {
                "state": ParityCall.State.WAITING,
                "attempts": call.attempts - 1,
                "problem": str(error)[:300],
                "cost_usd": F("cost_usd") + error.cost_usd,
            }
        if not isinstance(error, Exception):
            raise error  # the process is to end
        is_lost = isinstance(error, CallLost)
        if not is_lost:
            log.error("parity_call_broke", run_id=str(self._run.pk), **_where(error))
        again = isinstance(error, (CallLost, *_PASSING)) and call.attempts < MOST_ATTEMPTS
        spent = error.cost_usd if isinstance(error, CallLost) else Decimal(0)
        return {
            "state": ParityCall.State.WAITING if again else ParityCall.State.FAILED,
            "problem": (str(error) if is_lost else _broke(error))[:300],
            "cost_usd": F("cost_usd") + spent,
        }

    # ---- how far it is --------------------------------------------------------------------------

    def _sides_left(self) -> Counter[int]:
        open_states = (ParityCall.State.WAITING, ParityCall.State.RUNNING)
        rows = self._run.calls.filter(state__in=open_states)
        return Counter(rows.values_list("position", flat=True))

    @property
    def _done(self) -> int:
        return self._run.wanted - sum(1 for left in self._left.values() if left > 0)

    def _why_stop(self) -> str:
        """Return why no further call is begun, '' while there is no reason."""
        if self._running.cancelled():
            return "cancelled"
        if self._run.kind != ParityRun.Kind.REHEARSAL and self._spent() >= (
            self._run.cost_limit_usd
        ):
            return "cost"
        if self._run.stops_early and self._is_decided():
            return "decided"
        return "time" if time.monotonic() > self._until else ""

    def _spent(self) -> Decimal:
        rows = self._run.calls.all()
        if self._run.kind in (ParityRun.Kind.REPLAY, ParityRun.Kind.REHEAR):
            # What the past call cost on the old stack was paid when it was made.
            rows = rows.filter(stack=ParityCall.Stack.DIRECT)
        return Decimal(rows.aggregate(sum=Sum("cost_usd"))["sum"] or 0)

    def _is_decided(self) -> bool:
        if self._done == self._run.done:
            return False
        self._run.done = self._done
        return is_decided(self._run)

    def _tell(self, *, always: bool = False) -> None:
        now = timezone.now()
        if (
            not always
            and self._told_at is not None
            and ((now - self._told_at).total_seconds() < _TOLD_SECONDS)
        ):
            return
        self._told_at = now
        words = f"{self._done} of {self._run.wanted} pairs are played"
        words += f", {self._failed} calls could not be" if self._failed else ""
        self._running.progress(self._done, self._run.wanted, words)
        with transaction.atomic():
            self._running.hold()
            ParityRun.objects.filter(pk=self._run.pk).update(
                done=self._done, cost_usd=self._spent()
            )

    def _finish(self, stopped: str) -> None:
        self._tell(always=True)
        if stopped in ("time", "cost") and not self._sides_left():
            stopped = ""  # the last call was over as well
        if stopped == "time":
            # The next worker goes on where this one is; none of them died while calls are played.
            self._running.release(is_further=self._has_played)
        elif stopped == "cancelled":
            _end(self._running, self._run, ParityRun.State.CANCELLED, "")
        elif stopped == "halted":
            words = f"{self._halted[:1].upper()}{self._halted[1:]}"
            words += " What was played is kept; resume the run after that."
            _end(self._running, self._run, ParityRun.State.CANCELLED, words)
        elif stopped == "cost":
            limit = self._run.cost_limit_usd
            _end(
                self._running,
                self._run,
                ParityRun.State.CANCELLED,
                f"The cost limit of {limit} USD was reached. Fix: resume it with a higher one.",
            )
        else:
            _end(self._running, self._run, ParityRun.State.DONE, "")


def _beside(registered: Registered, call: ParityCall) -> CallResult:
    """Play one call in a thread of the pool, which has database connections of its own."""
    try:
        return registered.play(call)
    finally:
        connections.close_all()


def _where(error: Exception) -> dict[str, str]:
    """Return what broke and where, without what was said: a message may quote a caller."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return {"error": type(error).__name__, "place": f"{place}:{trace.tb_lineno}" if trace else ""}


def _broke(error: Exception) -> str:
    found = _where(error)
    return (
        f"It broke here ({found['error']} in {found['place'] or 'this software'}). "
        "Fix: report it; the other calls of the run are played."
    )


def _stored(result: CallResult) -> dict[str, Any]:
    return {
        "state": ParityCall.State.DONE,
        "problem": "",
        "sequence": sequence_dump(result.sequence),
        "transcript": [asdict(each) for each in result.transcript],
        "latency": asdict(result.latency),
        # Besides what attempts cost that were lost.
        "cost_usd": F("cost_usd") + result.cost_usd,
        "is_cut": result.cut or result.sequence.cut,
        "audio_seconds": result.audio_seconds,
        "audio_key": result.audio_key,
        "extras": dict(result.extras) or None,
        "finished_at": timezone.now(),
    }


def _end(running: RunningJob, run: ParityRun, state: ParityRun.State, problem: str) -> None:
    """End the run with its job, with the measures of what was played."""
    measured = run_measure(run, state=state)
    words = {
        ParityRun.State.DONE: f"Done: {measured['verdict']}.",
        ParityRun.State.CANCELLED: problem or "Cancelled. What was played is kept.",
    }.get(state, problem)
    job_state = {
        ParityRun.State.DONE: Job.State.DONE,
        ParityRun.State.CANCELLED: Job.State.CANCELLED,
    }.get(state, Job.State.FAILED)
    result = {"model": "calls.parityrun", "id": str(run.pk)}
    with transaction.atomic():
        done = measured.pop("done")
        running.end(job_state, words, result=result, counts=(done, run.wanted))
        ParityRun.objects.filter(pk=run.pk).update(
            state=state,
            problem=problem[:500],
            finished_at=timezone.now(),
            done=done,
            **measured,
        )
