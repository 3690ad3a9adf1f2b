"""Two workers in each other's way: one run, its calls played in threads, on the real database.

What is drawn for each call is whether its socket breaks, somebody cancels, or the worker is thought
dead while it plays, so that the other one takes the job. Runs on SQLite as production uses it, and
on PostgreSQL in ``make test-postgres``.
"""

from __future__ import annotations

import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from django.db import OperationalError, connections

from calls.models import ParityCall, ParityRun
from calls.parity.played import CallResult
from calls.parity.sequence import Sequence, ToolCall, sequence_load
from calls.services import parity_runners
from calls.services.parity_playing import KIND, run_play, runs_settle
from calls.services.parity_runners import CallLost, Registered
from calls.services.parity_runs import run_begin, run_cancel, run_resume
from tests import factories
from tests.drills.conftest import Tell
from voiceplatform.base.jobs import jobs_to_take
from voiceplatform.base.models import Job

Count = Callable[[int, int], int]

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

RUNS = 40
FIRST_SEED = 3
PAIRS = 8
LATE = "of a worker that lost the job"
# Both workers look every few milliseconds; longer than that something hangs.
PATIENCE_SECONDS = 60.0


@dataclass
class Rough:
    """A runner that is quick, but for what is drawn from the seed for each try of a call."""

    seed: int
    cancelled: int = 0
    broken: int = 0
    stolen: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    frozen: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, call: ParityCall) -> CallResult:
        row = ParityCall.objects.get(pk=call.pk)
        drawn = random.Random(f"{self.seed} {call} {call.attempts}").random()
        if drawn < 0.1 and call.attempts < 3:
            self.count("broken")
            raise CallLost("the socket broke")
        if drawn < 0.18 and self.cancelled < 3:
            self.count("cancelled")
            run_cancel(run=ParityRun.objects.get(pk=call.run_id), actor=None)
        # One at a time: the other worker has to be free to take the job.
        elif drawn < 0.3 and self.frozen.acquire(blocking=False):
            try:
                if self.is_taken_over(call, row.lease_token):
                    self.count("stolen")
                    return result(call, LATE)
            finally:
                self.frozen.release()
        return result(call, str(call))

    def count(self, name: str) -> None:
        with self.lock:
            setattr(self, name, getattr(self, name) + 1)

    def is_taken_over(self, call: ParityCall, token: str) -> bool:
        """Let this worker's lease run out; tell whether the other one has played the call since."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            run = ParityRun.objects.select_related("job").get(pk=call.run_id)
            row = ParityCall.objects.get(pk=call.pk)
            if row.state == ParityCall.State.DONE:
                return True
            if run.job is None or run.job.finished_at or run.job.cancel_requested:
                return False
            if row.lease_token == token:  # as if this process had stood still
                expire(run.job)
            time.sleep(0.02)
        return False


def expire(job: Job) -> None:
    row = Job.objects.get(pk=job.pk)
    lease = row.parameters.get("lease")
    if row.state == Job.State.RUNNING and isinstance(lease, dict):
        held = Job.objects.filter(pk=row.pk, parameters__lease__token=lease["token"])
        held.update(parameters={**row.parameters, "lease": {**lease, "until": 0}})


def result(call: ParityCall, key: str) -> CallResult:
    tools = ("look", "book") if call.position % 3 or call.stack == "vapi" else ("look",)
    stack: Literal["vapi", "direct"] = "vapi" if call.stack == "vapi" else "direct"
    return CallResult(Sequence(key, stack, tuple(ToolCall(name) for name in tools)))


def worker(run: ParityRun, over: threading.Event, errors: list[BaseException]) -> None:
    """Take what waits until it is over; a worker process outlives a task that failed, too."""
    try:
        while not over.is_set():
            try:
                for job_id in jobs_to_take((KIND,)):
                    run_play(job_id)
                runs_settle(run.pk)
            except OperationalError as error:  # SQLite's lock waits end some day
                errors.append(error)
            over.wait(0.02)
    except BaseException as error:
        errors.append(error)
        raise
    finally:
        connections.close_all()


def played_by_two(run: ParityRun) -> ParityRun:
    """Have two workers take the run, resume it whenever it was stopped; return it when it is done.

    This thread is the person who watches.
    """
    over = threading.Event()
    errors: list[BaseException] = []
    workers = [threading.Thread(target=worker, args=(run, over, errors)) for _ in range(2)]
    for thread in workers:
        thread.start()
    until = time.monotonic() + PATIENCE_SECONDS
    over_since: dict[Any, Any] = {}
    try:
        while True:
            for pk, state, at in run.calls.values_list("pk", "state", "finished_at"):
                if state == ParityCall.State.DONE or pk in over_since:
                    assert over_since.setdefault(pk, at) == at, "a call that was over came again"
            run.refresh_from_db()
            if run.state == ParityRun.State.DONE:
                return run
            if run.state in (ParityRun.State.CANCELLED, ParityRun.State.FAILED):
                run_resume(run=run, actor=None, tells_workers=False)
            assert time.monotonic() < until, stuck(run, workers, errors)
            time.sleep(0.02)
    finally:
        over.set()
        for thread in workers:
            thread.join(PATIENCE_SECONDS)


def stuck(run: ParityRun, workers: list[threading.Thread], errors: list[BaseException]) -> str:
    """Say all that is known of a run that does not end."""
    job = None if run.job is None else (run.job.state, run.job.parameters, run.job.cancel_requested)
    states = list(run.calls.values_list("position", "stack", "state", "attempts", "lease_token"))
    alive = [thread.is_alive() for thread in workers]
    told = f"{run.state}, {run.done} of {run.wanted}, {errors}, workers {alive}, {job}, {states}"
    stacks = [traceback.format_stack(frame) for frame in sys._current_frames().values()]
    return "\n".join([told, *("".join(lines[-6:]) for lines in stacks)])


def test_two_workers_play_a_run_as_one_does_whatever_befalls_them(
    monkeypatch: pytest.MonkeyPatch, count: Count, tell: Tell
) -> None:
    monkeypatch.setattr("voiceplatform.base.jobs._BEAT_SECONDS", 0.02)
    usual = parity_runners.runner_of("rehearsal")
    assert usual is not None
    assistant = factories.make_assistant()
    runs, players = count(RUNS, 2), []
    # With the first seed a worker is thought dead and nobody cancels, with the second one somebody
    # does: whoever is faster, each befalls one of them.
    for seed in range(FIRST_SEED, FIRST_SEED + runs):
        player = Rough(seed)
        players.append(player)
        monkeypatch.setitem(parity_runners._RUNNERS, "rehearsal", Registered(player))
        run = run_begin(
            kind="rehearsal",
            assistant=assistant,
            documents={"a": factories.parity.DOCUMENT, "b": factories.parity.DOCUMENT},
            pairs=PAIRS,
            seed=seed,
            parallel=3,
            actor=None,
            tells_workers=False,
        )
        run = played_by_two(run)
        calls = list(run.calls.all())
        keys = {str(call): sequence_load(call.sequence).key for call in calls}
        assert keys == {str(call): str(call) for call in calls}, f"seed {seed}"
        assert {call.state for call in calls} == {"done"}
        assert shown(run) == expected(run), f"seed {seed}"
    befell = {
        name: sum(getattr(player, name) for player in players)
        for name in ("cancelled", "broken", "stolen")
    }
    assert all(befell.values()), befell
    tell(
        "parity runs, two workers in each other's way",
        f"{runs} runs of {PAIRS} pairs, three at once by each of two workers: {befell['stolen']} "
        f"times a worker was thought dead, {befell['cancelled']} runs were cancelled and resumed, "
        f"{befell['broken']} calls lost; no call that was over was stored again, nothing of a "
        "worker that had lost the job was stored",
    )


def shown(run: ParityRun) -> Any:
    gates = run.figures["gates"]
    return run.done, gates["order"]["n"], gates["order"]["k"]


def expected(run: ParityRun) -> Any:
    return PAIRS, PAIRS, len([place for place in range(PAIRS) if place % 3 == 0])
