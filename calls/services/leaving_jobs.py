"""The steps of leaving Vapi as jobs: a person watches them, may cancel, and they outlive a worker.

Owns queueing, where an export goes that was begun in the admin, and the words at the end. A step
that lost its worker is done again by another one, which finds what is done already. What a step
does is ``calls.services.leaving``'s.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from django.conf import settings
from django.db import transaction

from assistants.vapi_api import VapiApi, VapiApiError
from calls.models import Departure
from calls.numbers.leaving import CONFIRMATION, outstanding
from calls.services.export_folder import FolderRefused
from calls.services.leaving import (
    LeavingRefused,
    Left,
    departure_export,
    departure_leave,
    departure_look,
    departure_undo,
)
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job

Step = Literal["look", "export", "leave", "undo"]
KINDS: Final = ("leaving-look", "leaving-export", "leaving-leave", "leaving-undo")
TASK: Final = "calls.tasks.run_leaving"
SOFT_LIMIT_SECONDS: Final = 55 * 60

BELL: Final = JobBell(
    TASK,
    KINDS,
    too_long="It took longer than 55 minutes and was stopped. Fix: start it again, it goes on.",
)


def step_begin(
    *,
    departure: Departure,
    step: Step,
    actor: Any,
    vapi_key: str = "",
    typed: str = "",
    why: str = "",
) -> Job:
    """Queue a step; Vapi's key is sealed until the job ends.

    Raises:
        LeavingRefused: a step is under way already, the key cannot be used, or what was typed is
            not the confirmation.
    """
    if step == "leave" and typed.strip().lower() != CONFIRMATION:
        raise LeavingRefused(f"the confirmation is not right. Fix: type “{CONFIRMATION}”.")
    if step == "undo" and not why.strip():
        raise LeavingRefused("why is empty. Fix: say in a few words why; it is kept.")
    if vapi_key:
        try:
            VapiApi(api_key=vapi_key, base_url=settings.VAPI_BASE_URL).close()
        except VapiApiError as error:
            raise LeavingRefused(f"{error}.") from error
    with transaction.atomic():
        # One line for all who begin a step of this leave.
        row = Departure.objects.select_for_update().defer("sealed").get(pk=departure.pk)
        if open_step(row) is not None:
            raise LeavingRefused("a step is under way. Fix: wait for it, or cancel it.")
        job = job_create(
            organisation=row.organisation,
            kind=f"leaving-{step}",
            actor=actor,
            parameters={"departure": str(row.pk), "why": why[:300]},
            secret=vapi_key,
        )
        transaction.on_commit(lambda: BELL.poke(job.pk))
    return job


def open_step(departure: Departure) -> Job | None:
    """Return the step of this leave that is queued or running."""
    jobs = Job.objects.filter(
        kind__in=KINDS,
        organisation=departure.organisation_id,
        state__in=(Job.State.QUEUED, Job.State.RUNNING),
    )
    return next((j for j in jobs if j.parameters.get("departure") == str(departure.pk)), None)


def export_folder_of(departure: Departure) -> Path:
    """Return where the admin exports to: below the instance's own folder, one for each leave."""
    return Path(settings.VAR_DIR) / "exports" / f"leaving-{departure.pk}"


def step_run(job_id: uuid.UUID | str) -> None:
    """Do one step to its end; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _do)


def _do(running: RunningJob) -> None:
    parameters = running.job.parameters
    departure = (
        Departure.objects.select_related("organisation")
        .filter(pk=parameters.get("departure"), organisation=running.job.organisation_id)
        .first()
    )
    if departure is None:
        running.end(Job.State.FAILED, "The leave is gone.")
        return
    try:
        with _vapi(running) as vapi:
            _step(running, departure, vapi)
    except LeavingRefused as refusal:
        running.end(Job.State.FAILED, _sentence(str(refusal)), result=_row(departure))
    except FolderRefused as refusal:
        running.end(Job.State.FAILED, _sentence(str(refusal)), result=_row(departure))


def _step(running: RunningJob, departure: Departure, vapi: VapiApi | None) -> None:
    common: dict[str, Any] = {"departure": departure}
    watched: dict[str, Any] = {
        "progress": running.progress,
        "cancelled": running.cancelled,
        "vapi": vapi,
    }
    actor = running.job.created_by
    match running.job.kind:
        case "leaving-look":
            found = departure_look(**common, **watched)
            left = outstanding(found, departure.accepted)
            words = f"{len(left)} things keep you from leaving." if left else "Nothing is left."
            running.end(Job.State.DONE, words, result=_row(departure))
        case "leaving-export":
            folder = export_folder_of(departure)
            report = departure_export(**common, folder=folder, actor=actor, **watched)
            if report.is_cancelled:
                words = "Cancelled. What is written stays; begun again, it goes on."
                running.end(Job.State.CANCELLED, words, result=_row(departure))
                return
            words = f"{report.files} files exported, {report.missing_count} could not be."
            state = Job.State.DONE if report.digest else Job.State.FAILED
            running.end(state, words, result=_row(departure))
        case "leaving-leave":
            done = departure_leave(**common, typed=CONFIRMATION, actor=actor, **watched)
            _end(running, departure, done, "Vapi has been left. See what is due now.")
        case _:
            why = str(running.job.parameters.get("why", ""))
            done = departure_undo(**common, actor=actor, why=why)
            _end(running, departure, done, "Undone: every number has its way back.")


def _end(running: RunningJob, departure: Departure, done: Left, words: str) -> None:
    if done.is_cancelled:
        words = "Cancelled. Nothing was put away; nets that were armed stay armed."
        running.end(Job.State.CANCELLED, words, result=_row(departure))
    elif done.problems:
        first = f"{len(done.problems)} numbers are in the way; the first: {done.problems[0]}"
        running.end(Job.State.FAILED, first, result=_row(departure))
    else:
        running.end(Job.State.DONE, words, result=_row(departure))


@contextmanager
def _vapi(running: RunningJob) -> Iterator[VapiApi | None]:
    key = running.secret()
    if not key:
        yield None
        return
    with VapiApi(api_key=key, base_url=settings.VAPI_BASE_URL) as vapi:
        yield vapi


def _row(departure: Departure) -> dict[str, str]:
    return {"model": "calls.departure", "id": str(departure.pk)}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
