"""Admin of refused requests: what came to Twilio's addresses without proof, why, and what to do.

A call whose webhook was refused leaves no row of its own, so this is where to look for it.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from calls.doctor.refused import fault_of_refusal
from calls.models import RefusedRequest
from voiceplatform.base.scoped_admin import ScopedAdmin, badge

_COLOURS = {
    "Signed for another address": "danger",
    "Signature does not fit": "warning",
    "Account not known": "info",
    "Not signed at all": "info",
}


@admin.register(RefusedRequest)
class RefusedRequestAdmin(ScopedAdmin):
    """The newest refusals of each account."""

    list_display = ("last_at", "cause_badge", "url", "signed_url", "account", "count")
    list_display_links = ("url",)
    list_filter = ("cause", "last_at")
    list_select_related = ("account",)
    search_fields = ("url", "signed_url", "account_sid")
    fields = (
        *("organisation", "last_at", "count", "cause_badge", "why", "what_to_do"),
        *("url", "signed_url", "account", "account_sid", "call"),
    )
    readonly_fields = ("cause_badge", "why", "what_to_do")
    warn_unsaved_form = False
    field_labels = {  # noqa: RUF012 - never changed in place
        "url": "Address that we hashed",
        "signed_url": "Address that Twilio signed",
    }
    list_hint = (
        "Requests at Twilio's addresses that we answered 403, because nothing proved that Twilio "
        "sent them; those of one minute count together, and only the newest are kept. Empty: none "
        "was refused."
    )

    @badge(description="Why", ordering="cause", label=_COLOURS)
    def cause_badge(self, obj: RefusedRequest) -> str:
        """Name the cause."""
        return str(obj.get_cause_display())

    @admin.display(description="What it means")
    def why(self, obj: RefusedRequest) -> str:
        """Say it in a sentence."""
        return fault_of_refusal(obj.cause, obj.signed_url).cause

    @admin.display(description="What to do")
    def what_to_do(self, obj: RefusedRequest) -> str:
        """Say what a person does about it."""
        return fault_of_refusal(obj.cause, obj.signed_url).fix

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: requests make these rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False
