"""What pages show of a plan: where each number is and what holds it, and what comes when.

Reads only. Every gate shown is the one the clock would ask (``calls.numbers.plan_gates``), and the
calendar is the plan's own steps run ahead, so that a page cannot promise what a plan does not do.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from django.utils import timezone

from calls.models import MigrationPlan, PhoneNumber, PlanEntry
from calls.numbers.hours import DAY_NAMES, DAYS, day_text
from calls.numbers.plan import SETTLED, Plan, PlanError, Progress, next_percent
from calls.numbers.plan_calendar import Planned, preview
from calls.numbers.plan_gates import Gate, NumberFacts, gates_of
from calls.numbers.plan_hours import closed_by, local_date, zone
from calls.numbers.plan_words import gate_words, seen_of, share_words, summary_of
from calls.services.plan_facts import plan_facts
from calls.services.plans import plan_of
from voiceplatform.base.selectors import uuids_in

PHASES: Final = {
    "waiting": "waits",
    "moving": "on its way",
    "done": "arrived",
    "skipped": "left out",
    "stopped": "stopped",
}
# A spreadsheet runs what begins so (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_CSV_HEAD: Final = ("at", "number", "kind", "what", "who", "why", "evidence")


@dataclass(frozen=True, slots=True)
class NumberLine:
    """One number on the page; ``next_percent`` is None once nothing is to come."""

    day: int
    number_id: str
    label: str
    phase: str
    words: str
    share: str
    since: dt.datetime | None
    next_percent: int | None
    next_share: str
    is_ordered: bool
    gates: tuple[Gate, ...]
    wants_approval: bool
    seen: str
    is_here: bool

    @property
    def shut(self) -> tuple[Gate, ...]:
        """Return the gates that hold it."""
        return tuple(gate for gate in self.gates if not gate.is_open)

    @property
    def open_names(self) -> str:
        """Return the names of the gates that are open."""
        return ", ".join(gate.name for gate in self.gates if gate.is_open)

    @property
    def may_skip(self) -> bool:
        """Tell whether it can be left out."""
        return self.phase not in SETTLED

    @property
    def may_retry(self) -> bool:
        """Tell whether it can be put back."""
        return self.phase in ("stopped", "skipped")


@dataclass(frozen=True, slots=True)
class PlanPage:
    """A plan as a page shows it; ``problem`` says why it could not be read."""

    row: MigrationPlan
    problem: str = ""
    summary: str = ""
    lines: tuple[NumberLine, ...] = ()
    closed: str = ""
    asks: tuple[str, ...] = ()
    steps: str = ""
    days: tuple[str, ...] = ()
    zone: str = ""


@dataclass(frozen=True, slots=True)
class CalendarLine:
    """One line of the calendar with the number's name."""

    planned: Planned
    label: str

    @property
    def clock(self) -> str:
        """Return the time on the plan's wall, with the zone's short name."""
        return f"{self.planned.at:%H:%M %Z}"


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """A day of the calendar on the plan's wall."""

    title: str
    lines: tuple[CalendarLine, ...]


def plan_page(row: MigrationPlan) -> PlanPage:
    """Return what the page of a plan shows now."""
    now = timezone.now()
    try:
        plan, state = plan_of(row)
    except PlanError as error:
        return PlanPage(row, problem=str(error))
    facts = plan_facts(plan, state).facts
    labels = _labels(plan)
    days = {each: day for day, wave in enumerate(plan.waves, 1) for each in wave}
    lines = tuple(
        _line(plan, each, facts.get(each.number_id), labels, days[each.number_id], now)
        for each in state.numbers
    )
    return PlanPage(
        row,
        problem=row.problem,
        summary=summary_of(plan, state),
        lines=lines,
        closed=closed_by(plan, now) if row.status == MigrationPlan.Status.RUNNING else "",
        asks=gate_words(plan),
        steps=", ".join(f"{step}%" for step in plan.steps),
        days=tuple(_days(plan)),
        zone=plan.zone,
    )


