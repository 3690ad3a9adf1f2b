"""Speech that every call of a revision says alike, rendered before a call needs it.

A row is one text in one voice; its audio is played by the bridge, so nobody waits for a model.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from assistants.models import AssistantRevision
from calls.models.connections import ProviderConnection


class RenderedClip(models.Model):
    """One line of a revision: wanted, rendered, or why it is not."""

    class Kind(models.TextChoices):
        GREETING = "greeting", "Greeting"
        FILLER = "filler", "While the caller waits"
        APOLOGY = "apology", "When the model fails"

    revision = models.ForeignKey(AssistantRevision, on_delete=models.CASCADE, related_name="clips")
    kind = models.CharField(max_length=8, choices=Kind)
    language = models.CharField(max_length=10, blank=True, help_text="ISO 639-1; empty: any")
    voice = models.CharField(max_length=60, help_text="Realtime voice")
    speech_model = models.CharField(max_length=80)
    speed = models.FloatField(default=1.0)
    text = models.TextField()
    text_hash = models.CharField(max_length=64, help_text="SHA-256 of the text and the speed")
    connection = models.ForeignKey(
        ProviderConnection, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    audio_mulaw = models.BinaryField(
        null=True, editable=False, help_text="G.711 mu-law, 8 kHz, no header"
    )
    rendered_at = models.DateTimeField(null=True, editable=False)
    render_error = models.CharField(max_length=300, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    due_at = models.DateTimeField(
        null=True, editable=False, help_text="Render it then; empty: nothing to do"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("revision_id", "-kind", "pk")
        indexes = (
            models.Index(fields=("due_at",), name="clip_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=("text_hash",), name="clip_same_words"),
            models.Index(fields=("created_at",), name="clip_age"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("revision", "kind", "voice", "speech_model", "text_hash"),
                name="clip_once",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("greeting", "filler", "apology")), name="clip_kind_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.text[:60]}"
