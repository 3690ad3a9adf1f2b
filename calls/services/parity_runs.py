"""Runs of parity: begun, carried on by any worker, cancelled, resumed, measured.

Owns the rows of runs and of their calls. Which calls a run has is decided when it begins, by its
seed alone; a call that is over is kept, whatever becomes of the run. Playing the calls that are
left is ``parity_playing``'s, how one is played a runner's.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from assistants.models import Assistant, AssistantRevision
from calls.models import Call, ParityCall, ParityRun, ParityScenario, PhoneNumber
from calls.parity.dealing import deal
from calls.parity.scenario_reading import scenario_problems
from calls.services.critical_marks import marks_for
from calls.services.live_checks import MOST_PARALLEL as MOST_PARALLEL_LIVE
from calls.services.live_checks import live_problem
from calls.services.parity_marks import OURS_ALONE, region_for
from calls.services.parity_pins import PINNED, changed_since, pins_of
from calls.services.parity_playing import BELL, KIND, calls_requeue, run_play, runs_settle
from calls.services.parity_runners import (
    CallLatency,
    CallLost,
    CallRefused,
    CallResult,
    Utterance,
    kinds_played,
    register_runner,
    runner_of,
)
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.jobs import job_cancel, job_create
from voiceplatform.base.selectors import uuids_in
from voiceplatform.base.services import actor_label, audit_write

__all__ = [
    "CallLatency",
    "CallLost",
    "CallRefused",
    "CallResult",
    "RunRefused",
    "Utterance",
    "kinds_played",
    "register_runner",
    "run_begin",
    "run_cancel",
    "run_continue",
    "run_resume",
    "runs_settle",
]

MOST_PAIRS: Final = 1_000
MOST_PARALLEL: Final = 50
MOST_COST_USD: Final = Decimal(1_000)
_BATCH: Final = 150  # rows in one transaction
_NOT_WHOLE: Final = "It was not written whole. Fix: begin another run."


class RunRefused(Exception):
    """The run cannot be begun, cancelled or resumed; the message names the cause and the fix."""


def run_begin(
    *,
    kind: str,
    assistant: Assistant,
    actor: Any,
    revision: AssistantRevision | None = None,
    number: PhoneNumber | None = None,
    scenarios: Sequence[ParityScenario] = (),
    documents: Mapping[str, Mapping[str, Any]] | None = None,
    calls: Sequence[Call] = (),
    pairs: int = 50,
    seed: int | None = None,
    parallel: int = 20,
    model: str = "",
    stops_early: bool = False,
    again: bool = False,
    cost_limit_usd: Decimal = Decimal(5),
    options: Mapping[str, Any] | None = None,
    tells_workers: bool = True,
) -> ParityRun:
    """Write a run with its calls and queue it.

    Args:
        revision: what answers on our stack; by default the assistant's current one.
        scenarios: of rehearsals and live runs, dealt in an order that ``seed`` decides until there
            are ``pairs``.
        documents: scenarios that are not stored, by name, as those of a file.
        calls: past calls of replay and re-hear; each makes one pair, at most ``pairs``.
        again: also play the old stack a second time, for what it differs from itself.
        tells_workers: False where the caller plays the run itself.

    Raises:
        RunRefused: nothing to play, nobody who plays this kind, or values out of range.
    """
    revision = revision or assistant.current_revision
    if revision is None or revision.assistant_id != assistant.pk:
        raise RunRefused("the assistant has no such revision. Fix: publish it, or name another.")
    if number is not None and number.organisation_id != assistant.organisation_id:
        raise RunRefused("the number is not this organisation's. Fix: choose another number.")
    _check(kind, pairs, parallel, cost_limit_usd, seed)
    if kind == ParityRun.Kind.LIVE:
        parallel = min(parallel, MOST_PARALLEL_LIVE)
        problem = live_problem(
            assistant=assistant,
            revision=revision,
            number=number,
            model=model,
            options=options or {},
        )
        if problem:
            raise RunRefused(problem)
    if again and kind in (ParityRun.Kind.REPLAY, ParityRun.Kind.REHEAR):
        raise RunRefused("a past call cannot be made again. Fix: begin the run without repeats.")
    played = _played(scenarios, documents or {}, calls, kind)
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    dealt = deal(list(played), min(pairs, len(played)) if calls else pairs, seed)
    stacks = [ParityCall.Stack.VAPI, ParityCall.Stack.DIRECT]
    stacks += [ParityCall.Stack.AGAIN] if again else []
    run = ParityRun.objects.create(
        organisation=assistant.organisation,
        kind=kind,
        assistant=assistant,
        revision=revision,
        number=number,
        model=model,
        # Until every call is written; a process that dies here leaves no run that looks whole.
        state=ParityRun.State.FAILED,
        problem=_NOT_WHOLE,
        seed=seed,
        wanted=len(dealt),
        parallel=parallel,
        stops_early=stops_early,
        cost_limit_usd=cost_limit_usd,
        options=_options(assistant, number, calls, options or {})
        | {PINNED: pins_of(revision.pk, number, model=model)},
        marks=marks_for(revision),
        created_by=actor_label(actor),
    )
    rows = [
        ParityCall(
            organisation=run.organisation,
            run=run,
            position=position,
            scenario=each.scenario,
            index=each.index,
            stack=stack,
            document=played[each.scenario][0],
            source_call_id=played[each.scenario][1],
        )
        for position, each in enumerate(dealt)
        for stack in stacks
    ]
    for start in range(0, len(rows), _BATCH):
        with transaction.atomic():
            ParityCall.objects.bulk_create(rows[start : start + _BATCH])
    _queue(run, actor, "parity_run.begin", tells_workers=tells_workers)
    return run


def run_continue(run_id: uuid.UUID | str) -> None:
    """Play what is left of a run; harmless when another worker does or it has ended."""
    job = ParityRun.objects.filter(pk=run_id).values_list("job", flat=True).first()
    if job is not None:
        run_play(job)


def run_cancel(*, run: ParityRun, actor: Any) -> bool:
    """Stop a run after the calls at hand; what was played is kept. False: it had ended."""
    if run.kind == ParityRun.Kind.SHADOW:
        from calls.services.shadow_runs import shadow_cancel

        return shadow_cancel(run=run, actor=actor)
    job = run.job
    if job is None or not job_cancel(job=job, actor=actor):
        return False
    runs_settle(run.pk)  # nobody worked on it: it has ended with its job
    return True


def run_resume(
    *,
    run: ParityRun,
    actor: Any,
    cost_limit_usd: Decimal | None = None,
    tells_workers: bool = True,
) -> None:
    """Queue a cancelled or failed run again: what it still lacks is played, nothing twice.

    Args:
        cost_limit_usd: another limit, e.g. where the first one was reached.

    Raises:
        RunRefused: it is not one of these, or is under way.
    """
    if run.kind == ParityRun.Kind.SHADOW:
        from calls.services.shadow_runs import shadow_resume

        shadow_resume(run=run, actor=actor, cost_limit_usd=cost_limit_usd)
        return
    runs_settle(run.pk)
    now = pins_of(run.revision_id, run.number, model=run.model)
    changed = changed_since(run, now, with_marks=False)
    if changed:
        # Half of its pairs would be those of another session.
        raise RunRefused(f"{changed} changed since it began. Fix: begin another run.")
    if cost_limit_usd is not None and not 0 <= cost_limit_usd <= MOST_COST_USD:
        raise RunRefused(f"the cost limit is out of range. Fix: give 0 to {MOST_COST_USD} USD.")
    with transaction.atomic():
        # Two people who resume at once begin one job, or calls would be played twice.
        ParityRun.objects.select_for_update().get(pk=run.pk)
        run.refresh_from_db()
        _check_stopped(run)
        if cost_limit_usd is not None:
            ParityRun.objects.filter(pk=run.pk).update(cost_limit_usd=cost_limit_usd)
        calls_requeue(run)
        _queue(run, actor, "parity_run.resume", tells_workers=tells_workers)


def _check_stopped(run: ParityRun) -> None:
    if run.problem == _NOT_WHOLE:
        raise RunRefused("the run was not written whole. Fix: begin another run.")
    if run.state in (ParityRun.State.CANCELLED, ParityRun.State.FAILED):
        return
    lacks = run.calls.exclude(state=ParityCall.State.DONE).exists()
    if run.state != ParityRun.State.DONE or not lacks:
        raise RunRefused(
            f"the run is {run.state} and lacks nothing. Fix: begin another run."
            if not lacks
            else f"the run is {run.state}. Fix: wait for it, or cancel it first."
        )


def _queue(run: ParityRun, actor: Any, action: str, *, tells_workers: bool) -> None:
    with transaction.atomic():
        job = job_create(
            organisation=run.organisation,
            kind=KIND,
            actor=actor,
            parameters={"run": str(run.pk)},
            total=run.wanted,
        )
        ParityRun.objects.filter(pk=run.pk).update(
            job=job,
            state=ParityRun.State.QUEUED,
            problem="",
            verdict="",
            measures=None,
            figures={},
            finished_at=None,
        )
        audit_write(
            actor=actor,
            action=action,
            organisation=run.organisation,
            target=run,
            details={"kind": run.kind, "pairs": run.wanted, "seed": run.seed},
        )
        if tells_workers:
            transaction.on_commit(lambda: BELL.poke(job.pk))
    run.refresh_from_db()


def _options(
    assistant: Assistant,
    number: PhoneNumber | None,
    calls: Sequence[Call],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    options = {"region": region_for(assistant, number), **given}
    # One call of ours is enough: in its pair the old stack had no part.
    if any(call.stack != Call.Stack.VAPI for call in calls):
        options[OURS_ALONE] = True
    return options


def _check(kind: str, pairs: int, parallel: int, cost_limit_usd: Decimal, seed: int | None) -> None:
    if kind == ParityRun.Kind.SHADOW:
        # Callers play it: ``shadow_runs.shadow_begin``.
        raise RunRefused(
            "nothing here plays runs of kind 'shadow': calls are heard along when they come. "
            "Fix: begin it for a number whose calls may be heard along."
        )
    if runner_of(kind) is None:
        known = ", ".join(kinds_played()) or "none"
        raise RunRefused(f"nothing here plays runs of kind {kind!r}. Fix: choose one of {known}.")
    for name, value, least, most in (
        ("pairs", pairs, 1, MOST_PAIRS),
        ("calls at once", parallel, 1, MOST_PARALLEL),
        ("cost limit", cost_limit_usd, 0, MOST_COST_USD),
        ("seed", seed or 0, 0, (1 << 63) - 1),
    ):
        if not least <= value <= most:
            raise RunRefused(f"{name} is {value}. Fix: give a value from {least} to {most}.")


def _played(
    scenarios: Sequence[ParityScenario],
    documents: Mapping[str, Mapping[str, Any]],
    calls: Sequence[Call],
    kind: str,
) -> dict[str, tuple[Any, uuid.UUID | None]]:
    """Return what is played by its name, and the past call that it came from."""
    if calls:
        # No name of ours or of a caller: what a run shows outlives a call that is erased.
        return {f"past call {at}": (None, call.pk) for at, call in enumerate(calls, 1)}
    found: dict[str, tuple[Any, uuid.UUID | None]] = {
        row.name: (row.document, row.source_call_id) for row in scenarios
    }
    found |= {name: (dict(document), None) for name, document in documents.items()}
    if not found:
        fix = "choose past calls" if kind in ("replay", "rehear") else "write or generate one"
        raise RunRefused(f"there is nothing to play. Fix: {fix}.")
    for name, (document, _) in found.items():
        problems = scenario_problems(document, name)
        if problems:
            raise RunRefused(f"scenario {name!r}: {problems[0]}")
    return found


def scenarios_in_use(assistant: Assistant, ids: Sequence[str] = ()) -> list[ParityScenario]:
    """Return the assistant's scenarios that runs play, or those of them that are named.

    Raises:
        RunRefused: one of them cannot be read.
    """
    rows = ParityScenario.objects.filter(assistant=assistant, is_used=True)
    if ids:
        rows = rows.filter(pk__in=uuids_in(ids))
    try:
        return list(rows.order_by("name"))
    except DecryptionError as error:
        raise RunRefused(f"a scenario cannot be read: {error}") from error