def plan_calendar(row: MigrationPlan) -> tuple[CalendarDay, ...]:
    """Return what will happen on which day if nothing stands in the way.

    Raises:
        PlanError: the plan cannot be read.
    """
    plan, state = plan_of(row)
    now = timezone.now()
    known = plan_facts(plan, state).facts
    # Of a number that was deleted nothing is known: the clock leaves it out, and so does this.
    state = replace(
        state,
        numbers=tuple(
            each if each.number_id in known or each.phase in SETTLED else _left_out(each)
            for each in state.numbers
        ),
    )
    labels = _labels(plan)
    lines = [
        CalendarLine(each, labels.get(each.number_id, ""))
        for each in preview(plan, state, known, now)
    ]
    return tuple(
        CalendarDay(f"{day:%A} {day:%Y-%m-%d}", tuple(found))
        for day, found in itertools.groupby(lines, key=lambda line: line.planned.at.date())
    )


def plan_entries_csv(row: MigrationPlan) -> Iterator[str]:
    """Yield a plan's record as CSV, oldest first, times in UTC; no cell begins like a formula."""
    entries = PlanEntry.objects.filter(plan=row).select_related("number").order_by("pk")
    yield _csv_line(_CSV_HEAD)
    for entry in entries.iterator(chunk_size=500):
        yield _csv_line(
            (
                entry.at.astimezone(dt.UTC).isoformat(timespec="seconds"),
                entry.number.number_e164 if entry.number is not None else "",
                entry.kind,
                entry.words,
                entry.who,
                entry.why,
                json.dumps(entry.evidence, sort_keys=True),
            )
        )


def first_day_proposed(zone_name: str) -> dt.date:
    """Return tomorrow on the wall of a zone."""
    plan = Plan("", (("x",),), dt.date.min, zone=zone_name)
    return local_date(plan, timezone.now()) + dt.timedelta(days=1)


def _left_out(progress: Progress) -> Progress:
    return replace(progress, phase="skipped", pending=None)


def _line(
    plan: Plan,
    progress: Progress,
    fact: NumberFacts | None,
    labels: dict[str, str],
    day: int,
    now: dt.datetime,
) -> NumberLine:
    gates: tuple[Gate, ...] = ()
    step: int | None = None
    share = share_words(progress.percent)
    if fact is not None:
        share = "paused" if fact.route == "paused" else share_words(fact.percent)
        if progress.phase not in SETTLED:
            step = next_percent(plan, fact.percent, is_trunk=fact.is_trunk)
            gates = gates_of(plan, progress, fact, now)
    is_stopped = progress.phase == "stopped"
    return NumberLine(
        day=day,
        number_id=progress.number_id,
        label=labels.get(progress.number_id, "(deleted)"),
        phase=progress.phase,
        words=PHASES[progress.phase],
        share=share,
        since=progress.since.astimezone(zone(plan)) if progress.since else None,
        next_percent=step,
        next_share=share_words(step) if step is not None else "",
        is_ordered=progress.pending is not None,
        gates=gates,
        wants_approval=not is_stopped
        and any(gate.name == "approval" and not gate.is_open for gate in gates),
        seen=seen_of(progress),
        is_here=fact is not None,
    )


def _labels(plan: Plan) -> dict[str, str]:
    rows = PhoneNumber.objects.filter(pk__in=uuids_in(plan.numbers))
    return {
        str(pk): f"{number} {name}".strip()
        for pk, number, name in rows.values_list("pk", "number_e164", "name")
    }


def _days(plan: Plan) -> Iterator[str]:
    every = "every day" if plan.days_apart == 1 else f"every {plan.days_apart} days"
    yield f"from {plan.first_day} on, {every}, times in {plan.zone}"
    for index, name in enumerate(DAYS):
        if plan.quiet[index]:
            yield f"{DAY_NAMES[name]}: quiet {day_text(plan.quiet[index])}"
    for day in sorted(plan.freeze_days):
        yield f"{day:%A} {day}: nothing moves"
    yield (
        "the next day begins although numbers of an earlier one have not arrived"
        if plan.goes_on
        else "the next day waits until every number before has arrived or was left out"
    )
    if plan.stops_at_incident:
        yield "an incident of one number pauses the whole plan"


def _csv_line(cells: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_cell(cell) for cell in cells])
    return text.getvalue()


def _cell(text: str) -> str:
    """Return a cell that no spreadsheet runs; a telephone number stays one."""
    is_number = text[:1] == "+" and text[1:].isdigit()
    return f"'{text}" if text.startswith(_FORMULA) and not is_number else text
