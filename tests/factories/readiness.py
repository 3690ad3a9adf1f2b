"""Readiness of numbers, facts of accounts and limits of models, for tests."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from assistants.models import AssistantRevision
from calls.models import (
    AccountFacts,
    AudibleAcceptance,
    ModelLimit,
    NumberReadiness,
    PhoneNumber,
    ProviderConnection,
    TwilioAccount,
)


def make_readiness(number: PhoneNumber, **columns: Any) -> NumberReadiness:
    """Make a row that says that the policy of ``number`` is not reviewed."""
    found = {
        "code": "policy_unreviewed",
        "weight": "blocks",
        "field": "policy",
        "short": "Its call policy is not reviewed",
        "cause": "the call policy Ohio is not marked as reviewed",
        "step": "Have it reviewed, then mark it",
        "link": "policy",
        "target": str(number.policy_id or ""),
    }
    fact = {"name": "Route", "value": number.route, "source": "live", "at": ""}
    given: dict[str, Any] = {
        "number_e164": number.number_e164,
        "account": number.twilio_account,
        "twilio_sid": number.twilio_sid,
        "colour": NumberReadiness.Colour.RED,
        "reason": found["short"],
        "next_step": found["step"],
        "next_link": found["link"],
        "next_target": found["target"],
        "findings": [found],
        "facts": [fact],
        "checked_at": timezone.now(),
    }
    return NumberReadiness.objects.create(
        organisation=number.organisation, number=number, **{**given, **columns}
    )


def make_acceptance(revision: AssistantRevision, **columns: Any) -> AudibleAcceptance:
    """Make the word of a person that callers may hear a revision's voice."""
    given: dict[str, Any] = {
        "source": f"revision:{revision.pk}",
        "words": ["$.voice: callers hear another voice"],
        "who": "user:ops",
        "why": "Listened to it",
        "at": timezone.now(),
    }
    return AudibleAcceptance.objects.create(
        organisation=revision.assistant.organisation, revision=revision, **{**given, **columns}
    )


def make_account_facts(account: TwilioAccount, **columns: Any) -> AccountFacts:
    """Make what a check found of an account; nobody has entered anything."""
    now = timezone.now()
    given: dict[str, Any] = {
        "status": "active",
        "kind": "Full",
        "numbers_listed": 3,
        "checked_at": now,
        "tried_at": now,
        "peak_calls": 2,
        "peak_checked_at": now,
    }
    return AccountFacts.objects.create(
        organisation=account.organisation, account=account, **{**given, **columns}
    )


def make_model_limit(connection: ProviderConnection, **columns: Any) -> ModelLimit:
    """Make a limit that staff entered."""
    given: dict[str, Any] = {
        "model": connection.model,
        "name": ModelLimit.Name.TOKENS,
        "limit": 40_000,
        "source": ModelLimit.Source.ENTERED,
        "seen_at": timezone.now(),
    }
    return ModelLimit.objects.create(
        organisation=connection.organisation, connection=connection, **{**given, **columns}
    )
