"""Conversations of operators with an assistant through the browser ("Talk to it").

A talk is no call: it has no row among calls, so no report, bill, parity figure or list of calls can
count it. What is said in it is stored nowhere; the row says who talked to what, when and at what
cost, and proves that its socket was opened once.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from assistants.models import AssistantRevision
from calls.models.connections import ProviderConnection
from voiceplatform.base.models import OrganisationOwned


class Talk(OrganisationOwned):
    """One talk of one person with one revision; ``id`` is the call_id that tool servers see."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    revision = models.ForeignKey(AssistantRevision, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(
        ProviderConnection, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    model = models.CharField(max_length=80, blank=True)
    calls_tools = models.BooleanField(
        default=False, help_text="Tool servers were really called; else nothing was sent"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    token_expires_at = models.DateTimeField()
    token_used_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.CharField(max_length=120, blank=True)
    duration_seconds = models.PositiveIntegerField(default=0)
    turn_count = models.PositiveIntegerField(default=0)
    tool_count = models.PositiveIntegerField(default=0)
    first_word_ms = models.PositiveIntegerField(null=True, blank=True)
    turn_latency_p50_ms = models.PositiveIntegerField(null=True, blank=True)
    turn_latency_p95_ms = models.PositiveIntegerField(null=True, blank=True)
    cost_usd = models.DecimalField(max_digits=10, decimal_places=6, default=0)

    class Meta:
        ordering = ("-created_at",)
        permissions = (("talk_to_assistant", "Can talk to assistants through the browser"),)
        indexes = (
            models.Index(fields=("organisation", "-created_at"), name="talk_list"),
            models.Index(fields=("-created_at",), name="talk_list_all"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | ~Q(ended_reason=""),
                name="talk_end_is_explained",
            ),
        )

    def __str__(self) -> str:
        return f"{self.revision} {self.created_at:%Y-%m-%d %H:%M}"
