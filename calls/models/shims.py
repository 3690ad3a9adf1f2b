"""Recording addresses that stand before a customer's tool server, and what came through them.

State only. The customer's address may hold a token and is sealed; the address that we give out is
a secret itself, found by its checksum. What came through is an inbox: a worker makes it part of
the call it belongs to and deletes it.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from voiceplatform.base.fields import EncryptedJSONField, EncryptedTextField
from voiceplatform.base.models import OrganisationOwned


class ToolShim(OrganisationOwned):
    """One recording address: forwards to a tool server and keeps the order of its tool calls."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, help_text="For people, e.g. Bookings")
    target_url = EncryptedTextField(
        help_text="The tool server's own address; every request goes there as it came"
    )
    token = EncryptedTextField(editable=False, help_text="The secret part of the address")
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    records_until = models.DateTimeField(
        help_text="From then on requests are only forwarded, nothing is kept"
    )
    stopped_at = models.DateTimeField(
        null=True, blank=True, help_text="Recording was ended by a person; forwarding goes on"
    )
    request_count = models.PositiveIntegerField(default=0, editable=False)
    failure_count = models.PositiveIntegerField(
        default=0, editable=False, help_text="The tool server gave no answer"
    )
    last_request_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")
        verbose_name = "recording address"
        verbose_name_plural = "recording addresses"
        indexes = (models.Index(fields=("organisation", "name"), name="tool_shim_list"),)
        constraints = (
            models.CheckConstraint(condition=~Q(token_hash=""), name="tool_shim_has_token"),
        )

    def __str__(self) -> str:
        return self.name


class ShimRecord(models.Model):
    """One request that came through: its tool calls and their answers, sealed, until it is read."""

    shim = models.ForeignKey(ToolShim, on_delete=models.CASCADE, related_name="records")
    content = EncryptedJSONField(help_text="Ids of the call, its tool calls and their answers")
    received_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.shim_id} {self.received_at:%Y-%m-%d %H:%M:%S}"
