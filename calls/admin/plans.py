"""Admin of plans: the list, the numbers in them and the record of what they did.

Everything here is written by ``calls.services.plans`` and by the clock; these pages only show.
"""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from calls.models import MigrationPlan, PlanEntry, PlanNumber
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ScopedRelatedFilter, badge

STATUS_COLOURS = {
    "draft": "default",
    "running": "success",
    "paused": "warning",
    "finished": "info",
}
PHASE_COLOURS = {
    "waiting": "default",
    "moving": "info",
    "done": "success",
    "skipped": "default",
    "stopped": "danger",
}


@admin.register(MigrationPlan)
class MigrationPlanAdmin(ReadOnlyAdmin):
    """Which numbers move when."""

    list_display = ("name", "status_badge", "created_at", "looked_at")
    list_filter = ("status",)
    search_fields = ("name",)
    fields = ("organisation", "name", "status", "created_by", "created_at")

    @badge(description="State", ordering="status", label=STATUS_COLOURS)
    def status_badge(self, obj: MigrationPlan) -> str:
        """Return the state."""
        return obj.status


@admin.register(PlanNumber)
class PlanNumberAdmin(ReadOnlyAdmin):
    """The numbers of all plans."""

    list_display = ("number", "plan", "position", "phase_badge", "percent")
    list_filter = ("phase", ("plan", ScopedRelatedFilter))
    list_select_related = ("plan", "number")
    search_fields = ("number__number_e164", "plan__name")
    fields = ("plan", "number", "position", "phase", "percent", "holds")

    @badge(description="State", ordering="phase", label=PHASE_COLOURS)
    def phase_badge(self, obj: PlanNumber) -> str:
        """Return where the number is."""
        return obj.phase


@admin.register(PlanEntry)
class PlanEntryAdmin(ReadOnlyAdmin):
    """The record of every transition."""

    list_display = ("at", "plan", "number", "kind", "words", "who")
    list_display_links = ("at",)
    list_filter = ("kind", ("plan", ScopedRelatedFilter))
    list_select_related = ("plan", "number")
    search_fields = ("words", "why", "who", "number__number_e164")
    fields = ("plan", "at", "number", "kind", "words", "who", "why", "evidence")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlanEntry]:
        """Leave the figures of every row out of lists."""
        rows: QuerySet[PlanEntry] = super().get_queryset(request)
        return rows
