"""Reads of the pages on which numbers are moved: each number in one row, whatever knows of it.

Owns how what several rooms know of a number (its route, its move, its readiness, net, guard and
plan) becomes a few words with a colour. Writes nothing, asks nobody outside the database, and takes
the same few queries for four hundred numbers as for one.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import OuterRef, Q, QuerySet, Subquery

from calls.models import (
    Incident,
    NumberChange,
    NumberGuard,
    NumberMove,
    NumberNet,
    NumberReadiness,
    PhoneNumber,
    PlanNumber,
)

# What is read of a move for a list; its state and snapshot stay sealed.
MOVE_COLUMNS: Final = (
    *("id", "number_id", "organisation_id", "direction", "step", "problem", "stop_code"),
    *("may_be_written", "created_at", "finished_at", "closed_at", "first_call_sid", "who", "why"),
    *("test_state", "test_words", "next_at", "lease_until", "silences", "writes", "restores_id"),
)
# Of a number the move that is not over, and the one whose snapshot is its way back.
_MATTERS: Final = Q(finished_at__isnull=True) | Q(direction="here", closed_at__isnull=True)
_NUMBER_COLUMNS: Final = (
    *("number_e164", "name", "route", "canary_percent", "schedule", "previous_voice_url"),
)
_MOST_AT_HOME: Final = 6
_COLOURS: Final[Mapping[str, str]] = {
    "green": "success",
    "amber": "warning",
    "red": "danger",
    "grey": "info",
}
_ROUTE_COLOURS: Final[Mapping[str, str]] = {
    "vapi": "info",
    "canary": "warning",
    "direct": "success",
    "paused": "danger",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A few words with a colour; ``title`` says the rest."""

    words: str
    colour: str = "info"
    title: str = ""


@dataclass(frozen=True, slots=True)
class MovingRow:
    """One number as the overview shows it."""

    pk: uuid.UUID
    number: str
    name: str
    stack: Mark
    route: Mark
    readiness: Mark
    net: Mark
    guard: Mark
    plan: Mark
    move: Mark | None
    incident: Mark | None
    changed_at: dt.datetime | None
    changed_by: str
    is_here: bool
    needs_person: bool


@dataclass(frozen=True, slots=True)
class Filters:
    """What the overview is narrowed to; '' everywhere: nothing."""

    place: str = ""
    route: str = ""
    readiness: str = ""
    text: str = ""


PLACES: Final = {"here": "Here", "there": "Not moved", "attention": "Needs a person"}


def moves_at_work(numbers: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[NumberMove]]:
    """Return of each number the moves that matter now: the open one, and its way back."""
    rows = NumberMove.objects.filter(
        _MATTERS,
        number__in=list(numbers),
    ).only(*MOVE_COLUMNS)
    found: dict[uuid.UUID, list[NumberMove]] = defaultdict(list)
    for move in rows:
        found[move.number_id].append(move)
    return found


def open_of(moves: Sequence[NumberMove]) -> NumberMove | None:
    """Return the move that is not over."""
    return next((move for move in moves if move.finished_at is None), None)


def way_back_of(moves: Sequence[NumberMove]) -> NumberMove | None:
    """Return the move here whose snapshot is the way back; one that wrote nothing is none."""
    for move in moves:
        is_way_back = move.direction == NumberMove.Direction.HERE and move.closed_at is None
        if is_way_back and move.may_be_written:
            return move
    return None


def numbers_here(user: Any) -> QuerySet[PhoneNumber]:
    """Return the numbers of the person that can be put back."""
    here = NumberMove.objects.filter(
        direction=NumberMove.Direction.HERE, closed_at__isnull=True, may_be_written=True
    )
    rows: QuerySet[PhoneNumber] = PhoneNumber.objects.visible_to(user)
    return rows.filter(pk__in=here.values("number"))


def moving_rows(user: Any, filters: Filters = Filters()) -> list[MovingRow]:
    """Return every number that the person may see, those that need a person first."""
    changes = NumberChange.objects.filter(number=OuterRef("pk")).order_by("-created_at")
    rows: QuerySet[Any] = (
        PhoneNumber.objects.visible_to(user)
        .only(
            *("number_e164", "name", "route", "canary_percent", "schedule", "organisation_id"),
            "previous_voice_url",
        )
        .annotate(
            changed_at=Subquery(changes.values("created_at")[:1]),
            changed_by=Subquery(changes.values("who")[:1]),
        )
    )
    if filters.route:
        rows = rows.filter(route=filters.route)
    if filters.text:
        text = filters.text.replace("\x00", "")
        rows = rows.filter(Q(number_e164__icontains=text) | Q(name__icontains=text))
    numbers = list(rows.order_by("number_e164"))
    found = _Known([number.pk for number in numbers])
    shown = [found.row(number) for number in numbers]
    if filters.readiness:
        wanted = _COLOURS.get(filters.readiness)
        shown = [row for row in shown if row.readiness.colour == wanted and row.readiness.title]
    match filters.place:
        case "here":
            shown = [row for row in shown if row.is_here]
        case "there":
            shown = [row for row in shown if not row.is_here]
        case "attention":
            shown = [row for row in shown if row.needs_person]
    return sorted(shown, key=lambda row: not row.needs_person)


