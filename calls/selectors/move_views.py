"""Reads for the pages of one number: the console, a move with its steps, the way back of all.

Owns how stored moves become words: which step one is at, what was found when it stopped, what
Twilio has as far as is known here. Addresses are masked. Asks nobody outside the database, and a
row that no key opens is shown as such.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from django.db.models import Count, Q
from django.utils import timezone

from calls.models import (
    Call,
    Incident,
    NumberChange,
    NumberGuard,
    NumberMove,
    PhoneNumber,
    PlanNumber,
)
from calls.numbers.switch.steps import Move
from calls.numbers.switch.voice import Target, UnreadableNumber, target_of
from calls.numbers.switch.writes import Difference, difference
from calls.selectors import moves as overview
from calls.selectors.ended_calls import callers
from calls.selectors.moves import Mark
from calls.services.move_rows import move_of, snapshot_of
from calls.services.readiness import readiness_of
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.models import Job
from voiceplatform.base.redaction_urls import redact_url

_MOST_CALLS: Final = 8
_MOST_HISTORY: Final = 12
# A worker takes a move up within a second; the beat comes every five.
_IDLE: Final = dt.timedelta(seconds=12)
StepState = Literal["done", "now", "open", "failed"]
_FAILED_CALLS: Final = Q(ended_reason__icontains="error") | Q(ended_reason__icontains="failed")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that was done to a number; ``move_id`` when it has a page."""

    at: dt.datetime
    what: str
    who: str
    why: str
    move_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Console:
    """What a number's console shows beside its own columns."""

    stack: Mark
    guard: Mark
    readiness: Mark
    plan: Mark
    plan_id: uuid.UUID | None
    move: NumberMove | None
    move_mark: Mark | None
    way_back: NumberMove | None
    incident_rows: Sequence[Incident]
    incidents: Sequence[Mark]
    twilio: str
    before: str
    calls: Sequence[Call]
    here_day: int
    here_failed: int
    old_day: int
    history: Sequence[Entry]


def console_of(number: PhoneNumber, *, with_calls: bool) -> Console:
    """Return what is known of one number; its calls only for those who may see calls."""
    moves = overview.moves_at_work([number.pk]).get(number.pk, [])
    move, way_back = overview.open_of(moves), overview.way_back_of(moves)
    incidents = list(Incident.objects.filter(number=number, closed_at__isnull=True))
    guard = NumberGuard.objects.filter(number=number, stack="direct").first()
    calls = _calls(number) if with_calls else []
    day = _day(number) if with_calls else {"here": 0, "failed": 0, "old": 0}
    now, before = _at_twilio(number, way_back)
    place = PlanNumber.objects.filter(number=number, holds=True).first()
    return Console(
        stack=overview.stack_mark(number, way_back),
        guard=overview.guard_mark(guard, number, is_here=way_back is not None),
        readiness=overview.readiness_mark(readiness_of(number)),
        plan=overview.plan_marks([number.pk]).get(number.pk, Mark("–")),
        plan_id=None if place is None else place.plan_id,
        move=move,
        move_mark=None if move is None else overview.move_mark(move),
        way_back=way_back,
        incident_rows=incidents,
        incidents=[overview.incident_mark(incident) for incident in incidents],
        twilio=now,
        before=before,
        calls=calls,
        here_day=day["here"],
        here_failed=day["failed"],
        old_day=day["old"],
        history=_history(number),
    )


def _calls(number: PhoneNumber) -> list[Call]:
    rows = Call.objects.filter(organisation=number.organisation_id, number=number).only(
        *("created_at", "stack", "status", "ended_reason", "route_reason")
    )
    return list(rows.order_by("-created_at")[:_MOST_CALLS])


def _day(number: PhoneNumber) -> dict[str, int]:
    since = timezone.now() - dt.timedelta(days=1)
    rows = (
        callers()
        .filter(organisation=number.organisation_id, number=number, created_at__gte=since)
        .order_by()
    )
    is_here = Q(stack=Call.Stack.DIRECT)
    counted: dict[str, int] = rows.aggregate(
        here=Count("pk", filter=is_here),
        failed=Count("pk", filter=is_here & _FAILED_CALLS),
        old=Count("pk", filter=~is_here),
    )
    return counted


