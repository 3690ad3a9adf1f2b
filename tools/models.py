"""Tools an assistant may call: Vapi's tool objects with the columns the platform works with.

The raw document is kept sealed and whole; secrets have columns of their own and never appear in
``document_redacted``.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from voiceplatform.base.fields import EncryptedJSONField, EncryptedTextField
from voiceplatform.base.models import OrganisationOwned


class Tool(OrganisationOwned):
    """One callable thing; its id is Vapi's and never changes on re-import."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    type = models.CharField(max_length=60, default="function", help_text="Vapi's tool type")
    name = models.CharField(max_length=200, help_text="Function name as the tool server knows it")
    description = models.TextField(blank=True)
    parameters = models.JSONField(
        default=dict, blank=True, help_text="JSON Schema of the arguments"
    )
    server_url = EncryptedTextField(blank=True, default="", help_text="May carry query tokens")
    server_url_host = models.CharField(max_length=255, blank=True, help_text="Shown in lists")
    server_secret = EncryptedTextField(blank=True, default="")
    server_headers = EncryptedJSONField(null=True, blank=True)
    timeout_seconds = models.PositiveSmallIntegerField(default=20)
    is_async = models.BooleanField(default=False)
    messages = models.JSONField(default=list, blank=True)
    destinations = models.JSONField(default=list, blank=True)
    is_inline = models.BooleanField(
        default=False, help_text="Written inside an assistant's document; not in the tool list"
    )
    document = EncryptedJSONField(null=True, blank=True)
    document_redacted = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name", "id")
        constraints = (
            models.CheckConstraint(
                condition=Q(timeout_seconds__gte=1, timeout_seconds__lte=300),
                name="tool_timeout_1_300",
            ),
        )
        indexes = (models.Index(fields=("organisation", "name"), name="tool_list"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.type})"
