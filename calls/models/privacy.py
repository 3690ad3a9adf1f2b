"""What people decide about personal data: what is masked, how long things stay, what was erased.

State only. Rules are dated rows, so what held for a call can be read later. A row about an erasure
holds nothing of the person it was about.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from assistants.models import Assistant
from voiceplatform.base.models import Organisation, OrganisationOwned

# Reports are tried for three days; what is still on its way must not be emptied.
SHORTEST_DAYS = 7


def _days(default: int | None, what: str) -> Any:
    return models.PositiveIntegerField(
        null=True,
        blank=True,
        default=default,
        validators=[MinValueValidator(SHORTEST_DAYS)],
        help_text=f"{what}. Days, {SHORTEST_DAYS} or more; empty: for ever",
    )


class RedactionRule(OrganisationOwned):
    """What is masked before anything of a call is stored: of one assistant, or of all others."""

    assistant = models.ForeignKey(
        Assistant,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="redaction_rules",
        help_text="Empty: every assistant of the organisation that has no rule of its own",
    )
    effective_from = models.DateField(help_text="The newest rule that has begun counts")
    phone_numbers = models.BooleanField(default=True)
    email_addresses = models.BooleanField(default=True)
    payment_cards = models.BooleanField(default=True)
    social_security_numbers = models.BooleanField(default=True)
    birth_dates = models.BooleanField(default=True)
    custom_patterns = models.JSONField(default=list, blank=True)
    listening_allowed = models.BooleanField(
        default=False,
        help_text="Off: nobody can listen to these calls as they go on, since sound cannot be "
        "masked. On: whoever may listen hears every word",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("assistant__name", "-effective_from")
        constraints = (
            models.UniqueConstraint(
                fields=("organisation", "assistant", "effective_from"),
                name="redaction_rule_once_a_day",
            ),
            models.UniqueConstraint(
                fields=("organisation", "effective_from"),
                name="redaction_default_once_a_day",
                condition=Q(assistant__isnull=True),
            ),
        )

    def __str__(self) -> str:
        who = str(self.assistant) if self.assistant is not None else "every assistant"
        return f"{who} from {self.effective_from}"


class RetentionRule(models.Model):
    """How many days things stay; empty: for ever. The first run of the task makes a missing row."""

    organisation = models.OneToOneField(
        Organisation, on_delete=models.CASCADE, related_name="retention_rule"
    )
    transcript_days = _days(None, "What was said; that and when somebody spoke stays")
    tool_body_days = _days(90, "Arguments and answers of tools, requests to their servers")
    call_input_days = _days(30, "Recorded inputs of calls, with audio where a policy keeps it")
    recording_days = _days(90, "Recordings of calls, here and at Twilio")
    report_days = _days(90, "Reports and events that were sent or given up, with the answers")
    call_days = _days(None, "Whole calls with everything above")
    audit_days = _days(None, "Who did or saw what")
    progress = models.JSONField(
        default=dict, blank=True, editable=False, help_text="Until when each kind is done"
    )
    look_from = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Calls that began since then were imported after their time was looked at",
    )
    last_run_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_counts = models.JSONField(default=dict, blank=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("organisation__name",)

    def __str__(self) -> str:
        return f"Retention of {self.organisation}"


class Erasure(OrganisationOwned):
    """That somebody was erased: when, by whom and how much; never who it was."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=200, help_text="user:name, or system")
    counts = models.JSONField(default=dict, blank=True, help_text="Rows and files by kind")
    problems = models.JSONField(default=list, blank=True, help_text="What could not be erased")
    sid_hashes = models.JSONField(
        default=list, blank=True, editable=False, help_text="Of recent calls at Twilio, SHA-256"
    )
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-at",)
        permissions = (("erase_caller", "Can erase everything about a caller"),)
        indexes = (models.Index(fields=("organisation", "-at"), name="erasure_list"),)

    def __str__(self) -> str:
        return f"Erasure {self.at:%Y-%m-%d %H:%M}"
