"""Incidents as rows: what the machine of a guard decides is stored here, with what it causes.

Owns the one transaction in which an incident opens: state, row, offending calls, audit entries,
the number's route and the notices commit together or not at all. Asking Twilio comes after it,
``try_carry_out``. Whoever changes a guard locks its row and counts its version up, so that two
watchers, or a watcher and a person, never build on the same state. What follows from what is
``calls.numbers.incident``'s.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from calls.models import Call, Incident, IncidentCall, NumberGuard, NumberMove, PhoneNumber
from calls.numbers.entries import Entry
from calls.numbers.incident import (
    GUARD,
    TRY_SECONDS,
    Action,
    GuardState,
    IncidentError,
    Outcome,
    Result,
    SendHome,
    Tell,
    TryRestore,
    close,
    next_at,
    restore_again,
    tried,
)
from calls.numbers.incident_state import incident_json, incident_read
from calls.services import watch_poke
from calls.services.notices import notice_enqueue
from calls.services.number_moves import move_abandon, restore_begin, restore_try
from calls.services.number_routes import RouteOrder, RouteRefused, route_set
from calls.wire.notices import without_numbers
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.services import actor_label, audit_write

__all__ = [
    "IncidentError",
    "Try",
    "guard_change",
    "incident_close",
    "incident_open",
    "incident_restore_again",
    "try_carry_out",
]

# What one row may hold that stops the work on it and no other: a lost key, a form of no version.
UNREADABLE: Final = (AttributeError, DecryptionError, LookupError, TypeError, ValueError)
_SUBJECTS: Final = {
    "restored": "A number is back where it was before it moved",
    "late": "A restore takes longer than a minute",
    "person": "A restore needs a person",
}
_MOST_IDS_TOLD: Final = 20
_WHY: Final = "its calls have become bad"

log = structlog.get_logger(__name__)

Decide = Callable[[GuardState, dt.datetime], Outcome]


@dataclass(frozen=True, slots=True)
class Try:
    """A try of a restore that is somebody's to carry out now."""

    guard_id: int
    number_id: uuid.UUID
    key: str
    number_of_try: int
    order: int


def incident_open(number: PhoneNumber, stack: str = "direct") -> Incident | None:
    """Return the open incident of a number and stack, None without one."""
    found: Incident | None = Incident.objects.filter(
        number=number, stack=stack, closed_at__isnull=True
    ).first()
    return found


def guard_change(
    guard_id: int, decide: Decide, *, armed_at: dt.datetime | None = None
) -> list[Try]:
    """Have the machine decide on a guard's state as it is now, and store what follows.

    Args:
        armed_at: what the caller looked at; a guard that was armed anew meanwhile is left alone.

    Returns:
        The tries that are the caller's to carry out, after this transaction.

    Raises:
        IncidentError: what was asked does not fit the state.
        ValueError, DecryptionError: a row that cannot be read.
    """
    with transaction.atomic():
        guard = (
            NumberGuard.objects.select_for_update(of=("self",))
            .select_related("organisation")
            .filter(pk=guard_id)
            .first()
        )
        if guard is None or (armed_at is not None and guard.armed_at != armed_at):
            return []
        now = timezone.now()
        state = _state_of(guard)
        outcome = decide(state, now)
        if outcome.state == state and not outcome.actions and not outcome.entries:
            return []
        return _store(guard, state, outcome)


def _state_of(guard: NumberGuard) -> GuardState:
    stack = "vapi" if guard.stack == "vapi" else "direct"
    return GuardState(str(guard.number_id), stack, guard.armed_at, incident_read(guard.state))  # type: ignore[arg-type]  # one of two words


def _store(guard: NumberGuard, before: GuardState, outcome: Outcome) -> list[Try]:
    after = outcome.state
    guard.state = incident_json(after.incident)
    guard.armed_at = after.armed_at
    guard.next_at = next_at(after)
    guard.version += 1
    guard.save(update_fields=["state", "armed_at", "next_at", "version"])
    row = _incident_row(guard, before, after)
    if row is None:
        return []
    for entry in outcome.entries:
        _audit(guard, row, entry)
    sent_home = ""
    for action in outcome.actions:
        if isinstance(action, SendHome):
            sent_home = _send_home(guard, row, action)
    _notices(guard, row, outcome.actions, sent_home)
    order = int(row.evidence.get("orders", 0))
    return [
        Try(guard.pk, guard.number_id, action.key, action.number_of_try, order)
        for action in outcome.actions
        if isinstance(action, TryRestore)
    ]


