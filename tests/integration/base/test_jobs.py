"""Jobs: one worker holds a job, a dead one's is taken again, and a secret goes when it ends."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.test import Client
from django.urls import reverse
from kombu.exceptions import OperationalError

from tests import factories
from voiceplatform.base import jobs
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.models import AuditEntry, Job

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

KINDS = ("import", "import-preview")
SECRET = "vapi-key-of-the-parrot"


def make_job(**columns: Any) -> Job:
    given: dict[str, Any] = {"kind": "import", "parameters": {"run": "r"}, "actor": None}
    return jobs.job_create(organisation=factories.default_organisation(), **{**given, **columns})


def expire(job: Job) -> None:
    row = Job.objects.get(pk=job.pk)
    row.parameters["lease"]["until"] = time.time() - 1
    row.save()


def claimed(job: Job) -> jobs.RunningJob:
    running = jobs.job_claim(job.pk)
    assert running is not None
    return running


def test_one_worker_takes_a_job() -> None:
    job = make_job()
    assert jobs.jobs_to_take(KINDS) == [job.pk]
    claimed(job)
    assert jobs.job_claim(job.pk) is None
    assert jobs.jobs_to_take(KINDS) == []
    assert Job.objects.get().state == "running"


def test_one_of_a_group_runs_at_a_time() -> None:
    first, second = make_job(), make_job(kind="import-preview")
    running = jobs.job_claim(first.pk, alone_among=KINDS)
    assert running is not None
    assert jobs.job_claim(second.pk, alone_among=KINDS) is None
    running.end(Job.State.DONE)
    assert jobs.job_claim(second.pk, alone_among=KINDS) is not None


def test_a_dead_worker_s_job_is_taken_again_and_the_old_one_writes_nothing_more() -> None:
    job = make_job()
    dead = claimed(job)
    expire(job)
    assert jobs.jobs_to_take(KINDS) == [job.pk]
    alive = claimed(job)
    for late in (lambda: dead.progress(1, 2, "x"), lambda: dead.end(Job.State.DONE)):
        with pytest.raises(jobs.JobLost):
            late()
    alive.end(Job.State.DONE, "fine")
    assert Job.objects.get().message == "fine"


def test_a_job_that_kills_its_workers_is_given_up() -> None:
    job = make_job(secret=SECRET)
    for _ in range(jobs.MOST_ATTEMPTS):
        claimed(job)
        expire(job)
    assert jobs.job_claim(job.pk) is None
    row = Job.objects.get()
    assert (row.state, "sealed" in row.parameters) == ("failed", False)
    assert "three times" in row.message


def test_a_secret_is_sealed_shown_to_nobody_and_gone_at_the_end(client: Client) -> None:
    job = make_job(secret=SECRET)
    assert SECRET not in str(Job.objects.values().get())
    client.force_login(factories.make_superuser())
    page = client.get(reverse("admin:base_job_change", args=[job.pk])).content.decode()
    assert SECRET not in page
    assert job.parameters["sealed"] not in page
    running = claimed(job)
    assert running.secret() == SECRET
    running.end(Job.State.DONE, counts=(3, 3))
    assert Job.objects.get().parameters == {"run": "r"}


@pytest.mark.parametrize(
    ("error", "state"), [(SystemExit, "queued"), (ZeroDivisionError, "failed")]
)
def test_a_job_ends_with_its_block_or_goes_back_when_the_worker_stops(
    error: type[BaseException], state: str
) -> None:
    running = claimed(make_job())
    with pytest.raises(error), running:
        raise error
    assert Job.objects.get().state == state


def test_cancelling_ends_a_queued_job_at_once_and_asks_a_running_one() -> None:
    queued, other = make_job(secret=SECRET), make_job()
    assert jobs.job_cancel(job=queued, actor=None)
    assert Job.objects.get(pk=queued.pk).state == "cancelled"
    assert not jobs.job_cancel(job=queued, actor=None)
    running = claimed(other)
    assert not running.cancelled()
    assert jobs.job_cancel(job=other, actor=None)
    assert wait_for(running.cancelled)
    assert AuditEntry.objects.filter(action="job.cancel").count() == 2


def wait_for(condition: Any) -> bool:
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_cancelled_job_of_a_dead_worker_is_not_begun_again() -> None:
    job = make_job()
    claimed(job)
    jobs.job_cancel(job=job, actor=None)
    expire(job)
    assert jobs.job_claim(job.pk) is None
    assert Job.objects.get().state == "cancelled"


def test_the_page_polls_cancels_and_links_the_result(client: Client) -> None:
    client.force_login(factories.make_staff(permissions="all"))
    job = make_job()
    running = claimed(job)
    running.progress(3, 9, "<b>Desk</b>")
    progress = reverse("admin:base_job_progress", args=[job.pk])
    answer = client.get(progress)
    assert "no-store" in answer["Cache-Control"]
    assert answer.json() == {
        "state": "running",
        "words": "running",
        "colour": "primary",
        "done": 3,
        "total": 9,
        "message": "<b>Desk</b>",
        "has_ended": False,
        "result_url": "",
    }
    page = client.get(reverse("admin:base_job_change", args=[job.pk])).content.decode()
    assert "base/job.js" in page
    assert "<b>Desk</b>" not in page
    cancel = reverse("admin:base_job_cancel", args=[job.pk])
    assert client.get(cancel).status_code == 302
    assert not Job.objects.get().cancel_requested
    assert "stops after" in client.post(cancel, follow=True).content.decode()
    assert client.get(progress).json()["words"] == "stopping"
    running.end(Job.State.DONE, result={"model": "base.job", "id": str(job.pk)})
    assert client.get(progress).json()["result_url"].endswith(f"/base/job/{job.pk}/change/")
    assert "ended already" in client.post(cancel, follow=True).content.decode()


def test_who_may_only_look_may_not_cancel_another_s_job(client: Client) -> None:
    job = make_job()
    client.force_login(factories.make_staff(permissions=["base.view_job"]))
    assert client.post(reverse("admin:base_job_cancel", args=[job.pk])).status_code == 403
    page = client.get(reverse("admin:base_job_change", args=[job.pk])).content.decode()
    assert "Cancel</button>" not in page


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids that workers are told of."""
    ids: list[str] = []
    monkeypatch.setattr(
        current_app, "send_task", lambda _, args, **__: ids.extend(args), raising=False
    )
    return ids


