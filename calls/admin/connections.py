"""Admin of Twilio accounts and model connections; their secrets are write-only."""

from __future__ import annotations

from django.contrib import admin

from assistants.speech_models import TAKE_NO_HINTS
from calls.models import ProviderConnection, TwilioAccount
from voiceplatform.base.scoped_admin import ScopedAdmin, badge


@admin.register(TwilioAccount)
class TwilioAccountAdmin(ScopedAdmin):
    """Accounts at the carrier."""

    list_display = ("name", "sid", "region", "second_token", "created_at")
    search_fields = ("name", "account_sid")
    list_filter = ("region",)
    hidden_lookups = ("auth_token", "auth_token_secondary")
    field_labels = {  # noqa: RUF012 - never changed in place
        "account_sid": "Account SID",
        "auth_token_secondary": "Secondary auth token",
        "api_base_url": "Address of Twilio's API",
    }
    readonly_fields = ("created_at",)
    fieldsets = (
        (
            None,
            {
                "fields": ("organisation", "name", "account_sid", "region"),
                "description": "Where to find these: Twilio Console, Account, API keys & tokens.",
            },
        ),
        (
            "Tokens",
            {
                "fields": ("auth_token", "auth_token_secondary"),
                "description": "They prove that a call really comes from Twilio. While you rotate "
                "the token at Twilio, enter the new one as secondary first.",
            },
        ),
        ("Technical", {"fields": ("api_base_url", "created_at"), "classes": ("collapse",)}),
    )

    @admin.display(description="Account SID", ordering="account_sid")
    def sid(self, obj: TwilioAccount) -> str:
        """Return Twilio's name of the account."""
        return obj.account_sid

    @badge(description="Rotation", label={"two tokens": "warning", "one token": "success"})
    def second_token(self, obj: TwilioAccount) -> str:
        """Say whether a rotation is under way."""
        return "two tokens" if obj.auth_token_secondary else "one token"


@admin.register(ProviderConnection)
class ProviderConnectionAdmin(ScopedAdmin):
    """Where the model lives."""

    list_display = ("name", "model", "dialect", "region", "default_badge", "contracts")
    list_filter = ("dialect", "region", "is_default")
    search_fields = ("name", "model")
    hidden_lookups = ("api_key",)
    field_labels = {  # noqa: RUF012 - never changed in place
        "is_default": "Use it where a number names no other",
        "model": "Model, or deployment at Azure",
        "api_key": "API key",
        "realtime_url": "Realtime address",
        "rest_base_url": "REST address",
        "baa_signed_by": "BAA signed by",
        "baa_signed_on": "BAA signed on",
        "dpa_signed_on": "DPA signed on",
    }
    readonly_fields = ("created_at",)
    fieldsets = (
        (None, {"fields": ("organisation", "name", "is_default", "api_key")}),
        (
            "Endpoint",
            {
                "fields": ("dialect", "realtime_url", "rest_base_url"),
                "description": "Leave these as they are unless your provider gave you others.",
            },
        ),
        (
            "Models",
            {
                "fields": ("model", "speech_model", "transcription_model"),
                "description": "At Azure the model is the name of your deployment, which answers "
                "whatever model an assistant names. Vocabulary hints of assistants reach every "
                "transcription model but "
                f"{' and '.join(TAKE_NO_HINTS)}.",
            },
        ),
        (
            "Contract",
            {
                "fields": (
                    *("region", "baa_signed_by", "baa_signed_on"),
                    *("dpa_signed_on", "zero_retention"),
                ),
                "description": "What your organisation agreed with this provider. Numbers with "
                "health data or European callers only use connections whose contract allows it.",
            },
        ),
        ("Technical", {"fields": ("created_at",), "classes": ("collapse",)}),
    )

    @badge(description="Default", label={"default": "success"})
    def default_badge(self, obj: ProviderConnection) -> str:
        """Mark the organisation's default."""
        return "default" if obj.is_default else ""

    @badge(description="Contract", label=True)
    def contracts(self, obj: ProviderConnection) -> list[str]:
        """List the flags that are set."""
        flags = (
            (obj.baa_signed_on, "BAA"),
            (obj.dpa_signed_on, "DPA"),
            (obj.zero_retention, "zero retention"),
        )
        return [name for value, name in flags if value]
