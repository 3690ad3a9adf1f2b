"""The list of all moves of numbers, as rows; the page of each, with its buttons, is ``move_pages``.

Read-only, and without the sealed state and snapshot: they hold addresses with tokens.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from calls.models import NumberMove
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, badge

_COLOURS: Final = {
    "stored": "primary",
    "posted": "primary",
    "compared": "primary",
    "tested": "primary",
    "done": "success",
    "stopped": "danger",
    "abandoned": "warning",
    "replaced": "warning",
}


@admin.register(NumberMove)
class NumberMoveAdmin(ReadOnlyAdmin):
    """Every move of a number at Twilio, here and back."""

    list_display = ("created_at", "phone_number", "direction", "step_badge", "who", "finished_at")
    list_filter = ("step", "direction", "created_at")
    list_select_related = ("number",)
    search_fields = ("number__number_e164", "number__name", "who", "why")
    hidden_lookups = ("state", "snapshot", "lease_token")
    date_hierarchy = "created_at"
    list_hint = (
        "Every move of a number at Twilio and every way back, who ordered it and how it ended. To "
        "move a number, open Moving."
    )
    list_empty = "No number was moved yet. Open one under Moving and preview its move."
    fields = (
        *("organisation", "phone_number", "page", "direction", "step_badge", "problem"),
        *("who", "why", "test_words", "first_call_sid", "writes", "silences"),
        *("created_at", "finished_at", "closed_at"),
    )
    readonly_fields = ("phone_number", "page", "step_badge")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave what is sealed where it is."""
        rows: QuerySet[Any] = (
            super().get_queryset(request).defer(*("state", "snapshot", "number__previous_target"))
        )
        return rows

    @admin.display(description="Number", ordering="number__number_e164")
    def phone_number(self, obj: NumberMove) -> str:
        """Return the number."""
        return obj.number.number_e164

    @badge(description="Step", ordering="step", label=_COLOURS)
    def step_badge(self, obj: NumberMove) -> Any:
        """Return how far it is."""
        return obj.step, str(obj.get_step_display()).lower()

    @admin.display(description="Page")
    def page(self, obj: NumberMove) -> str:
        """Lead to the page with its steps and buttons."""
        url = reverse("admin:calls_phonenumber_moved", args=[obj.number_id, obj.pk])
        return format_html('<a class="vp-link" href="{}">Steps, and what to do</a>', url)
