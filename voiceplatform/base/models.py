"""Organisations and what every layer above shares: keys, jobs, audit entries.

Owns tenancy: one manager filters by organisation. Writes go through ``base.services``.
"""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from voiceplatform.base.fields import EncryptedTextField

DEFAULT_ORGANISATION_ID = uuid.UUID("00000000-0000-4000-8000-000000000001")


class Organisation(models.Model):
    """A tenant; Vapi's ``orgId``. One default organisation exists from the first migration."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, unique=True)
    call_log_url = EncryptedTextField(
        blank=True, default="", help_text="Where every call.ended log is posted; empty: nowhere"
    )
    call_log_secret = EncryptedTextField(
        blank=True, default="", help_text="Signs call.ended logs (X-Voiceplatform-Signature)"
    )
    analyses_calls = models.BooleanField(
        "analyse calls",
        default=True,
        help_text="Summarise and judge each call after it ends, as its assistant's analysis plan "
        "says; costs some tokens of a text model for each call",
    )
    records_calls = models.BooleanField(
        default=False,
        help_text="Record calls whose assistant wants it and whose number's policy allows it",
    )
    keeps_recordings_at_carrier = models.BooleanField(
        default=False,
        help_text="Leave Twilio its copy too; else it is deleted once ours is stored and checked",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class OrganisationQuerySet(models.QuerySet[Any]):
    """The one filter between tenants."""

    def for_organisation(self, organisation: Organisation | uuid.UUID) -> Self:
        """Return rows of this organisation only."""
        return self.filter(organisation=organisation)

    def visible_to(self, user: Any) -> Self:
        """Return rows a signed-in person may see: superusers all, staff their organisations'."""
        if user.is_superuser:
            return self.all()
        return self.filter(organisation__memberships__user=user)


class OrganisationOwned(models.Model):
    """Base of every row that belongs to one organisation."""

    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, default=DEFAULT_ORGANISATION_ID, related_name="+"
    )

    objects = OrganisationQuerySet.as_manager()

    class Meta:
        abstract = True


class Membership(models.Model):
    """Which staff see which organisation."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="memberships"
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("user", "organisation"), name="membership_once"),
        )

    def __str__(self) -> str:
        return f"{self.user} in {self.organisation}"


class ApiKey(OrganisationOwned):
    """A bearer key of the REST surface; only its SHA-256 is stored, the key is shown once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    prefix = models.CharField(
        max_length=12, editable=False, help_text="First characters, to recognise it"
    )
    key_hash = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list, help_text='e.g. ["read", "write"]')
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class UnknownRoute(OrganisationOwned):
    """A Vapi route that a customer's scripts asked for and this platform does not have."""

    method = models.CharField(max_length=10)
    route = models.CharField(max_length=200, help_text="The path with ids replaced by {id}")
    count = models.PositiveIntegerField(default=0)
    first_at = models.DateTimeField(auto_now_add=True)
    last_at = models.DateTimeField()

    class Meta:
        ordering = ("-last_at",)
        verbose_name = "route your scripts called that we lack"
        verbose_name_plural = "routes your scripts called that we lack"
        constraints = (
            models.UniqueConstraint(
                fields=("organisation", "method", "route"), name="unknown_route_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.method} {self.route}"


class Job(OrganisationOwned):
    """A long piece of work with progress that a person can watch and cancel."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=60)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    parameters = models.JSONField(default=dict, blank=True)
    done_count = models.PositiveIntegerField(default=0)
    total_count = models.PositiveIntegerField(default=0)
    message = models.CharField(max_length=500, blank=True)
    result = models.JSONField(null=True, blank=True)
    cancel_requested = models.BooleanField(default=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(fields=("organisation", "-created_at"), name="job_list"),
            models.Index(
                fields=("created_at",),
                name="job_open",
                condition=Q(state__in=("queued", "running")),
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running", "done", "failed", "cancelled")),
                name="job_state_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"


class AuditEntry(models.Model):
    """Who did or saw what, when. Written by ``base.services.audit_write``, never changed."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(auto_now_add=True)
    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    actor = models.CharField(max_length=200, help_text="user:name, key:prefix, or system")
    action = models.CharField(max_length=80)
    target_type = models.CharField(max_length=80, blank=True)
    target_id = models.CharField(max_length=80, blank=True)
    target_label = models.CharField(max_length=200, blank=True)
    details = models.JSONField(default=dict, blank=True)

    objects = OrganisationQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"
        indexes = (
            models.Index(fields=("organisation", "-at"), name="audit_list"),
            models.Index(fields=("target_type", "target_id"), name="audit_target"),
        )

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.target_label}"


class EncryptionCanary(models.Model):
    """One sealed row that proves at start that the configured keys still open what is stored."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    token = EncryptedTextField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="canary_single"),)

    def __str__(self) -> str:
        return "encryption canary"


class RedactedTable(models.Model):
    """How far the redacted copies of one table are made by the rules of one version.

    Copies are stored, so a rule that hides more must be applied to what is there already.
    """

    label = models.CharField(primary_key=True, max_length=60, help_text="E.g. assistants.squad")
    version = models.PositiveSmallIntegerField(help_text="Of the rules, base.redaction")
    last_key = models.CharField(max_length=40, blank=True, help_text="Of the last row done")
    is_complete = models.BooleanField(default=False)

    class Meta:
        ordering = ("label",)

    def __str__(self) -> str:
        return self.label
