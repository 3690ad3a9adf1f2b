"""Orders about where a number's calls go at Twilio: move it here, go on, give up, put it back.

Owns what a person or the guard may order and what is stored with it: the snapshot and the change of
route commit in one transaction, and Twilio is asked outside of any. What follows a step is
``calls.numbers.switch.steps``'s, doing it ``move_engine``'s. Restores need this module, the
database and Twilio's credentials alone: no Redis, no worker.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import structlog
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from calls.models import Call, NumberMove, PhoneNumber
from calls.numbers.switch.steps import (
    Abandoned,
    Accepted,
    Confirmed,
    Move,
    MoveError,
    NotConfirmed,
    Step,
    Stop,
    advance,
)
from calls.numbers.switch.voice import Snapshot
from calls.selectors.leaving import numbers_left
from calls.services import move_bell, move_test_calls
from calls.services.move_engine import Outcome, move_run, outcome_of
from calls.services.move_previews import MovePreview, move_preview
from calls.services.move_restores import restore_begin, route_columns
from calls.services.move_rows import (
    columns_of,
    due_moves,
    has_way_back,
    move_of,
    open_move,
    row_of,
    snapshot_of,
    take,
    written_of,
)
from calls.services.number_routes import RouteOrder, RouteRefused, previous_set, route_set
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.services import actor_label, audit_write

__all__ = [
    "MovePreview",
    "MoveRefused",
    "RestoreResult",
    "has_way_back",
    "move_abandon",
    "move_accept",
    "move_begin",
    "move_continue",
    "move_of",
    "move_preview",
    "move_run",
    "moves_continue",
    "open_move",
    "restorable",
    "restore_all_begin",
    "restore_begin",
    "restore_look",
    "restore_try",
    "snapshot_of",
    "stop_of",
    "webhook_seen",
    "written_of",
]

# Of one turn of the beat, over all moves; below the task's limit.
TURN_SECONDS: Final = 20.0
_MOST_PER_TURN: Final = 50
_LOOK_SECONDS: Final = 0.5

log = structlog.get_logger(__name__)


class MoveRefused(ValueError):
    """The order cannot be followed; the text names the cause and the fix. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """How far a restore is. ``again``: Twilio did not answer yet, or it is looked at once more."""

    state: Literal["done", "again", "person", "nothing"]
    words: str
    retry_after_seconds: float = 0.0


# ---- the way here ----------------------------------------------------------------------------


def move_begin(
    *,
    number: PhoneNumber,
    actor: Any,
    why: str,
    fingerprint: str,
    typed: str,
    route: RouteOrder | None = None,
    key: str = "",
) -> NumberMove:
    """Begin to move a number here as its preview showed; the write itself is a worker's.

    Args:
        fingerprint: of the preview that the person was shown.
        typed: the number as the person typed it.
        route: None leaves the number's route; on ``vapi`` its calls come here and are handed over.
        key: the same key again returns the same move.

    Raises:
        MoveRefused: a move is under way, something blocks it, or the number is no longer as shown.
        TwilioSilent, TwilioRefused: Twilio does not say how the number is.
    """
    if key and (known := number.moves.filter(key=key, direction="here").first()):
        return known  # type: ignore[no-any-return]
    if open_move(number) is not None:
        raise MoveRefused("a move of this number is under way. Fix: end that one first")
    seen = move_preview(number=number, route=route)
    if seen.blocks:
        raise MoveRefused("; ".join(f"{each.cause}. Fix: {each.fix}" for each in seen.blocks))
    if seen.before is None or seen.wanted is None or seen.target is None:
        raise MoveRefused("the number's configuration is not known. Fix: look at it again")
    if seen.fingerprint != fingerprint:
        raise MoveRefused("the number is not as it was shown. Fix: look at the difference again")
    try:
        move, _ = advance(Move("here", seen.before, seen.wanted), Confirmed(typed))
    except NotConfirmed as error:
        raise MoveRefused(str(error)) from error
    now = timezone.now()
    snapshot = Snapshot(
        config=seen.before,
        application=seen.application,
        voice_region=seen.voice_region,
        taken_at=now.isoformat(),
        taken_by=actor_label(actor),
    )
    with transaction.atomic():
        row = PhoneNumber.objects.select_for_update(of=("self",)).get(pk=number.pk)
        if open_move(row) is not None:
            raise MoveRefused("a move of this number is under way. Fix: end that one first")
        if row.version != number.version:
            raise MoveRefused("the number's route was changed meanwhile. Fix: look at it again")
        row.moves.filter(direction="here", closed_at__isnull=True).update(closed_at=now)
        made: NumberMove = NumberMove.objects.create(
            organisation_id=row.organisation_id,
            number=row,
            direction=NumberMove.Direction.HERE,
            snapshot=snapshot.as_json(),
            route_before=route_columns(row),
            who=actor_label(actor)[:200],
            why=why[:500],
            key=key[:200],
            next_at=now,
            **columns_of(move),
        )
        _row_follows(row, seen, route, actor, why, made)
        audit_write(
            actor=actor,
            action="number.move",
            organisation=row.organisation,
            target=row,
            details={
                "move": str(made.pk),
                "why": why[:500],
                "findings": [each.code for each in seen.findings],
            },
        )
        transaction.on_commit(move_bell.poke)
    log.info("move_begun", move_id=str(made.pk), number_id=str(row.pk))
    return made


