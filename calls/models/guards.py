"""The guard of each number, the incidents it opened, the calls that raised them, its limits.

Owns the columns. What a window of calls says is ``calls.numbers.guard``'s, what follows from it
``calls.numbers.incident``'s; the rows are written by ``calls.services.guards`` alone.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from calls.models.numbers import PhoneNumber
from calls.models.records import Call
from voiceplatform.base.models import OrganisationOwned

STACKS = ("direct", "vapi")


class GuardLimits(OrganisationOwned):
    """From where on a call counts as bad; of one number, or of all numbers of an organisation."""

    number = models.OneToOneField(
        PhoneNumber,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="guard_limits",
        help_text="Empty: every number of the organisation that has no limits of its own",
    )
    first_word_ms = models.PositiveIntegerField(
        "first word after, in ms",
        default=3_000,
        help_text="A call whose first word comes later than this counts as slow; 500 to 30000",
    )
    turn_ms = models.PositiveIntegerField(
        "answers within, in ms",
        default=3_000,
        help_text="A call of whose answers more than one in twenty takes longer counts as slow; "
        "500 to 30000",
    )
    early_seconds = models.PositiveSmallIntegerField(
        "hung up early, in s",
        default=8,
        help_text="A caller who hangs up before this many seconds left early; 1 to 60",
    )
    usual_failed_percent = models.DecimalField(
        "failed calls on a good day, in %",
        max_digits=4,
        decimal_places=1,
        null=True,
        blank=True,
        help_text="Empty: 0.5. A larger share makes the guard more patient; at most 50",
    )
    usual_dead_air_percent = models.DecimalField(
        "calls with dead air on a good day, in %",
        max_digits=4,
        decimal_places=1,
        null=True,
        blank=True,
        help_text="Empty: 0.5. A larger share makes the guard more patient; at most 50",
    )
    usual_tool_failed_percent = models.DecimalField(
        "calls with a failed tool on a good day, in %",
        max_digits=4,
        decimal_places=1,
        null=True,
        blank=True,
        help_text="Empty: 1.0. A larger share makes the guard more patient; at most 50",
    )
    usual_hung_up_percent = models.DecimalField(
        "callers who hang up early on a good day, in %",
        max_digits=4,
        decimal_places=1,
        null=True,
        blank=True,
        help_text="Empty: 8.0. A larger share makes the guard more patient; at most 50",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("organisation", "number")
        verbose_name = "guard limits"
        verbose_name_plural = "guard limits"
        constraints = (
            models.UniqueConstraint(
                fields=("organisation",),
                condition=Q(number__isnull=True),
                name="guard_limits_default_once",
            ),
            models.CheckConstraint(
                condition=Q(first_word_ms__range=(500, 30_000))
                & Q(turn_ms__range=(500, 30_000))
                & Q(early_seconds__range=(1, 60)),
                name="guard_limits_sane",
            ),
        )

    def __str__(self) -> str:
        return f"limits of {self.number}" if self.number_id else "limits of all other numbers"


class NumberGuard(OrganisationOwned):
    """The guard of one number and stack: since when calls count, and how far a way back is."""

    number = models.ForeignKey(PhoneNumber, on_delete=models.CASCADE, related_name="guards")
    stack = models.CharField(max_length=6)
    state = models.JSONField(
        default=dict, blank=True, help_text="The open incident as the machine of the restore has it"
    )
    armed_at = models.DateTimeField(help_text="Calls that began before do not count")
    off_since = models.DateTimeField(
        null=True, blank=True, help_text="Since its route sends no calls to this stack"
    )
    next_at = models.DateTimeField(
        null=True, blank=True, help_text="When the next try of a restore, or a notice, is due"
    )
    version = models.PositiveIntegerField(default=0, help_text="Counts the changes of this row")

    class Meta:
        ordering = ("number", "stack")
        indexes = (
            models.Index(fields=("next_at",), name="guard_due", condition=Q(next_at__isnull=False)),
        )
        constraints = (
            models.UniqueConstraint(fields=("number", "stack"), name="guard_once"),
            models.CheckConstraint(condition=Q(stack__in=STACKS), name="guard_stack_known"),
        )

    def __str__(self) -> str:
        return f"guard of {self.number} ({self.stack})"


class Incident(OrganisationOwned):
    """A guard has tripped: what was seen, the way back, and who ended it with which words."""

    class State(models.TextChoices):
        """How far the way back is."""

        RESTORING = "due", "being restored"
        RESTORED = "restored", "restored"
        PERSON = "person", "needs a person"
        TOLD = "nothing", "told, nothing was moved"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(max_length=120, unique=True)
    number = models.ForeignKey(PhoneNumber, on_delete=models.CASCADE, related_name="incidents")
    stack = models.CharField(max_length=6)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    signals = models.JSONField(default=list, help_text="Which of the guard's signals tripped")
    words = models.CharField(max_length=500, help_text="What was seen; figures only")
    evidence = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=8, choices=State)
    tries = models.PositiveIntegerField(default=0, help_text="Of the restore at Twilio")
    restored_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    closed_by = models.CharField(max_length=200, blank=True)
    closed_why = models.CharField(max_length=500, blank=True)
    calls = models.ManyToManyField(Call, through="calls.IncidentCall", related_name="+")

    class Meta:
        ordering = ("-opened_at",)
        indexes = (
            models.Index(fields=("organisation", "-opened_at"), name="incident_list"),
            models.Index(fields=("-opened_at",), name="incident_list_all"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("number", "stack"),
                condition=Q(closed_at__isnull=True),
                name="incident_one_open",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("due", "restored", "person", "nothing")),
                name="incident_state_known",
            ),
            models.CheckConstraint(condition=Q(stack__in=STACKS), name="incident_stack_known"),
        )

    def __str__(self) -> str:
        return f"incident of {self.opened_at:%Y-%m-%d %H:%M:%S %Z}"


class IncidentCall(models.Model):
    """A call that counted against the number in an incident; goes when the call goes."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="listed")
    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="incidents")

    class Meta:
        ordering = ("incident", "id")
        verbose_name = "call of an incident"
        verbose_name_plural = "calls of incidents"
        constraints = (
            models.UniqueConstraint(fields=("incident", "call"), name="incident_call_once"),
        )

    def __str__(self) -> str:
        return f"call {self.call_id}"
