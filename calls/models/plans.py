"""Plans by which numbers move, what they have done so far, and the record of every transition.

State only: a plan and where it stands are JSON of ``calls.numbers.plan_stored``, with a version. It
must not decide anything; ``calls.services.plans`` and ``plan_ticks`` write here.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from calls.models.numbers import PhoneNumber
from voiceplatform.base.models import OrganisationOwned


class MigrationPlan(OrganisationOwned):
    """Which numbers move when, by which steps, and where each of them is."""

    class Status(models.TextChoices):
        """Words of ``calls.numbers.plan.Status``."""

        DRAFT = "draft"
        RUNNING = "running"
        PAUSED = "paused"
        FINISHED = "finished"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    definition = models.JSONField(help_text="Numbers, days, steps and gates, with a version")
    state = models.JSONField(help_text="Where each number is, with a version")
    status = models.CharField(max_length=8, choices=Status, default=Status.DRAFT)
    version = models.PositiveIntegerField(
        default=1, help_text="One more with every change; who changes it names the one seen"
    )
    problem = models.CharField(
        max_length=300, blank=True, help_text="Why the plan could not be read at its last look"
    )
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    looked_at = models.DateTimeField(
        null=True, blank=True, help_text="When the clock last looked at it"
    )

    class Meta:
        ordering = ("-created_at",)
        permissions = (("approve_plan_step", "Can approve steps of plans"),)
        indexes = (
            models.Index(fields=("organisation", "-created_at"), name="plan_list"),
            models.Index(fields=("id",), name="plan_running", condition=Q(status="running")),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=("draft", "running", "paused", "finished")),
                name="plan_status_known",
            ),
        )

    def __str__(self) -> str:
        return self.name


class PlanNumber(OrganisationOwned):
    """A number's place in a plan. A plan that is on holds its numbers: no other plan has them."""

    plan = models.ForeignKey(MigrationPlan, on_delete=models.CASCADE, related_name="places")
    number = models.ForeignKey(PhoneNumber, on_delete=models.CASCADE, related_name="plan_places")
    position = models.PositiveSmallIntegerField(help_text="In the order of the plan, from 1")
    phase = models.CharField(max_length=8, default="waiting")
    percent = models.PositiveSmallIntegerField(
        default=0, help_text="Share of its calls that the plan has given us"
    )
    holds = models.BooleanField(default=False, help_text="No other plan may move the number now")

    class Meta:
        ordering = ("plan", "position")
        verbose_name = "number in a plan"
        verbose_name_plural = "numbers in plans"
        constraints = (
            models.UniqueConstraint(fields=("plan", "number"), name="plan_number_once"),
            models.UniqueConstraint(
                fields=("number",), name="plan_number_held_once", condition=Q(holds=True)
            ),
        )

    def __str__(self) -> str:
        return f"{self.position}. {self.phase}"


class PlanEntry(OrganisationOwned):
    """One transition: what happened to which number, by whom, why, and on which figures."""

    plan = models.ForeignKey(MigrationPlan, on_delete=models.CASCADE, related_name="entries")
    at = models.DateTimeField()
    number = models.ForeignKey(
        PhoneNumber,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Empty: the whole plan",
    )
    kind = models.CharField(max_length=40, help_text="e.g. step ordered, number held")
    words = models.CharField(max_length=500, blank=True, help_text="What happened")
    who = models.CharField(max_length=200, help_text="user:name, or plan:id for the plan itself")
    why = models.TextField(blank=True)
    evidence = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "plan entries"
        indexes = (
            models.Index(fields=("plan", "-id"), name="plan_entry_of_plan"),
            models.Index(fields=("organisation", "-id"), name="plan_entry_list"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.at:%Y-%m-%d %H:%M:%S}"
