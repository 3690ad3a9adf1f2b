"""What of a plan may be changed when: a draft altogether, one that is on only where it is safe.

Pure. Safe is what the next tick takes up without undoing or repeating anything: hours, days to
come, steps, gates, the order of days that have not begun. Which numbers the plan has, the days that
have begun, and the zone by which they were counted stay. It must not start, stop or move anything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from calls.numbers.entries import Entry
from calls.numbers.plan import Outcome, Plan, PlanError, PlanState, drafted
from calls.numbers.plan_stored import plan_stored

_LEAVE_OUT = "Fix: leave a number out with its own button, or make another plan for more."


def change(
    plan: Plan,
    state: PlanState,
    wanted: Plan,
    *,
    who: str,
    why: str,
    now: dt.datetime,
    also: Mapping[str, Any] | None = None,
) -> Outcome:
    """Put ``wanted`` in the place of ``plan``; the outcome's state is that of ``wanted``.

    Args:
        also: what else is different, in the form of the evidence, e.g. the name.

    Raises:
        PlanError: no reason is given, nothing is different, the plan is finished, or it is on and
            what is wanted would not be safe.
    """
    if not why.strip():
        raise PlanError("why is empty. Fix: say in a few words why; it is kept with the change.")
    if state.status == "finished":
        raise PlanError("the plan is finished. Fix: make another one.")
    if state.status != "draft":
        _want_safe(plan, state, wanted)
    different = {**(also or {}), **_differences(plan, wanted)}
    if not different:
        raise PlanError("nothing is different. Fix: change something, or go back to the plan.")
    entry = Entry(now, who, "plan changed", "", why, different)
    if state.status == "draft":
        return Outcome(drafted(wanted), (), (entry,))
    numbers = tuple(state.of(each) for each in wanted.numbers)
    return Outcome(replace(state, numbers=numbers), (), (entry,))


def _want_safe(plan: Plan, state: PlanState, wanted: Plan) -> None:
    begun = len(state.opened)
    if set(wanted.numbers) != set(plan.numbers):
        raise PlanError(f"the plan is {state.status}, so its numbers stay. {_LEAVE_OUT}")
    if wanted.waves[:begun] != plan.waves[:begun]:
        raise PlanError(
            f"the first {begun} day(s) have begun, so their numbers stay where they are. Fix: "
            "change the days after them."
        )
    if wanted.zone != plan.zone:
        raise PlanError(
            f"the plan is {state.status}, and its days are counted in {plan.zone}. Fix: keep it."
        )
    if begun and wanted.first_day != plan.first_day:
        raise PlanError("the first day has begun. Fix: keep it, and change the days apart.")


def _differences(plan: Plan, wanted: Plan) -> dict[str, Any]:
    """Return what changes, each with what it was and what it becomes."""
    before, after = plan_stored(plan), plan_stored(wanted)
    before |= before.pop("gates")
    after |= after.pop("gates")
    return {
        name: {"from": before[name], "to": after[name]}
        for name in after
        if before[name] != after[name]
    }
