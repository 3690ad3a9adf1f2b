"""Commands of people and programs to live calls: who asked for what, and what came of it.

A row is the way from the web process to the media process that has the call; it stays as evidence.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from calls.models.records import Call
from voiceplatform.base.fields import EncryptedJSONField
from voiceplatform.base.models import OrganisationOwned


class CallControl(OrganisationOwned):
    """One command; ``command`` holds what is to be said, so it is sealed."""

    class State(models.TextChoices):
        WAITING = "waiting", "not picked up yet"
        TAKEN = "taken", "given to the call"
        DONE = "done", "carried out"
        REFUSED = "refused"
        EXPIRED = "expired", "too late: nobody had the call"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="controls")
    kind = models.CharField(max_length=20)
    command = EncryptedJSONField()
    actor = models.CharField(max_length=200, help_text="user:name, key:prefix, or control URL")
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    answer = models.CharField(max_length=300, blank=True, help_text="Why it was refused")
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "command to a live call"
        verbose_name_plural = "commands to live calls"
        permissions = (
            ("watch_calls", "Can watch live calls and listen to them"),
            ("control_calls", "Can end, transfer and speak in live calls"),
        )
        indexes = (
            models.Index(
                fields=("created_at",), name="control_waiting", condition=Q(state="waiting")
            ),
            models.Index(fields=("organisation", "-created_at"), name="control_list"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=("waiting", "taken", "done", "refused", "expired")),
                name="control_state_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"
