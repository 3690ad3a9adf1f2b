"""The call policy of a number that comes from Vapi with an assistant that has a consent plan.

Owns how ``recordingConsentPlan`` becomes a policy and its line (vapi.md 2.2, design.md 11). The
policy is never marked as reviewed and no policy that exists is changed: a number that answers calls
keeps what counsel has seen.
"""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from assistants.models import Assistant
from assistants.services import revision_document
from assistants.wire.vapi_compliance import ConsentPlan, consent_plan
from calls.models import CallPolicy, PhoneNumber, PolicyWording
from voiceplatform.base.services import audit_write

_KINDS = {"notice": CallPolicy.Consent.NOTICE, "ask": CallPolicy.Consent.ASK}


def policy_give(number: PhoneNumber, *, actor: Any) -> None:
    """Give a new number the policy that its assistant's plan describes, if there is one."""
    assistant: Assistant | None = number.assistant
    revision = assistant.current_revision if assistant is not None else None
    plan = consent_plan(revision_document(revision)) if revision is not None else None
    if assistant is None or revision is None or plan is None or number.policy_id is not None:
        return
    number.policy = _policy(number, assistant, plan, revision.language, actor)
    number.save(update_fields=["policy", "updated_at"])


def _policy(
    number: PhoneNumber, assistant: Assistant, plan: ConsentPlan, language: str, actor: Any
) -> CallPolicy:
    """Return the policy of a plan: the one that an earlier number has brought, else a new one."""
    name = f"Consent of {assistant.name}"[:100]
    same = CallPolicy.objects.filter(
        organisation=number.organisation,
        name=name,
        recording_consent=_KINDS[plan.kind],
        wordings__text=plan.message,
    )
    known: CallPolicy | None = same.first()
    if known is not None:
        return known
    refusal = CallPolicy.Refusal.HUMAN if plan.transfers else CallPolicy.Refusal.END
    policy = CallPolicy.objects.create(
        organisation=number.organisation,
        name=name,
        country="US" if number.number_e164.startswith("+1") else "",
        effective_from=timezone.now().date(),
        recording_consent=_KINDS[plan.kind],
        on_refusal=refusal,
        source="Vapi's recordingConsentPlan. Have it reviewed by your counsel.",
    )
    PolicyWording.objects.create(policy=policy, language=language, text=plan.message)
    audit_write(
        actor=actor, action="callpolicy.create", organisation=number.organisation, target=policy
    )
    return policy
