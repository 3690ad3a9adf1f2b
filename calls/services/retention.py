"""Takes away what has been kept long enough, by the days that each organisation sets.

Owns the kinds, their defaults and how far each is done. Works in small transactions from the oldest
call on and stops after a while: the next run goes on. What is still needed, a report on its way or
a call that goes on, is never touched. An outbox row keeps its fact when its words go: it is marked
by ``EMPTIED`` and cannot be sent again.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from calls.models import (
    AssistantActivation,
    Call,
    CallInputChunk,
    DeliveryAttempt,
    ImportedCall,
    OutboxEvent,
    Recording,
    RetentionRule,
    ToolExchange,
    ToolInvocation,
    Turn,
)
from calls.services.call_rows import BATCH, call_rows_delete
from calls.services.parity_copies import (
    bodies_strip,
    copies_of_bodies,
    copies_of_scripts,
    copies_of_words,
)
from calls.services.recordings import recording_remove
from calls.services.said_words import words_purge
from voiceplatform.base.models import AuditEntry, Organisation

# The version of a payload that is not there any more.
EMPTIED: Final = 0
BUDGET_SECONDS: Final = 40.0
_CALLS_AT_ONCE: Final = 20
_SOON: Final = dt.timedelta(days=7)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """How much of one kind goes now, and within a week, and before which moment."""

    kind: str
    days: int | None
    before: dt.datetime | None
    now_calls: int
    soon_calls: int


def retention_run(now: dt.datetime | None = None, budget_seconds: float = BUDGET_SECONDS) -> int:
    """Take away what is due in every organisation; return how many rows were changed or deleted."""
    now = now or timezone.now()
    until = time.monotonic() + budget_seconds
    total = 0
    for organisation in Organisation.objects.order_by("pk"):
        total += sum(_run_of(rule_of(organisation), now, until).values())
    words_purge()  # of whatever was erased since, by whomever
    return total


def rule_of(organisation: Organisation) -> RetentionRule:
    """Return the organisation's days; made with the defaults where nobody has set any."""
    return RetentionRule.objects.get_or_create(organisation=organisation)[0]


def retention_preview(rule: RetentionRule, now: dt.datetime | None = None) -> list[Due]:
    """Return what goes when, counted in calls (entries, of the audit)."""
    now = now or timezone.now()
    found = []
    for kind in (*_OF_CALLS, "audit"):
        days = getattr(rule, f"{kind}_days")
        if days is None:
            found.append(Due(kind, None, None, 0, 0))
            continue
        before = now - dt.timedelta(days=days)
        found.append(
            Due(
                kind,
                days,
                before,
                _waiting(rule, kind, None, before).count(),
                _waiting(rule, kind, before, before + _SOON).count(),
            )
        )
    return found


def _waiting(
    rule: RetentionRule, kind: str, after: dt.datetime | None, before: dt.datetime
) -> models.QuerySet[Any]:
    if kind == "audit":
        entries = AuditEntry.objects.filter(organisation_id=rule.organisation_id, at__lt=before)
        return entries if after is None else entries.filter(at__gte=after)
    calls = Call.objects.filter(organisation_id=rule.organisation_id, created_at__lt=before)
    done = rule.progress.get(kind)
    begin = after or (dt.datetime.fromisoformat(done) if done else None)
    return calls if begin is None else calls.filter(created_at__gte=begin)


def _run_of(rule: RetentionRule, now: dt.datetime, until: float) -> dict[str, int]:
    counts: dict[str, int] = {}
    if rule.look_from is not None:
        rule.progress = _rewound(rule.progress, rule.look_from)
        # Before anything is looked at: what is imported from now on asks for itself.
        RetentionRule.objects.filter(pk=rule.pk, look_from=rule.look_from).update(
            progress=rule.progress, look_from=None
        )
    for kind, work in _OF_CALLS.items():
        days = getattr(rule, f"{kind}_days")
        if days is not None:
            counts[kind] = _calls_run(rule, kind, work, now - dt.timedelta(days=days), until)
    if rule.audit_days is not None:
        counts["audit"] = _audit_run(rule, now - dt.timedelta(days=rule.audit_days), until)
    changed = {kind: count for kind, count in counts.items() if count}
    columns: dict[str, Any] = {"last_run_at": now, "progress": rule.progress}
    if changed:
        columns["last_counts"] = changed
        log.info("retention_done", organisation_id=str(rule.organisation_id), **changed)
    RetentionRule.objects.filter(pk=rule.pk).update(**columns)
    return changed


def _rewound(progress: Mapping[str, str], moment: dt.datetime) -> dict[str, str]:
    """Return how far each kind is once calls that began at ``moment`` were imported."""
    return {
        kind: done if dt.datetime.fromisoformat(done) <= moment else moment.isoformat()
        for kind, done in progress.items()
    }


