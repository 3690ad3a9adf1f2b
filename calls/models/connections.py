"""Accounts at the carrier and connections to model providers, with their secrets sealed."""

from __future__ import annotations

import uuid
from urllib.parse import parse_qsl, urlsplit

from django.db import models
from django.db.models import Q

from voiceplatform.base.fields import EncryptedTextField
from voiceplatform.base.models import OrganisationOwned


class TwilioAccount(OrganisationOwned):
    """A Twilio account or sub-account; its auth tokens validate every webhook (twilio.md 1.5)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    account_sid = models.CharField(max_length=34, unique=True)
    auth_token = EncryptedTextField()
    auth_token_secondary = EncryptedTextField(
        blank=True, default="", help_text="Accepted too while the token is being rotated"
    )
    api_base_url = models.URLField(
        blank=True, help_text="Empty: Twilio itself. A loopback address: the stand-in"
    )
    api_key_sid = models.CharField(
        max_length=34,
        blank=True,
        default="",
        help_text="SK… with its secret: Twilio is then asked with this key, not with the token. "
        "The token is needed all the same, because Twilio signs its webhooks with it",
    )
    api_key_secret = EncryptedTextField(blank=True, default="")
    region = models.CharField(
        max_length=10,
        default="us1",
        help_text="us1, ie1 or au1: where the token and the key above are of, and where the "
        "account's numbers are handled",
    )
    edge = models.CharField(
        max_length=20,
        blank=True,
        default="",
        help_text="Twilio's entry point, e.g. dublin. Empty: the region's own",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        verbose_name = "Twilio account"
        constraints = (
            models.CheckConstraint(
                condition=Q(api_key_sid="", api_key_secret="")
                | (~Q(api_key_sid="") & ~Q(api_key_secret="")),
                name="twilio_key_whole",
                violation_error_message="An API key goes with its secret. Fix: enter both, or "
                "neither.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.account_sid[:6]}…)"


class ProviderConnection(OrganisationOwned):
    """Where the model lives: endpoint, dialect, model, key, region and contract flags."""

    class Dialect(models.TextChoices):
        """Adapters at the door (design decision 1)."""

        OPENAI_GA = "openai_ga", "OpenAI GA"
        AZURE_GA = "azure_ga", "Azure GA"
        BETA = "beta", "Beta (old gateways)"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    dialect = models.CharField(max_length=12, choices=Dialect, default=Dialect.OPENAI_GA)
    realtime_url = models.CharField(max_length=300, help_text="wss://… without the model")
    rest_base_url = models.CharField(max_length=300, help_text="https://…/v1, for rendering speech")
    model = models.CharField(max_length=80)
    speech_model = models.CharField(max_length=80, default="gpt-4o-mini-tts")
    transcription_model = models.CharField(max_length=80, default="gpt-transcribe")
    text_model = models.CharField(
        max_length=80,
        blank=True,
        help_text="Summarises and judges calls after they end. Empty: the instance's usual one; at "
        "Azure and behind old gateways, where names are your own: none, so calls are not analysed",
    )
    api_key = EncryptedTextField()
    is_default = models.BooleanField(default=False)
    region = models.CharField(max_length=20, blank=True, help_text="us, eu, …; empty: not stated")
    baa_signed_by = models.CharField(max_length=100, blank=True)
    baa_signed_on = models.DateField(null=True, blank=True)
    dpa_signed_on = models.DateField(null=True, blank=True)
    zero_retention = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(
                fields=("organisation",),
                name="connection_one_default",
                condition=Q(is_default=True),
            ),
            models.CheckConstraint(
                condition=Q(dialect__in=("openai_ga", "azure_ga", "beta")),
                name="connection_dialect_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.model})"

    @property
    def names_deployment(self) -> bool:
        """Tell whether ``model`` is a deployment's name, as at Azure (openai_realtime.md 1.3)."""
        is_azure_preview = "api-version" in dict(parse_qsl(urlsplit(self.realtime_url).query))
        return self.dialect == self.Dialect.AZURE_GA or is_azure_preview
