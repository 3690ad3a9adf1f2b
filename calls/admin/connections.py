"""Admin of Twilio accounts and model connections; their secrets are write-only."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path

from assistants.speech_models import TAKE_NO_HINTS
from calls.doctor.connection_test import connection_test_audited
from calls.models import ProviderConnection, TwilioAccount
from voiceplatform.base.scoped_admin import ScopedAdmin, badge


@admin.register(TwilioAccount)
class TwilioAccountAdmin(ScopedAdmin):
    """Accounts at the carrier."""

    list_display = ("name", "sid", "region", "second_token", "created_at")
    search_fields = ("name", "account_sid")
    list_filter = ("region",)
    hidden_lookups = ("auth_token", "auth_token_secondary", "api_key_secret")
    field_labels = {  # noqa: RUF012 - never changed in place
        "account_sid": "Account SID",
        "auth_token_secondary": "Secondary auth token",
        "api_base_url": "Address of Twilio's API",
        "api_key_sid": "API key SID",
        "api_key_secret": "API key secret",
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
        (
            "API key",
            {
                "fields": ("api_key_sid", "api_key_secret"),
                "description": "Optional. With it Twilio's API is asked with the key, so that the "
                "token can be rotated at Twilio without stopping anything but webhooks.",
            },
        ),
        ("Technical", {"fields": ("edge", "api_base_url", "created_at"), "classes": ("collapse",)}),
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

    change_form_template = "admin/calls/providerconnection/change_form.html"
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
                "fields": ("model", "speech_model", "transcription_model", "text_model"),
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

    def get_urls(self) -> list[Any]:
        """Add the test of one connection."""
        test = self.admin_site.admin_view(self.test_view)
        own = path("<uuid:object_id>/test/", test, name="calls_providerconnection_test")
        return [own, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Offer the test to those who may change the connection."""
        extra = {**(extra_context or {}), "may_test": self.has_change_permission(request)}
        return super().change_view(request, object_id, form_url, extra)

    def test_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Show the page; test on POST, for it asks somebody else's server with the key."""
        row = self.get_queryset(request).filter(pk=object_id).first()
        if row is None:
            raise Http404("The connection was not found.")
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        tested = request.method == "POST"
        context = {
            **self.admin_site.each_context(request),
            "title": f"Test of {row.name}",
            "opts": self.opts,
            "connection": row,
            "test": connection_test_audited(row, actor=request.user) if tested else None,
        }
        return TemplateResponse(request, "admin/calls/providerconnection/test.html", context)