@dataclass(frozen=True, slots=True)
class HomeRow:
    """One number that is here, as the first page shows it."""

    pk: uuid.UUID
    number: str
    name: str
    stack: Mark
    move: Mark | None
    incident: Mark | None


@dataclass(frozen=True, slots=True)
class HomeMoving:
    """The numbers that can be put back, as the first page shows them; ``total`` counts all."""

    rows: Sequence[HomeRow]
    total: int


def home_moving(user: Any) -> HomeMoving:
    """Return some of the numbers that are here: those that need a person, then the newest."""
    at_work: QuerySet[NumberMove] = NumberMove.objects.visible_to(user)
    rows = at_work.filter(_MATTERS).select_related("number")
    moves: dict[uuid.UUID, list[NumberMove]] = defaultdict(list)
    numbers: dict[uuid.UUID, PhoneNumber] = {}
    for row in rows.only(*MOVE_COLUMNS, *(f"number__{name}" for name in _NUMBER_COLUMNS)):
        moves[row.number_id].append(row)
        numbers[row.number_id] = row.number
    here = [numbers[pk] for pk, found in moves.items() if way_back_of(found) is not None]
    incidents = _open_incidents(number.pk for number in here) if here else {}

    def order(number: PhoneNumber) -> tuple[bool, float]:
        move, way_back = open_of(moves[number.pk]), way_back_of(moves[number.pk])
        is_stopped = move is not None and move.step == NumberMove.Step.STOPPED
        moved_at = way_back.created_at.timestamp() if way_back is not None else 0.0
        return not (is_stopped or number.pk in incidents), -moved_at

    shown = []
    for number in sorted(here, key=order)[:_MOST_AT_HOME]:
        move, incident = open_of(moves[number.pk]), incidents.get(number.pk)
        shown.append(
            HomeRow(
                pk=number.pk,
                number=number.number_e164,
                name=number.name,
                stack=stack_mark(number, way_back_of(moves[number.pk])),
                move=None if move is None else move_mark(move),
                incident=None if incident is None else incident_mark(incident),
            )
        )
    return HomeMoving(shown, len(here))


def _open_incidents(numbers: Iterable[uuid.UUID]) -> dict[uuid.UUID, Incident]:
    return _by_number(
        Incident.objects.filter(number__in=list(numbers), closed_at__isnull=True)
        .only("number_id", "opened_at", "state", "words", "stack")
        .order_by("-stack", "opened_at")
    )


class _Known:
    """What the rooms know of some numbers; one query for each room."""

    def __init__(self, numbers: Sequence[uuid.UUID]) -> None:
        self._moves = moves_at_work(numbers)
        self._readiness = _by_number(
            NumberReadiness.objects.filter(number__in=numbers).only(
                "number_id", "colour", "reason", "next_step", "checked_at"
            )
        )
        self._nets = _by_number(
            NumberNet.objects.filter(number__in=numbers).only(
                *("number_id", "probe_state", "probe_words", "probed_at", "is_test"),
                *("dead_ms", "hanging_ms", "has_fallback"),
            )
        )
        self._guards = {
            guard.number_id: guard
            for guard in NumberGuard.objects.filter(number__in=numbers, stack="direct")
        }
        self._incidents = _open_incidents(numbers)
        self._plans = plan_marks(numbers)

    def row(self, number: Any) -> MovingRow:
        """Return one number's row."""
        moves = self._moves.get(number.pk, [])
        move, way_back = open_of(moves), way_back_of(moves)
        incident = self._incidents.get(number.pk)
        is_stopped = move is not None and move.step == NumberMove.Step.STOPPED
        return MovingRow(
            pk=number.pk,
            number=number.number_e164,
            name=number.name,
            stack=stack_mark(number, way_back),
            route=route_mark(number),
            readiness=readiness_mark(self._readiness.get(number.pk)),
            net=net_mark(self._nets.get(number.pk), is_here=way_back is not None),
            guard=guard_mark(self._guards.get(number.pk), number, is_here=way_back is not None),
            plan=self._plans.get(number.pk, Mark("–")),
            move=None if move is None else move_mark(move),
            incident=None if incident is None else incident_mark(incident),
            changed_at=number.changed_at,
            changed_by=number.changed_by or "",
            is_here=way_back is not None,
            needs_person=is_stopped or incident is not None,
        )


