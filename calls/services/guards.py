"""The guards of all numbers: armed where calls are answered here, looked at when calls have ended.

Owns which guards there are, which of them have something new to be judged, and which tries of a
restore are due. The machine and its rows are ``incidents``'s. Nothing here waits for Twilio but
``guard_look``, which a test or a person runs; the watcher takes ``guards_judge`` and ``tries_due``
and carries the tries out beside its looking. Any number of watchers may run: what one has decided
the next one finds under the row's lock.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import Exists, F, Min, OuterRef, Q
from django.utils import timezone

from calls.models import Incident, NumberChange, NumberGuard, PhoneNumber
from calls.numbers.guard import EndedCall, Verdict
from calls.numbers.incident import GUARD, GuardState, Outcome, look, tick
from calls.selectors.ended_calls import callers
from calls.selectors.guards import numbers_here, verdict_of
from calls.services.incidents import (
    UNREADABLE,
    IncidentError,
    Try,
    guard_change,
    incident_close,
    incident_open,
    incident_restore_again,
    try_carry_out,
)
from calls.services.number_moves import has_way_back

__all__ = [
    "IncidentError",
    "Memory",
    "Try",
    "guard_look",
    "guards_arm",
    "guards_judge",
    "incident_close",
    "incident_open",
    "incident_restore_again",
    "next_due_at",
    "tries_due",
    "try_carry_out",
]

# Calls that ended so long ago are looked for at every look; older ones at the next full one.
RECENT: Final = dt.timedelta(minutes=2)
# A call may be closed with an end of long ago (the reconciler), and a route that was changed by
# hand in the database rings no bell.
FULL_EVERY: Final = dt.timedelta(minutes=10)
_MOST_KNOWN: Final = 50_000

log = structlog.get_logger(__name__)

# What of a call may still change after its end.
_Mark = tuple[Any, ...]


@dataclass(slots=True)
class Memory:
    """What one watcher has seen already, so that a look costs what is new. Losing it costs time.

    ``seen``: recent calls as they were judged; ``known``: facts that will not change any more.
    """

    seen: dict[uuid.UUID, _Mark] = field(default_factory=dict)
    known: dict[uuid.UUID, EndedCall] = field(default_factory=dict)
    full_at: dt.datetime | None = None


def guard_look(now: dt.datetime | None = None, memory: Memory | None = None) -> int:
    """Look at every guard that has something new, and carry out the tries that are due.

    Returns:
        How many guards were judged.
    """
    now = now or timezone.now()
    judged, tries = guards_judge(now, memory or Memory())
    for each in (*tries, *tries_due(now)):
        try_carry_out(each)
    return judged


def guards_judge(now: dt.datetime, memory: Memory) -> tuple[int, list[Try]]:
    """Arm what is to be armed, judge what has new calls; open incidents where calls went bad.

    A row that cannot be read is logged and passed over.

    Returns:
        How many guards were judged, and the tries that are the caller's to carry out now.
    """
    guards_arm(now)
    is_full = memory.full_at is None or now >= memory.full_at + FULL_EVERY
    recent = _recent(now)
    fresh = {pk: mark for pk, mark in recent.items() if memory.seen.get(pk) != mark}
    pairs = {(mark[0], mark[1]) for mark in fresh.values()}
    guards = _guards_of(pairs, now, is_full=is_full)
    tries: list[Try] = []
    for guard in guards:
        try:
            tries += _judge(guard, now, memory)
        except UNREADABLE as error:
            log.error(
                "guard_unreadable", number_id=str(guard.number_id), error=type(error).__name__
            )
    memory.seen = recent
    if is_full:
        memory.full_at = now
    if len(memory.known) > _MOST_KNOWN:
        memory.known.clear()
    return len(guards), tries


def _recent(now: dt.datetime) -> dict[uuid.UUID, _Mark]:
    rows = callers().filter(ended_at__gte=now - RECENT, number__isnull=False)
    columns = ("number", "stack", "ended_reason", "first_word_ms", "turn_latency_p95_ms")
    found = rows.order_by().values_list("pk", *columns, "report_due_at")
    return {pk: tuple(mark) for pk, *mark in found}


def _guards_of(
    pairs: Iterable[tuple[uuid.UUID, str]], now: dt.datetime, *, is_full: bool
) -> list[NumberGuard]:
    """Return the guards to be judged; that of an old stack is made with its first call."""
    wanted = set(pairs)
    # Calls that were on when the number was sent home still belong to its incident.
    is_open = Incident.objects.filter(
        number=OuterRef("number"), stack=OuterRef("stack"), closed_at__isnull=True
    )
    rows = NumberGuard.objects.filter(Q(off_since__isnull=True) | Exists(is_open))
    if not is_full:
        rows = rows.filter(number__in={number for number, _ in wanted})
    found = [guard for guard in rows if is_full or (guard.number_id, guard.stack) in wanted]
    old = {number for number, stack in wanted if stack == "vapi"}
    old -= set(
        NumberGuard.objects.filter(number__in=old, stack="vapi").values_list("number", flat=True)
    )
    if old:
        _guards_make(PhoneNumber.objects.filter(pk__in=old), "vapi", now)
        found += NumberGuard.objects.filter(number__in=old, stack="vapi")
    return found


def _judge(guard: NumberGuard, now: dt.datetime, memory: Memory) -> list[Try]:
    verdict = verdict_of(guard, now, memory.known)
    if not verdict.alarms:
        return []
    back, home = _ways(guard) if guard.stack == "direct" else (False, False)

    def decide(state: GuardState, at: dt.datetime) -> Outcome:
        return look(state, verdict, at, has_way_back=back, has_route_home=home)

    was_armed = not guard.state
    tries = guard_change(guard.pk, decide, armed_at=guard.armed_at)
    if was_armed:
        _say(guard, verdict)
    return tries


def _say(guard: NumberGuard, verdict: Verdict) -> None:
    log.warning(
        "guard_tripped",
        number_id=str(guard.number_id),
        stack=guard.stack,
        signals=[alarm.signal for alarm in verdict.alarms],
    )


def _ways(guard: NumberGuard) -> tuple[bool, bool]:
    """Tell whether the number can be put back at Twilio, and whether its route can go home."""
    number = PhoneNumber.objects.defer("previous_target").get(pk=guard.number_id)
    known = PhoneNumber.objects.filter(pk=number.pk, previous_target__isnull=False).exists()
    return has_way_back(number), known or bool(number.previous_voice_url)


def tries_due(now: dt.datetime) -> list[Try]:
    """Take the tries that are due, and tell of restores that take long."""
    tries: list[Try] = []
    due = NumberGuard.objects.filter(next_at__lte=now).order_by("next_at")
    for guard_id in list(due.values_list("pk", flat=True)[:1_000]):
        try:
            tries += guard_change(guard_id, tick)
        except UNREADABLE as error:
            log.error("guard_unreadable", guard_id=guard_id, error=type(error).__name__)
            # Looked at again in a minute, not at every look.
            later = now + dt.timedelta(minutes=1)
            NumberGuard.objects.filter(pk=guard_id).update(next_at=later)
    return tries


def next_due_at() -> dt.datetime | None:
    """Return when the next try or notice is due, None while nothing is being restored."""
    found: dt.datetime | None = NumberGuard.objects.filter(next_at__isnull=False).aggregate(
        at=Min("next_at")
    )["at"]
    return found


def guards_arm(now: dt.datetime) -> None:
    """Have a guard for every number whose calls are answered here, and none for the others.

    A number that comes here again is judged by its calls from then on.
    """
    here = numbers_here()
    direct = NumberGuard.objects.filter(stack="direct")
    without = here.exclude(guards__stack="direct")
    if new := list(without.values_list("pk", flat=True)[:1_000]):
        _guards_make(PhoneNumber.objects.filter(pk__in=new), "direct", now)
    direct.filter(off_since__isnull=True).exclude(number__in=here).update(
        off_since=now, version=F("version") + 1
    )
    for guard in direct.filter(off_since__isnull=False, number__in=here):
        _arm_again(guard, now)


def _guards_make(numbers: Any, stack: str, now: dt.datetime) -> None:
    numbers = list(numbers.only("pk", "organisation_id", "created_at"))
    lately = now - FULL_EVERY
    changes = NumberChange.objects.filter(
        number__in=[each.pk for each in numbers], created_at__gte=lately
    ).order_by("created_at")
    # Since its route brought it here, if that was just now: its very first calls count.
    since = {each.pk: each.created_at for each in numbers if each.created_at >= lately}
    since |= dict(changes.values_list("number", "created_at"))
    NumberGuard.objects.bulk_create(
        [
            NumberGuard(
                organisation_id=number.organisation_id,
                number_id=number.pk,
                stack=stack,
                armed_at=since.get(number.pk, now if stack == "direct" else now - RECENT),
            )
            for number in numbers
        ],
        ignore_conflicts=True,
    )


def _arm_again(guard: NumberGuard, now: dt.datetime) -> None:
    """Arm a guard anew; an incident that had sent the number home has ended with that.

    A restore that is under way goes on: who put the route back has not said that it is to stop.
    """
    row = Incident.objects.filter(
        number=guard.number_id, stack="direct", closed_at__isnull=True
    ).first()
    if row is not None:
        if row.state == Incident.State.RESTORING:
            return
        try:
            incident_close(incident=row, actor=GUARD, why="the number's route was put back")
        except IncidentError:
            return
    with transaction.atomic():
        NumberGuard.objects.filter(pk=guard.pk, off_since__isnull=False).update(
            off_since=None, armed_at=now, version=F("version") + 1
        )
