"""Leaving Vapi: one row for each time an organisation does, and one for each number that went.

State only. Which step may follow is ``calls.services.leaving``'s. What a number had before is
sealed, since an address may hold a token, and is kept as the way back until the end.
"""

from __future__ import annotations

import uuid

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from calls.models.numbers import PhoneNumber
from voiceplatform.base.fields import EncryptedJSONField
from voiceplatform.base.models import OrganisationOwned


class Departure(OrganisationOwned):
    """One leave of Vapi: what was found, what was exported, when it was done, what is still due."""

    class State(models.TextChoices):
        PREPARING = "preparing", "Being prepared"
        LEFT = "left", "Left; the way back is still there"
        FINISHED = "finished", "Finished; there is no way back"
        UNDONE = "undone", "Undone"

    OPEN = (State.PREPARING, State.LEFT)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    state = models.CharField(max_length=9, choices=State, default=State.PREPARING)
    found = models.JSONField(
        default=dict, blank=True, help_text="What depended on Vapi at the last look"
    )
    looked_at = models.DateTimeField(null=True, blank=True)
    accepted = models.JSONField(
        default=dict,
        blank=True,
        help_text="What a person answers for although it cannot be proved: who, why and when",
    )
    export_folder = models.CharField(
        max_length=500, blank=True, help_text="On the machine that exported"
    )
    export = models.JSONField(
        default=dict, blank=True, help_text="How much was exported, and the list's checksum"
    )
    exported_at = models.DateTimeField(null=True, blank=True)
    sealed = EncryptedJSONField(
        null=True, blank=True, help_text="Checksums of the tokens that Vapi knows"
    )
    left_at = models.DateTimeField(null=True, blank=True)
    left_by = models.CharField(max_length=200, blank=True)
    token_due_at = models.DateTimeField(
        null=True, blank=True, help_text="Until when Twilio's auth token is to be replaced"
    )
    token_done_at = models.DateTimeField(null=True, blank=True)
    key_due_at = models.DateTimeField(
        null=True, blank=True, help_text="Until when Vapi's keys are to be revoked"
    )
    key_done_at = models.DateTimeField(null=True, blank=True)
    reminded_at = models.DateTimeField(null=True, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "leave of Vapi"
        verbose_name_plural = "leaves of Vapi"
        permissions = (("leave_vapi", "Can leave Vapi and undo it"),)
        constraints = (
            models.UniqueConstraint(
                fields=("organisation",),
                name="departure_one_open",
                condition=Q(state__in=("preparing", "left")),
            ),
            models.CheckConstraint(
                condition=Q(state__in=("preparing", "left", "finished", "undone")),
                name="departure_state_known",
            ),
        )

    def __str__(self) -> str:
        return f"Leave of {self.created_at:%Y-%m-%d}"


class DepartedNumber(models.Model):
    """One number of a leave: what it had before, and how far it is."""

    departure = models.ForeignKey(Departure, on_delete=models.CASCADE, related_name="numbers")
    number = models.ForeignKey(PhoneNumber, on_delete=models.CASCADE, related_name="departures")
    before = EncryptedJSONField(help_text="Previous target and net, for the way back")
    armed_at = models.DateTimeField(
        null=True, blank=True, help_text="When Twilio was seen to have the net without Vapi"
    )
    cleared_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when no call is handed over to Vapi"
    )
    undone_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("departure", "number__number_e164")
        constraints = (
            models.UniqueConstraint(fields=("departure", "number"), name="departed_number_once"),
        )
        indexes = (
            models.Index(
                fields=("number",),
                name="departed_number_gone",
                condition=Q(cleared_at__isnull=False, undone_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return str(self.number)


class OldStackRate(OrganisationOwned):
    """What a minute at Vapi cost, all of Vapi's parts together, for the dossiers' comparison."""

    class Source(models.TextChoices):
        ENTERED = "entered", "Entered by a person"
        MEASURED = "measured", "Measured on Vapi's own records of calls"

    usd_per_minute = models.DecimalField(
        "USD a minute",
        max_digits=8,
        decimal_places=4,
        validators=[MinValueValidator(0)],
        help_text="Vapi's fee, model, voice, transcriber and its share of the carrier together, "
        "e.g. 0.1300",
    )
    source = models.CharField(max_length=8, choices=Source, default=Source.ENTERED, editable=False)
    note = models.CharField(
        max_length=200, blank=True, help_text="Where the figure is from, e.g. invoice of October"
    )
    calls = models.PositiveIntegerField(default=0, editable=False, help_text="Measured on so many")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("organisation",)
        verbose_name = "rate of the old stack"
        verbose_name_plural = "rates of the old stack"
        constraints = (
            models.UniqueConstraint(fields=("organisation",), name="old_rate_once"),
            models.CheckConstraint(condition=Q(usd_per_minute__gte=0), name="old_rate_positive"),
        )

    def __str__(self) -> str:
        return f"{self.usd_per_minute} USD a minute"