def _row_follows(
    row: PhoneNumber,
    seen: MovePreview,
    route: RouteOrder | None,
    actor: Any,
    why: str,
    move: NumberMove,
) -> None:
    """Store what the move says of the number: whom to hand over to, and its route if ordered."""
    assert seen.before is not None, "checked before the transaction"
    previous_set(row, seen.target)
    row.twilio_sid, row.voice_region = seen.before.sid, seen.voice_region[:20]
    row.save(update_fields=["twilio_sid", "voice_region", "updated_at"])
    if route is None:
        return
    try:
        route_set(
            number_id=row.pk,
            order=route,
            actor=actor,
            why=why,
            kind="switch",
            evidence={"move": str(move.pk)},
            key=f"move:{move.pk}",
        )
    except RouteRefused as error:
        raise MoveRefused(str(error)) from error


def move_continue(move_id: uuid.UUID, *, within_seconds: float = TURN_SECONDS) -> NumberMove:
    """Carry a move on until it waits, is done or stopped, or the time is over. Idempotent."""
    move_run(move_id, within_seconds=within_seconds)
    return row_of(move_id)


def moves_continue(*, within_seconds: float = TURN_SECONDS) -> int:
    """Carry on every move whose time has come; return how many. The beat's work."""
    due = due_moves(timezone.now(), _MOST_PER_TURN)
    for move_id in due:
        try:
            # Waits are left to the next turn, so that no number holds up the others.
            move_run(move_id, within_seconds=0.0)
        except DecryptionError:
            log.error("move_unreadable", move_id=str(move_id))
    return len(due)


def move_accept(*, move: NumberMove, fingerprint: str, actor: Any, why: str) -> None:
    """Let a stopped move go on over what was found, which the person was shown.

    Raises:
        MoveRefused: there is nothing to say yes to, or the number is not as it was shown.
    """
    _person(move, Accepted(fingerprint), "number.move_accept", actor, why)


def move_abandon(*, move: NumberMove, actor: Any, why: str) -> None:
    """Leave the number as it is at Twilio and end the move; its way back is kept.

    Raises:
        MoveRefused: it has ended, or a worker is writing just now.
    """
    _person(move, Abandoned(), "number.move_abandon", actor, why)


def _person(
    move: NumberMove, event: Accepted | Abandoned, action: str, actor: Any, why: str
) -> None:
    held = take(move.pk)
    if held is None:
        raise MoveRefused("it has ended or is being worked on. Fix: look at it again in a moment")
    try:
        row = row_of(move.pk)
        now = timezone.now()
        try:
            after, _ = advance(move_of(row), event)
        except MoveError as error:
            raise MoveRefused(str(error)) from error
        columns: dict[str, Any] = {**columns_of(after), "next_at": now}
        if after.step is Step.COMPARED:
            columns |= {"test_state": "", "test_seen_sid": "", "test_call_sid": ""}
            columns["tests_placed"] = 0
        if after.step is Step.ABANDONED:
            columns |= {"next_at": None, "finished_at": now, "problem": why[:500]}
            if row.direction == NumberMove.Direction.HERE and not row.may_be_written:
                columns["closed_at"] = now
        with transaction.atomic():
            held.write(**columns)
            audit_write(
                actor=actor,
                action=action,
                organisation=row.organisation,
                target=row.number,
                details={"move": str(row.pk), "why": why[:500], "stop": row.stop_code},
            )
            transaction.on_commit(move_bell.poke)
    finally:
        held.release()


def stop_of(move: NumberMove) -> Stop | None:
    """Return why a move waits for a person, None if it does not; its addresses are not masked."""
    return move_of(move).stop