def _by_number(rows: Iterable[Any]) -> dict[uuid.UUID, Any]:
    return {row.number_id: row for row in rows}


def stack_mark(number: PhoneNumber, way_back: NumberMove | None) -> Mark:
    """Say who answers a call that comes in now."""
    if way_back is None:
        if number.previous_voice_url or number.route == "vapi":
            return Mark("old stack", "info", "Its calls do not come here; Twilio was not changed.")
        return Mark("set up by hand", "info", "This platform did not change it at Twilio.")
    match number.route:
        case "vapi":
            return Mark("old stack, through us", "info", "Calls come here and are handed over.")
        case "canary":
            return Mark("both", "warning", f"{number.canary_percent}% of callers stay here.")
        case "paused":
            return Mark("nobody", "danger", "Callers hear that the line is closed.")
    return Mark("here", "success", "Every call is answered here.")


def route_mark(number: PhoneNumber) -> Mark:
    """Return the route in words."""
    words = f"canary {number.canary_percent}%" if number.route == "canary" else number.route
    if number.schedule:
        words += ", by schedule"
    return Mark(words, _ROUTE_COLOURS.get(number.route, "info"))


def readiness_mark(row: NumberReadiness | None) -> Mark:
    """Return the colour and reason that the last check gave."""
    if row is None:
        return Mark("not checked", "info")
    words = str(row.get_colour_display()).lower()
    return Mark(words, _COLOURS[row.colour], f"{row.reason} ({row.checked_at:%Y-%m-%d %H:%M} UTC)")


def net_mark(net: NumberNet | None, *, is_here: bool) -> Mark:
    """Say whether somebody answers when we do not, as the last look at Twilio found."""
    if not is_here:
        return Mark("–", "info", "The number is not here, so nobody needs to catch its calls.")
    if net is None or net.probe_state in ("unknown", "not_moved"):
        return Mark("not looked at", "warning", "The nightly look has not seen it yet.")
    colours = {"armed": "success", "mended": "warning", "alarm": "danger"}
    at = f" ({net.probed_at:%Y-%m-%d %H:%M} UTC)" if net.probed_at else ""
    return Mark(
        str(net.get_probe_state_display()), colours[net.probe_state], f"{net.probe_words}{at}"
    )


def guard_mark(guard: NumberGuard | None, number: PhoneNumber, *, is_here: bool) -> Mark:
    """Say whether the number comes home by itself when its calls fail."""
    if not is_here or number.route not in ("direct", "canary"):
        return Mark("–", "info", "No call is answered here, so there is nothing to guard.")
    if guard is None or guard.off_since is not None:
        return Mark("not yet", "warning", "The guard has not taken the number up yet.")
    return Mark("watching", "success", f"Since {guard.armed_at:%Y-%m-%d %H:%M} UTC.")


def incident_mark(incident: Incident) -> Mark:
    """Return an open incident in words."""
    return Mark(f"incident, {incident.get_state_display()}", "danger", incident.words)


def move_mark(move: NumberMove) -> Mark:
    """Return an open move in words."""
    way = "moving here" if move.direction == NumberMove.Direction.HERE else "being put back"
    if move.step == NumberMove.Step.STOPPED:
        return Mark(f"{way}: stopped", "danger", move.problem)
    if move.step == NumberMove.Step.TESTED:
        return Mark("waits for the first caller", "primary", "")
    return Mark(way, "primary", str(move.get_step_display()))


def plan_marks(numbers: Sequence[uuid.UUID]) -> dict[uuid.UUID, Mark]:
    """Return where each number stands in the plan that holds it."""
    rows = PlanNumber.objects.filter(number__in=list(numbers), holds=True).select_related("plan")
    return {
        row.number_id: Mark(
            f"{row.phase} {row.percent}%" if row.percent else row.phase,
            "primary" if row.plan.status == "running" else "warning",
            f"{row.plan.name} ({row.plan.get_status_display()}), number {row.position}",
        )
        for row in rows.only(
            *("number_id", "phase", "percent", "position", "plan__name", "plan__status")
        )
    }
