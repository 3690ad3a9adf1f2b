"""Admin of leaving Vapi: what is recorded of a leave, and what a minute there cost.

The page that leads through a leave is ``leaving_page``. Rows are written by the services alone.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from calls.models import DepartedNumber, Departure, OldStackRate
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ScopedAdmin, badge

_COLOURS = {"preparing": "info", "left": "warning", "finished": "success", "undone": "info"}


@admin.register(Departure)
class DepartureAdmin(ReadOnlyAdmin):
    """What became of each leave."""

    list_display = ("created_at", "state_badge", "left_at", "left_by", "token_due_at", "key_due_at")
    list_display_links = ("created_at",)
    list_filter = ("state", "created_at")
    search_fields = ("left_by", "id__iexact")
    hidden_lookups = ("sealed", "found", "accepted", "export")
    fields = (
        *("organisation", "state_badge", "looked_at", "export_folder", "exported_at"),
        *("left_at", "left_by", "token_due_at", "token_done_at", "key_due_at", "key_done_at"),
        *("undone_at", "created_at"),
    )
    readonly_fields = ("state_badge",)
    list_hint = (
        "Each time somebody prepared to leave Vapi, and what became of it. Leaving is the last "
        "step, after every number is answered here."
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out what no column shows, most of all what is sealed."""
        rows = super().get_queryset(request)
        return rows.defer("sealed", "found", "accepted", "export")

    @badge(description="State", ordering="state", label=_COLOURS)
    def state_badge(self, obj: Departure) -> Any:
        """Return the state as a badge."""
        return obj.state, str(obj.get_state_display()).lower()


@admin.register(DepartedNumber)
class DepartedNumberAdmin(ReadOnlyAdmin):
    """The numbers of each leave, and how far each is."""

    organisation_path = "departure__organisation"
    list_display = ("number", "departure", "armed_at", "cleared_at", "undone_at", "problem")
    list_select_related = ("number", "departure")
    search_fields = ("number__number_e164", "number__name")
    hidden_lookups = ("before",)
    fields = ("departure", "number", "armed_at", "cleared_at", "undone_at", "problem")
    list_hint = (
        "Each number of a leave: when Twilio was seen to have a net without Vapi, and since when "
        "no call of it is handed over."
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out what is sealed."""
        return super().get_queryset(request).defer("before", "departure__sealed")


@admin.register(OldStackRate)
class OldStackRateAdmin(ScopedAdmin):
    """What a minute at Vapi cost."""

    list_display = ("usd_per_minute", "source", "note", "calls", "updated_at")
    search_fields = ("note",)
    fields = ("organisation", "usd_per_minute", "note", "source", "calls", "updated_at")
    readonly_fields = ("source", "calls", "updated_at")
    list_hint = (
        "What a minute at Vapi cost, all of its parts together. Dossiers compare it with ours. A "
        "figure that somebody enters is never replaced by a measured one."
    )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Note that a person has said so."""
        obj.source, obj.calls = OldStackRate.Source.ENTERED, 0
        super().save_model(request, obj, form, change)
