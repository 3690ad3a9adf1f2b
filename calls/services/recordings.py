"""The recording of a call: when one is begun, what Twilio says of it, and that it is taken away.

Owns every change of a recording's row that something in a call, at Twilio or in a rule brings
about; Twilio is asked by ``calls.services.recording_work``, later and outside of a transaction.
A call has one recording at most, over all its streams, and never one that consent does not cover.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from assistants.models import AssistantRevision
from calls.models import Call, CallPolicy, Recording, RecordingRemoval, TwilioAccount
from calls.privacy.recording import ConsentState, may_record
from calls.services.call_finish import calls_of
from calls.services.privacy import keeping_for
from calls.wire.twilio_voice import RecordingReport
from tools.loose_json import as_object
from voiceplatform.base.job_bell import Doorbell, task_tell

TASK: Final = "calls.tasks.work_recordings"
LIVE: Final = (Recording.State.WANTED, Recording.State.RECORDING)
# What may still change by what Twilio says; the rest is decided.
_OPEN: Final = (*LIVE, Recording.State.READY)
# Twilio tells of the end within a minute; if that is lost, it is asked.
CALLBACK_COMES: Final = dt.timedelta(minutes=2)

_doorbell = Doorbell("recording-poke")


def recording_review(call_id: Any) -> None:
    """Begin the recording of a live call, or take it away, as its row now says; repeats are idle.

    Belongs into the transaction that changed what it depends on: the stream's begin, the line that
    was heard, a refusal, another assistant.
    """
    call = (
        Call.objects.select_related(
            *("organisation", "revision", "number__policy", "policy_wording__policy")
        )
        .filter(pk=call_id, stack=Call.Stack.DIRECT, direction="inbound")
        .first()
    )
    if call is None:
        return
    row = Recording.objects.filter(call=call).first()
    allowed = _is_allowed(call)
    if row is None and allowed and call.started_at is not None:
        _want(call)
    elif row is not None and not allowed and row.state != Recording.State.REMOVED:
        recording_remove(row, "the caller refused, or nothing may be kept of the call")


def _want(call: Call) -> None:
    if call.status == Call.Status.ENDED:
        return
    Recording.objects.get_or_create(
        call=call,
        defaults={"organisation": call.organisation, "next_attempt_at": timezone.now()},
    )
    transaction.on_commit(poke)


def _is_allowed(call: Call) -> bool:
    """Tell whether the call may be recorded: switch, wish, rules of privacy, consent."""
    if not call.organisation.records_calls or not wants_recording(call.revision):
        return False
    # A rule that masks words says nothing of a voice that speaks them, so there is none.
    if not keeping_for(call).inputs:
        return False
    policy = _policy_of(call)
    return policy is not None and may_record(policy.recording_consent, consent_state(call))


def _policy_of(call: Call) -> CallPolicy | None:
    if call.policy_wording is not None:
        return call.policy_wording.policy
    return call.number.policy if call.number is not None else None


def consent_state(call: Call) -> ConsentState:
    """Return what the caller has heard and answered so far."""
    if call.policy_refused_at is not None or call.consent_state == Call.Consent.REFUSED:
        return "refused"
    if call.consent_state == Call.Consent.GRANTED:
        return "agreed"
    return "heard" if call.policy_played_at is not None else "open"


def wants_recording(revision: AssistantRevision | None) -> bool:
    """Tell whether an assistant wants its calls recorded; without a word it does (vapi.md 2.9)."""
    document = as_object(revision.document_redacted if revision is not None else {})
    plan = as_object(document.get("artifactPlan"))
    wish = plan.get("recordingEnabled", document.get("recordingEnabled"))
    return revision is not None and wish is not False


def recording_remove(row: Recording, why: str) -> None:
    """Take a recording away, here and at Twilio, in the caller's transaction; its row stays."""
    call = row.call
    # What was fetched from the old stack was never made at Twilio for us.
    if row.origin == Recording.Origin.TWILIO:
        removal_want(call.account, call.call_sid, row.recording_sid, why)
    row.state = Recording.State.REMOVED
    row.sha256, row.size_bytes, row.problem, row.attempts = "", 0, "", 0
    row.next_attempt_at = timezone.now()  # for the file, which no transaction deletes
    row.save()
    transaction.on_commit(poke)


