"""Erases all that is kept of one caller, here and in Twilio's recordings, and leaves a tombstone.

Owns who counts as the caller of a call and every place where something of them may be: rows of any
table that hangs on a call, entries that name one, tests made of one, files of the instance. The
tombstone (``Erasure``) says how much, when and by whom, and holds nothing of the person. What
receivers of reports keep is theirs. May be run again at any time; a run that was stopped goes on.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import connection, models, transaction
from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from assistants.models import StoredResource
from assistants.selectors import CALL_KIND
from calls.models import (
    Call,
    CallLogImport,
    Erasure,
    ImportedCall,
    MissedCall,
    NetFiring,
    RecordingRemoval,
)
from calls.selectors.erasures import REMEMBERED, sid_hash
from calls.services.call_rows import BATCH, call_rows_count, call_rows_delete
from calls.services.recordings import removal_want
from calls.services.said_words import words_purge
from calls.services.spoken_audit import searches_that_found
from calls.services.tool_shims import records_drain
from calls.telephony.recordings import RecordingsRemain, recordings_delete
from calls.telephony.twilio_client import access_of
from voiceplatform.base.models import AuditEntry, Job, Organisation
from voiceplatform.base.phones import is_e164, normalised
from voiceplatform.base.services import actor_label, audit_write

ERASED: Final = "erased"
FIXTURES: Final = "fixtures"  # key in a call's metrics: folders and stems of tests made of it
# How often it is looked for calls that came in while others were erased.
_LOOKS: Final = 3
_LARGEST_FILE: Final = 64 * 1024 * 1024
# The database is cleaned row by row; the keys and sockets hold nothing of callers.
_NOT_SCANNED: Final = (".sqlite3", ".sqlite3-wal", ".sqlite3-shm", ".sock", ".pid", ".lock")

log = structlog.get_logger(__name__)


class NotANumber(ValueError):
    """It is no phone number in international form; enter it as +14155550100."""


class CallerIsOnCall(Exception):
    """A call of this number goes on; end it, or wait, and begin again."""


@dataclass(slots=True)
class Found:
    """What an erasure reaches, or has reached: rows and files by kind, and what it could not."""

    calls: list[uuid.UUID] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


Progress = Callable[[int, int], None]


def caller_number(text: str) -> str:
    """Return a number in the form in which calls keep it.

    Raises:
        NotANumber: it is none.
    """
    number = normalised(text.strip())
    if not is_e164(number) or any(character.isalpha() for character in text):
        raise NotANumber(
            "this is no phone number in international form. Fix: write it as +14155550100."
        )
    return number


def calls_of_caller(organisation: Organisation, number: str) -> models.QuerySet[Call]:
    """Return every call with the person of this number, whichever side called, oldest first."""
    outbound = Q(direction="outbound")
    rows: models.QuerySet[Call] = Call.objects.for_organisation(organisation).filter(
        (~outbound & Q(caller=number)) | (outbound & Q(callee=number))
    )
    return rows.order_by("created_at", "pk")


def erasure_preview(*, organisation: Organisation, number: str) -> Found:
    """Return what ``caller_erase`` would erase here; asks Twilio nothing, writes nothing.

    Raises:
        NotANumber: ``number`` is none.
        CallerIsOnCall: a call of it goes on.
    """
    found = _found(organisation, caller_number(number))
    found.counts += call_rows_count(found.calls)
    found.counts["files"] += len(list(_files(found.calls)))
    entries = _entries(organisation, caller_number(number), found.calls)
    searches = searches_that_found(organisation, found.calls)
    found.counts["base.auditentry"] += entries.count() + sum(1 for _ in searches)
    found.counts["calls.missedcall"] += _missed(organisation, caller_number(number)).count()
    return found


def caller_erase(
    *,
    organisation: Organisation,
    number: str,
    actor: Any,
    progress: Progress = lambda done, total: None,
) -> Erasure:
    """Erase all that is kept of the person with ``number`` and return the tombstone.

    A recording at Twilio that could not be deleted is a problem of the tombstone, which then names
    the call as Twilio does: somebody has to delete it there.

    Args:
        progress: told (calls done, calls in all) after each of them.

    Raises:
        NotANumber: ``number`` is none.
        CallerIsOnCall: a call of it goes on; nothing is erased then.
    """
    number = caller_number(number)
    # What waits to become part of calls is sealed, so nobody can tell whose it is.
    records_drain()
    with transaction.atomic():
        _imports_lock(organisation)
        found = _found(organisation, number)
        tombstone = Erasure.objects.create(
            organisation=organisation,
            actor=actor_label(actor)[:200],
            # First of all: whoever compares us with Twilio's list must not write these down again.
            sid_hashes=_recent_hashes(organisation, number, found.calls),
        )
    found.problems += _imports_under_way(organisation)
    # Before the calls: what finds them is their ids.
    found.counts["base.auditentry"] += _entries_clean(organisation, number, found.calls)
    for done, call_id in enumerate(found.calls):
        progress(done, len(found.calls))
        _call_erase(call_id, found)
    _late_calls_erase(organisation, number, found, tombstone)
    _others_clean(organisation, number, found)
    _database_clean(found)
    tombstone.counts = dict(+found.counts)
    tombstone.problems = found.problems
    tombstone.finished_at = timezone.now()
    with transaction.atomic():
        tombstone.save()
        audit_write(
            actor=actor,
            action="caller.erase",
            organisation=organisation,
            target=tombstone,
            details={"counts": tombstone.counts, "problems": len(found.problems)},
        )
    log.info("caller_erased", erasure_id=str(tombstone.pk), problems=len(found.problems))
    return tombstone


def _late_calls_erase(
    organisation: Organisation, number: str, found: Found, tombstone: Erasure
) -> None:
    """Erase calls that an import brought in meanwhile, and have them stay away as well."""
    for _ in range(_LOOKS):
        with transaction.atomic():
            _imports_lock(organisation)
            late = list(calls_of_caller(organisation, number).values_list("pk", flat=True))
            late = [pk for pk in late if pk not in found.calls]
            if not late:
                return
            more = _recent_hashes(organisation, number, late)
            tombstone.sid_hashes = sorted({*tombstone.sid_hashes, *more})
            tombstone.save(update_fields=["sid_hashes"])
        found.calls += late
        found.counts["base.auditentry"] += _entries_clean(organisation, number, late)
        for call_id in late:
            _call_erase(call_id, found)


def _imports_lock(organisation: Organisation) -> None:
    """Wait for imports of call logs, each of which holds this lock while it stores a call.

    What was stored until then is found in this transaction; what comes later meets the tombstone.
    """
    rows = Organisation.objects.select_for_update(no_key=True).filter(pk=organisation.pk)
    rows.values_list("pk").first()


def _imports_under_way(organisation: Organisation) -> list[str]:
    """Return what to do about logs in which nobody has looked yet for the caller."""
    waiting = CallLogImport.objects.for_organisation(organisation).filter(
        Q(pieces__isnull=False) | Q(job__state__in=(Job.State.QUEUED, Job.State.RUNNING))
    )
    return [
        f"An import of call logs ({label}) is not through, and may bring calls of this caller. "
        "Wait for its end, or cancel it, then erase once more."
        for label in waiting.distinct().values_list("label", flat=True)
    ]


def _found(organisation: Organisation, number: str) -> Found:
    calls = calls_of_caller(organisation, number)
    if calls.exclude(status=Call.Status.ENDED).exists():
        raise CallerIsOnCall(
            "a call of this number goes on, and it would write again what is erased. Fix: end the "
            "call, then begin again."
        )
    return Found(list(calls.values_list("pk", flat=True)))


def _missed(organisation: Organisation, number: str) -> models.QuerySet[MissedCall]:
    rows: models.QuerySet[MissedCall] = MissedCall.objects.for_organisation(organisation)
    return rows.filter(caller=number)


def _recent_hashes(
    organisation: Organisation, number: str, calls: Sequence[uuid.UUID]
) -> list[str]:
    since = timezone.now() - REMEMBERED
    ours = Call.objects.filter(pk__in=list(calls), created_at__gte=since)
    missed = _missed(organisation, number).filter(called_at__gte=since)
    sids = [*ours.values_list("call_sid", flat=True), *missed.values_list("call_sid", flat=True)]
    # Logs are kept for years: whoever imports one again must not bring the call back.
    logged = ImportedCall.objects.filter(call__in=list(calls))
    for log_id, provider_sid in logged.values_list("log_id", "provider_sid"):
        sids += [each for each in (log_id, provider_sid) if each]
    return sorted(sid_hash(sid) for sid in sids)


def _call_erase(call_id: uuid.UUID, found: Found) -> None:
    call = Call.objects.select_related("twilio_account").filter(pk=call_id).first()
    if call is None:
        return
    account = call.twilio_account
    is_left = False
    try:
        # Of a call that never came here, Twilio is not asked: its log says nothing of an account.
        if account is not None:
            deleted = recordings_delete(access_of(account), call.call_sid)
            found.counts["recordings at Twilio"] += deleted
    except RecordingsRemain as error:
        assert account is not None, "somebody was asked"
        removal_want(account, call.call_sid, "", "its caller was erased")
        found.problems.append(
            f"Recordings of the call {call.call_sid} may remain: {error}. It is tried again until "
            "Twilio has deleted them: see Recordings to delete at Twilio."
        )
        is_left = True
    for path in _files([call_id]):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            found.problems.append(f"The file {path} could not be deleted ({error.strerror}).")
        else:
            found.counts["files"] += 1
    found.counts += call_rows_delete(call_id)
    if not is_left:
        RecordingRemoval.objects.filter(call_sid=call.call_sid).delete()


def _files(calls: Sequence[uuid.UUID]) -> Iterator[Path]:
    """Yield the files about ``calls``: tests made of them, and what bears the name of one."""
    names = {str(call_id) for call_id in calls} | {call_id.hex for call_id in calls}
    seen: set[Path] = set()
    for metrics in Call.objects.filter(pk__in=list(calls)).values_list("metrics", flat=True):
        for made in metrics.get(FIXTURES, []):
            path = Path(str(made))
            if path.is_file() and path not in seen and _is_about(path, names):
                seen.add(path)
                yield path
    for path in _instance_files():
        if path not in seen and any(name in path.name for name in names):
            yield path


def _is_about(path: Path, names: set[str]) -> bool:
    """Tell whether a test bears the mark of one of the calls: what it was replaced by does not."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    return any(f"call_id={name}" in text for name in names)


