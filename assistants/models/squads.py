"""Squads: several assistants that hand one call on to each other (vapi.md 8.1)."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from voiceplatform.base.fields import EncryptedJSONField
from voiceplatform.base.models import OrganisationOwned


class Squad(OrganisationOwned):
    """A Vapi squad; its id is Vapi's and never changes on re-import."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=200, blank=True)
    document = EncryptedJSONField(help_text="The whole squad as it came")
    document_redacted = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name", "id")
        indexes = (
            models.Index(
                fields=("organisation", "name"),
                name="squad_list",
                condition=Q(deleted_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return self.name or str(self.id)
