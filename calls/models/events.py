"""The outbox: what happened and must be told, and every attempt to tell it.

A row is written in the transaction of its cause; Celery drains it with leases (style.md 4).
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from calls.models.records import Call
from voiceplatform.base.fields import EncryptedJSONField
from voiceplatform.base.models import OrganisationOwned


class OutboxEvent(OrganisationOwned):
    """One event for one destination; ``id`` is the stable event id that receivers dedupe by."""

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        DEAD = "dead", "given up"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    call = models.ForeignKey(
        Call, on_delete=models.CASCADE, null=True, blank=True, related_name="events"
    )
    kind = models.CharField(max_length=60)
    dedupe_key = models.CharField(max_length=200, unique=True)
    schema_version = models.PositiveSmallIntegerField(default=1)
    destination = EncryptedJSONField(help_text="url, headers, secret, timeout_seconds")
    destination_host = models.CharField(max_length=255, blank=True)
    payload = EncryptedJSONField(help_text="Rendered when it happened")
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempt_count = models.PositiveIntegerField(default=0)
    earlier_attempts = models.PositiveIntegerField(
        default=0, help_text="Attempts made before a person asked for it again"
    )
    next_attempt_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(
                fields=("next_attempt_at",), name="outbox_due", condition=Q(state="pending")
            ),
            models.Index(fields=("organisation", "state", "-created_at"), name="outbox_list"),
            models.Index(fields=("-created_at",), name="outbox_list_all"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=("pending", "delivered", "dead")), name="outbox_state_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"


class DeliveryAttempt(models.Model):
    """One try to deliver an event."""

    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    at = models.DateTimeField(auto_now_add=True)
    duration_ms = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)
    response_excerpt = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("event", "number")
        constraints = (
            models.UniqueConstraint(fields=("event", "number"), name="attempt_number_once"),
        )

    def __str__(self) -> str:
        return f"attempt {self.number}"