def _instance_files() -> Iterator[Path]:
    """Yield the files of the instance; what others make and delete meanwhile may be among them."""
    # Not rglob(): it fails on a folder that is deleted under it.
    for folder, _, names in os.walk(settings.VAR_DIR):
        for path in sorted(Path(folder, name) for name in names):
            is_own = path.name.endswith(_NOT_SCANNED) or path.parent.name == "keys"
            if not is_own and path.is_file() and not path.is_symlink():
                yield path


def _holds(path: Path, number: str) -> bool:
    """Tell whether a file names the number; one that has gone meanwhile names nobody."""
    try:
        return path.stat().st_size <= _LARGEST_FILE and number.encode() in path.read_bytes()
    except FileNotFoundError:
        return False


def _entries(
    organisation: Organisation, number: str, calls: Sequence[uuid.UUID]
) -> models.QuerySet[AuditEntry]:
    """Return audit entries about the calls, and those that name the number, not yet cleaned."""
    # Ids in batches would be no easier to read: a caller has few calls.
    about = Q(target_id__in=[str(call_id) for call_id in calls])
    rows = AuditEntry.objects.filter(organisation=organisation).annotate(
        details_text=Cast("details", TextField())
    )
    names = Q(target_label__contains=number) | Q(details_text__contains=number)
    found: models.QuerySet[AuditEntry] = rows.filter(about | names).exclude(target_label=ERASED)
    return found


