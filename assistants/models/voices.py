"""Which Realtime voice speaks for a voice of Vapi's providers, and who decided so."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from voiceplatform.base.models import OrganisationOwned


class VoiceChoice(OrganisationOwned):
    """One voice of a Vapi provider and its Realtime stand-in.

    Rows of the shipped catalogue have no ``decided_at``; an operator's decision holds for every
    assistant of the organisation that uses the voice.
    """

    provider = models.CharField(max_length=40, help_text="Vapi's name of the provider")
    voice_id = models.CharField(max_length=200, help_text="The provider's id, in lower case")
    known_as = models.CharField(max_length=200, blank=True)
    realtime_voice = models.CharField(max_length=40)
    reason = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        ordering = ("provider", "known_as", "voice_id")
        constraints = (
            models.UniqueConstraint(
                fields=("organisation", "provider", "voice_id"), name="voice_choice_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.known_as or self.voice_id} -> {self.realtime_voice}"
