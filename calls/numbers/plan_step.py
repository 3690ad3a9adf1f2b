"""One tick of a plan: from its state and what is known of its numbers to what happens next.

Pure. Owns when a wave opens, when a number takes its next step, arrives or is stopped. A tick
orders at most one step, and nothing while an earlier one has not been seen at the number; the same
tick run again, or run on the state it left, orders nothing. So a lock, which is the shell's, guards
against wasted work and not against a second move. It must not order a way back: that is the
guard's, and a number that was taken back waits for a person.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from calls.numbers.entries import Entry
from calls.numbers.plan import (
    FULL,
    SETTLED,
    Outcome,
    Pending,
    Plan,
    PlanState,
    Progress,
    SetShare,
    next_percent,
)
from calls.numbers.plan_gates import Gate, NumberFacts, gates_of
from calls.numbers.plan_hours import closed_by, local_date

# An order that was not seen by then was lost with its process, and is given again.
ORDER_AGAIN: Final = dt.timedelta(minutes=2)
# A number waits for these as a matter of course; no line of the record for each.
USUAL_WAITS: Final = frozenset({"soak", "calls", "hours"})


def advance(
    plan: Plan, state: PlanState, facts: Mapping[str, NumberFacts], now: dt.datetime
) -> Outcome:
    """Take one tick at ``now`` (aware). A number without facts is left alone."""
    if state.status != "running":
        return Outcome(state)
    state, entries = _seen(plan, state, facts, now)
    incidents = [entry for entry in entries if entry.evidence.get("incident")]
    if incidents and plan.stops_at_incident:
        numbers = sorted({entry.number_id for entry in incidents})
        why = "a number was stopped by an incident. Fix: close it, then resume the plan"
        paused = Entry(now, plan.who(), "plan paused", "", why, {"numbers": numbers})
        return Outcome(replace(state, status="paused"), (), (*entries, paused))
    actions: list[SetShare] = []
    if state.moved_at is None or now > state.moved_at:
        state, opened = _open_wave(plan, state, now)
        state, actions, moved = _move(plan, state, facts, now)
        entries += [*opened, *moved]
    if all(each.phase in SETTLED for each in state.numbers):
        state = replace(state, status="finished")
        why = "every number has arrived or was skipped"
        entries.append(Entry(now, plan.who(), "plan finished", "", why))
    return Outcome(state, tuple(actions), tuple(entries))


def refused(
    plan: Plan, state: PlanState, number_id: str, key: str, why: str, now: dt.datetime
) -> Outcome:
    """Take in that an order cannot be carried out; the number is stopped. Late news change nothing.

    Raises:
        PlanError: the plan does not know the number.
    """
    progress = state.of(number_id)
    if progress.pending is None or progress.pending.key != key:
        return Outcome(state)
    stopped, entry = _stopped(plan, progress, now, why, {"key": key})
    return Outcome(state.put(stopped), (), (entry,))


def _seen(
    plan: Plan, state: PlanState, facts: Mapping[str, NumberFacts], now: dt.datetime
) -> tuple[PlanState, list[Entry]]:
    """Compare what was ordered with what the numbers show."""
    entries: list[Entry] = []
    for progress in state.numbers:
        fact = facts.get(progress.number_id)
        if fact is None or progress.phase not in ("moving", "done"):
            continue
        after, entry = _compared(plan, progress, fact, now)
        state = state.put(after)
        if entry is not None:
            entries.append(entry)
    return state, entries


def _compared(
    plan: Plan, progress: Progress, fact: NumberFacts, now: dt.datetime
) -> tuple[Progress, Entry | None]:
    pending = progress.pending
    if fact.incident:
        words = f"an incident is open; the number has {fact.percent}% of its calls with us"
        return _stopped(plan, progress, now, words, {"incident": fact.incident})
    if pending is not None and fact.percent == pending.percent:
        there = replace(progress, percent=pending.percent, since=now, pending=None)
        why = f"{pending.percent}% has been seen at the number"
        evidence = {"key": pending.key, "percent": pending.percent}
        return there, Entry(now, plan.who(), "step seen", progress.number_id, why, evidence)
    if fact.percent != progress.percent:
        words = (
            f"somebody else has changed the route: the plan gave us {progress.percent}% of the "
            f"calls, the number shows {fact.route} with {fact.percent}%. Fix: put the number back "
            "into the plan, which goes on from there, or skip it"
        )
        evidence = {"route": fact.route, "percent": fact.percent, "planned": progress.percent}
        return _stopped(plan, progress, now, words, evidence)
    return progress, None


def _open_wave(plan: Plan, state: PlanState, now: dt.datetime) -> tuple[PlanState, list[Entry]]:
    index, today = len(state.opened), local_date(plan, now)
    if index == len(plan.waves) or today < plan.first_day or closed_by(plan, now):
        return state, []
    if index:
        if today < state.opened[-1] + dt.timedelta(days=plan.days_apart):
            return state, []
        earlier = [state.of(each) for wave in plan.waves[:index] for each in wave]
        if not plan.goes_on and not all(each.phase in SETTLED for each in earlier):
            return state, []
    why = f"day {index + 1} of the plan, {today} in {plan.zone}"
    evidence = {"wave": index + 1, "numbers": list(plan.waves[index])}
    entry = Entry(now, plan.who(), "wave opened", "", why, evidence)
    return replace(state, opened=(*state.opened, today)), [entry]


def _move(
    plan: Plan, state: PlanState, facts: Mapping[str, NumberFacts], now: dt.datetime
) -> tuple[PlanState, list[SetShare], list[Entry]]:
    entries: list[Entry] = []
    unseen = next((each for each in state.numbers if each.pending is not None), None)
    if unseen is not None:
        return _order_again(plan, state, unseen, facts, now)
    for number_id in (each for wave in plan.waves[: len(state.opened)] for each in wave):
        progress, fact = state.of(number_id), facts.get(number_id)
        if fact is None or progress.phase not in ("waiting", "moving"):
            continue
        if progress.phase == "waiting" and fact.percent > 0 and not fact.incident:
            # Somebody gave us calls before the plan did: they stand as a step from now on. Not with
            # an incident, which would stop what has only just been taken up: that waits.
            progress = replace(progress, phase="moving", percent=fact.percent, since=now)
            state = state.put(progress)
            why = f"its route already gives us {fact.percent}% of the calls"
            entries.append(Entry(now, plan.who(), "number taken up", number_id, why))
        gates = gates_of(plan, progress, fact, now)
        shut = [gate for gate in gates if not gate.is_open]
        if shut:
            progress, held = _held(plan, progress, shut, now)
            state = state.put(progress)
            entries += held
            continue
        step = next_percent(plan, fact.percent, is_trunk=fact.is_trunk)
        evidence: dict[str, Any] = {
            gate.name: {"why": gate.words, **gate.evidence} for gate in gates
        }
        if step is None:
            arrived = replace(progress, phase="done", held=())
            why = f"it has stood at {FULL}% and every gate is open"
            entry = Entry(now, plan.who(), "number arrived", number_id, why, evidence)
            return replace(state.put(arrived), moved_at=now), [], [*entries, entry]
        key = f"{plan.plan_id}:{number_id}:{progress.attempt}:{step}"
        ordered = replace(progress, phase="moving", held=(), pending=Pending(key, step, now))
        why = f"every gate is open: from {fact.percent}% to {step}%"
        evidence = {"from": fact.percent, "to": step, "gates": evidence}
        entry = Entry(now, plan.who(), "step ordered", number_id, why, evidence)
        action = SetShare(key, number_id, step)
        return replace(state.put(ordered), moved_at=now), [action], [*entries, entry]
    return state, [], entries


def _order_again(
    plan: Plan,
    state: PlanState,
    progress: Progress,
    facts: Mapping[str, NumberFacts],
    now: dt.datetime,
) -> tuple[PlanState, list[SetShare], list[Entry]]:
    pending = progress.pending
    is_due = pending is not None and now >= pending.ordered_at + ORDER_AGAIN
    if pending is None or not is_due or progress.number_id not in facts:
        return state, [], []
    # Not while a freeze day or quiet hours have begun meanwhile.
    if closed_by(plan, now):
        return state, [], []
    again = replace(progress, pending=replace(pending, ordered_at=now))
    why = f"{pending.percent}% was ordered and has not been seen"
    entry = Entry(
        now, plan.who(), "step ordered again", progress.number_id, why, {"key": pending.key}
    )
    action = SetShare(pending.key, progress.number_id, pending.percent)
    return state.put(again), [action], [entry]


def _held(
    plan: Plan, progress: Progress, shut: list[Gate], now: dt.datetime
) -> tuple[Progress, list[Entry]]:
    names = tuple(gate.name for gate in shut)
    after = replace(progress, held=names)
    telling = [gate for gate in shut if gate.name not in USUAL_WAITS]
    known = {name for name in progress.held if name not in USUAL_WAITS}
    if not telling or {gate.name for gate in telling} == known:
        return after, []
    why = "; ".join(f"{gate.name}: {gate.words}" for gate in telling)
    evidence: dict[str, Any] = {gate.name: dict(gate.evidence) for gate in telling}
    return after, [Entry(now, plan.who(), "number held", progress.number_id, why, evidence)]


def _stopped(
    plan: Plan, progress: Progress, now: dt.datetime, why: str, evidence: dict[str, Any]
) -> tuple[Progress, Entry]:
    after = replace(progress, phase="stopped", pending=None, held=())
    return after, Entry(now, plan.who(), "number stopped", progress.number_id, why, evidence)