def _incident_row(guard: NumberGuard, before: GuardState, after: GuardState) -> Incident | None:
    """Store the incident that is open now, or was until now, as its row and its calls."""
    incident = after.incident or before.incident
    if incident is None:
        return None
    restore = incident.restore
    row, is_new = Incident.objects.get_or_create(
        key=incident.key,
        defaults={
            "organisation_id": guard.organisation_id,
            "number_id": guard.number_id,
            "stack": guard.stack,
            "opened_at": incident.opened_at,
            "signals": list(incident.signals),
            "words": incident.words[:500],
            "state": restore.phase,
        },
    )
    row.state = restore.phase
    row.tries = restore.tries
    row.restored_at = restore.done_at
    row.last_error = restore.last_error[:500]
    row.save(update_fields=["state", "tries", "restored_at", "last_error"])
    known = before.incident.call_ids if before.incident is not None and not is_new else ()
    fresh = [each for each in incident.call_ids if each not in known]
    if fresh:
        # A call that was erased meanwhile is not brought back.
        there = set(Call.objects.filter(pk__in=fresh).values_list("pk", flat=True))
        IncidentCall.objects.bulk_create(
            [IncidentCall(incident=row, call_id=pk) for pk in map(uuid.UUID, fresh) if pk in there],
            ignore_conflicts=True,
        )
    return row


def _audit(guard: NumberGuard, row: Incident, entry: Entry) -> None:
    if entry.action == "incident opened":
        evidence = {key: entry.evidence[key] for key in ("signals", "alarm_at", "calls")}
        row.evidence = {**row.evidence, **evidence}
        row.save(update_fields=["evidence"])
    audit_write(
        actor=entry.who,
        action="guard." + entry.action.replace(" ", "_"),
        organisation=guard.organisation,
        target=row,
        details={"why": entry.why[:500], "number": entry.number_id, **entry.evidence},
    )


def _send_home(guard: NumberGuard, row: Incident, action: SendHome) -> str:
    """Set the number's route to ``vapi``; return why that was not possible, '' when it was."""
    try:
        with transaction.atomic():
            change = route_set(
                number_id=guard.number_id,
                # Windows of a schedule would go on to bring calls here.
                order=RouteOrder("vapi", schedule=None),
                actor=GUARD,
                why=row.words,
                kind="guard",
                evidence={"incident": str(row.pk), **row.evidence},
                key=action.key,
            )
    except RouteRefused as refused:
        why = str(refused)
    except UNREADABLE as error:
        why = f"the number's row cannot be read ({type(error).__name__})"
    else:
        row.evidence = {**row.evidence, "sent_home": str(change.pk)}
        row.save(update_fields=["evidence"])
        return ""
    log.error("guard_route_refused", incident_id=str(row.pk), number_id=str(guard.number_id))
    row.evidence = {**row.evidence, "route_refused": why[:300]}
    row.save(update_fields=["evidence"])
    return why


def _notices(
    guard: NumberGuard, row: Incident, actions: Sequence[Action], not_sent_home: str
) -> None:
    for action in actions:
        if not isinstance(action, Tell):
            continue
        words = action.words
        if action.notice == "opened" and not_sent_home:
            words += f"; its route could not be set to vapi: {not_sent_home}"
        again = row.evidence.get("orders", 0)
        notice_enqueue(
            organisation=guard.organisation,
            # A person who ordered the restore again is told again that it needs one.
            key=f"{action.key}:{action.notice}" + (f":{again}" if again else ""),
            subject=_subject(guard, action),
            words=words,
            ids={
                "incident": str(row.pk),
                "number": action.number_id,
                "stack": guard.stack,
                "calls": ", ".join(action.call_ids[:_MOST_IDS_TOLD]),
                "page": _page(row),
            },
            incident=row,
        )


def _subject(guard: NumberGuard, action: Tell) -> str:
    if action.notice != "opened":
        return _SUBJECTS[action.notice]
    if guard.stack == "vapi":
        return "Incident: the old stack fails calls"
    return "Incident: calls of a number have become bad"


def _page(row: Incident) -> str:
    # Not by the table of URLs: nothing that is not needed may stand between a fault and its end.
    return f"{settings.PUBLIC_BASE_URL}/admin/calls/incident/{row.pk}/change/"


def try_carry_out(attempt: Try) -> str:
    """Restore a number at Twilio within ``TRY_SECONDS`` and store how that ended.

    Outside of any transaction, in any process and thread; a try that is not this guard's newest
    any more changes nothing unless it succeeded.

    Returns:
        How it ended, in the machine's word.
    """
    result, error, retry_after = _restored(attempt)

    def decide(state: GuardState, now: dt.datetime) -> Outcome:
        if state.incident is None or state.incident.key != attempt.key:
            return Outcome(state)
        return tried(
            *(state, attempt.number_of_try, result, now),
            error=error,
            retry_after_seconds=retry_after,
        )

    guard_change(attempt.guard_id, decide)
    log.info("restore_tried", number_id=str(attempt.number_id), result=result)
    return result


