"""The doorbell of jobs: tells a worker that there is one, and takes a job through to its end there.

Owns what every kind of job does alike around its own work. What a job is, its lease and its end
are ``voiceplatform.base.jobs``'s; what it does is the caller's. It must not know tasks, which are
doors: a task is told by name.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

from voiceplatform.base.jobs import JobLost, RunningJob, job_claim, jobs_to_take
from voiceplatform.base.models import Job

# The beat comes round within that time and tells again.
_EXPIRES_SECONDS: Final = 30

log = structlog.get_logger(__name__)


def task_tell(task: str, *arguments: str) -> None:
    """Ask a worker for ``task`` now; what is lost on the way costs seconds, the beat asks too."""
    try:
        current_app.send_task(task, args=arguments, expires=_EXPIRES_SECONDS, retry=False)
    except (OperationalError, OSError) as error:
        log.info("poke_lost", task=task, error=type(error).__name__)


class Doorbell:
    """Rings from one thread of its own, so that nobody who commits waits for a broker that is away.

    Any number of presses fold into one ring that waits.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._waits = threading.Event()

    def press(self, ring: Callable[[], None]) -> None:
        """Have ``ring`` called soon, once for all who press until it begins; return at once."""
        if not self._waits.is_set():
            self._waits.set()
            self._thread.submit(self._answer, ring)

    def _answer(self, ring: Callable[[], None]) -> None:
        self._waits.clear()  # what is committed from now on needs a ring of its own
        ring()


@dataclass(frozen=True, slots=True)
class JobBell:
    """How workers hear of the jobs of ``kinds``, which ``task`` does when it is given an id.

    ``is_alone``: one of them runs at a time, and whoever ends one tells of the next.
    ``too_long``: what people read when a job came to its time limit; '' gives it back unfinished.
    """

    task: str
    kinds: tuple[str, ...]
    is_alone: bool = True
    too_long: str = ""

    def poke(self, job_id: uuid.UUID) -> None:
        """Tell a worker of one job; belongs behind the commit that made it."""
        task_tell(self.task, str(job_id))

    def poke_waiting(self) -> int:
        """Tell of the jobs that nobody works on, of the oldest only if one runs at a time.

        Returns:
            How many wait.
        """
        waiting = jobs_to_take(self.kinds)
        for job_id in waiting[:1] if self.is_alone else waiting:
            self.poke(job_id)
        return len(waiting)

    def run(self, job_id: uuid.UUID | str, do: Callable[[RunningJob], None]) -> None:
        """Do one job to its end; harmless when another worker has it or it has ended."""
        running = job_claim(job_id, alone_among=self.kinds if self.is_alone else ())
        if running is None:
            return
        job = running.job
        log.info("job_begun", job_id=str(job.pk), kind=job.kind)
        try:
            with running:
                try:
                    do(running)
                except SoftTimeLimitExceeded:
                    if self.too_long:
                        running.end(Job.State.FAILED, self.too_long)
                    else:
                        running.release()
        except JobLost:
            log.warning("job_lost", job_id=str(job.pk), kind=job.kind)
        if self.is_alone:
            self.poke_waiting()
