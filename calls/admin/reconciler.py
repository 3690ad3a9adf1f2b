"""Admin of the comparison with Twilio's list of calls, and of calls that never reached us."""

from __future__ import annotations

from django.contrib import admin

from calls.models import CarrierCheck, MissedCall
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ScopedRelatedFilter, badge


@admin.register(CarrierCheck)
class CarrierCheckAdmin(ReadOnlyAdmin):
    """When each account was last compared, and what came of it."""

    list_display = ("account", "state", "checked_at", "listed", "closed", "missed", "error")
    list_select_related = ("account",)
    search_fields = ("account__name", "account__account_sid")
    list_hint = (
        "Every three minutes the calls of the last day are compared with Twilio's own list. A call "
        "that Twilio knows to be over is closed here, and what was never told of it is told."
    )
    fields = (
        *("organisation", "account", "checked_at", "tried_at", "error"),
        *("listed", "closed", "missed"),
    )

    @badge(description="State", label={"compared": "success", "no list": "danger"})
    def state(self, obj: CarrierCheck) -> str:
        """Say whether the newest look got Twilio's list."""
        return "no list" if obj.error else "compared"


@admin.register(MissedCall)
class MissedCallAdmin(ReadOnlyAdmin):
    """Calls that Twilio had for us and that never arrived."""

    list_display = ("called_at", "number", "caller", "duration_seconds", "carrier_status")
    list_filter = ("called_at", ("number", ScopedRelatedFilter))
    list_select_related = ("number",)
    search_fields = ("number__number_e164", "caller", "call_sid")
    list_hint = (
        "Calls to your numbers that Twilio knows and this platform never saw: its request did not "
        "arrive, or was refused. Look at Refused requests, and at the number's address at Twilio."
    )
    fields = (
        *("organisation", "account", "number", "call_sid", "caller"),
        *("called_at", "duration_seconds", "carrier_status", "noticed_at"),
    )