def moves_watched(now: datetime) -> QuerySet[NumberMove]:
    """Return the moves that a webhook tells something: open ones, and those just tried by us."""
    is_open = Q(finished_at__isnull=True)
    rows: QuerySet[NumberMove] = NumberMove.objects.filter(direction=NumberMove.Direction.HERE)
    return rows.filter(is_open | Q(test_placed_at__gt=now - move_test_calls.COMING))


def webhook_seen(*, number: PhoneNumber, call_sid: str, caller: str = "") -> None:
    """Note that Twilio asked us about a call to the number; in the caller's transaction.

    One read where no move is open, none where ``number`` was read with ``is_watched``. A test call
    of ours is marked, so that nobody judges by it how callers fare; one that comes after its move
    has ended is marked too.

    Args:
        caller: who calls, which tells our own test call; '' looks it up in the call's row.
    """
    if not getattr(number, "is_watched", True):
        return
    now = timezone.now()
    rows = list(moves_watched(now).defer("state", "snapshot").filter(number=number))
    if not rows:
        return
    tests = [row for row in rows if move_test_calls.recent(row)]
    if tests:
        from_number = caller or (
            Call.objects.filter(call_sid=call_sid).values_list("caller", flat=True).first() or ""
        )
        for row in tests:
            if from_number == row.test_caller:
                Call.objects.filter(call_sid=call_sid).update(is_test=True)
                NumberMove.objects.filter(
                    finished_at__isnull=True, pk=row.pk, test_seen_sid="", test_state="placed"
                ).update(test_seen_sid=call_sid)
                transaction.on_commit(move_bell.poke)
                return
    first = NumberMove.objects.filter(
        finished_at__isnull=True, pk__in=[row.pk for row in rows], first_call_sid=""
    )
    if first.update(first_call_sid=call_sid, next_at=now):
        transaction.on_commit(move_bell.poke)


# ---- the way back ----------------------------------------------------------------------------


def restore_try(move_id: uuid.UUID, *, within_seconds: float) -> RestoreResult:
    """Carry a restore on for that long; safe to repeat until it says ``done``.

    Returns:
        ``person``: somebody else has changed the number, or Twilio refuses; a person must decide.
    """
    until = time.monotonic() + within_seconds
    while True:
        left = max(0.0, until - time.monotonic())
        try:
            outcome = move_run(move_id, within_seconds=left)
        except DecryptionError as error:
            return RestoreResult("person", str(error))
        result = _result(outcome)
        # A worker may have it just now: it will be done in a moment.
        wait = min(result.retry_after_seconds, _LOOK_SECONDS)
        if result.state != "again" or time.monotonic() + wait >= until:
            return result
        time.sleep(wait)


def restore_look(move_id: uuid.UUID) -> RestoreResult:
    """Return how far a restore is, from its row alone."""
    return _result(outcome_of(move_id))


def _result(outcome: Outcome) -> RestoreResult:
    if outcome.state in ("done", "person", "nothing"):
        return RestoreResult(outcome.state, outcome.words)
    return RestoreResult("again", outcome.words, outcome.retry_after_seconds)


def restorable(organisation_id: uuid.UUID | None = None) -> list[PhoneNumber]:
    """Return the numbers that have a way back, those with the most calls of late first."""
    moved = NumberMove.objects.filter(direction="here", closed_at__isnull=True).exclude(
        number__in=numbers_left()
    )
    if organisation_id is not None:
        moved = moved.filter(organisation_id=organisation_id)
    numbers = {
        row.pk: row
        # Nothing sealed is opened: one row that no key opens must not keep the others here.
        for row in PhoneNumber.objects.filter(pk__in=moved.values("number_id"))
        .select_related("organisation")
        .defer("previous_target")
    }
    busy = _calls_of(numbers)
    return sorted(numbers.values(), key=lambda each: (-busy.get(each.pk, 0), each.number_e164))


def restore_all_begin(*, organisation: Organisation, actor: Any, why: str) -> Job:
    """Order every number of an organisation back; a worker does it and shows how far it is."""
    # Late: the job is made of the orders of this module.
    from calls.services import restore_jobs

    return restore_jobs.restore_all_begin(organisation=organisation, actor=actor, why=why)


def _calls_of(numbers: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    since = timezone.now() - timedelta(days=7)
    rows = Call.objects.filter(created_at__gte=since, number_id__in=list(numbers)).order_by()
    return dict(rows.values_list("number_id").annotate(Count("pk")))
