"""What a plan will do when, if nothing stands in its way: the very steps, run ahead on the clock.

Pure. Runs ``plan_step`` with good facts assumed (gates open, calls enough, approvals given, every
order seen at the next tick), so that a calendar cannot say anything that the plan would not do. It
names beside a number what it takes for granted although it does not hold now.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from calls.numbers.plan import FULL, Plan, PlanState, next_percent
from calls.numbers.plan_gates import NumberFacts, gates_of
from calls.numbers.plan_hours import boundaries, clock_changes, local_date, zone
from calls.numbers.plan_step import USUAL_WAITS, advance

TICK: Final = dt.timedelta(minutes=1)
MOST_DAYS: Final = 120

Kind = Literal["step", "arrival", "freeze day", "clock change", "finished"]
_KINDS: Final[Mapping[str, Kind]] = {
    "step ordered": "step",
    "number arrived": "arrival",
    "plan finished": "finished",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of the calendar.

    ``at`` is in the plan's zone; ``takes_for_granted`` has words for what does not hold now.
    """

    at: dt.datetime
    kind: Kind
    words: str
    number_id: str = ""
    percent: int = 0
    takes_for_granted: tuple[str, ...] = ()


def preview(
    plan: Plan,
    state: PlanState,
    facts: Mapping[str, NumberFacts],
    now: dt.datetime,
    *,
    days: int = MOST_DAYS,
) -> tuple[Planned, ...]:
    """Return what will happen within ``days``, in order.

    A plan that is drafted or paused is shown as if it were set running now. A number that was
    stopped stays where it is; if the plan waits for it, nothing follows.
    """
    tz = zone(plan)
    last = now + dt.timedelta(days=days)
    known = {each: facts[each] for each in plan.numbers if each in facts}
    doubts = {number_id: _doubts(plan, state, fact, now) for number_id, fact in known.items()}
    lines: list[Planned] = []
    running = _assumed_state(plan, state)
    assumed = {number_id: _assumed(plan, fact) for number_id, fact in known.items()}
    moment = now
    while moment <= last and running.status == "running":
        found = advance(plan, running, assumed, moment)
        for entry in found.entries:
            kind = _KINDS.get(entry.action)
            if kind is None:
                continue
            percent = int(entry.evidence["to"]) if kind == "step" else 0
            lines.append(
                Planned(
                    moment.astimezone(tz),
                    kind,
                    entry.why,
                    entry.number_id,
                    percent,
                    doubts.pop(entry.number_id, ()),
                )
            )
        for action in found.actions:
            assumed[action.number_id] = _given(assumed[action.number_id], action.percent)
        moment = moment + TICK if found.state != running else _next_look(plan, running, moment)
        running = found.state
    end = lines[-1].at if running.status == "finished" else last
    lines += _days(plan, now, end)
    return tuple(sorted(lines, key=lambda line: line.at))


def _assumed_state(plan: Plan, state: PlanState) -> PlanState:
    numbers = tuple(
        replace(each, approved=frozenset((*plan.steps, FULL))) for each in state.numbers
    )
    status = state.status if state.status == "finished" else "running"
    return replace(state, status=status, numbers=numbers)


def _assumed(plan: Plan, fact: NumberFacts) -> NumberFacts:
    """Return what is known of a number, made good where a gate would ask."""
    return replace(
        fact,
        policy_reviewed=True,
        readiness=(),
        readiness_waits=(),
        incident="",
        parity="pass",
        route="vapi" if fact.route == "paused" else fact.route,
        calls=plan.gates.least_calls,
        bad_calls=0,
        first_word_p95_ms=0,
        turn_p95_ms=0,
    )


def _given(fact: NumberFacts, percent: int) -> NumberFacts:
    if percent == FULL:
        return replace(fact, route="direct", canary_percent=0)
    return replace(fact, route="canary", canary_percent=percent)


def _doubts(plan: Plan, state: PlanState, fact: NumberFacts, now: dt.datetime) -> tuple[str, ...]:
    progress = state.of(fact.number_id)
    found = [
        f"{gate.name}: {gate.words}"
        for gate in gates_of(plan, progress, fact, now)
        if not gate.is_open and gate.name not in USUAL_WAITS
    ]
    step = next_percent(plan, fact.percent, is_trunk=fact.is_trunk)
    if plan.gates.approval == "every step" and step is not None:
        found.append("every further step wants its own approval")
    return tuple(found)


def _next_look(plan: Plan, state: PlanState, moment: dt.datetime) -> dt.datetime:
    """Return the next moment at which anything can change by the clock alone."""
    today = local_date(plan, moment)
    found = [
        each
        for day in (today, today + dt.timedelta(days=1))
        for each in boundaries(plan, day)
        if each > moment
    ]
    for progress in state.numbers:
        if progress.since is not None and progress.phase == "moving":
            soaked = progress.since + plan.gates.soak
            if soaked > moment:
                found.append(soaked)
    return min(found)


def _days(plan: Plan, now: dt.datetime, end: dt.datetime) -> list[Planned]:
    tz = zone(plan)
    lines: list[Planned] = []
    day = local_date(plan, now)
    while day <= local_date(plan, end):
        if day in plan.freeze_days:
            at = dt.datetime.combine(day, dt.time(), tz)
            lines.append(Planned(at, "freeze day", "nothing moves on this day"))
        for moment, by in clock_changes(plan, day):
            minutes = int(by.total_seconds()) // 60
            where = "forward" if minutes > 0 else "back"
            words = f"clocks go {where} by {abs(minutes)} minutes in {plan.zone}"
            lines.append(Planned(moment.astimezone(tz), "clock change", words))
        day += dt.timedelta(days=1)
    return lines
