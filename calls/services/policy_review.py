"""The mark that counsel has reviewed a call policy: who set it and when it falls (design.md 11)."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from calls.models import CallPolicy
from calls.numbers.phrases import sentence


class PolicyHasNoLine(Exception):
    """There is nothing to review: write what callers are told first."""


def policy_review(*, policy: CallPolicy, reviewer: Any) -> None:
    """Mark ``policy`` as reviewed by ``reviewer``, a user, now.

    Raises:
        PolicyHasNoLine: it has no wording, so calls would begin without a disclosure.
    """
    if not policy.wordings.exists():
        raise PolicyHasNoLine(
            f"“{policy}” has no wording: callers would be told nothing. Fix: add the line that "
            "is played before the assistant speaks, have it reviewed, then mark the policy."
        )
    if policy.recording_consent == CallPolicy.Consent.ASK:
        # What was reviewed is what is asked, whatever a later version brings along.
        for wording in policy.wordings.filter(question=""):
            question, language = sentence("consent", wording.language)
            if wording.language.lower().startswith(language):
                wording.question = question
                wording.save(update_fields=["question"])
    policy.reviewed_at = timezone.now()
    policy.reviewed_by = reviewer
    policy.save(update_fields=["reviewed_at", "reviewed_by", "updated_at"])


def policy_unreview(*, policy: CallPolicy) -> None:
    """Take the mark away, because the substance changed."""
    policy.reviewed_at = None
    policy.reviewed_by = None
    policy.save(update_fields=["reviewed_at", "reviewed_by", "updated_at"])
