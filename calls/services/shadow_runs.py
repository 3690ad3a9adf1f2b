"""Runs of hearing along: begun, their pairs joined with the old stack's logs, and ended.

Owns runs of kind ``shadow``. Nobody plays them: callers do, and each call that was heard becomes a
pair when the old stack's log of it is here. So no job holds such a run; ``shadows_tend`` looks
after all of them, and any worker may, since every step is one conditional write.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from assistants.models import Assistant, AssistantRevision
from calls.models import ParityCall, ParityRun, PhoneNumber, ShadowCall
from calls.parity.past import script_of
from calls.parity.replay_outcome import old_transcript
from calls.parity.sequence import SequenceUnreadable, sequence_dump, sequence_load
from calls.parity.shadow_outcome import Reach, old_side, our_side
from calls.parity.shadow_rules import why_never
from calls.services.critical_marks import marks_for
from calls.services.parity_marks import region_for
from calls.services.parity_measuring import run_measure
from calls.services.parity_pins import PINNED, changed_since, pins_of
from calls.services.parity_runners import CallRefused
from calls.services.parity_runs import MOST_COST_USD, MOST_PAIRS, RunRefused
from calls.services.replay_runs import old_call_result
from calls.services.replay_sessions import refusal_check
from calls.services.sequences import entries_of, imported_of, sequence_of
from calls.services.shadow_money import ALIVE, call_estimate, spent_usd
from calls.services.shadow_store import pair_lost
from calls.services.shadow_switches import standing_of, switch_of
from tools.loose_json import as_object
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.services import actor_label, audit_write

_BATCH: Final = 100
SHADOW: Final = ParityRun.Kind.SHADOW
_OPEN: Final = (ParityRun.State.QUEUED, ParityRun.State.RUNNING)

log = structlog.get_logger(__name__)


def shadow_begin(
    *,
    assistant: Assistant,
    number: PhoneNumber | None,
    actor: Any,
    revision: AssistantRevision | None = None,
    pairs: int = 50,
    model: str = "",
    cost_limit_usd: Decimal = Decimal(5),
    options: dict[str, Any] | None = None,
) -> ParityRun:
    """Begin to collect calls of a number that the old stack answers.

    Raises:
        RunRefused: no such call may be heard along, another run collects them, or values are out
            of range.
    """
    if number is None or number.organisation_id != assistant.organisation_id:
        raise RunRefused("hearing along is of one number. Fix: choose one of this organisation.")
    current = assistant.current_revision
    if current is None or number.assistant_id != assistant.pk:
        raise RunRefused("another assistant answers the number. Fix: choose that one.")
    if revision is not None and revision.pk != current.pk:
        raise RunRefused("only the newest revision hears along. Fix: publish the one you mean.")
    switch = switch_of(number)
    if switch is None or not switch.is_on:
        raise RunRefused(
            "hearing along is off for this number. Fix: turn it on, on the page “Hearing along”."
        )
    never = why_never(standing_of(number, switch.notice))
    if never:
        raise RunRefused(f"no call of the number may be heard along: {never}.")
    _check(pairs, cost_limit_usd)
    with transaction.atomic():
        PhoneNumber.objects.select_for_update().only("pk").get(pk=number.pk)
        if ParityRun.objects.filter(kind=SHADOW, number=number, state__in=_OPEN).exists():
            raise RunRefused(
                "a run collects calls of this number already. Fix: wait, or cancel it."
            )
        run: ParityRun = ParityRun.objects.create(
            organisation=assistant.organisation,
            kind=SHADOW,
            assistant=assistant,
            revision=current,
            number=number,
            model=model,
            state=ParityRun.State.RUNNING,
            seed=secrets.randbelow(1 << 32),
            wanted=pairs,
            parallel=switch.most_at_once,
            cost_limit_usd=cost_limit_usd,
            options={"region": region_for(assistant, number), **(options or {})}
            | {PINNED: pins_of(current.pk, number, model=model)},
            marks=marks_for(current),
            created_by=actor_label(actor),
            begun_at=timezone.now(),
        )
        audit_write(
            actor=actor,
            action="parity_run.begin",
            organisation=run.organisation,
            target=run,
            details={"kind": run.kind, "pairs": run.wanted},
        )
    return run


def shadow_cancel(*, run: ParityRun, actor: Any) -> bool:
    """Stop collecting; calls that are heard along are let go. False: it had ended."""
    with transaction.atomic():
        if not _ended(run, ParityRun.State.CANCELLED, ""):
            return False
        audit_write(
            actor=actor, action="parity_run.cancel", organisation=run.organisation, target=run
        )
    return True


def shadow_resume(*, run: ParityRun, actor: Any, cost_limit_usd: Decimal | None = None) -> None:
    """Go on collecting where a run was cancelled.

    Raises:
        RunRefused: it goes on or has all it wants, the assistant was changed, another one collects.
    """
    if cost_limit_usd is not None:
        _check(run.wanted, cost_limit_usd)
    changed = _changed(run)
    if changed:
        # Half of its pairs would be those of another session.
        raise RunRefused(f"{changed} changed since it began. Fix: begin another run.")
    others = ParityRun.objects.filter(kind=SHADOW, number=run.number, state__in=_OPEN)
    with transaction.atomic():
        if others.exists():
            raise RunRefused(
                "a run collects calls of this number already. Fix: wait, or cancel it."
            )
        stopped = ParityRun.objects.filter(pk=run.pk, state=ParityRun.State.CANCELLED)
        done = stopped.update(
            state=ParityRun.State.RUNNING,
            problem="",
            verdict="",
            measures=None,
            figures={},
            finished_at=None,
            cost_limit_usd=run.cost_limit_usd if cost_limit_usd is None else cost_limit_usd,
        )
        if not done:
            raise RunRefused(f"the run is {run.state}. Fix: begin another run.")
        audit_write(
            actor=actor, action="parity_run.resume", organisation=run.organisation, target=run
        )
    run.refresh_from_db()


def _check(pairs: int, cost_limit_usd: Decimal) -> None:
    if not 1 <= pairs <= MOST_PAIRS:
        raise RunRefused(f"pairs is {pairs}. Fix: give a value from 1 to {MOST_PAIRS}.")
    if not 0 <= cost_limit_usd <= MOST_COST_USD:
        raise RunRefused(f"the cost limit is out of range. Fix: give 0 to {MOST_COST_USD} USD.")


# ---- looking after them -----------------------------------------------------------------------


def shadows_tend(now: dt.datetime | None = None) -> int:
    """Join what has come, end what is over, let go of what died; return how many pairs are new."""
    now = now or timezone.now()
    _forget_dead(now)
    joined = 0
    runs = ParityRun.objects.filter(kind=SHADOW, state=ParityRun.State.RUNNING)
    for run in runs.select_related("assistant", "organisation", "number"):
        joined += _joined(run)
        _told(run)
    return joined


def _forget_dead(now: dt.datetime) -> None:
    """Free the places of forks that never came, and of those whom nobody hears any more."""
    ShadowCall.objects.filter(state=ShadowCall.State.OFFERED, token_expires_at__lt=now).update(
        state=ShadowCall.State.NOTHING, problem="the fork never came", ended_at=now
    )
    dead = ShadowCall.objects.filter(state=ShadowCall.State.HEARING, alive_at__lt=now - ALIVE)
    for row in dead.select_related("run")[:_BATCH]:
        words = "the process that heard it along died"
        with transaction.atomic():
            held = ShadowCall.objects.filter(pk=row.pk, state=ShadowCall.State.HEARING)
            if held.update(state=ShadowCall.State.FAILED, problem=words, ended_at=now):
                # Nobody knows what it had cost: it counts as such calls do.
                pair_lost(row, words, call_estimate(row.run))


def _joined(run: ParityRun) -> int:
    """Give pairs whose log has come their other side."""
    waiting = run.calls.filter(stack=ParityCall.Stack.VAPI, state=ParityCall.State.WAITING)
    whole = waiting.filter(source_call__imported__is_whole=True)
    return sum(_join(run, row) for row in whole.order_by("position")[:_BATCH])


def _join(run: ParityRun, row: ParityCall) -> bool:
    call = row.source_call
    assert call is not None, "its log was asked for"
    ours = run.calls.filter(position=row.position, stack=ParityCall.Stack.DIRECT).first()
    try:
        refusal_check(call)
        if ours is None:
            raise CallRefused("our side of it is gone")
        stored = sequence_load(ours.sequence)
        extras = as_object(ours.extras)
        reach = Reach.from_json(as_object(extras.get("reach")))
        imported = imported_of(call)
        if reach.to_ms is not None and imported is not None and not imported.has_times:
            raise CallRefused("its log has no times, so nobody knows how far it is compared")
        theirs = old_call_result(call)
        old = old_side(sequence_of(call), reach, str(call.pk))
    except CallRefused as refused:
        return _left_out(run, row, str(refused))
    except (DecryptionError, SequenceUnreadable) as error:
        return _left_out(run, row, f"it cannot be read ({type(error).__name__})")
    new = our_side(stored, old, str(call.pk))
    with transaction.atomic():
        waiting = ParityCall.objects.filter(pk=row.pk, state=ParityCall.State.WAITING)
        kept = waiting.update(
            state=ParityCall.State.DONE,
            sequence=sequence_dump(old),
            transcript=[asdict(each) for each in old_transcript(script_of(entries_of(call)))],
            latency=asdict(theirs.latency),
            cost_usd=theirs.cost_usd,
            is_cut=old.cut,
            finished_at=timezone.now(),
        )
        if kept:
            ParityCall.objects.filter(pk=ours.pk).update(
                sequence=sequence_dump(new), is_cut=new.cut
            )
    return bool(kept)


def _left_out(run: ParityRun, row: ParityCall, why: str) -> bool:
    """Take a pair away that may not be compared, with every word of it; it is shown as missing."""
    pair = run.calls.filter(position=row.position)
    with transaction.atomic():
        pair.update(
            state=ParityCall.State.FAILED,
            problem=why[:300],
            sequence=None,
            transcript=None,
            extras=None,
            finished_at=timezone.now(),
        )
        ShadowCall.objects.filter(run=run, position=row.position).update(
            state=ShadowCall.State.FAILED, problem=why[:300]
        )
    return False


def _told(run: ParityRun) -> None:
    """Show how far a run is, and end it where it has all it wants, or has spent its money."""
    done = ParityCall.State.DONE
    ours = run.calls.filter(stack=ParityCall.Stack.DIRECT)
    spent = spent_usd(run)
    old = run.calls.filter(stack=ParityCall.Stack.VAPI, state=done).count()
    running = ParityRun.objects.filter(pk=run.pk, state=ParityRun.State.RUNNING)
    running.update(done=min(old, run.wanted), cost_usd=spent)
    waits = ours.filter(state=done).count() - old
    if old >= run.wanted:
        _ended(run, ParityRun.State.DONE, "")
    elif changed := _changed(run):
        words = f"It was changed since: {changed}. Fix: begin another run."
        _ended(run, ParityRun.State.CANCELLED, words)
    elif spent >= run.cost_limit_usd and not waits:
        words = f"The cost limit of {run.cost_limit_usd} USD was reached. Fix: resume with more."
        _ended(run, ParityRun.State.CANCELLED, words)


def _changed(run: ParityRun) -> str:
    """Return in words what of a run's session is another one by now, '' where nothing is."""
    if run.revision_id != run.assistant.current_revision_id:
        return "the assistant"
    now = pins_of(run.revision_id, run.number, model=run.model)
    return changed_since(run, now, with_marks=False)


def _ended(run: ParityRun, state: ParityRun.State, problem: str) -> bool:
    measured = run_measure(run, state=state)
    rows = ParityRun.objects.filter(pk=run.pk, state__in=_OPEN)
    columns = {"state": state, "problem": problem[:500], "finished_at": timezone.now()}
    return bool(rows.update(**columns, **measured))


def waiting_for_logs(run: ParityRun) -> int:
    """Return how many calls were heard whose log of the old stack is not here yet."""
    rows = run.calls.filter(stack=ParityCall.Stack.VAPI, state=ParityCall.State.WAITING)
    return int(rows.count())
