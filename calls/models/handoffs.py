"""Which assistant had a call when: one row for each time that one took over.

A call that was never handed over has none. What of the conversation an assistant was told, and the
variables it was given, are kept so that the call can go on with it after a stream was lost.
"""

from __future__ import annotations

from django.db import models

from assistants.models import AssistantRevision, Squad
from calls.models.records import Call
from voiceplatform.base.fields import EncryptedJSONField


class AssistantActivation(models.Model):
    """An assistant's part of a call; ``ordinal`` 0 is the one that answered."""

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="activations")
    ordinal = models.PositiveSmallIntegerField()
    revision = models.ForeignKey(
        AssistantRevision, on_delete=models.PROTECT, null=True, related_name="+"
    )
    squad = models.ForeignKey(
        Squad, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    assistant_name = models.CharField(max_length=200, blank=True)
    tool_call_id = models.CharField(
        max_length=64, blank=True, help_text="The function call that handed the call over"
    )
    started_ms = models.PositiveIntegerField(help_text="From the call's first stream start")
    first_ordinal = models.PositiveIntegerField(
        help_text="Turns with this number and later ones are of this assistant's part"
    )
    context = models.JSONField(
        default=dict, blank=True, help_text="What of the conversation before it was told"
    )
    variables = EncryptedJSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("call", "ordinal")
        verbose_name = "assistant in a call"
        verbose_name_plural = "assistants in calls"
        constraints = (
            models.UniqueConstraint(fields=("call", "ordinal"), name="activation_ordinal_once"),
        )

    def __str__(self) -> str:
        return f"{self.assistant_name or 'assistant'} {self.ordinal}"
