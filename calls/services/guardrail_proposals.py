"""Explicit instructions against drift: proposed from a run, decided by a person, judged by others.

Owns the rows of proposals. What drifts and which sentence helps is ``calls.parity.guardrails``'s.
An instruction that is taken goes into a draft of the assistant, which answers no call; it is
verified on calls that no proposal has seen, and a person publishes the draft where assistants are
published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from assistants.models import Assistant
from assistants.services import assistant_edit, revision_document
from assistants.wire import vapi_config
from calls.models import Call, GuardrailProposal, ParityRun
from calls.parity.differ import difference
from calls.parity.guardrails import (
    Effect,
    Observed,
    effect,
    instructions_in,
    is_held_out,
    proposals,
    with_instructions,
)
from calls.services.parity_marks import run_region, run_renames
from calls.services.parity_measuring import PlayedPair, played_pairs
from calls.services.parity_runs import RunRefused, run_begin
from voiceplatform.base.prepared import ChangedMeanwhile, RowGone
from voiceplatform.base.services import actor_label, audit_write

State = GuardrailProposal.State
_VERDICTS: Final = {"better": State.VERIFIED, "no-better": State.NO_BETTER}
LONGEST: Final = 500


class GuardrailRefused(Exception):
    """A proposal cannot be made, taken or verified; the text names the cause and the fix."""


def guardrails_propose(*, run: ParityRun, actor: Any) -> list[GuardrailProposal]:
    """Store what a run's drift asks for; what is stored already stays as it is.

    The split into calls that are looked at and calls that judge follows from the run's seed.

    Raises:
        GuardrailRefused: the run has not ended.
    """
    if run.state != ParityRun.State.DONE:
        raise GuardrailRefused(f"the run is {run.state}. Fix: wait for its end, or resume it.")
    found = proposals(observed(run), seed=run.seed)
    with transaction.atomic():
        rows = [
            GuardrailProposal.objects.get_or_create(
                run=run,
                pattern=each.pattern.words[:300],
                defaults={
                    "organisation": run.organisation,
                    "assistant": run.assistant,
                    "kind": each.pattern.kind,
                    "tool": each.pattern.tool[:200],
                    "seen": each.seen,
                    "looked_at": each.looked_at,
                    "instruction": each.instruction[:LONGEST],
                    "seed": run.seed,
                },
            )[0]
            for each in found
        ]
        audit_write(
            actor=actor,
            action="guardrail.propose",
            organisation=run.organisation,
            target=run,
            details={"proposals": len(rows)},
        )
    return rows


def observed(run: ParityRun) -> list[Observed]:
    """Return the pairs of a run as proposals look at them, in the order of dealing.

    A past call is known by its id in every run; a scenario by its name.
    """
    return [
        Observed(
            _key(pair),
            difference(
                pair.old,
                pair.new,
                run.marks or {},
                renames=run_renames(run),
                region=run_region(run),
            ),
        )
        for pair in played_pairs(run)
        if pair.old is not None and pair.new is not None
    ]


def _key(pair: PlayedPair) -> str:
    return pair.scenario


def guardrail_reject(*, row: GuardrailProposal, actor: Any) -> None:
    """Note that an instruction is not wanted.

    Raises:
        GuardrailRefused: it has been decided on.
    """
    with transaction.atomic():
        _decide([row], actor, State.REJECTED)


def guardrails_apply(
    *,
    rows: Sequence[GuardrailProposal],
    actor: Any,
    wording: dict[str, str] | None = None,
) -> Assistant:
    """Put instructions into a new draft of their assistant; return the assistant.

    Args:
        rows: proposals of one assistant that nobody has decided on.
        wording: other words for an instruction, by the proposal's id.

    Raises:
        GuardrailRefused: one of them was decided on, they are of several assistants, or somebody
            else's draft is open.
    """
    if not rows or len({row.assistant_id for row in rows}) != 1:
        raise GuardrailRefused("choose proposals of one assistant.")
    # One transaction: a draft never has a sentence whose proposal is open, or was rejected.
    with transaction.atomic():
        _still_open(rows)
        return _applied(rows, actor, wording or {})


def _applied(rows: Sequence[GuardrailProposal], actor: Any, wording: dict[str, str]) -> Assistant:
    assistant = Assistant.objects.select_related("current_revision", "draft_revision").get(
        pk=rows[0].assistant_id
    )
    draft = assistant.draft_revision
    is_ours = draft is not None and GuardrailProposal.objects.filter(applied_revision=draft)
    if draft is not None and not is_ours:
        raise GuardrailRefused(
            f"the draft r{draft.number} of the assistant is open. Fix: publish or discard it first."
        )
    base = draft or assistant.current_revision
    if base is None:
        raise GuardrailRefused("the assistant has no revision. Fix: publish one.")
    prompt = vapi_config.read_assistant(revision_document(base)).instructions
    words = [_worded(row, wording) for row in rows]
    changed = with_instructions(prompt, words)
    if changed == prompt:
        raise GuardrailRefused("the prompt says so already. Fix: reject these proposals.")
    try:
        assistant = assistant_edit(
            assistant=assistant,
            changes={"instructions": changed},
            actor=actor,
            from_draft=True,
            as_draft=True,
            note=f"Against drift: {'; '.join(words)}"[:500],
        )
    except (ChangedMeanwhile, RowGone) as error:
        raise GuardrailRefused(
            "the assistant was changed in the same moment. Fix: look again."
        ) from error
    _decide(rows, actor, State.APPLIED, applied_revision=assistant.draft_revision)
    for row, text in zip(rows, words, strict=True):
        GuardrailProposal.objects.filter(pk=row.pk).update(instruction=text)
    return assistant


def _still_open(rows: Sequence[GuardrailProposal]) -> None:
    """Refuse before anything is written, and keep others from deciding until it is."""
    wanted = {row.pk for row in rows}
    still = GuardrailProposal.objects.select_for_update().filter(
        pk__in=wanted, state=State.PROPOSED
    )
    if len(still.order_by("pk").values_list("pk")) < len(wanted):
        raise GuardrailRefused("somebody has decided on it meanwhile. Fix: look again.")


def _worded(row: GuardrailProposal, wording: dict[str, str]) -> str:
    text = " ".join((wording.get(str(row.pk)) or row.instruction).split())[:LONGEST]
    if not text:
        raise GuardrailRefused("an instruction is empty. Fix: enter it, or reject the proposal.")
    return text


def _decide(rows: Iterable[GuardrailProposal], actor: Any, state: str, **columns: Any) -> None:
    """Write a decision over rows that nobody has decided on, in the caller's transaction."""
    for row in rows:
        written = GuardrailProposal.objects.filter(pk=row.pk, state=State.PROPOSED).update(
            state=state, decided_by=actor_label(actor), decided_at=timezone.now(), **columns
        )
        if not written:
            raise GuardrailRefused("somebody has decided on it meanwhile. Fix: look again.")
        audit_write(
            actor=actor,
            action=f"guardrail.{'apply' if state == State.APPLIED else 'reject'}",
            organisation=row.organisation,
            target=row,
            details={"tool": row.tool, "kind": row.kind},
        )
        row.refresh_from_db()