def _entries_clean(organisation: Organisation, number: str, calls: Sequence[uuid.UUID]) -> int:
    """Take the person out of the audit: who did what and when stays."""
    searches = [entry.pk for entry in searches_that_found(organisation, calls)]
    count = len(searches)
    for start in range(0, count, BATCH):
        some = AuditEntry.objects.filter(pk__in=searches[start : start + BATCH])
        some.update(target_label=ERASED, details={})
    for start in range(0, max(len(calls), 1), BATCH):
        rows = _entries(organisation, number, calls[start : start + BATCH])
        while pks := list(rows.values_list("pk", flat=True)[:BATCH]):
            with transaction.atomic():
                AuditEntry.objects.filter(pk__in=pks).update(target_label=ERASED, details={})
            count += len(pks)
    return count


def _others_clean(organisation: Organisation, number: str, found: Found) -> None:
    """Clean what names the number without hanging on a call; say what has to be looked at."""
    with transaction.atomic():
        missed = _missed(organisation, number)
        NetFiring.objects.filter(call_sid__in=missed.values("call_sid")).update(call_sid="")
        found.counts["calls.missedcall"] += missed.delete()[0]
        changes = LogEntry.objects.filter(
            Q(object_id__in=[str(call_id) for call_id in found.calls])
            | Q(object_repr__contains=number)
            | Q(change_message__contains=number)
        )
        found.counts["admin.logentry"] += changes.update(object_repr=ERASED, change_message="")
        jobs = Job.objects.filter(organisation=organisation).annotate(
            given=Cast("parameters", TextField()), made=Cast("result", TextField())
        )
        named = jobs.filter(
            Q(given__contains=number) | Q(made__contains=number) | Q(message__contains=number)
        ).filter(finished_at__isnull=False)
        pks = list(named.values_list("pk", flat=True))
        found.counts["base.job"] += Job.objects.filter(pk__in=pks).update(
            parameters={}, result=None, message=""
        )
    stored = (
        StoredResource.objects.filter(organisation=organisation)
        .exclude(kind=CALL_KIND)
        .annotate(shown=Cast("document_redacted", TextField()))
        .filter(shown__contains=number)
        .count()
    )
    if stored:
        found.problems.append(
            f"{stored} stored resources name the number. They are what somebody entered and were "
            "left as they are. Fix: search them, and change or delete them."
        )
    for path in _instance_files():
        if _holds(path, number):
            found.problems.append(
                f"The file {path.relative_to(settings.VAR_DIR)} names the number. Fix: read it, "
                "then delete it."
            )


def _database_clean(found: Found) -> None:
    """Take the bytes of what is deleted out of SQLite's index of words and out of its log.

    Those of rows are overwritten in its file as they are deleted.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return
    words_purge(budget_seconds=None)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        is_busy = bool(cursor.fetchone()[0])
    if is_busy:
        found.problems.append(
            "The database's log could not be emptied because somebody was reading. It is "
            "overwritten in time. Fix: run this again to empty it at once."
        )
