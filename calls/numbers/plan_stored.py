"""A plan and its state as JSON, and back.

Pure. Owns the stored form, which carries a version: what a later version of the software wrote is
refused in words and never guessed at. It must not judge what it reads beyond its form; that is the
plan's own check.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from calls.numbers.hours import Span
from calls.numbers.plan import Gates, Pending, Plan, PlanError, PlanState, Progress

VERSION: Final = 1


class PlanUnreadable(PlanError):
    """What is stored of a plan cannot be read; the text says why and what to do."""


def plan_stored(plan: Plan) -> dict[str, Any]:
    """Return a plan without its id as JSON."""
    gates = plan.gates
    return {
        "version": VERSION,
        "waves": [list(wave) for wave in plan.waves],
        "first_day": plan.first_day.isoformat(),
        "zone": plan.zone,
        "days_apart": plan.days_apart,
        "steps": list(plan.steps),
        "quiet": [[[span.start, span.end] for span in day] for day in plan.quiet],
        "freeze_days": sorted(day.isoformat() for day in plan.freeze_days),
        "gates": {
            "parity": gates.parity,
            "approval": gates.approval,
            "soak_seconds": gates.soak.total_seconds(),
            "least_calls": gates.least_calls,
            "budget_share": gates.budget_share,
            "budget_least": gates.budget_least,
            "first_word_p95_ms": gates.first_word_p95_ms,
            "turn_p95_ms": gates.turn_p95_ms,
        },
        "goes_on": plan.goes_on,
        "stops_at_incident": plan.stops_at_incident,
    }


def plan_read(plan_id: str, stored: Any) -> Plan:
    """Return the plan that ``plan_stored`` wrote.

    Raises:
        PlanUnreadable: another version wrote it, or something is missing or broken.
        PlanError: it is no plan that can be.
    """
    with _Reading("plan"):
        _want_version(stored)
        gates = stored["gates"]
        return Plan(
            plan_id=plan_id,
            waves=tuple(tuple(map(str, wave)) for wave in stored["waves"]),
            first_day=dt.date.fromisoformat(stored["first_day"]),
            zone=str(stored["zone"]),
            days_apart=int(stored["days_apart"]),
            steps=tuple(int(step) for step in stored["steps"]),
            quiet=tuple(
                tuple(Span(int(start), int(end)) for start, end in day) for day in stored["quiet"]
            ),
            freeze_days=frozenset(map(dt.date.fromisoformat, stored["freeze_days"])),
            gates=Gates(
                parity=gates["parity"],
                approval=gates["approval"],
                soak=dt.timedelta(seconds=gates["soak_seconds"]),
                least_calls=int(gates["least_calls"]),
                budget_share=float(gates["budget_share"]),
                budget_least=int(gates["budget_least"]),
                first_word_p95_ms=int(gates["first_word_p95_ms"]),
                turn_p95_ms=int(gates["turn_p95_ms"]),
            ),
            goes_on=bool(stored["goes_on"]),
            stops_at_incident=bool(stored["stops_at_incident"]),
        )


def state_stored(state: PlanState) -> dict[str, Any]:
    """Return a state as JSON."""
    return {
        "version": VERSION,
        "status": state.status,
        "opened": [day.isoformat() for day in state.opened],
        "moved_at": _moment(state.moved_at),
        "numbers": [
            {
                "id": each.number_id,
                "phase": each.phase,
                "percent": each.percent,
                "since": _moment(each.since),
                "pending": None
                if each.pending is None
                else {
                    "key": each.pending.key,
                    "percent": each.pending.percent,
                    "ordered_at": each.pending.ordered_at.isoformat(),
                },
                "held": list(each.held),
                "approved": sorted(each.approved),
                "attempt": each.attempt,
            }
            for each in state.numbers
        ],
    }


def state_read(stored: Any) -> PlanState:
    """Return the state that ``state_stored`` wrote.

    Raises:
        PlanUnreadable: another version wrote it, or something is missing or broken.
    """
    with _Reading("plan's state"):
        _want_version(stored)
        return PlanState(
            status=stored["status"],
            numbers=tuple(_progress(each) for each in stored["numbers"]),
            opened=tuple(map(dt.date.fromisoformat, stored["opened"])),
            moved_at=_read_moment(stored["moved_at"]),
        )


def _progress(stored: Mapping[str, Any]) -> Progress:
    pending = stored["pending"]
    return Progress(
        number_id=str(stored["id"]),
        phase=stored["phase"],
        percent=int(stored["percent"]),
        since=_read_moment(stored["since"]),
        pending=None
        if pending is None
        else Pending(
            key=str(pending["key"]),
            percent=int(pending["percent"]),
            ordered_at=dt.datetime.fromisoformat(pending["ordered_at"]),
        ),
        held=tuple(map(str, stored["held"])),
        approved=frozenset(int(step) for step in stored["approved"]),
        attempt=int(stored["attempt"]),
    )


class _Reading:
    """Turn what a broken document raises into words."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None or issubclass(kind, PlanError):
            return
        if issubclass(kind, KeyError | TypeError | ValueError | AttributeError):
            raise PlanUnreadable(
                f"the {self._what} as it is stored cannot be read ({kind.__name__}: {error}). "
                "Fix: make a new plan for the numbers that are left."
            ) from None


def _want_version(stored: Any) -> None:
    version = stored["version"]
    if version != VERSION:
        raise PlanUnreadable(
            f"it was stored in form {version!r}, and this release reads form {VERSION}. Fix: "
            "go back to the newer release, or make a new plan for the numbers that are left."
        )


def _moment(value: dt.datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _read_moment(value: str | None) -> dt.datetime | None:
    return None if value is None else dt.datetime.fromisoformat(value)
