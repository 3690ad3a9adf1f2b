"""Who is told when something needs a person, and what they were told; sent by the outbox.

Owns the columns. A notice holds ids and figures only, never a number, a name or a word of a call:
it leaves for mailboxes and chat rooms that keep what they are sent.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q

from calls.models.guards import Incident
from voiceplatform.base.fields import EncryptedTextField
from voiceplatform.base.models import OrganisationOwned


class NoticeReceiver(OrganisationOwned):
    """A mailbox, server or chat room of a team."""

    class Kind(models.TextChoices):
        EMAIL = "email", "E-mail"
        WEBHOOK = "webhook", "Webhook (signed JSON)"
        SLACK = "slack", "Slack, or what takes its messages"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100, help_text="How people know it, e.g. Desk on duty")
    kind = models.CharField(max_length=7, choices=Kind)
    address = EncryptedTextField(
        help_text="A mailbox, or an address beginning with https://. It is not shown again"
    )
    address_hint = models.CharField(
        max_length=255, blank=True, help_text="The host, so that people recognise it"
    )
    secret = EncryptedTextField(blank=True, default="", help_text="whsec_…, signs a webhook")
    earlier_secret = EncryptedTextField(blank=True, default="")
    earlier_secret_until = models.DateTimeField(
        null=True, blank=True, help_text="Until then the secret before this one signs too"
    )
    enabled = models.BooleanField("on", default=True)
    switched_off_at = models.DateTimeField(
        null=True, blank=True, help_text="Since the receiver said that it is gone"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name", "id")
        verbose_name = "notice receiver"
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=("email", "webhook", "slack")), name="notice_kind_known"
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


class Notice(OrganisationOwned):
    """Something that people were told, once, whoever the receivers are."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(max_length=160, help_text="The same cause has the same key")
    subject = models.CharField(max_length=200)
    words = models.TextField()
    ids = models.JSONField(default=dict, blank=True)
    incident = models.ForeignKey(
        Incident, on_delete=models.CASCADE, null=True, blank=True, related_name="notices"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("organisation", "-created_at"), name="notice_list"),)
        constraints = (
            models.UniqueConstraint(fields=("organisation", "key"), name="notice_key_once"),
        )

    def __str__(self) -> str:
        return self.subject
