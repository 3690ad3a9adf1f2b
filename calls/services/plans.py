"""What people do to plans: make one, start, pause, resume, skip, put back, approve.

Owns every write of a plan, its places and its record, in one transaction each; the clock's part
uses the same ``plan_store``. What follows from an action is ``calls.numbers.plan``. It must not set
a route: a plan orders, and ``plan_ticks`` carries out.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from calls.models import MigrationPlan, PhoneNumber, PlanEntry, PlanNumber
from calls.numbers import plan as rules
from calls.numbers.entries import Entry
from calls.numbers.plan import SETTLED, Outcome, Plan, PlanError, PlanState
from calls.numbers.plan_change import change
from calls.numbers.plan_stored import plan_read, plan_stored, state_read, state_stored
from calls.numbers.plan_words import entry_words, notice_of, seen_of
from calls.services.notices import notice_enqueue
from voiceplatform.base.models import Organisation
from voiceplatform.base.selectors import uuids_in
from voiceplatform.base.services import actor_label, audit_write

_ON = (MigrationPlan.Status.RUNNING, MigrationPlan.Status.PAUSED)
_MOST_NUMBERS = 200


class PlanOvertaken(PlanError):
    """Somebody else, or the plan itself, was faster than the page this was sent from."""


def plan_of(row: MigrationPlan) -> tuple[Plan, PlanState]:
    """Return a plan and where it stands.

    Raises:
        PlanError: what is stored cannot be read; the text says what to do.
    """
    return plan_read(str(row.pk), row.definition), state_read(row.state)


def plan_create(*, organisation: Organisation, name: str, plan: Plan, actor: Any) -> MigrationPlan:
    """Make a plan that nobody has started; ``plan.plan_id`` is replaced by the row's.

    Raises:
        PlanError: a number is not one of the organisation's, or there is no name.
    """
    name = _named(name)
    row_id = uuid.uuid4()
    plan = replace(plan, plan_id=str(row_id))
    state = rules.drafted(plan)
    with transaction.atomic():
        numbers = _numbers(organisation, plan.numbers)
        row: MigrationPlan = MigrationPlan.objects.create(
            pk=row_id,
            organisation=organisation,
            name=name,
            definition=plan_stored(plan),
            state=state_stored(state),
            created_by=actor_label(actor)[:200],
        )
        _place(row, numbers)
        audit_write(
            actor=actor,
            action="plan.create",
            organisation=organisation,
            target=row,
            details={"numbers": len(numbers)},
        )
    return row


def plan_change(
    *, row: MigrationPlan, name: str, plan: Plan, actor: Any, why: str, version: int
) -> MigrationPlan:
    """Change a draft altogether, or a plan that is on where that is safe (``plan_change``).

    Raises:
        PlanError: it would not be safe, nothing is different, or a number is not here.
        PlanOvertaken: it is not at ``version`` any more.
    """
    name = _named(name)
    with transaction.atomic():
        row = locked(row.pk)
        _want_version(row, version)
        before, state = plan_of(row)
        wanted = replace(plan, plan_id=str(row.pk))
        also = {"name": {"from": row.name, "to": name}} if name != row.name else {}
        outcome = change(
            before,
            state,
            wanted,
            who=actor_label(actor),
            why=why,
            now=timezone.now(),
            also=also,
        )
        # One that is on may have a number that was deleted; the clock leaves it out.
        numbers = _numbers(row.organisation, wanted.numbers, strict=state.status == "draft")
        row.name, row.definition = name, plan_stored(wanted)
        _place(row, numbers)
        plan_store(row, outcome)
        _audit(row, actor, outcome.entries)
    return row


def plan_start(*, row: MigrationPlan, actor: Any, why: str, version: int) -> MigrationPlan:
    """Start a drafted plan; from now on no other plan moves its numbers.

    Raises:
        PlanError: it has been started, another plan has one of its numbers, or why is empty.
        PlanOvertaken: it is not at ``version`` any more.
    """
    return _do(row, actor, why, rules.start, version=version)


def plan_pause(*, row: MigrationPlan, actor: Any, why: str) -> MigrationPlan:
    """Pause a running plan, whatever has happened since the page was opened.

    Raises:
        PlanError: it is not running, or why is empty.
    """
    return _do(row, actor, why, rules.pause)


def plan_resume(*, row: MigrationPlan, actor: Any, why: str, version: int) -> MigrationPlan:
    """Go on with a paused plan.

    Raises:
        PlanError: it is not paused, or why is empty.
        PlanOvertaken: it is not at ``version`` any more, e.g. it has paused itself again.
    """
    return _do(row, actor, why, rules.resume, version=version)


def plan_skip(
    *, row: MigrationPlan, number_id: str, actor: Any, why: str, seen: str
) -> MigrationPlan:
    """Leave a number out; its route stays as it is.

    Args:
        seen: how the number stood on the page (``plan_words.seen_of``).

    Raises:
        PlanError: there is nothing to skip, or why is empty.
        PlanOvertaken: the number stands differently now.
    """
    return _do(row, actor, why, rules.skip, number_id=number_id, seen=seen)


def plan_retry(
    *, row: MigrationPlan, number_id: str, actor: Any, why: str, seen: str
) -> MigrationPlan:
    """Put a number back that was stopped or left out; it goes on from the share it has.

    Raises:
        PlanError: it was neither, another plan has it, or why is empty.
        PlanOvertaken: the number stands differently now.
    """
    return _do(row, actor, why, rules.retry, number_id=number_id, seen=seen)


def plan_approve(
    *, row: MigrationPlan, number_id: str, percent: int, actor: Any, why: str, seen: str
) -> MigrationPlan:
    """Approve one step of a number.

    Raises:
        PlanError: the plan has no such step, or why is empty.
        PlanOvertaken: the number stands differently now.
    """

    def approve(
        plan: Plan, state: PlanState, number_id: str, *, who: str, why: str, now: dt.datetime
    ) -> Outcome:
        if state.of(number_id).phase in SETTLED:
            raise PlanError("the plan is through with the number. Fix: nothing is to be approved.")
        return rules.approve(plan, state, number_id, percent, who=who, why=why, now=now)

    return _do(row, actor, why, approve, number_id=number_id, seen=seen)


def plan_freeze_day(
    *, row: MigrationPlan, day: dt.date, actor: Any, why: str, version: int
) -> MigrationPlan:
    """Let nothing move on ``day``, also while the plan is on.

    Raises:
        PlanError: the plan is finished, or why is empty.
        PlanOvertaken: it is not at ``version`` any more.
    """
    if not why.strip():
        raise PlanError("why is empty. Fix: say in a few words why; it is kept with the change.")
    with transaction.atomic():
        row = locked(row.pk)
        _want_version(row, version)
        plan, state = plan_of(row)
        if state.status == "finished":
            raise PlanError("the plan is finished. Fix: there is nothing to freeze.")
        if day in plan.freeze_days:
            return row
        plan = replace(plan, freeze_days=plan.freeze_days | {day})
        row.definition = plan_stored(plan)
        evidence = {"day": day.isoformat()}
        entry = Entry(timezone.now(), actor_label(actor), "freeze day added", "", why, evidence)
        plan_store(row, Outcome(state, (), (entry,)))
        _audit(row, actor, (entry,))
    return row


def locked(plan_id: uuid.UUID) -> MigrationPlan:
    """Return a plan's row, locked until the transaction ends.

    Raises:
        PlanError: it was deleted.
    """
    row: MigrationPlan | None = MigrationPlan.objects.select_for_update().filter(pk=plan_id).first()
    if row is None:
        raise PlanError("the plan was deleted. Fix: go back to the list.")
    return row


def plan_store(row: MigrationPlan, outcome: Outcome) -> bool:
    """Store what happened to a plan whose row the caller has locked; tell whether anything did.

    Raises:
        PlanError: another plan that is on has one of its numbers.
    """
    state = state_stored(outcome.state)
    if state == row.state and not outcome.entries:
        return False
    row.state, row.status, row.version = state, outcome.state.status, row.version + 1
    row.save(update_fields=["name", "definition", "state", "status", "version", "updated_at"])
    _store_places(row, outcome.state)
    _store_entries(row, outcome.entries)
    return True


def _do(
    row: MigrationPlan,
    actor: Any,
    why: str,
    deed: Callable[..., Outcome],
    *,
    number_id: str = "",
    seen: str | None = None,
    version: int | None = None,
) -> MigrationPlan:
    with transaction.atomic():
        row = locked(row.pk)
        if version is not None:
            _want_version(row, version)
        plan, state = plan_of(row)
        if seen is not None and seen_of(state.of(number_id)) != seen:
            raise PlanOvertaken(
                "the number stands differently than the page showed. Fix: look at where it is "
                "now, then decide again."
            )
        arguments = (plan, state, number_id) if number_id else (plan, state)
        outcome = deed(*arguments, who=actor_label(actor), why=why, now=timezone.now())
        plan_store(row, outcome)
        _audit(row, actor, outcome.entries)
    return row


def _want_version(row: MigrationPlan, version: int) -> None:
    if row.version != version:
        raise PlanOvertaken(
            "the plan has changed since the page was opened. Fix: look at where it is now, then "
            "decide again."
        )


def _audit(row: MigrationPlan, actor: Any, entries: Sequence[Entry]) -> None:
    for entry in entries:
        audit_write(
            actor=actor,
            action=f"plan.{entry.action.replace(' ', '_')}",
            organisation=row.organisation,
            target=row,
            details={"number": entry.number_id, "why": entry.why},
        )


def _named(name: str) -> str:
    if not name.strip():
        raise PlanError("the name is empty. Fix: call the plan something, e.g. First week.")
    return name.strip()[:100]


def _place(row: MigrationPlan, numbers: Sequence[PhoneNumber]) -> None:
    """Give the plan exactly these places, in this order; those that stay keep what they hold."""
    PlanNumber.objects.filter(plan=row).exclude(number__in=numbers).delete()
    PlanNumber.objects.bulk_create(
        (
            PlanNumber(plan=row, organisation_id=row.organisation_id, number=each, position=index)
            for index, each in enumerate(numbers, 1)
        ),
        update_conflicts=True,
        unique_fields=("plan", "number"),
        update_fields=("position",),
    )


def _numbers(
    organisation: Organisation, ids: Sequence[str], *, strict: bool = True
) -> list[PhoneNumber]:
    if len(ids) > _MOST_NUMBERS:
        raise PlanError(f"the plan has {len(ids)} numbers. Fix: at most {_MOST_NUMBERS}; make two.")
    found = {
        str(number.pk): number
        for number in PhoneNumber.objects.for_organisation(organisation).filter(
            pk__in=uuids_in(ids)
        )
    }
    missing = [each for each in ids if each not in found]
    if missing and strict:
        raise PlanError(
            f"{len(missing)} of the numbers are not here any more. Fix: choose from the list again."
        )
    return [found[each] for each in ids if each in found]


def _store_places(row: MigrationPlan, state: PlanState) -> None:
    is_on = row.status in _ON
    wanted = {
        each.number_id: (each.phase, each.percent, is_on and each.phase != "skipped")
        for each in state.numbers
    }
    changed = []
    for place in PlanNumber.objects.filter(plan=row):
        now = wanted.get(str(place.number_id))
        if now is None or now == (place.phase, place.percent, place.holds):
            continue
        place.phase, place.percent, place.holds = now
        changed.append(place)
    if not changed:
        return
    try:
        with transaction.atomic():
            PlanNumber.objects.bulk_update(changed, ("phase", "percent", "holds"))
    except IntegrityError:
        raise PlanError(
            "another plan that is on has one of these numbers. Fix: leave it out of that plan "
            "first, or wait until that plan has finished."
        ) from None


def _store_entries(row: MigrationPlan, entries: Sequence[Entry]) -> None:
    here = set(
        PhoneNumber.objects.filter(
            pk__in=uuids_in(entry.number_id for entry in entries if entry.number_id)
        ).values_list("pk", flat=True)
    )
    for entry in entries:
        number_id = next(iter(uuids_in([entry.number_id])), None)
        stored = PlanEntry.objects.create(
            plan=row,
            organisation_id=row.organisation_id,
            at=entry.at,
            number_id=number_id if number_id in here else None,
            kind=entry.action[:40],
            words=entry_words(entry)[:500],
            who=entry.who[:200],
            why=entry.why,
            evidence=dict(entry.evidence),
        )
        _tell(row, entry, stored.pk)


def _tell(row: MigrationPlan, entry: Entry, entry_id: int) -> None:
    """Tell people in the transaction of what wants them; ids only, no name and no number."""
    subject = notice_of(entry, str(row.pk))
    if not subject:
        return
    ids = {"plan": str(row.pk), "entry": str(entry_id)}
    if entry.number_id:
        ids["number"] = entry.number_id
    notice_enqueue(
        organisation=row.organisation,
        key=f"plan-entry:{entry_id}",
        subject=subject,
        words=f"{subject}. Why is on the plan's page, under Plans in the admin.",
        ids=ids,
    )
