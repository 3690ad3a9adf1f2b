"""Admin of the routes that scripts asked for and this platform lacks; to look at, and to forget."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from voiceplatform.base.models import UnknownRoute
from voiceplatform.base.scoped_admin import ScopedAdmin


@admin.register(UnknownRoute)
class UnknownRouteAdmin(ScopedAdmin):
    """Each row answers the question what of Vapi a customer's scripts would miss."""

    list_display = ("method", "route", "count", "last_at", "first_at")
    list_display_links = ("route",)
    list_filter = ("method", "last_at")
    search_fields = ("route",)
    fields = ("organisation", "method", "route", "count", "first_at", "last_at")
    readonly_fields = ("first_at",)
    warn_unsaved_form = False
    list_hint = (
        "What your scripts asked of Vapi's API that does not exist here; each was answered 404. "
        "Empty: nothing was missed. Delete a row once the script no longer needs it."
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: requests make these rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False