def _at_twilio(number: PhoneNumber, way_back: NumberMove | None) -> tuple[str, str]:
    """Return what Twilio has and what it had before, as far as is stored here."""
    if way_back is None:
        unknown = "not changed by this platform; the preview of a move asks Twilio"
        return unknown, redact_url(number.previous_voice_url) or "not known"
    try:
        snapshot = snapshot_of(number)
    except (DecryptionError, UnreadableNumber):
        words = "the snapshot cannot be read: the key that sealed it is missing, or it was altered"
        return "this platform", words
    at = f"{way_back.created_at:%Y-%m-%d %H:%M} UTC"
    if snapshot is None:
        return f"this platform, written {at}", "not known"
    before = target_of(snapshot.config, snapshot.application)
    return f"this platform, written {at}", f"{target_words(before)}; a snapshot of {at} is kept"


def target_words(target: Target) -> str:
    """Say what answered, without what is secret in its address."""
    address = redact_url(target.url)
    match target.kind:
        case "trunk":
            return f"the SIP trunk {target.sid}"
        case "app":
            return f"the TwiML app {target.sid}" + (f" ({address})" if address else "")
        case "none":
            return "nothing: no address was set"
    return address


def _history(number: PhoneNumber) -> list[Entry]:
    moves = NumberMove.objects.filter(number=number).only(*overview.MOVE_COLUMNS)
    entries = [
        Entry(
            move.created_at,
            f"{move.get_direction_display()}: {str(move.get_step_display()).lower()}",
            move.who,
            move.why,
            move.pk,
        )
        for move in moves.order_by("-created_at")[:_MOST_HISTORY]
    ]
    entries += [
        Entry(change.created_at, f"Route {change}", change.who, change.why)
        for change in NumberChange.objects.filter(number=number)[:_MOST_HISTORY]
    ]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)[:_MOST_HISTORY]


# ---- one move -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step of a move as the page shows it."""

    words: str
    state: StepState
    more: str = ""


@dataclass(frozen=True, slots=True)
class MoveView:
    """A move with its steps.

    Attributes:
        found: every field that is not as it should be, when the move stopped over that.
        fingerprint: what a yes to going on has to name; '' where there is nothing to say yes to.
        first_call: the first caller's call, once there is one.
        is_idle: something is to be done and nobody does it; a worker may be down.
    """

    row: NumberMove
    steps: Sequence[StepLine]
    found: Sequence[Difference]
    fingerprint: str
    can_go_on: bool
    can_restore: bool
    is_stopped: bool
    is_over: bool
    is_idle: bool
    first_call: Call | None
    unreadable: str


def move_view(row: NumberMove) -> MoveView:
    """Return a move as its page shows it."""
    move, unreadable = _read(row)
    stop = move.stop if move is not None else None
    found: tuple[Difference, ...] = ()
    if move is not None and stop is not None and stop.found is not None:
        # What should be there, over what is: what was wanted once it was written, else the past.
        should_be = move.wanted if row.may_be_written else move.before
        every = difference(should_be, stop.found, mask=redact_url)
        found = tuple(each for each in every if each.is_changed)
    is_stopped = row.step == NumberMove.Step.STOPPED
    is_open = row.finished_at is None
    here = row.direction == NumberMove.Direction.HERE
    can_go_on = is_stopped and stop is not None and stop.goes_on_at is not None
    return MoveView(
        row=row,
        steps=_steps(row),
        found=found,
        fingerprint=stop.fingerprint if stop is not None else "",
        can_go_on=can_go_on,
        can_restore=here and row.closed_at is None and row.may_be_written,
        is_stopped=is_stopped,
        is_over=not is_open,
        is_idle=is_open and _is_idle(row),
        first_call=_first_call(row),
        unreadable=unreadable,
    )


def _read(row: NumberMove) -> tuple[Move | None, str]:
    try:
        return move_of(row), ""
    except (DecryptionError, UnreadableNumber) as error:
        return None, f"The stored state of this move cannot be read: {error}"


