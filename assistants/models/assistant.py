"""Assistants and their immutable revisions: what a number speaks with.

A revision is a complete, frozen reading of one document; a call points at the revision it used.
"""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import Q

from assistants.exceptions import RevisionIsImmutable
from tools.models import Tool
from voiceplatform.base.fields import EncryptedJSONField, EncryptedTextField
from voiceplatform.base.models import OrganisationOwned


class Assistant(OrganisationOwned):
    """A Vapi assistant; its id is Vapi's and never changes on re-import."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=200, blank=True)
    current_revision = models.ForeignKey(
        "AssistantRevision", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)
    draft_revision = models.ForeignKey(
        "AssistantRevision",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Newest revision that answers no call yet; empty: nothing waits to be published",
    )
    imported_revision = models.ForeignKey(
        "AssistantRevision",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="What the last import brought; tells whether both sides changed since",
    )

    class Meta:
        ordering = ("name", "id")
        indexes = (
            models.Index(
                fields=("organisation", "name"),
                name="assistant_list",
                condition=Q(deleted_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return self.name or str(self.id)


class RevisionQuerySet(models.QuerySet["AssistantRevision"]):
    """Refuses bulk changes of revisions."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Refuse: a revision never changes."""
        raise RevisionIsImmutable("publish a new revision instead of updating one")


class AssistantRevision(models.Model):
    """One frozen state of an assistant: columns the platform reads and the raw document."""

    class FirstMessageMode(models.TextChoices):
        """Vapi's three modes (vapi.md 2.2)."""

        SPEAKS_FIRST = "assistant-speaks-first"
        MODEL_GENERATED = "assistant-speaks-first-with-model-generated-message"
        WAITS_FOR_USER = "assistant-waits-for-user"

    assistant = models.ForeignKey(Assistant, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    source = models.CharField(max_length=40, help_text="import, api, admin or seed")
    author = models.CharField(
        max_length=200, blank=True, help_text="user:name, key:prefix, or system"
    )
    note = models.CharField(max_length=500, blank=True, help_text="Why, in the author's words")
    instructions = models.TextField(blank=True)
    first_message = models.TextField(blank=True)
    first_message_mode = models.CharField(
        max_length=60, choices=FirstMessageMode, default=FirstMessageMode.SPEAKS_FIRST
    )
    first_message_interruptible = models.BooleanField(default=False)
    end_call_message = models.TextField(blank=True)
    voice = models.CharField(max_length=60, default="marin", help_text="Realtime voice")
    language = models.CharField(max_length=10, default="en", help_text="ISO 639-1")
    model = models.CharField(max_length=80, blank=True, help_text="Empty: the connection's model")
    max_duration_seconds = models.PositiveIntegerField(default=600)
    server_url = EncryptedTextField(blank=True, default="")
    server_secret = EncryptedTextField(blank=True, default="")
    document = EncryptedJSONField(null=True, blank=True)
    document_redacted = models.JSONField(default=dict, blank=True)
    tools = models.ManyToManyField(Tool, through="RevisionTool", related_name="revisions")

    objects = RevisionQuerySet.as_manager()

    class Meta:
        ordering = ("assistant", "-number")
        constraints = (
            models.UniqueConstraint(fields=("assistant", "number"), name="revision_number_once"),
            models.CheckConstraint(
                condition=Q(max_duration_seconds__gte=10, max_duration_seconds__lte=43_200),
                name="revision_duration_10_43200",
            ),
        )

    def __str__(self) -> str:
        return f"{self.assistant} r{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the revision; a second save is refused.

        Raises:
            RevisionIsImmutable: the row exists already.
        """
        if not self._state.adding:
            raise RevisionIsImmutable("publish a new revision instead of saving an old one")
        super().save(*args, **kwargs)


class RevisionTool(models.Model):
    """A tool of a revision, in the order the document gave."""

    revision = models.ForeignKey(AssistantRevision, on_delete=models.CASCADE)
    tool = models.ForeignKey(Tool, on_delete=models.PROTECT)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=("revision", "tool"), name="revision_tool_once"),
        )

    def __str__(self) -> str:
        return f"{self.revision}: {self.tool}"
