"""What is known of a plan's numbers now: the facts by which ``calls.numbers.plan_gates`` judges.

Owns how routes, moves, readiness, incidents, calls and parity become one ``NumberFacts`` for each
number, in a fixed number of queries however many numbers there are. Reads and decides nothing.
Whoever measures parity registers itself here, so that a plan need not know of it.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from calls.models import (
    Call,
    Incident,
    NumberMove,
    PhoneNumber,
)
from calls.numbers.guard import EndedCall, has_hurt, p95
from calls.numbers.plan import SETTLED, Parity, Plan, PlanState, Progress
from calls.numbers.plan_gates import NumberFacts
from calls.selectors.ended_calls import callers, ended_calls, rows_of, turn_ms
from calls.services.cost_gate import dearer_words
from calls.services.readiness_gate import Standing, standings_of
from voiceplatform.base.fields import DecryptionError, unseal
from voiceplatform.base.selectors import uuids_in

NOT_HERE: Final = (
    "its calls do not come to this platform yet. Fix: move it here on the number's page, with the "
    "route it has; a plan never writes at Twilio"
)
MOVING: Final = (
    "a move of it at Twilio is under way. Fix: wait for its end, or end it on the number's page"
)
NOT_CHECKED: Final = (
    "it has never been checked. Fix: check it on the page “Readiness”, which takes a minute"
)
# A number that was set up by hand shows by its calls that they come here.
SEEN_WITHIN: Final = dt.timedelta(days=30)
# Of these the newest are judged; the count beside them is of all.
MOST_CALLS: Final = 4_000

ParitySource = Callable[[PhoneNumber], tuple[Parity, str]]


def _no_parity(_: PhoneNumber) -> tuple[Parity, str]:
    return "undecided", "nothing measures parity on this installation yet"


@dataclass(slots=True)
class _Source:
    """The one source of parity; replaced when an application is made ready."""

    ask: ParitySource = field(default=_no_parity)


_PARITY = _Source()


def register_parity_source(source: ParitySource) -> None:
    """Have ``source`` say how a number's parity stands and, in words, by how much.

    It is asked once a tick for each number that may take a step, so it must read what is stored.
    """
    _PARITY.ask = source


def parity_of(number: PhoneNumber) -> tuple[Parity, str]:
    """Return how a number's parity stands, and in words why."""
    return _PARITY.ask(number)


def has_parity_source() -> bool:
    """Tell whether anything measures parity here."""
    return _PARITY.ask is not _no_parity


@dataclass(frozen=True, slots=True)
class Known:
    """The facts of each number that exists, by its id, and the version of the route they are of."""

    facts: Mapping[str, NumberFacts]
    versions: Mapping[str, int]


def plan_facts(plan: Plan, state: PlanState) -> Known:
    """Return what is known of the plan's numbers.

    Of a number that the plan is through with only the route and an incident are looked up.
    """
    ids = uuids_in(plan.numbers)
    asked = [each for each in state.numbers if each.phase not in SETTLED]
    wanted = set(uuids_in(each.number_id for each in asked))
    incidents = dict(
        Incident.objects.filter(
            number__in=ids, stack=Call.Stack.DIRECT, closed_at__isnull=True
        ).values_list("number", "key")
    )
    moves = _newest_moves(wanted)
    checked = standings_of(wanted)
    dearer = dearer_words(wanted)
    calls = _Calls(asked)
    found: dict[str, NumberFacts] = {}
    versions: dict[str, int] = {}
    for number in _numbers(ids):
        key = str(number.pk)
        versions[key] = number.version
        facts: dict[str, Any] = {
            "number_id": key,
            "route": number.route,
            "canary_percent": number.canary_percent,
            "incident": incidents.get(number.pk, ""),
        }
        if number.pk in wanted:
            parity, note = _PARITY.ask(number)
            facts |= {
                "is_trunk": _is_trunk(number),
                "policy_reviewed": number.policy is not None
                and number.policy.reviewed_at is not None,
                **_readiness(_not_here(number, moves.get(number.pk)), checked.get(number.pk)),
                "parity": parity,
                "parity_note": note,
                "dearer": dearer.get(number.pk, ""),
                **calls.of(number.pk),
            }
        found[key] = NumberFacts(**facts)
    return Known(found, versions)


