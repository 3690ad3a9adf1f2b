"""Admin of handoffs: which assistant had a call when; everything is read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from calls.admin.words import clock
from calls.models import AssistantActivation
from voiceplatform.base.scoped_admin import ReadOnlyAdmin


@admin.register(AssistantActivation)
class AssistantActivationAdmin(ReadOnlyAdmin):
    """When which assistant took a call over; what it was given is not shown."""

    organisation_path = "call__organisation"
    list_display = ("call", "assistant_name", "begins", "squad", "created_at")
    list_select_related = ("call", "squad")
    search_fields = ("call__call_sid__exact", "call__id__iexact")
    ordering = ("-id",)
    hidden_lookups = ("variables",)
    fields = ("call", "ordinal", "assistant_name", "revision", "squad", "begins", "tool_call_id")
    readonly_fields = ("begins",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Do not even fetch the variables, nor a squad's document."""
        return (
            super()
            .get_queryset(request)
            .defer("variables", "squad__document", "squad__document_redacted")
        )

    @admin.display(description="Since", ordering="started_ms")
    def begins(self, obj: AssistantActivation) -> str:
        """Return the position in the call."""
        return clock(obj.started_ms)
