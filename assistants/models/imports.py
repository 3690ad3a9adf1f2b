"""Imports, what each said about every object it met, and what the last one brought."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from voiceplatform.base.fields import EncryptedJSONField
from voiceplatform.base.models import OrganisationOwned


class ImportRun(OrganisationOwned):
    """One import of exported files, or the preview of one."""

    class State(models.TextChoices):
        """A preview becomes an import when a person confirms it."""

        PREVIEW = "preview"
        DONE = "done"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    state = models.CharField(max_length=8, choices=State, default=State.DONE)
    source = models.CharField(max_length=20, help_text="command or upload")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    objects_json = models.JSONField(
        default=list, blank=True, help_text="Each object with its outcome, in the order of files"
    )
    files = EncryptedJSONField(
        null=True, blank=True, help_text="Uploaded files of a preview, until it is confirmed"
    )

    class Meta:
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("organisation", "-created_at"), name="import_run_list"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=("preview", "done")), name="import_run_state_known"
            ),
        )

    def __str__(self) -> str:
        return f"import of {self.created_at:%Y-%m-%d %H:%M}"


class ImportedObject(OrganisationOwned):
    """What the last import brought of a tool, squad or stored resource.

    An import compares it with the row and with the file, and so knows which side changed
    (assistants have ``imported_revision`` for that). When both did it waits for a person.
    """

    kind = models.CharField(max_length=30, help_text="tool, squad, or a kind of stored resource")
    object_id = models.UUIDField()
    name = models.CharField(max_length=200, blank=True)
    document = EncryptedJSONField(help_text="The whole object as the import brought it")
    waits = models.BooleanField(
        default=False, help_text="Both sides changed it; a person chooses one"
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("kind", "name", "id")
        verbose_name = "imported version"
        constraints = (
            models.UniqueConstraint(fields=("kind", "object_id"), name="imported_object_once"),
        )
        indexes = (
            models.Index(
                fields=("organisation", "-updated_at"),
                name="imported_object_waits",
                condition=Q(waits=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.name or self.object_id}"


class Finding(models.Model):
    """What an import said about one place of one object; never a secret value."""

    class State(models.TextChoices):
        """How far a field works here (design.md 3)."""

        MAPPED = "mapped", "works as before"
        MAPPED_LOSSY = "mapped-lossy", "works differently"
        CALLER_AUDIBLE = "caller-audible", "callers hear it"
        KEPT = "kept", "stored only"
        UNSUPPORTED = "unsupported", "does not work yet"
        SECRET_MISSING = "secret-missing", "a secret is missing"
        INVALID = "invalid", "needs a correction"

    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="findings")
    object_number = models.PositiveIntegerField(help_text="Position in the run's objects")
    path = models.CharField(max_length=500, help_text="JSON path in the object")
    state = models.CharField(max_length=14, choices=State)
    message = models.TextField()

    class Meta:
        ordering = ("run", "object_number", "id")
        indexes = (models.Index(fields=("run", "state"), name="finding_by_state"),)

    def __str__(self) -> str:
        return f"{self.path}: {self.state}"