# ---- verification -------------------------------------------------------------------------------


def guardrail_verify(*, row: GuardrailProposal, actor: Any) -> ParityRun:
    """Begin a run of the revision that has the instruction, on calls that were held out alone.

    All proposals that went into the same revision are verified by it.

    Raises:
        GuardrailRefused: it is in no revision, a verification is there, or nothing was held out.
    """
    with transaction.atomic():
        # Who asks twice at once begins one run: it costs money.
        same = GuardrailProposal.objects.select_for_update().filter(run=row.run_id)
        len(same.order_by("pk").values_list("pk"))
        return _verification(row, actor)


def _verification(row: GuardrailProposal, actor: Any) -> ParityRun:
    row.refresh_from_db()
    revision = row.applied_revision
    if row.state != State.APPLIED or revision is None:
        raise GuardrailRefused("it is in no revision. Fix: apply it first.")
    if row.verification is not None and row.verification.state not in (
        *(ParityRun.State.FAILED, ParityRun.State.CANCELLED),
    ):
        raise GuardrailRefused("it is being verified. Fix: wait for that run.")
    run = row.run
    held = run.calls.order_by("position").values_list(
        "scenario", "source_call_id", "document", named=True
    )
    chosen = {each.scenario: each for each in held if is_held_out(each.scenario, row.seed)}
    if not chosen:
        raise GuardrailRefused("no call was held out. Fix: make the run with more calls.")
    call_ids = [each.source_call_id for each in chosen.values() if each.document is None]
    calls = list(Call.objects.filter(pk__in=[pk for pk in call_ids if pk is not None]))
    documents = {name: each.document for name, each in chosen.items() if each.document is not None}
    if not calls and not documents:
        raise GuardrailRefused("the calls that were held out are gone. Fix: make another run.")
    repeats = run.wanted if documents else len(calls)
    try:
        made = run_begin(
            kind=run.kind,
            assistant=run.assistant,
            actor=actor,
            revision=revision,
            number=run.number,
            documents=documents,
            calls=calls,
            pairs=max(1, min(repeats, 1_000)),
            seed=run.seed,
            parallel=run.parallel,
            model=run.model,
            cost_limit_usd=run.cost_limit_usd,
            options={**run.options, "verifies": str(run.pk)},
        )
    except RunRefused as error:
        raise GuardrailRefused(str(error)) from error
    GuardrailProposal.objects.filter(
        applied_revision=revision, run=run, state=State.APPLIED
    ).update(verification=made)
    return made


def guardrails_settle() -> int:
    """Judge applied proposals whose verification has ended; return how many have a verdict."""
    rows = GuardrailProposal.objects.filter(
        state=State.APPLIED, verification__state=ParityRun.State.DONE, figures={}
    ).select_related("run", "verification")
    settled = 0
    known: dict[Any, list[Observed]] = {}
    for row in rows.order_by("pk")[:100]:
        for run in (row.run, row.verification):
            if run is not None and run.pk not in known:
                known[run.pk] = observed(run)
        assert row.verification is not None, "it was asked for"
        found = effect(row.pattern, known[row.run_id], known[row.verification.pk], seed=row.seed)
        state = _VERDICTS.get(found.verdict, State.APPLIED)
        settled += GuardrailProposal.objects.filter(pk=row.pk, state=State.APPLIED).update(
            state=state, figures=_figures(found)
        )
    return settled


def _figures(found: Effect) -> dict[str, Any]:
    return {
        "before": found.before,
        "before_of": found.before_of,
        "after": found.after,
        "after_of": found.after_of,
        "verdict": found.verdict,
        "p_value": round(found.p_value, 6),
    }


def instructions_of(assistant: Assistant) -> tuple[str, ...]:
    """Return the instructions that stand in the section of the assistant's current prompt."""
    revision = assistant.current_revision
    if revision is None:
        return ()
    return instructions_in(vapi_config.read_assistant(revision_document(revision)).instructions)
