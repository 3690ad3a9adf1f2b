"""The clock of plans: one tick of each running plan, and the orders that follow from it.

Owns the transactions of a tick: facts are read first, the plan's row is locked and must still be
at the version they were read for, and what is ordered is carried out after that commit, under the
lock again and only while the plan still has it pending. A process that dies in between loses
nothing: the next tick orders again under the same key. It must not write at Twilio.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace
from typing import cast

import structlog
from django.db import transaction
from django.utils import timezone

from calls.models import Call, Incident, MigrationPlan, PhoneNumber
from calls.numbers.entries import Entry
from calls.numbers.plan import (
    FULL,
    SETTLED,
    Outcome,
    Plan,
    PlanError,
    PlanState,
    Route,
    SetShare,
    skip,
)
from calls.numbers.plan_gates import NumberFacts
from calls.numbers.plan_step import advance, refused
from calls.services.number_routes import RouteOrder, RouteOvertaken, RouteRefused, route_set
from calls.services.plan_facts import plan_facts
from calls.services.plans import plan_of, plan_store
from voiceplatform.base.fields import DecryptionError

SECONDS = 30.0
_GONE = "the number was deleted"
_UNDONE = (
    "somebody else has changed the route right after the plan's step. Fix: put the number back "
    "into the plan, which goes on from there, or skip it"
)

log = structlog.get_logger(__name__)


def plans_tick(now: dt.datetime | None = None) -> int:
    """Take one tick of each running plan; return how many changed.

    Args:
        now: aware; the clock's unless given.
    """
    running = MigrationPlan.objects.filter(status=MigrationPlan.Status.RUNNING)
    changed = 0
    for plan_id in list(running.order_by("looked_at", "pk").values_list("pk", flat=True)):
        changed += plan_tick(plan_id, now)
    return changed


def plan_tick(plan_id: uuid.UUID, now: dt.datetime | None = None) -> bool:
    """Take one tick of a plan and carry out what it orders; tell whether it changed.

    Nothing happens when another worker has the plan, or changed it meanwhile.
    """
    now = now or timezone.now()
    row = MigrationPlan.objects.filter(pk=plan_id).first()
    if row is None or row.status != MigrationPlan.Status.RUNNING:
        return False
    try:
        plan, state = plan_of(row)
        known = plan_facts(plan, state)
    except (PlanError, DecryptionError) as error:
        _unreadable(row, str(error))
        return False
    state, gone = _without_deleted(plan, state, set(known.facts), now)
    found = advance(plan, state, known.facts, now)
    found = replace(found, entries=(*gone, *found.entries))
    if not _stored(row, found, now):
        return False
    for action in found.actions:
        _carry_out(plan_id, action, known.versions[action.number_id], now)
    return True


def _stored(row: MigrationPlan, found: Outcome, now: dt.datetime) -> bool:
    """Store a tick if the plan is still what it was computed from."""
    with transaction.atomic():
        held = (
            MigrationPlan.objects.select_for_update(skip_locked=True)
            .filter(pk=row.pk, version=row.version, status=MigrationPlan.Status.RUNNING)
            .first()
        )
        if held is None:
            return False
        changed = plan_store(held, found)
        MigrationPlan.objects.filter(pk=row.pk).update(looked_at=now, problem="")
    return changed


def _carry_out(plan_id: uuid.UUID, action: SetShare, version: int, now: dt.datetime) -> None:
    """Set the route that a plan ordered, if it still wants that and nobody was faster.

    ``version`` is that of the route by which the gates were judged: what the guard, or a person,
    has changed since then is never written over.
    """
    number_id = uuid.UUID(action.number_id)
    try:
        with transaction.atomic():
            plan = _pending(plan_id, action)
            if plan is None or _has_incident(number_id):
                return
            route_set(
                number_id=number_id,
                order=_order(action.percent),
                actor=plan.who(),
                why=f"the plan's step to {action.percent}%",
                kind="plan",
                evidence={"plan": str(plan_id), "key": action.key},
                key=action.key,
                expected_version=version,
            )
            # An order that was carried out before, under the same key, changes nothing again.
            if _percent(number_id) != action.percent:
                _refuse(plan_id, action, _UNDONE, now)
    except RouteOvertaken:
        # The next tick sees what somebody else made of it.
        log.info("plan_overtaken", plan_id=str(plan_id))
    except RouteRefused as refusal:
        _refuse(plan_id, action, str(refusal), now)
    except PhoneNumber.DoesNotExist:
        _refuse(plan_id, action, _GONE, now)


def _pending(plan_id: uuid.UUID, action: SetShare) -> Plan | None:
    """Lock a plan and return it while it waits for ``action``, None when it does not any more."""
    row = (
        MigrationPlan.objects.select_for_update()
        .filter(pk=plan_id, status=MigrationPlan.Status.RUNNING)
        .first()
    )
    if row is None:
        return None
    plan, state = plan_of(row)
    pending = state.of(action.number_id).pending
    return plan if pending is not None and pending.key == action.key else None


def _percent(number_id: uuid.UUID) -> int:
    """Return the share of calls that a number's route gives us now."""
    number = PhoneNumber.objects.only("route", "canary_percent").get(pk=number_id)
    route = cast(Route, number.route)
    return NumberFacts("", route=route, canary_percent=number.canary_percent).percent


def _has_incident(number_id: uuid.UUID) -> bool:
    """Tell whether the guard has opened an incident since the gates were judged."""
    return Incident.objects.filter(
        number=number_id, stack=Call.Stack.DIRECT, closed_at__isnull=True
    ).exists()


def _order(percent: int) -> RouteOrder:
    if percent == FULL:
        return RouteOrder("direct")
    return RouteOrder("canary", percent)


def _refuse(plan_id: uuid.UUID, action: SetShare, why: str, now: dt.datetime) -> None:
    with transaction.atomic():
        row = MigrationPlan.objects.select_for_update().get(pk=plan_id)
        plan, state = plan_of(row)
        plan_store(row, refused(plan, state, action.number_id, action.key, why, now))


def _without_deleted(
    plan: Plan, state: PlanState, there: set[str], now: dt.datetime
) -> tuple[PlanState, list[Entry]]:
    """Leave out numbers that were deleted, for which a plan would wait for ever."""
    entries: list[Entry] = []
    for progress in state.numbers:
        if progress.number_id in there or progress.phase in SETTLED:
            continue
        found = skip(plan, state, progress.number_id, who=plan.who(), why=_GONE, now=now)
        state = found.state
        entries += found.entries
    return state, entries


def _unreadable(row: MigrationPlan, why: str) -> None:
    """Say on the plan's page why it does not go on; other plans do."""
    log.warning("plan_unreadable", plan_id=str(row.pk))
    MigrationPlan.objects.filter(pk=row.pk).update(problem=why[:300])