def _numbers(ids: Collection[uuid.UUID]) -> QuerySet[Any]:
    recent = callers().filter(
        organisation=OuterRef("organisation"),
        number=OuterRef("pk"),
        created_at__gte=timezone.now() - SEEN_WITHIN,
    )
    # The sealed column is fetched as it is stored: one row that no key opens must not hide others.
    rows: QuerySet[Any] = (
        PhoneNumber.objects.filter(pk__in=ids)
        .select_related("policy")
        .defer("previous_target")
        .annotate(
            target_sealed=Cast(F("previous_target"), TextField()),
            was_called=Exists(recent),
        )
    )
    return rows


def _is_trunk(number: Any) -> bool:
    if not number.target_sealed:
        return False
    try:
        target = json.loads(unseal(number.target_sealed.encode("ascii")))
    except (DecryptionError, ValueError):
        return False
    return isinstance(target, Mapping) and target.get("kind") == "trunk"


def _newest_moves(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Mapping[str, Any]]:
    rows = NumberMove.objects.filter(number__in=ids).order_by("number", "-created_at")
    found: dict[uuid.UUID, Mapping[str, Any]] = {}
    for row in rows.values("number", "direction", "step", "finished_at", "may_be_written"):
        # A move that was given up before anything was sent says nothing about where calls go.
        if row["finished_at"] is None or row["may_be_written"]:
            found.setdefault(row["number"], row)
    return found


def _not_here(number: Any, move: Mapping[str, Any] | None) -> list[str]:
    if move is None:
        return [] if number.was_called else [NOT_HERE]
    if move["direction"] == NumberMove.Direction.BACK:
        return [NOT_HERE if move["finished_at"] is not None else MOVING]
    # With the first caller missing everything has been written and compared: calls come here.
    is_there = move["finished_at"] is not None or move["step"] == NumberMove.Step.TESTED
    return [] if is_there else [MOVING]


def _readiness(not_here: list[str], standing: Standing | None) -> dict[str, Any]:
    if standing is None:
        return {"readiness": (*not_here, NOT_CHECKED), "readiness_note": "never checked"}
    checked = f"checked {standing.checked_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
    return {
        "readiness": (*not_here, *standing.blockers),
        "readiness_waits": standing.waits,
        "readiness_note": "; ".join(each for each in (checked, standing.note) if each),
    }


class _Calls:
    """The calls of each number that ended on our stack since the plan's last step of it."""

    def __init__(self, progresses: Iterable[Progress]) -> None:
        since = {
            uuid.UUID(each.number_id): each.since
            for each in progresses
            if each.since is not None and each.phase == "moving"
        }
        self._counts: dict[uuid.UUID, int] = {}
        self._ended: dict[uuid.UUID, list[EndedCall]] = defaultdict(list)
        self._turns: dict[uuid.UUID, list[int]] = defaultdict(list)
        if since:
            self._read(since)

    def of(self, number_id: uuid.UUID) -> dict[str, Any]:
        """Return the fields of ``NumberFacts`` that are about calls."""
        ended = self._ended[number_id]
        return {
            "calls": self._counts.get(number_id, 0),
            "bad_calls": sum(has_hurt(call) for call in ended),
            "first_word_p95_ms": p95(
                call.first_word_ms for call in ended if call.first_word_ms is not None
            ),
            "turn_p95_ms": p95(self._turns[number_id]),
        }

    def _read(self, since: Mapping[uuid.UUID, dt.datetime]) -> None:
        either = Q()
        for number_id, moment in since.items():
            either |= Q(number=number_id, created_at__gte=moment)
        rows = callers().filter(either, stack=Call.Stack.DIRECT, status=Call.Status.ENDED)
        self._counts = dict(rows.order_by().values_list("number").annotate(Count("pk")))
        newest = rows_of(rows.order_by("-created_at")[:MOST_CALLS])
        for row, call in zip(newest, ended_calls(newest), strict=True):
            self._ended[row.number_id].append(call)
            self._turns[row.number_id] += turn_ms(row)
