"""Proposed instructions: from a run, into a draft, judged on calls that were held out."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from assistants.models import Assistant
from assistants.services import assistant_edit, revision_document
from assistants.wire import vapi_config
from calls.models import GuardrailProposal, ParityCall, ParityRun
from calls.parity.guardrails import is_held_out
from calls.parity.sequence import Sequence, ToolCall, sequence_dump
from calls.services import guardrail_proposals
from calls.services.guardrail_proposals import (
    GuardrailRefused,
    guardrail_reject,
    guardrail_verify,
    guardrails_apply,
    guardrails_propose,
    guardrails_settle,
    instructions_of,
)
from tests import factories
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SENTENCE = "Always call check before you call book."
SEED = 7


def played(run: ParityRun, name: str, position: int, old: str, new: str) -> None:
    """Make both calls of a pair that is over."""
    for stack, names in (("vapi", old), ("direct", new)):
        tools = tuple(ToolCall(each) for each in names.split())
        sequence = Sequence(name, stack, tools, scenario=name)  # type: ignore[arg-type]
        factories.make_parity_call(
            run, scenario=name, position=position, stack=stack, state="done",
            sequence=sequence_dump(sequence),
        )  # fmt: skip


def run_of(assistant: Assistant, new: str = "book", **columns: Any) -> ParityRun:
    """Make a finished run of 30 scenarios in which our stack calls ``new``."""
    run = factories.make_run(assistant, **{"seed": SEED, "wanted": 30, "state": "done", **columns})
    for index in range(30):
        played(run, f"s{index}", index, "check book", new)
    return run


@pytest.fixture
def assistant() -> Assistant:
    return factories.make_assistant(
        document={
            "name": "Desk",
            "model": {"messages": [{"role": "system", "content": "Be kind."}]},
        }
    )


def prompt_of(revision: Any) -> str:
    return vapi_config.read_assistant(revision_document(revision)).instructions


def test_what_drifts_is_proposed_once_from_calls_that_are_not_held_out(
    assistant: Assistant,
) -> None:
    run = run_of(assistant)
    (row,) = guardrails_propose(run=run, actor=None)
    looked_at = sum(not is_held_out(f"s{index}", SEED) for index in range(30))
    assert (row.instruction, row.seen, row.looked_at) == (SENTENCE, looked_at, looked_at)
    assert guardrails_propose(run=run, actor=None) == [row]
    assert GuardrailProposal.objects.count() == 1
    run.state = "running"
    with pytest.raises(GuardrailRefused, match="wait for its end"):
        guardrails_propose(run=run, actor=None)


def test_an_instruction_goes_into_a_draft_that_answers_nobody(assistant: Assistant) -> None:
    live = assistant.current_revision
    (row,) = guardrails_propose(run=run_of(assistant), actor=None)
    changed = guardrails_apply(rows=[row], actor=None, wording={str(row.pk): "Check, then  book."})
    row.refresh_from_db()
    assert changed.current_revision == live
    assert row.state == "applied" and row.applied_revision == changed.draft_revision
    assert row.instruction == "Check, then book."
    assert prompt_of(changed.draft_revision).startswith("Be kind.\n")
    assert "- Check, then book." in prompt_of(changed.draft_revision)
    assert instructions_of(changed) == ()
    assert AuditEntry.objects.filter(action="guardrail.apply").count() == 1
    with pytest.raises(GuardrailRefused):
        guardrails_apply(rows=[row], actor=None)


def test_somebody_elses_draft_is_left_alone(assistant: Assistant) -> None:
    (row,) = guardrails_propose(run=run_of(assistant), actor=None)
    assistant_edit(
        assistant=assistant, changes={"instructions": "Mine."}, actor=None, as_draft=True
    )
    with pytest.raises(GuardrailRefused, match="publish or discard it first"):
        guardrails_apply(rows=[row], actor=None)
    row.refresh_from_db()
    assert row.state == "proposed"


def test_what_was_rejected_meanwhile_does_not_get_into_the_draft(assistant: Assistant) -> None:
    (row,) = guardrails_propose(run=run_of(assistant), actor=None)
    as_seen = GuardrailProposal.objects.get(pk=row.pk)
    guardrail_reject(row=row, actor=None)
    with pytest.raises(GuardrailRefused, match="decided on it meanwhile"):
        guardrails_apply(rows=[as_seen], actor=None)
    assistant.refresh_from_db()
    assert assistant.draft_revision is None


def test_a_draft_never_has_a_sentence_whose_proposal_is_still_open(
    assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = guardrails_propose(run=run_of(assistant), actor=None)

    def killed(*args: Any, **kwargs: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(guardrail_proposals, "_decide", killed)
    with pytest.raises(SystemExit):
        guardrails_apply(rows=[row], actor=None)
    assistant.refresh_from_db()
    row.refresh_from_db()
    assert (assistant.draft_revision, row.state) == (None, "proposed")


def test_a_verification_is_begun_once(assistant: Assistant) -> None:
    (row,) = guardrails_propose(run=run_of(assistant), actor=None)
    guardrails_apply(rows=[row], actor=None)
    as_seen = GuardrailProposal.objects.get(pk=row.pk)
    begun = factories.make_run(assistant, state="running")
    GuardrailProposal.objects.filter(pk=row.pk).update(verification=begun)
    with pytest.raises(GuardrailRefused, match="it is being verified"):
        guardrail_verify(row=as_seen, actor=None)


def test_a_rejected_proposal_is_over(assistant: Assistant) -> None:
    (row,) = guardrails_propose(run=run_of(assistant), actor=None)
    guardrail_reject(row=row, actor=None)
    assert row.state == "rejected"
    for act in (guardrail_reject, guardrail_verify):
        with pytest.raises(GuardrailRefused):
            act(row=row, actor=None)
    assert guardrails_propose(run=row.run, actor=None) == [row]


@pytest.mark.parametrize(("new", "state"), [("check book", "verified"), ("book", "no-better")])
def test_held_out_calls_alone_judge_whether_it_helped(
    assistant: Assistant, new: str, state: str
) -> None:
    run = run_of(assistant)
    (row,) = guardrails_propose(run=run, actor=None)
    guardrails_apply(rows=[row], actor=None)
    row.refresh_from_db()
    made = guardrail_verify(row=row, actor=None)
    held = {f"s{index}" for index in range(30) if is_held_out(f"s{index}", SEED)}
    assert made.revision == row.applied_revision
    assert set(made.calls.values_list("scenario", flat=True)) == held
    row.refresh_from_db()
    with pytest.raises(GuardrailRefused, match="being verified"):
        guardrail_verify(row=row, actor=None)
    assert guardrails_settle() == 0
    made.calls.all().delete()
    for position, name in enumerate(sorted(held)):
        played(made, name, position, "check book", new)
    ParityRun.objects.filter(pk=made.pk).update(state="done")
    assert guardrails_settle() == 1
    assert guardrails_settle() == 0
    row.refresh_from_db()
    assert row.state == state
    assert row.figures["before"] == row.figures["before_of"] == len(held)
    assert row.figures["after"] == (0 if state == "verified" else len(held))


def test_the_pages_ask_before_they_act_and_notice_who_was_faster(
    client: Client, assistant: Assistant
) -> None:
    client.force_login(factories.make_staff(assistant.organisation, "all"))
    run = run_of(assistant)
    propose = reverse("admin:calls_guardrailproposal_propose")
    assert client.post(propose, {"run": run.pk}).status_code == 302
    row = GuardrailProposal.objects.get()
    page = client.get(reverse("admin:calls_guardrailproposal_change", args=[row.pk]))
    assert SENTENCE in page.content.decode()
    apply = reverse("admin:calls_guardrailproposal_apply", args=[row.pk])
    seen = client.get(apply).context["form"].initial["seen"]
    guardrail_reject(row=row, actor=None)
    late = client.post(apply, {"instruction": SENTENCE, "seen": seen}, follow=True)
    assert "changed since you opened" in late.content.decode()
    assistant.refresh_from_db()
    assert assistant.draft_revision is None
    GuardrailProposal.objects.update(state="proposed", decided_by="", decided_at=None)
    client.post(apply, {"instruction": SENTENCE, "seen": seen})
    row.refresh_from_db()
    assert row.state == "applied"
    assert ParityCall.objects.filter(run=run).count() == 60


def test_who_may_only_look_decides_nothing(client: Client, assistant: Assistant) -> None:
    row = factories.make_guardrail(factories.make_run(assistant))
    only_look = ["calls.view_guardrailproposal"]
    client.force_login(factories.make_staff(assistant.organisation, only_look))
    for name in ("apply", "reject", "verify"):
        url = reverse(f"admin:calls_guardrailproposal_{name}", args=[row.pk])
        assert client.post(url, {"seen": "x"}).status_code == 403
