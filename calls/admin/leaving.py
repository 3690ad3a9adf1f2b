"""Admin of leaving Vapi: what is recorded of a leave, and what a minute there cost.

The page that leads through a leave is ``leaving_page``. Rows are written by the services alone.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from calls.admin.leaving_page import PERMISSION, leaving_urls
from calls.models import DepartedNumber, Departure, OldStackRate
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ScopedAdmin, badge
from voiceplatform.base.selectors import organisations_visible_to

_COLOURS = {"preparing": "info", "left": "warning", "finished": "success", "undone": "info"}


@admin.register(Departure)
class DepartureAdmin(ReadOnlyAdmin):
    """What became of each leave."""

    change_list_template = "admin/calls/departure/change_list.html"
    list_display = (
        *("created_at", "state_badge", "left_at", "left_by", "token_due_at", "key_due_at"),
        "lead",
    )
    list_display_links = ("created_at",)
    list_filter = ("state", "created_at")
    search_fields = ("left_by", "id__iexact")
    hidden_lookups = ("sealed", "found", "accepted", "export")
    fields = (
        *("organisation", "state_badge", "lead", "looked_at", "export_folder", "exported_at"),
        *("left_at", "left_by", "token_due_at", "token_done_at", "key_due_at", "key_done_at"),
        *("undone_at", "created_at"),
    )
    readonly_fields = ("state_badge", "lead")
    list_hint = (
        "Each time somebody prepared to leave Vapi, and what became of it. Leaving is the last "
        "step, after every number is answered here."
    )
    list_empty = (
        "Nobody has begun. “Prepare to leave Vapi” lists what still depends on it and changes "
        "nothing: look early, the list is long at first."
    )

    def get_urls(self) -> list[Any]:
        """Add the page that leads through a leave."""
        return [*leaving_urls(self), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Offer to begin to those who may."""
        extra = dict(extra_context or {})
        if request.user.has_perm(PERMISSION):
            rows = organisations_visible_to(request.user).order_by("name").only("name")
            extra["leaving_organisations"] = list(rows)
        return super().changelist_view(request, extra)

    @admin.display(description="Steps")
    def lead(self, obj: Departure) -> Any:
        """Link to the page that leads through it."""
        url = reverse("admin:calls_departure_leave", args=[obj.pk])
        return format_html('<a class="vp-link" href="{}">Open</a>', url)

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
    list_empty = "Add what a minute costs you at Vapi; the dossiers then compare."

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Note that a person has said so."""
        obj.source, obj.calls = OldStackRate.Source.ENTERED, 0
        super().save_model(request, obj, form, change)
