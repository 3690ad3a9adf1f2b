"""Jobs: long work that a person watches, may cancel, and that outlives the worker it began on.

Owns queueing, the lease by which exactly one worker holds a job, progress and the end. What a job
does is the caller's. A secret that a job needs is sealed in its row and gone when the job ends; it
must not reach a broker message, so tasks take the job's id only.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any, Final, Self

from django.db import transaction
from django.utils import timezone

from voiceplatform.base.fields import seal, unseal
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.redaction import redact
from voiceplatform.base.services import audit_write

# Longer than the longest wait for one answer of somebody else's server.
LEASE: Final = dt.timedelta(seconds=150)
MOST_ATTEMPTS: Final = 3
# Keys of `Job.parameters` that are this module's; nobody shows them.
PRIVATE: Final = frozenset({"sealed", "lease", "attempts"})

_BEAT_SECONDS: Final = 0.4
_OPEN: Final = (Job.State.QUEUED, Job.State.RUNNING)
_DIED: Final = "The worker died on it three times, so it was given up. What it stored is kept."


class JobLost(Exception):
    """Another worker holds the job, or it has ended; stop at once and write nothing more."""


class RunningJob:
    """A job in the hands of this worker."""

    def __init__(self, job: Job, token: str) -> None:
        self.job = job
        self._token = token
        self._next_beat = 0.0
        self._cancelled = False
        self.has_ended = False

    def secret(self) -> str:
        """Return the secret the job was made with, '' without one."""
        sealed = str(self.job.parameters.get("sealed", ""))
        return unseal(sealed.encode("ascii")).decode() if sealed else ""

    def progress(self, done: int, total: int, label: str) -> None:
        """Show how far it is and keep the lease; most calls are too soon and do nothing.

        Raises:
            JobLost: another worker has it.
        """
        if time.monotonic() >= self._next_beat:
            self._beat(done_count=done, total_count=total, message=label[:500])

    def hold(self) -> None:
        """Make sure that the job is still this worker's; in a transaction, until its end.

        Belongs before what the job writes: who lost the lease writes nothing more.

        Raises:
            JobLost: another worker has it.
        """
        self._write(state=Job.State.RUNNING)

    def cancelled(self) -> bool:
        """Tell whether somebody asked to stop; looks at the row about twice a second.

        Raises:
            JobLost: another worker has it.
        """
        if time.monotonic() >= self._next_beat:
            self._beat()
        return self._cancelled

    def _beat(self, **columns: Any) -> None:
        self._next_beat = time.monotonic() + _BEAT_SECONDS
        parameters = {**self.job.parameters, "lease": _lease(self._token)}
        self._write(parameters=parameters, **columns)
        self.job.parameters = parameters
        self._cancelled = Job.objects.filter(pk=self.job.pk, cancel_requested=True).exists()

    def _write(self, **columns: Any) -> None:
        held = Job.objects.filter(
            pk=self.job.pk, state=Job.State.RUNNING, parameters__lease__token=self._token
        )
        if not held.update(**columns):
            self.has_ended = True
            raise JobLost(str(self.job.pk))

    def end(
        self,
        state: Job.State,
        message: str = "",
        *,
        result: Mapping[str, Any] | None = None,
        counts: tuple[int, int] | None = None,
    ) -> None:
        """Write the end and drop the secret.

        Args:
            result: plain values; ``{"model": "app.model", "id": …}`` is shown as a link, with
                ``"is_list": True`` in place of an id as one to the list.
            counts: done and total, when the last progress was not the last word.

        Raises:
            JobLost: another worker has it.
        """
        columns: dict[str, Any] = {} if counts is None else dict(_counts(counts))
        self._write(
            state=state,
            message=message[:500],
            result=None if result is None else dict(result),
            finished_at=timezone.now(),
            parameters=_public(self.job.parameters),
            **columns,
        )
        self.has_ended = True

    def release(self, *, is_further: bool = False) -> None:
        """Give it back unfinished, e.g. because this worker is stopping; another one takes it.

        Args:
            is_further: it came further here, so this is none of the three times a worker dies.
        """
        names = ("lease", "attempts") if is_further else ("lease",)
        self._write(state=Job.State.QUEUED, parameters=_without(self.job.parameters, *names))
        self.has_ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """End a job that nobody ended: released when the process is told to stop, else failed."""
        if self.has_ended:
            return
        if kind is not None and issubclass(kind, KeyboardInterrupt | SystemExit):
            self.release()
        else:
            self.end(Job.State.FAILED, "It stopped on an error, which the worker's log names.")


def job_create(
    *,
    organisation: Organisation,
    kind: str,
    actor: Any,
    parameters: Mapping[str, Any],
    secret: str = "",
    total: int = 0,
) -> Job:
    """Queue a job; the caller tells a worker after the commit.

    Args:
        actor: a user, or None for the system.
        parameters: plain values without secrets; people can read them.
        secret: what only the worker may know, e.g. a key; sealed until the job ends.
    """
    given = dict(parameters)
    if secret:
        given["sealed"] = seal(secret.encode()).decode("ascii")
    job: Job = Job.objects.create(
        organisation=organisation,
        kind=kind,
        parameters=given,
        total_count=total,
        created_by=actor if getattr(actor, "pk", None) else None,
    )
    return job


def job_claim(job_id: uuid.UUID | str, *, alone_among: Collection[str] = ()) -> RunningJob | None:
    """Take a job that is queued, or that a dead worker left; None when there is nothing to take.

    Args:
        alone_among: kinds of which only one job runs at a time; while one does, this one waits.
    """
    with transaction.atomic():
        # Locked in one order, so that two workers cannot both find that no other job runs.
        rows = Job.objects.select_for_update().filter(state__in=_OPEN).order_by("created_at")
        wanted = rows.filter(kind__in=alone_among) if alone_among else rows.filter(pk=job_id)
        found = {str(job.pk): job for job in wanted}
        job = found.pop(str(job_id), None)
        if job is None or _is_held(job) or any(_is_held(other) for other in found.values()):
            return None
        if job.cancel_requested:
            _close(job, Job.State.CANCELLED, job.message or "Cancelled before it began.")
            return None
        attempts = int(job.parameters.get("attempts", 0)) + 1
        if attempts > MOST_ATTEMPTS:
            _close(job, Job.State.FAILED, _DIED)
            return None
        token = uuid.uuid4().hex
        job.parameters = {**job.parameters, "attempts": attempts, "lease": _lease(token)}
        job.state = Job.State.RUNNING
        job.started_at = job.started_at or timezone.now()
        job.save(update_fields=["parameters", "state", "started_at"])
    return RunningJob(job, token)


def jobs_to_take(kinds: Collection[str]) -> list[uuid.UUID]:
    """Return the jobs of ``kinds`` that nobody holds, oldest first."""
    jobs = Job.objects.filter(state__in=_OPEN, kind__in=kinds).order_by("created_at")
    return [job.pk for job in jobs if not _is_held(job)]


def job_cancel(*, job: Job, actor: Any) -> bool:
    """Ask a job to stop: at once while it is queued, else after the object at hand.

    Returns:
        False when it had ended already.
    """
    with transaction.atomic():
        row = Job.objects.select_for_update().filter(pk=job.pk, state__in=_OPEN).first()
        if row is None:
            return False
        row.cancel_requested = True
        row.save(update_fields=["cancel_requested"])
        if not _is_held(row):
            _close(row, Job.State.CANCELLED, "Cancelled while nobody worked on it.")
        audit_write(actor=actor, action="job.cancel", organisation=row.organisation, target=row)
    return True


def public_parameters(job: Job) -> dict[str, Any]:
    """Return what people may read of a job's parameters."""
    shown: dict[str, Any] = redact(_public(job.parameters))
    return shown


def _close(job: Job, state: Job.State, message: str) -> None:
    job.state, job.message, job.finished_at = state, message, timezone.now()
    job.parameters = _public(job.parameters)
    job.save(update_fields=["state", "message", "finished_at", "parameters"])


def _is_held(job: Job) -> bool:
    lease = job.parameters.get("lease")
    until = lease.get("until", 0) if isinstance(lease, Mapping) else 0
    return job.state == Job.State.RUNNING and until > timezone.now().timestamp()


def _lease(token: str) -> dict[str, Any]:
    return {"token": token, "until": round((timezone.now() + LEASE).timestamp(), 3)}


def _public(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return _without(parameters, *PRIVATE)


def _without(parameters: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in names}


def _counts(counts: tuple[int, int]) -> Mapping[str, int]:
    return {"done_count": counts[0], "total_count": counts[1]}
