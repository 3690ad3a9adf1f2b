"""Celery's doors into imports and into the reading of files.

Tasks are idempotent and take primary keys only.
"""

from __future__ import annotations

from celery import shared_task

from assistants import file_queue, file_work, import_jobs


@shared_task(
    name=import_jobs.TASK,
    soft_time_limit=import_jobs.SOFT_LIMIT_SECONDS,
    time_limit=import_jobs.SOFT_LIMIT_SECONDS + 60,
)
def run_import_job(job_id: str) -> None:
    """Do one import, or nothing when another worker has it."""
    import_jobs.job_run(job_id)


@shared_task(name="assistants.tasks.take_import_jobs")
def take_import_jobs() -> int:
    """Tell a worker of imports that lost theirs."""
    return import_jobs.BELL.poke_waiting()


@shared_task(
    name=file_queue.TASK,
    soft_time_limit=file_work.SOFT_LIMIT_SECONDS,
    time_limit=file_work.SOFT_LIMIT_SECONDS + 60,
)
def read_files() -> int:
    """Read uploaded files that wait, or nothing when another worker reads one."""
    return file_work.files_work()
