"""What is done at Twilio and on the disk about recordings: begun, looked at, fetched, deleted.

One step of one row at a time, claimed by a lease, outside of any transaction; what a step finds is
written only if the row still stands where it stood. A step that fails is tried again, later each
time, and gives up where that is said; a deletion never gives up. Consent is asked once more before
anything begins.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from calls.models import Call, Recording, RecordingRemoval, TwilioAccount
from calls.services import recordings
from calls.services.recording_files import NotSound, sound_delete, sound_store
from calls.telephony import recordings as carrier
from calls.telephony.twilio_client import TwilioAccess, access_of

BUDGET_SECONDS: Final = 40.0
# Longer than a step may take: the file of the longest call.
LEASE: Final = dt.timedelta(minutes=15)
# Beginning: a call lasts minutes. Fetching: Twilio has it within minutes, or is down for hours.
MOST_ATTEMPTS: Final = {"wanted": 6, "recording": 20, "ready": 20}
_FIRST_WAIT_SECONDS: Final = 5
_LONGEST_WAIT_SECONDS: Final = 3600

log = structlog.get_logger(__name__)


def recordings_work(budget_seconds: float = BUDGET_SECONDS) -> int:
    """Do what is due; return how many steps were made."""
    until = time.monotonic() + budget_seconds
    steps = 0
    recordings.callbacks_miss(timezone.now())
    for rows, step in ((Recording.objects, _recording_step), (RecordingRemoval.objects, _remove)):
        due: Any = rows.filter(next_attempt_at__lte=timezone.now())
        for pk in list(due.order_by("next_attempt_at").values_list("pk", flat=True)[:100]):
            if time.monotonic() >= until:
                return steps
            if _claimed(rows, pk):
                step(pk)
                steps += 1
    return steps


def _claimed(rows: models.Manager[Any], pk: Any) -> bool:
    """Take a due row for as long as a step may last; the count says who won."""
    now = timezone.now()
    return bool(
        rows.filter(pk=pk, next_attempt_at__lte=now).update(
            next_attempt_at=now + LEASE, attempts=models.F("attempts") + 1
        )
    )


def _recording_step(pk: Any) -> None:
    row = Recording.objects.select_related("call__twilio_account").get(pk=pk)
    step = {
        Recording.State.WANTED: _begin,
        Recording.State.RECORDING: _look,
        Recording.State.READY: _fetch,
        Recording.State.REMOVED: _file_away,
    }.get(Recording.State(row.state))
    if step is None:
        Recording.objects.filter(pk=pk).update(next_attempt_at=None)
        return
    try:
        step(row)
    except (carrier.RecordingSilent, carrier.RecordingGone, NotSound, OSError) as error:
        _later(row, f"{str(error) or type(error).__name__}"[:300])


def _access(account: TwilioAccount) -> TwilioAccess:
    return access_of(account)


def wait_of(attempts: int) -> dt.timedelta:
    """Return how long to wait after so many attempts: 5 s, doubled, an hour at most."""
    doubled = _FIRST_WAIT_SECONDS * 2 ** min(attempts - 1, 12)
    return dt.timedelta(seconds=min(doubled, _LONGEST_WAIT_SECONDS))


def _later(row: Recording, problem: str) -> None:
    columns: dict[str, Any] = {
        "problem": problem,
        "next_attempt_at": timezone.now() + wait_of(row.attempts),
    }
    if row.attempts >= MOST_ATTEMPTS.get(row.state, row.attempts + 1):
        columns |= {"state": Recording.State.FAILED, "next_attempt_at": None}
        log.error("recording_given_up", recording_id=str(row.pk), step=row.state, problem=problem)
    Recording.objects.filter(pk=row.pk, state=row.state).update(**columns)


def _begin(row: Recording) -> None:
    recordings.recording_review(row.call_id)
    row.refresh_from_db(fields=["state"])
    if row.state != Recording.State.WANTED:
        return
    call = row.call
    if call.status == Call.Status.ENDED:
        _settle(row, state=Recording.State.FAILED, problem="the call was over before it began")
        return
    try:
        made = carrier.recording_begin(
            _access(call.account),
            call.call_sid,
            callback_url=f"{settings.PUBLIC_BASE_URL}/twilio/recording",
            look_first=row.attempts > 1,
        )
    except carrier.CallIsOver:
        _settle(row, state=Recording.State.FAILED, problem="the call was over before it began")
        return
    with transaction.atomic():
        now = Recording.objects.select_for_update().select_related("call").get(pk=row.pk)
        if now.state == Recording.State.REMOVED:
            # The caller refused while Twilio was being asked.
            account, reason = call.account, "taken away while it began"
            recordings.removal_want(account, call.call_sid, made.recording_sid, reason)
        elif now.state == Recording.State.WANTED:
            recordings.begun_at(now.call, now, made.started_at)
            now.state, now.recording_sid = Recording.State.RECORDING, made.recording_sid
            now.attempts, now.problem, now.next_attempt_at = 0, "", None
            now.save()


def _settle(row: Recording, **columns: Any) -> None:
    """Write what a step found, if the row still stands where it stood."""
    columns = {"next_attempt_at": None, "problem": "", "attempts": 0} | columns
    Recording.objects.filter(pk=row.pk, state=row.state).update(**columns)


def _look(row: Recording) -> None:
    """Ask about a recording of which no callback came."""
    found = carrier.recording_look(_access(row.call.account), row.recording_sid)
    if found.status == "completed":
        recordings.ready(row, found.duration_seconds, found.channels)
        Recording.objects.filter(pk=row.pk, state=Recording.State.RECORDING).update(
            state=row.state,
            attempts=0,
            duration_seconds=row.duration_seconds,
            channels=row.channels,
            next_attempt_at=row.next_attempt_at,
            problem="",
        )
    elif found.status in {"absent", "failed", "deleted"}:
        status = "absent" if found.status == "absent" else found.status
        _settle(
            row,
            state=Recording.State.ABSENT if status == "absent" else Recording.State.FAILED,
            problem=f"Twilio says {status}",
        )
    else:
        raise carrier.RecordingSilent(f"Twilio says {found.status or 'nothing'}")


def _fetch(row: Recording) -> None:
    account = row.call.account
    sound = carrier.recording_sound(_access(account), row.recording_sid)
    written = sound_store(row.call_id, sound)
    with transaction.atomic():
        stored = Recording.objects.filter(pk=row.pk, state=Recording.State.READY).update(
            state=Recording.State.STORED,
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            channels=written.channels,
            stored_at=timezone.now(),
            next_attempt_at=None,
            problem="",
            attempts=0,
        )
        if stored and not row.organisation.keeps_recordings_at_carrier:
            # Only now that our copy has been read back.
            why = "stored here"
            recordings.removal_want(account, row.call.call_sid, row.recording_sid, why)
    if not stored:
        # It was taken away, or its call erased, while it was on its way.
        sound_delete(row.call_id)


def _file_away(row: Recording) -> None:
    sound_delete(row.call_id)
    _settle(row)


def _remove(pk: Any) -> None:
    row = RecordingRemoval.objects.select_related("account").get(pk=pk)
    try:
        carrier.recordings_delete(_access(row.account), row.call_sid, row.recording_sid)
    except carrier.RecordingsRemain as error:
        row.problem = str(error)[:300]
        row.next_attempt_at = timezone.now() + wait_of(row.attempts)
        row.save(update_fields=["problem", "next_attempt_at"])
    else:
        row.delete()