def _is_idle(row: NumberMove) -> bool:
    """Tell whether work has been due for a while and nobody has it."""
    if row.next_at is None or row.step == NumberMove.Step.STOPPED:
        return False
    now = timezone.now()
    is_held = row.lease_until is not None and row.lease_until > now
    return not is_held and row.next_at + _IDLE < now


def _first_call(row: NumberMove) -> Call | None:
    if not row.first_call_sid:
        return None
    call: Call | None = (
        Call.objects.filter(call_sid=row.first_call_sid, organisation=row.organisation_id)
        .only("created_at", "stack", "status", "route_reason")
        .first()
    )
    return call


def _steps(row: NumberMove) -> list[StepLine]:
    here = row.direction == NumberMove.Direction.HERE
    order = ["stored", "posted", "compared"] + (["tested", "done"] if here else [])
    words = {
        "stored": "The snapshot of how the number was is kept"
        if here
        else "Ordered; the number's route is what it was before",
        "posted": "Written at Twilio, in one request",
        "compared": "Read back and compared, field by field",
        "tested": "A test call came in here",
        "done": "The first call of a caller",
    }
    reached = _reached(row, order)
    lines = []
    for place, name in enumerate(order):
        state: StepState = "done" if place < reached else "open"
        if place == reached and row.finished_at is None:
            state = "failed" if row.step == NumberMove.Step.STOPPED else "now"
        more = row.test_words if name == "tested" else ""
        if name == "done" and state == "now":
            more = "Call the number, or wait for somebody to."
        lines.append(StepLine(words[name], state, more))
    return lines


def _reached(row: NumberMove, order: Sequence[str]) -> int:
    """Return how many steps are behind a move."""
    match row.step:
        case "done":
            return len(order)
        case "stopped" | "abandoned" | "replaced":
            if row.test_state:
                return 3
            return 2 if row.stop_code == "not_taken" else 1
        case "stored":
            return 1
        case step if step in order:
            return order.index(step) + 1
    return 1


# ---- all numbers back ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReturningRow:
    """One number on the way back of all."""

    number_id: uuid.UUID
    number: str
    name: str
    move_id: uuid.UUID | None
    words: str
    colour: str
    is_done: bool
    is_open: bool


def returning_rows(job: Job) -> list[ReturningRow]:
    """Return every number of the job's organisation that is here or came back since it was made."""
    moves = {
        move.number_id: move
        for move in NumberMove.objects.filter(
            # One that was under way already is the job's too, one that was over is not.
            Q(created_at__gte=job.created_at)
            | Q(finished_at__isnull=True)
            | Q(finished_at__gte=job.created_at),
            organisation=job.organisation_id,
            direction=NumberMove.Direction.BACK,
        )
        .only(*overview.MOVE_COLUMNS)
        .order_by("created_at")
    }
    here = NumberMove.objects.filter(
        organisation=job.organisation_id, direction="here", closed_at__isnull=True
    )
    numbers = PhoneNumber.objects.filter(organisation=job.organisation_id).filter(
        Q(pk__in=here.values("number")) | Q(pk__in=list(moves))
    )
    rows = [
        _returning(number, moves.get(number.pk))
        for number in numbers.only("number_e164", "name").order_by("number_e164")
    ]
    return sorted(rows, key=lambda row: row.is_done)


def _returning(number: PhoneNumber, move: NumberMove | None) -> ReturningRow:
    words, colour = "waits", "info"
    is_done = is_open = False
    if move is not None:
        is_done = move.step == NumberMove.Step.DONE
        is_open = move.finished_at is None and move.step != NumberMove.Step.STOPPED
        match move.step:
            case "done":
                words, colour = "as it was before it moved", "success"
            case "stopped":
                words, colour = f"needs a person: {move.problem}", "danger"
            case "abandoned":
                words, colour = "left as it is", "warning"
            case _:
                words, colour = move.problem or "under way", "primary"
    return ReturningRow(
        number_id=number.pk,
        number=number.number_e164,
        name=number.name,
        move_id=None if move is None else move.pk,
        words=words,
        colour=colour,
        is_done=is_done,
        is_open=is_open,
    )
