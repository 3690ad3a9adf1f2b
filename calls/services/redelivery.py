"""Orders from people about the outbox: one event, some, or all of a time; delivery is not decided
here.

Many become a job, in slices that hold no other writer up. What is asked for twice is due once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from calls.events import outbox
from calls.models import OutboxEvent
from calls.selectors.delivery import Selection
from calls.services.retention import EMPTIED
from voiceplatform.base.job_bell import JobBell
from voiceplatform.base.jobs import RunningJob, job_create
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.services import audit_write

KIND: Final = "redelivery"
TASK: Final = "calls.tasks.run_redelivery"
SLICE: Final = 100  # rows of one transaction (design.md 9)
MOST_AT_ONCE: Final = 200  # more than that is a job
MOST_IDS: Final = 1000

BELL: Final = JobBell(TASK, (KIND,))


def event_redeliver(*, event: OutboxEvent) -> bool:
    """Make ``event`` due now, delivered or not, with a whole series of attempts before it.

    Returns False while a worker holds it, and when its words are gone (``services.retention``).
    The receiver recognises it by the same event id.
    """
    return bool(_make_due([event.pk]))


def _make_due(ids: Iterable[uuid.UUID]) -> int:
    now = timezone.now()
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    with transaction.atomic():
        changed = (
            OutboxEvent.objects.filter(free, pk__in=ids)
            .exclude(schema_version=EMPTIED)
            .update(
                state=OutboxEvent.State.PENDING,
                next_attempt_at=now,
                lease_until=None,
                settled_at=None,
                failing_since=None,
                earlier_attempts=F("attempt_count"),
            )
        )
        if changed:
            transaction.on_commit(outbox.poke)
    return changed


def events_redeliver(*, selection: Selection, organisation: Organisation, actor: Any) -> Job | int:
    """Make all events of a selection due: at once when they are few, else as a job.

    Returns the number made due, or the job that is doing it.
    """
    total = selection.rows().count()
    with transaction.atomic():
        audit_write(
            actor=actor,
            action="outboxevent.deliver_again",
            organisation=organisation,
            details={"events": total, **_plain(selection)},
        )
        if total > MOST_AT_ONCE:
            job = job_create(
                organisation=organisation,
                kind=KIND,
                actor=actor,
                # Written down now: what fails from now on is not what the person looked at.
                parameters={**_plain(selection), "before": timezone.now().isoformat()},
                total=total,
            )
            transaction.on_commit(lambda: BELL.poke(job.pk))
            return job
    done = 0
    ids = list(selection.rows().values_list("pk", flat=True)[:MOST_AT_ONCE])
    for start in range(0, len(ids), SLICE):
        done += _make_due(ids[start : start + SLICE])
    return done


def _plain(selection: Selection) -> dict[str, Any]:
    return {
        "states": list(selection.states),
        "since": selection.since.isoformat() if selection.since else "",
        "until": selection.until.isoformat() if selection.until else "",
        "kind": selection.kind,
        "host": selection.host,
        "receiver": str(selection.receiver_id or ""),
        "ids": [str(each) for each in selection.ids[:MOST_IDS]],
    }


def _selection(organisation_id: uuid.UUID, stored: Mapping[str, Any]) -> Selection:
    receiver = stored.get("receiver") or ""
    return Selection(
        organisation_id,
        states=tuple(stored["states"]),
        since=_moment(stored.get("since")),
        until=_moment(stored.get("until")),
        kind=stored.get("kind", ""),
        host=stored.get("host", ""),
        receiver_id=uuid.UUID(receiver) if receiver else None,
        ids=tuple(uuid.UUID(each) for each in stored.get("ids", ())),
    )


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def redelivery_run(job_id: uuid.UUID | str) -> None:
    """Do one job to its end; harmless when another worker has it or it has ended."""
    BELL.run(job_id, _redeliver)


def _redeliver(running: RunningJob) -> None:
    job = running.job
    before = _moment(job.parameters.get("before")) or job.created_at
    owner = job.organisation_id
    assert owner is not None, "a column that is never null"
    rows = _selection(owner, job.parameters).rows().filter(created_at__lte=before)
    rows = rows.order_by("created_at", "pk")
    total, done, held = job.total_count, 0, 0
    later = Q()
    while True:
        if running.cancelled():
            running.end(Job.State.CANCELLED, f"Cancelled; {done} are due.", counts=(done, total))
            return
        some = list(rows.filter(later).values_list("pk", "created_at")[:SLICE])
        if not some:
            break
        changed = _make_due([each for each, _ in some])
        done += changed
        held += len(some) - changed
        # By key, not by state: what is delivered meanwhile must not come round again.
        last, at = some[-1]
        later = Q(created_at__gt=at) | Q(created_at=at, pk__gt=last)
        running.progress(done, total, f"{done} are due")
    words = f"{done} are due now and go out as fast as their receivers take them"
    words += f"; {held} were being delivered at that moment." if held else "."
    running.end(Job.State.DONE, words, counts=(done, total), result=_list())


def _list() -> dict[str, Any]:
    return {"model": "calls.outboxevent", "is_list": True}
