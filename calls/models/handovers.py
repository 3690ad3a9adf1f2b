"""Calls that were handed to the stack which had their number before, and how that stack fares.

Owns state alone. What it means is ``calls.previous`` and ``calls.numbers.old_stack``.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from calls.models.records import Call
from voiceplatform.base.fields import EncryptedJSONField, EncryptedTextField
from voiceplatform.base.models import OrganisationOwned


class OldStack(OrganisationOwned):
    """One old stack: all numbers whose calls went to one origin share what is known of it."""

    origin = models.CharField(max_length=300, help_text="Scheme, host and port; no path, no token")
    health = models.JSONField(default=dict, blank=True, help_text="Up, down or probing")
    version = models.PositiveIntegerField(default=0, help_text="One more with every change")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("origin",)
        constraints = (
            models.UniqueConstraint(fields=("organisation", "origin"), name="old_stack_once"),
        )

    def __str__(self) -> str:
        return self.origin


class CallHandover(models.Model):
    """A call that the old stack was given: what came of it, and what later requests need."""

    call = models.OneToOneField(Call, on_delete=models.CASCADE, related_name="handover")
    old_stack = models.ForeignKey(
        OldStack, on_delete=models.SET_NULL, null=True, blank=True, related_name="handovers"
    )
    attempt_ms = models.PositiveIntegerField(help_text="How long it was given")
    instead = models.CharField(max_length=8, help_text="What follows when it gave nothing")
    begun_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.JSONField(
        null=True, blank=True, help_text="What came of each request; empty while it is under way"
    )
    is_taken = models.BooleanField(default=False, help_text="Its answer was given to Twilio")
    both_reached = models.BooleanField(
        default=False, help_text="It may have taken the call although somebody else answered"
    )
    answer = EncryptedJSONField(
        null=True, blank=True, help_text="Its answer, for a repeat of the webhook; not kept after"
    )
    cookies = EncryptedJSONField(null=True, blank=True, help_text="For later requests of the call")
    status_url = EncryptedTextField(
        blank=True, default="", help_text="Whom it wants told when the call is over; empty: nobody"
    )
    status_method = models.CharField(max_length=4, default="POST")
    status_asked = EncryptedJSONField(
        null=True, blank=True, help_text="Twilio's message of the end, until it is passed on"
    )
    status_due_at = models.DateTimeField(
        null=True, blank=True, help_text="When it is passed on, or tried again"
    )
    status_attempts = models.PositiveSmallIntegerField(default=0)
    status_outcome = models.JSONField(null=True, blank=True, help_text="What came of that")

    class Meta:
        ordering = ("-begun_at",)
        indexes = (
            models.Index(
                fields=("status_due_at",),
                name="handover_status_due",
                condition=Q(status_due_at__isnull=False),
            ),
            models.Index(
                fields=("begun_at",),
                name="handover_answer_kept",
                condition=Q(answer__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.call_id} {'taken' if self.is_taken else 'not taken'}"
