"""What a number's calls would cost on our stack, and explicit instructions proposed for drift.

State only. Figures come from ``calls.parity.forecast``, proposals from ``calls.parity.guardrails``;
rows are written by ``calls.services.cost_forecasts`` and ``guardrail_proposals``. Neither holds
words of a caller.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from assistants.models import Assistant, AssistantRevision
from calls.models.numbers import PhoneNumber
from calls.models.parity import ParityRun
from voiceplatform.base.models import OrganisationOwned


class CostForecast(OrganisationOwned):
    """What the calls of the old stack would have cost here, per minute, with one model."""

    class Verdict(models.TextChoices):
        CHEAPER = "cheaper", "Cheaper here"
        DEARER = "dearer", "Dearer here"
        UNDECIDED = "undecided", "Too close, or too few calls, to say"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    assistant = models.ForeignKey(
        Assistant, on_delete=models.CASCADE, related_name="cost_forecasts"
    )
    revision = models.ForeignKey(
        AssistantRevision,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Whose prompt and tools are counted",
    )
    number = models.ForeignKey(
        PhoneNumber,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="cost_forecasts",
        help_text="Empty: all calls of the assistant",
    )
    model = models.CharField(max_length=80, help_text="The model that is priced")
    calls = models.PositiveIntegerField(help_text="Past calls it was made from")
    minutes = models.FloatField(help_text="Of these calls together, as they were spoken")
    low_usd = models.FloatField("P10, USD a minute")
    middle_usd = models.FloatField("P50, USD a minute")
    high_usd = models.FloatField("P90, USD a minute")
    old_low_usd = models.FloatField("old stack, P10", null=True, blank=True)
    old_middle_usd = models.FloatField("old stack, P50", null=True, blank=True)
    old_high_usd = models.FloatField("old stack, P90", null=True, blank=True)
    verdict = models.CharField(max_length=9, choices=Verdict, default=Verdict.UNDECIDED)
    figures = models.JSONField(
        default=dict, blank=True, help_text="Talk share, tokens, cache and the parts of the price"
    )
    made_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    approved_by = models.CharField(
        max_length=200, blank=True, help_text="Who accepts that it is dearer here"
    )
    approved_at = models.DateTimeField(null=True, blank=True)
    approval_note = models.CharField(max_length=500, blank=True)
    actual_calls = models.PositiveIntegerField(
        default=0, help_text="Calls that our stack has answered since, of those it was made for"
    )
    actual_usd = models.FloatField("actual, USD a minute", null=True, blank=True)
    error_percent = models.FloatField(
        null=True, blank=True, help_text="Forecast against the first 100 calls; the goal is 10"
    )
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)
        permissions = (("approve_dearer", "Can accept that a number is dearer here"),)
        indexes = (
            models.Index(fields=("organisation", "-created_at"), name="cost_forecast_list"),
            models.Index(fields=("number", "-created_at"), name="cost_forecast_by_number"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(verdict__in=("cheaper", "dearer", "undecided")),
                name="cost_forecast_verdict_known",
            ),
            models.CheckConstraint(
                condition=Q(approved_by="", approved_at__isnull=True)
                | (~Q(approved_by="") & Q(approved_at__isnull=False, verdict="dearer")),
                name="cost_forecast_approval_whole",
            ),
        )

    def __str__(self) -> str:
        return f"{self.model} {self.created_at:%Y-%m-%d %H:%M}"


class GuardrailProposal(OrganisationOwned):
    """One explicit instruction against one pattern of drift, until somebody decides on it."""

    class State(models.TextChoices):
        PROPOSED = "proposed", "Proposed"
        REJECTED = "rejected", "Rejected"
        APPLIED = "applied", "In a revision, not verified yet"
        VERIFIED = "verified", "Verified on calls that were held out"
        NO_BETTER = "no-better", "Did not help on calls that were held out"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    assistant = models.ForeignKey(Assistant, on_delete=models.CASCADE, related_name="guardrails")
    run = models.ForeignKey(
        ParityRun,
        on_delete=models.CASCADE,
        related_name="guardrails",
        help_text="The run in which the drift was seen",
    )
    pattern = models.CharField(max_length=300, help_text="What drifts, in one line; once per run")
    kind = models.CharField(max_length=10, help_text="omitted, extra, order or argument")
    tool = models.CharField(max_length=200)
    seen = models.PositiveIntegerField(help_text="Pairs that drift like this")
    looked_at = models.PositiveIntegerField(help_text="Pairs that were looked at; none held out")
    instruction = models.CharField(max_length=500, help_text="What is added to the prompt")
    seed = models.PositiveBigIntegerField(help_text="Decides which calls are held out")
    state = models.CharField(max_length=9, choices=State, default=State.PROPOSED)
    decided_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    applied_revision = models.ForeignKey(
        AssistantRevision, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    verification = models.ForeignKey(
        ParityRun,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="verifies",
        help_text="The run with the new revision on the calls that were held out",
    )
    figures = models.JSONField(
        default=dict, blank=True, help_text="How often it was seen on held-out calls, before, after"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-seen")
        permissions = (("apply_guardrails", "Can apply proposed instructions"),)
        indexes = (models.Index(fields=("organisation", "-created_at"), name="guardrail_list"),)
        constraints = (
            models.UniqueConstraint(fields=("run", "pattern"), name="guardrail_once"),
            models.CheckConstraint(
                condition=Q(state__in=("proposed", "rejected", "applied", "verified", "no-better")),
                name="guardrail_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state="proposed", decided_by="", decided_at__isnull=True)
                | (~Q(state="proposed") & ~Q(decided_by="") & Q(decided_at__isnull=False)),
                name="guardrail_decision_whole",
            ),
        )

    def __str__(self) -> str:
        return self.instruction