def _restored(attempt: Try) -> tuple[Result, str, float | None]:
    try:
        number = (
            PhoneNumber.objects.select_related("organisation", "twilio_account")
            .defer("previous_target")
            .get(pk=attempt.number_id)
        )
        move = _order(number, attempt)
        if move is None:
            if _is_back(number):
                return "restored", "", None  # somebody was faster
            return "person", "there is nothing any more that it could be put back to", None
        found = restore_try(move.pk, within_seconds=TRY_SECONDS)
    except DecryptionError as error:
        return "person", str(error), None
    except UNREADABLE as error:
        return "failed", f"a row cannot be read ({type(error).__name__})", None
    words = without_numbers(found.words)  # they may be Twilio's own
    if found.state == "done":
        return "restored", "", None
    if found.state == "nothing":
        return "person", "somebody gave the restore up and left the number as it is", None
    if found.state == "person":
        return "person", words, None
    return "failed", words, found.retry_after_seconds or None


def _order(number: PhoneNumber, attempt: Try) -> NumberMove | None:
    """Order the restore; a person's word begins it anew where the one before has stopped."""
    key = f"{attempt.key}:{attempt.order}"

    def begin() -> NumberMove | None:
        # The watcher does the work itself: Redis may be what is wrong.
        return restore_begin(number=number, actor=GUARD, why=_WHY, key=key, tells_workers=False)

    move = begin()
    is_earlier = move is not None and move.key != key
    if move is not None and is_earlier and move.step == NumberMove.Step.STOPPED:
        # Of an earlier incident or a person's: what stopped it may be over, so it is looked anew.
        move_abandon(move=move, actor=GUARD, why="the restore was ordered again")
        move = begin()
    return move


def _is_back(number: PhoneNumber) -> bool:
    """Tell whether the last thing that was done with the number at Twilio put it back."""
    moves = NumberMove.objects.filter(number=number).order_by("-created_at")
    last = moves.values_list("direction", "step").first()
    return bool(last == (NumberMove.Direction.BACK, NumberMove.Step.DONE))


def incident_close(*, incident: Incident, actor: Any, why: str) -> None:
    """Close an incident and arm the guard anew.

    Raises:
        IncidentError: it is closed, a restore is under way, or no reason is given.
    """

    def decide(state: GuardState, now: dt.datetime) -> Outcome:
        _same(state, incident)
        return close(state, who=actor_label(actor), why=why, now=now)

    with transaction.atomic():
        guard_id = _guard_of(incident)
        try:
            guard_change(guard_id, decide)
        except IncidentError:
            raise
        except ValueError:
            # A state that no version reads must not keep a number without a guard for ever.
            log.error("guard_state_reset", incident_id=str(incident.pk))
            NumberGuard.objects.filter(pk=guard_id).update(
                state={}, armed_at=timezone.now(), next_at=None
            )
        Incident.objects.filter(pk=incident.pk, closed_at__isnull=True).update(
            closed_at=timezone.now(), closed_by=actor_label(actor)[:200], closed_why=why[:500]
        )


def incident_restore_again(*, incident: Incident, actor: Any, why: str) -> None:
    """Order the restore again after it needed a person; a watcher begins within seconds.

    Raises:
        IncidentError: the incident is closed, or its restore does not wait for a person.
    """

    def decide(state: GuardState, now: dt.datetime) -> Outcome:
        _same(state, incident)
        return restore_again(state, who=actor_label(actor), why=why, now=now)

    with transaction.atomic():
        guard_id = _guard_of(incident)
        # In the order in which a watcher locks them.
        NumberGuard.objects.select_for_update().get(pk=guard_id)
        # A new order to the move's machine too: the same key would return the one that stopped.
        row = Incident.objects.select_for_update().get(pk=incident.pk)
        row.evidence = {**row.evidence, "orders": int(row.evidence.get("orders", 0)) + 1}
        row.save(update_fields=["evidence"])
        guard_change(guard_id, decide)
        transaction.on_commit(watch_poke.poke)


def _guard_of(incident: Incident) -> int:
    found = (
        NumberGuard.objects.filter(number=incident.number_id, stack=incident.stack)
        .values_list("pk", flat=True)
        .first()
    )
    if found is None:
        raise IncidentError("its guard is gone. Fix: nothing is to be done.")
    return int(found)


def _same(state: GuardState, incident: Incident) -> None:
    if state.incident is None or state.incident.key != incident.key:
        raise IncidentError("this incident is closed. Fix: look at the list again.")