def test_the_bell_tells_of_the_oldest_where_one_runs_at_a_time(told: list[str]) -> None:
    first, second = make_job(), make_job(kind="import-preview")
    assert JobBell("a.task", KINDS).poke_waiting() == 2
    assert told == [str(first.pk)]
    assert JobBell("a.task", KINDS, is_alone=False).poke_waiting() == 2
    assert told[1:] == [str(first.pk), str(second.pk)]


def test_whoever_ends_a_job_tells_of_the_next(told: list[str]) -> None:
    first, second = make_job(), make_job()
    done: list[Any] = []

    def do(running: jobs.RunningJob) -> None:
        JobBell("a.task", KINDS).run(second.pk, done.append)  # must wait for the first
        running.end(Job.State.DONE)

    JobBell("a.task", KINDS).run(first.pk, do)
    assert done == []
    assert told == [str(second.pk)]


@pytest.mark.parametrize(("too_long", "state"), [("", "queued"), ("Too long.", "failed")])
def test_a_job_out_of_time_is_given_back_or_ends_in_words(
    told: list[str], too_long: str, state: str
) -> None:
    def slow(_: jobs.RunningJob) -> None:
        raise SoftTimeLimitExceeded

    job = make_job()
    JobBell("a.task", KINDS, is_alone=False, too_long=too_long).run(job.pk, slow)
    job.refresh_from_db()
    assert (job.state, job.message) == (state, too_long)
    assert told == []


def test_a_job_that_another_worker_took_meanwhile_is_left_alone(told: list[str]) -> None:
    job = make_job()

    def overtaken(running: jobs.RunningJob) -> None:
        expire(job)
        claimed(job)
        running.end(Job.State.DONE)

    JobBell("a.task", KINDS, is_alone=False).run(job.pk, overtaken)
    assert Job.objects.get().state == "running"


def test_a_broker_that_is_away_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(current_app, "send_task", away, raising=False)
    make_job()
    assert JobBell("a.task", KINDS).poke_waiting() == 1
