"""The outbox: what happened and must be told, to whom, and every attempt to tell it.

A row is written in the transaction of its cause; Celery drains it with leases (style.md 4).
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone

from assistants.models import Assistant
from calls.models.notices import Notice, NoticeReceiver
from calls.models.numbers import PhoneNumber
from calls.models.records import Call
from voiceplatform.base.fields import EncryptedJSONField, EncryptedTextField
from voiceplatform.base.models import OrganisationOwned


class EventDestination(OrganisationOwned):
    """A receiver of events that a team has entered; its secret signs as Standard Webhooks do."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    url = EncryptedTextField(help_text="https://…; what stands in it is kept secret")
    url_host = models.CharField(max_length=255, blank=True)
    kinds = models.JSONField(default=list, help_text='Which events, e.g. ["call.ended"]')
    assistants = models.ManyToManyField(
        Assistant, blank=True, related_name="+", help_text="None chosen: calls of all of them"
    )
    numbers = models.ManyToManyField(
        PhoneNumber, blank=True, related_name="+", help_text="None chosen: calls to all of them"
    )
    headers = EncryptedJSONField(null=True, blank=True, help_text="Sent with every event")
    timeout_seconds = models.PositiveSmallIntegerField(
        default=20, help_text="How long to wait for an answer, 1 to 30"
    )
    secret = EncryptedTextField(blank=True, default="", help_text="whsec_…")
    earlier_secret = EncryptedTextField(blank=True, default="")
    earlier_secret_until = models.DateTimeField(
        null=True, blank=True, help_text="Until then the secret before this one signs too"
    )
    plain_secret = EncryptedTextField(
        blank=True,
        default="",
        help_text="Signs X-Voiceplatform-Signature, as an organisation's call log URL did",
    )
    enabled = models.BooleanField(default=True)
    active_since = models.DateTimeField(
        default=timezone.now, help_text="Calls that ended before are not told of"
    )
    switched_off_at = models.DateTimeField(
        null=True, blank=True, help_text="Since the receiver said that it is gone"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name", "id")
        verbose_name = "event destination"
        indexes = (models.Index(fields=("organisation", "enabled"), name="destination_live"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(timeout_seconds__gte=1, timeout_seconds__lte=30),
                name="destination_timeout_1_30",
            ),
        )

    def __str__(self) -> str:
        return self.name

    def signing_secrets(self, now: datetime) -> tuple[str, ...]:
        """Return the secrets that sign at ``now``, the newest first."""
        secrets = [self.secret]
        if self.earlier_secret_until is not None and now < self.earlier_secret_until:
            secrets.append(self.earlier_secret)
        return tuple(filter(None, secrets))


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
    receiver = models.ForeignKey(
        EventDestination,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="events",
        help_text="Whose address and secrets are looked up when it is sent",
    )
    # Of few rows of a long table: the partial indexes below find them.
    notice = models.ForeignKey(
        Notice,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        db_index=False,
        related_name="events",
    )
    notice_receiver = models.ForeignKey(
        NoticeReceiver,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        related_name="events",
        help_text="Who is told of a notice; the address is looked up when it is sent",
    )
    # Null in rows of before: a column with a default would have rewritten a long table.
    endpoint = models.CharField(  # noqa: DJ001 - see above
        max_length=40, null=True, blank=True, help_text="What one receiver's events have in common"
    )
    sequence = models.PositiveIntegerField(
        null=True, blank=True, help_text="Counts a call's events at one endpoint, from 1"
    )
    destination = EncryptedJSONField(
        help_text="url, headers, secret, timeout_seconds; empty where there is a receiver"
    )
    destination_host = models.CharField(max_length=255, blank=True)
    payload = EncryptedJSONField(help_text="Rendered when it happened")
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempt_count = models.PositiveIntegerField(default=0)
    earlier_attempts = models.PositiveIntegerField(
        default=0, help_text="Attempts made before a person asked for it again"
    )
    next_attempt_at = models.DateTimeField()
    failing_since = models.DateTimeField(
        null=True, blank=True, help_text="The first failure of this series of attempts"
    )
    lease_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(
                fields=("next_attempt_at",), name="outbox_due", condition=Q(state="pending")
            ),
            models.Index(
                fields=("call", "endpoint", "sequence"),
                name="outbox_order",
                condition=Q(state="pending"),
            ),
            models.Index(fields=("organisation", "state", "-created_at"), name="outbox_list"),
            models.Index(fields=("-created_at",), name="outbox_list_all"),
            models.Index(
                fields=("notice",), name="outbox_of_notice", condition=Q(notice__isnull=False)
            ),
            models.Index(
                fields=("notice_receiver",),
                name="outbox_of_notice_receiver",
                condition=Q(notice_receiver__isnull=False),
            ),
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