def _calls_run(
    rule: RetentionRule, kind: str, work: Work, before: dt.datetime, until: float
) -> int:
    """Do one kind of work on the calls that began before ``before``, and note how far it came."""
    count = 0
    while time.monotonic() < until:
        rows = _waiting(rule, kind, None, before).order_by("created_at", "pk")
        calls = list(rows.values_list("pk", "created_at", "status")[:_CALLS_AT_ONCE])
        ended = [pk for pk, _, status in calls if status == Call.Status.ENDED]
        for model, pks, change in work(ended):
            count += len(pks)
            with transaction.atomic():
                change(model._base_manager.filter(pk__in=pks))
        if kind == "call":
            for pk in ended:
                count += sum(call_rows_delete(pk).values())
        if len(calls) < _CALLS_AT_ONCE:
            rule.progress = {**rule.progress, kind: before.isoformat()}
            break
        newest = calls[-1][1]
        # The next batch begins with the calls of that very moment once more, which harms nothing;
        # where a whole batch is of one moment, the next begins right behind it.
        step = dt.timedelta(microseconds=1) if newest == calls[0][1] else dt.timedelta()
        rule.progress = {**rule.progress, kind: (newest + step).isoformat()}
    return count


Change = Callable[["models.QuerySet[Any]"], Any]
Work = Callable[[Sequence[Any]], Iterator[tuple[type[models.Model], list[Any], Change]]]


def _batches(
    rows: models.QuerySet[Any], change: Change
) -> Iterator[tuple[type[models.Model], list[Any], Change]]:
    pks = list(rows.values_list("pk", flat=True))
    for start in range(0, len(pks), BATCH):
        yield rows.model, pks[start : start + BATCH], change


def _transcripts(
    calls: Sequence[Any],
) -> Iterator[tuple[type[models.Model], list[Any], Change]]:
    said = Turn.objects.filter(call__in=calls).exclude(text="", text_unheard="")
    yield from _batches(said, lambda rows: rows.update(text="", text_unheard=""))
    made = ImportedCall.objects.filter(call__in=calls, structured__isnull=False)
    yield from _batches(made, lambda rows: rows.update(structured=None))
    read = Call.objects.filter(pk__in=calls, analysis__isnull=False)
    yield from _batches(read, lambda rows: rows.update(analysis=None))
    yield from _batches(copies_of_words(calls), lambda rows: rows.update(transcript=None))
    yield from _batches(copies_of_scripts(calls), lambda rows: rows.update(heard=None))


def _tool_bodies(
    calls: Sequence[Any],
) -> Iterator[tuple[type[models.Model], list[Any], Change]]:
    written = ToolInvocation.objects.filter(call__in=calls).exclude(arguments_json="", output="")
    yield from _batches(written, lambda rows: rows.update(arguments_json="", output=""))
    bodies = ToolExchange.objects.filter(call__in=calls, content__isnull=False)
    yield from _batches(bodies, lambda rows: rows.update(content=None, url_shown="", error=""))
    set_by_results = Call.objects.filter(pk__in=calls, variable_values__isnull=False)
    yield from _batches(set_by_results, lambda rows: rows.update(variable_values=None))
    handed = AssistantActivation.objects.filter(call__in=calls, variables__isnull=False)
    yield from _batches(handed, lambda rows: rows.update(variables=None))
    yield from _batches(copies_of_bodies(calls), bodies_strip)


def _call_inputs(
    calls: Sequence[Any],
) -> Iterator[tuple[type[models.Model], list[Any], Change]]:
    yield from _batches(CallInputChunk.objects.filter(call__in=calls), lambda rows: rows.delete())


def _reports(
    calls: Sequence[Any],
) -> Iterator[tuple[type[models.Model], list[Any], Change]]:
    told = OutboxEvent.objects.filter(call__in=calls).exclude(
        Q(state=OutboxEvent.State.PENDING) | Q(schema_version=EMPTIED)
    )
    events = list(told.values_list("pk", flat=True))
    answers = DeliveryAttempt.objects.filter(event__in=events).exclude(response_excerpt="")
    yield from _batches(answers, lambda rows: rows.update(response_excerpt=""))
    emptied = {"payload": {}, "schema_version": EMPTIED}
    yield from _batches(told, lambda rows: rows.update(**emptied))


def _recordings(
    calls: Sequence[Any],
) -> Iterator[tuple[type[models.Model], list[Any], Change]]:
    named = ImportedCall.objects.filter(call__in=calls, recordings__isnull=False)
    yield from _batches(named, lambda rows: rows.update(recordings=None))
    kept = Recording.objects.filter(call__in=calls).exclude(state=Recording.State.REMOVED)

    def change(rows: models.QuerySet[Any]) -> None:
        for row in rows.select_related("call__twilio_account"):
            recording_remove(row, "kept long enough")

    yield from _batches(kept, change)


def _whole_calls(
    calls: Sequence[Any],
) -> Iterator[tuple[type[models.Model], list[Any], Change]]:
    yield from ()  # `call_rows_delete` does it, call by call


_OF_CALLS: Final[dict[str, Work]] = {
    "transcript": _transcripts,
    "tool_body": _tool_bodies,
    "call_input": _call_inputs,
    "recording": _recordings,
    "report": _reports,
    "call": _whole_calls,
}


def _audit_run(rule: RetentionRule, before: dt.datetime, until: float) -> int:
    count = 0
    while time.monotonic() < until:
        pks = list(_waiting(rule, "audit", None, before).values_list("pk", flat=True)[:BATCH])
        if not pks:
            break
        with transaction.atomic():
            AuditEntry.objects.filter(pk__in=pks).delete()
        count += len(pks)
    return count
