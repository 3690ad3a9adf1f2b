"""A plan: which numbers move on which days, by which steps, and what must hold before each.

Pure. Owns the plan, its state and what people do to it: start, pause, resume, skip, retry, approve.
When a step is taken is ``plan_step``, what must hold is ``plan_gates``, when it is allowed by the
clock is ``plan_hours``. It must not read a clock or a row.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from calls.numbers.entries import Entry
from calls.numbers.hours import Span, zone_of

STEPS: Final = (5, 25, 50, 100)
FULL: Final = 100

Parity = Literal["pass", "fail", "undecided"]
Route = Literal["vapi", "canary", "direct", "paused"]
ParityRule = Literal["pass", "undecided is enough", "not asked"]
Approval = Literal["none", "first step", "every step"]
Status = Literal["draft", "running", "paused", "finished"]
# ``stopped``: it is not where the plan put it; a person says what now.
Phase = Literal["waiting", "moving", "done", "skipped", "stopped"]
SETTLED: Final = frozenset({"done", "skipped"})


class PlanError(ValueError):
    """A plan cannot be, or what was asked of it does not fit its state; the text has the fix."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What must hold before a step.

    ``budget_share`` of the calls on our stack since the last step may be bad, and never less than
    ``budget_least``, so that one bad call spends nothing. Limits of latency are those of the P95.
    """

    parity: ParityRule = "pass"
    approval: Approval = "none"
    soak: dt.timedelta = dt.timedelta(hours=1)
    least_calls: int = 20
    budget_share: float = 0.02
    budget_least: int = 1
    first_word_p95_ms: int = 3_000
    turn_p95_ms: int = 3_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Waves of numbers, by their ids in the order in which they move.

    A wave opens ``days_apart`` days of the calendar or more after the one before, on a day and at
    an hour at which something may move. ``quiet`` has a tuple of spans for each day from Monday,
    on the wall clock of ``zone``; a span belongs to the day on which it begins. On a freeze day
    nothing moves from midnight to midnight.

    Args:
        goes_on: a wave opens although numbers of an earlier one have not arrived.
        stops_at_incident: an incident of one number pauses the whole plan.

    Raises:
        PlanError: it has no number, or one twice, or steps that do not lead to 100%.
    """

    plan_id: str
    waves: tuple[tuple[str, ...], ...]
    first_day: dt.date
    zone: str = "UTC"
    days_apart: int = 1
    steps: tuple[int, ...] = STEPS
    quiet: tuple[tuple[Span, ...], ...] = ((),) * 7
    freeze_days: frozenset[dt.date] = frozenset()
    gates: Gates = field(default_factory=Gates)
    goes_on: bool = False
    stops_at_incident: bool = True

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise PlanError(problem)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Return every number in order."""
        return tuple(each for wave in self.waves for each in wave)

    def who(self) -> str:
        """Return the plan's name in the record."""
        return f"plan:{self.plan_id}"


@dataclass(frozen=True, slots=True)
class Pending:
    """A route that was ordered and has not been seen yet.

    ``key`` is the same however often it is ordered: the shell carries it out once.
    """

    key: str
    percent: int
    ordered_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """One number: the share of calls the plan has given us, since when, and what holds it.

    ``held`` names the gates that were closed at the last look; ``approved`` the steps that a
    person has approved.
    """

    number_id: str
    phase: Phase = "waiting"
    percent: int = 0
    since: dt.datetime | None = None
    pending: Pending | None = None
    held: tuple[str, ...] = ()
    approved: frozenset[int] = frozenset()
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class PlanState:
    """Where a plan is. ``opened`` has the local date of each wave that has opened."""

    status: Status
    numbers: tuple[Progress, ...]
    opened: tuple[dt.date, ...] = ()
    moved_at: dt.datetime | None = None

    def of(self, number_id: str) -> Progress:
        """Return a number's progress.

        Raises:
            PlanError: the plan does not know it.
        """
        for each in self.numbers:
            if each.number_id == number_id:
                return each
        raise PlanError(f"the plan has no number {number_id}. Fix: choose one of its numbers.")

    def put(self, progress: Progress) -> PlanState:
        """Return the state with one number's progress replaced."""
        numbers = tuple(
            progress if each.number_id == progress.number_id else each for each in self.numbers
        )
        return replace(self, numbers=numbers)


