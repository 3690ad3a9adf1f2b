"""Admin of the calls that live runs placed, and of their callers' words as sound: read only.

Rows are written by ``calls.services.live_dials``; what was said is on the page of the run.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from calls.models import CallerClip, RunDial
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, badge

_COLOURS = {
    "claimed": "warning",
    "placed": "info",
    "on": "primary",
    "ended": "success",
    "void": "danger",
}


@admin.register(RunDial)
class RunDialAdmin(ReadOnlyAdmin):
    """Calls that runs placed."""

    list_display = (
        *("created_at", "number", "caller_e164", "stack", "state_badge", "ended_by"),
        *("caller_seconds", "cost_usd", "problem"),
    )
    list_display_links = ("created_at",)
    list_filter = ("state", "stack")
    list_select_related = ("number",)
    search_fields = ("caller_sid", "caller_e164", "problem", "parity_call__run__id__iexact")
    hidden_lookups = ("heard", "next_step")
    fields = (
        *("created_at", "number", "caller_e164", "stack", "state_badge", "problem", "ended_by"),
        *("caller_sid", "call", "placed_at", "answered_at", "ended_at", "expected_until"),
        *("caller_seconds", "said_seconds", "heard_seconds", "cost_usd"),
    )
    readonly_fields = ("state_badge",)
    list_hint = (
        "Each call that a live run had Twilio place: our own leg of it, and the call that came in. "
        "What did not count was called again."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave what is sealed in the database."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer("heard")

    @badge(description="State", ordering="state", label=_COLOURS)
    def state_badge(self, obj: RunDial) -> str:
        """Return the state."""
        return obj.state


@admin.register(CallerClip)
class CallerClipAdmin(ReadOnlyAdmin):
    """Turns of scripted callers, as sound."""

    organisation_path = "run__organisation"
    list_display = ("run", "scenario", "turn")
    list_display_links = ("scenario",)
    list_select_related = ("run",)
    search_fields = ("scenario",)
    hidden_lookups = ("audio_mulaw",)
    fields = ("run", "scenario", "turn")
    list_hint = "What callers of live runs say, rendered and sealed; it goes a day after the run."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave what is sealed in the database."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer("audio_mulaw")
