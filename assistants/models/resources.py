"""What config-as-code tools keep in a Vapi account besides assistants: stored, not acted upon."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from voiceplatform.base.fields import EncryptedJSONField
from voiceplatform.base.models import OrganisationOwned


class StoredResource(OrganisationOwned):
    """A credential, structured output, evaluation or simulation part in Vapi's own shape."""

    class Kind(models.TextChoices):
        """The route below which it lives (design.md 5)."""

        CREDENTIAL = "credential"
        STRUCTURED_OUTPUT = "structured-output"
        EVAL = "eval"
        PERSONALITY = "eval/simulation/personality"
        SCENARIO = "eval/simulation/scenario"
        SUITE = "eval/simulation/suite"
        SIMULATION = "eval/simulation"
        FILE = "file"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    kind = models.CharField(max_length=30, choices=Kind)
    name = models.CharField(max_length=200, blank=True)
    document = EncryptedJSONField(help_text="The whole object as it came")
    document_redacted = models.JSONField(default=dict, blank=True)
    content = models.BinaryField(null=True, blank=True, help_text="Bytes of an uploaded file")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("kind", "name", "id")
        indexes = (
            models.Index(
                fields=("organisation", "kind", "-created_at"),
                name="stored_resource_list",
                condition=Q(deleted_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.name or self.id}"