def removal_want(account: TwilioAccount, call_sid: str, recording_sid: str, why: str) -> None:
    """Note that Twilio is to delete recordings of a call; '' for all it has."""
    RecordingRemoval.objects.get_or_create(
        call_sid=call_sid,
        recording_sid=recording_sid,
        defaults={
            "organisation_id": account.organisation_id,
            "account": account,
            "reason": why[:100],
            "next_attempt_at": timezone.now(),
        },
    )


def call_recording_forget(call_id: Any) -> None:
    """See to it that Twilio deletes the recording of a call whose rows go; in any transaction."""
    row = Recording.objects.select_related("call__twilio_account").filter(call=call_id).first()
    if row is not None and row.origin == Recording.Origin.TWILIO:
        call = row.call
        removal_want(call.account, call.call_sid, row.recording_sid, "its call was erased")


def recording_report_apply(
    *, report: RecordingReport, account: TwilioAccount | None = None
) -> bool:
    """Apply what Twilio says of a recording; tell whether ``account`` has the call.

    Twilio repeats, and its words overtake each other: only an open row goes on, and only forward.
    """
    with transaction.atomic():
        call = calls_of(account).filter(call_sid=report.call_sid).first()
        if call is None:
            return False
        row = Recording.objects.select_for_update().filter(call=call).first()
        if row is None or row.recording_sid not in {"", report.recording_sid}:
            return True  # somebody else's recording of the same call
        if row.state == Recording.State.REMOVED and not row.recording_sid:
            # It began all the same, after it had been taken away.
            removal_want(call.account, call.call_sid, report.recording_sid, "taken away")
            row.recording_sid = report.recording_sid
            row.save(update_fields=["recording_sid"])
        elif row.state in _OPEN:
            _take(call, row, report)
            row.save()
        transaction.on_commit(poke)
        return True


def _take(call: Call, row: Recording, report: RecordingReport) -> None:
    row.recording_sid = report.recording_sid
    begun_at(call, row, report.started_at)
    if report.status == "in-progress" and row.state == Recording.State.WANTED:
        row.state, row.attempts = Recording.State.RECORDING, 0
        row.next_attempt_at, row.problem = None, ""
    elif report.status == "completed" and row.state in LIVE:
        ready(row, report.duration_seconds, report.channels)
    elif report.status in {"absent", "failed"}:
        ended_without(row, report.status, report.error_code)


def begun_at(call: Call, row: Recording, moment: dt.datetime | None) -> None:
    """Note when a recording began, against the call's first stream."""
    if moment is not None and call.started_at is not None:
        row.offset_ms = round((moment - call.started_at).total_seconds() * 1000)


def ready(row: Recording, duration_seconds: int, channels: int) -> None:
    """Note that Twilio has the whole of it."""
    row.state, row.attempts, row.problem = Recording.State.READY, 0, ""
    row.duration_seconds, row.channels = duration_seconds, channels
    row.next_attempt_at = timezone.now()


def ended_without(row: Recording, status: str, code: str = "") -> None:
    """Note that Twilio made none: 16101 is too short, 16102 silence (twilio.md 4.5)."""
    absent = status == "absent"
    row.state = Recording.State.ABSENT if absent else Recording.State.FAILED
    row.next_attempt_at = None
    row.problem = f"Twilio says {status}{f', code {code}' if code else ''}"


def callbacks_miss(now: dt.datetime) -> int:
    """Make recordings due whose call is over and of which Twilio has not told; return how many."""
    return Recording.objects.filter(
        state=Recording.State.RECORDING,
        next_attempt_at__isnull=True,
        call__ended_at__lt=now - CALLBACK_COMES,
    ).update(next_attempt_at=now)


def poke() -> None:
    """Tell a worker that there is something to do; a lost poke costs seconds, the beat looks too.

    From a thread of its own: the writes of a live call must not wait for a broker that is away.
    """
    _doorbell.press(lambda: task_tell(TASK))