@dataclass(frozen=True, slots=True)
class SetShare:
    """Give our stack ``percent`` of a number's calls; 100 is the route ``direct``.

    Carried out once for each ``key``, and only while the stored state still has it pending.
    """

    key: str
    number_id: str
    percent: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state to store, what to order, and the record; all in one transaction."""

    state: PlanState
    actions: tuple[SetShare, ...] = ()
    entries: tuple[Entry, ...] = ()


def drafted(plan: Plan) -> PlanState:
    """Return the state of a plan that nobody has started."""
    return PlanState("draft", tuple(Progress(each) for each in plan.numbers))


def start(plan: Plan, state: PlanState, *, who: str, why: str, now: dt.datetime) -> Outcome:
    """Start a drafted plan.

    Raises:
        PlanError: it has been started, or no reason is given.
    """
    return _status(plan, state, ("draft",), "running", "plan started", who, why, now)


def pause(plan: Plan, state: PlanState, *, who: str, why: str, now: dt.datetime) -> Outcome:
    """Pause a running plan: nothing moves on, and nothing goes back.

    Raises:
        PlanError: it is not running, or no reason is given.
    """
    return _status(plan, state, ("running",), "paused", "plan paused", who, why, now)


def resume(plan: Plan, state: PlanState, *, who: str, why: str, now: dt.datetime) -> Outcome:
    """Go on with a paused plan; every gate is asked anew, and no day is made up for.

    Raises:
        PlanError: it is not paused, or no reason is given.
    """
    return _status(plan, state, ("paused",), "running", "plan resumed", who, why, now)


def skip(
    plan: Plan, state: PlanState, number_id: str, *, who: str, why: str, now: dt.datetime
) -> Outcome:
    """Leave a number out from now on; its route stays as it is.

    Raises:
        PlanError: the plan does not know it or is through with it, or no reason is given.
    """
    _want_reason(why)
    progress = state.of(number_id)
    if progress.phase in SETTLED:
        raise PlanError(f"the number is {progress.phase}. Fix: there is nothing to skip.")
    skipped = replace(progress, phase="skipped", pending=None, held=())
    evidence = {"percent": progress.percent, "phase": progress.phase}
    entry = Entry(now, who, "number skipped", number_id, why, evidence)
    return Outcome(state.put(skipped), (), (entry,))


def retry(
    plan: Plan, state: PlanState, number_id: str, *, who: str, why: str, now: dt.datetime
) -> Outcome:
    """Put a number that was stopped or skipped back into the plan, from the share it has now.

    Its approvals are gone.

    Raises:
        PlanError: the plan does not know it, it is neither, or no reason is given.
    """
    _want_reason(why)
    progress = state.of(number_id)
    if progress.phase not in ("stopped", "skipped"):
        raise PlanError(f"the number is {progress.phase}. Fix: only one that stopped can return.")
    fresh = Progress(number_id, attempt=progress.attempt + 1)
    entry = Entry(now, who, "number put back", number_id, why, {"attempt": fresh.attempt})
    status: Status = "running" if state.status == "finished" else state.status
    return Outcome(replace(state.put(fresh), status=status), (), (entry,))


def approve(
    plan: Plan,
    state: PlanState,
    number_id: str,
    percent: int,
    *,
    who: str,
    why: str,
    now: dt.datetime,
) -> Outcome:
    """Approve one step of a number; a second approval changes nothing.

    Raises:
        PlanError: the plan does not know the number or the step, or no reason is given.
    """
    _want_reason(why)
    progress = state.of(number_id)
    if percent not in plan.steps:
        steps = ", ".join(f"{each}%" for each in plan.steps)
        raise PlanError(f"the plan has no step of {percent}%. Fix: choose one of {steps}.")
    if percent in progress.approved:
        return Outcome(state)
    approved = replace(progress, approved=progress.approved | {percent})
    entry = Entry(now, who, "step approved", number_id, why, {"percent": percent})
    return Outcome(state.put(approved), (), (entry,))


def next_percent(plan: Plan, percent: int, *, is_trunk: bool) -> int | None:
    """Return the step after ``percent``, None at the end.

    A number on a trunk never asks us who answers, so it knows only nothing and everything
    (twilio.md 5.2).
    """
    steps = (FULL,) if is_trunk else plan.steps
    return next((step for step in steps if step > percent), None)


def _status(
    plan: Plan,
    state: PlanState,
    among: tuple[Status, ...],
    to: Status,
    action: str,
    who: str,
    why: str,
    now: dt.datetime,
) -> Outcome:
    _want_reason(why)
    if state.status not in among:
        raise PlanError(f"the plan is {state.status}. Fix: this is for one that is {among[0]}.")
    evidence: dict[str, Any] = {"plan": plan.plan_id, "from": state.status, "to": to}
    return Outcome(replace(state, status=to), (), (Entry(now, who, action, "", why, evidence),))


def _want_reason(why: str) -> None:
    if not why.strip():
        raise PlanError("why is empty. Fix: say in a few words why; it is kept with the change.")


def _problem(plan: Plan) -> str:
    numbers = plan.numbers
    gates = plan.gates
    found = (
        (not numbers, "the plan has no number. Fix: add one."),
        (not all(plan.waves), "a wave has no number. Fix: remove it or fill it."),
        (len(set(numbers)) < len(numbers), "a number is in the plan twice. Fix: remove one."),
        (
            not plan.steps
            or plan.steps[-1] != FULL
            or plan.steps[0] < 1
            or sorted(set(plan.steps)) != list(plan.steps),
            "steps do not rise to 100. Fix: whole percentages that rise, the last 100.",
        ),
        (zone_of(plan.zone) is None, f"zone {plan.zone} is not known. Fix: e.g. Europe/Berlin."),
        (plan.days_apart < 1, "days_apart is below 1. Fix: numbers of one day make one wave."),
        (len(plan.quiet) != 7, "quiet has not seven days. Fix: one entry a day from Monday."),
        (
            gates.soak < dt.timedelta(0) or gates.least_calls < 0 or gates.budget_least < 0,
            "soak, least_calls or budget_least is negative. Fix: zero turns it off.",
        ),
        (not 0 <= gates.budget_share <= 1, "budget_share is no share. Fix: 0.02 is 2%."),
    )
    return next((words for holds, words in found if holds), "")
