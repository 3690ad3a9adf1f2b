"""Admin of hand-overs to old stacks: what came of each, and how the stacks fare. Read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from calls.models import CallHandover, OldStack
from calls.services.old_stacks import health_of, health_words
from voiceplatform.base.redaction import redact_url
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, badge

_STATES = {"up": "success", "down": "danger", "probing": "warning"}


@admin.register(OldStack)
class OldStackAdmin(ReadOnlyAdmin):
    """One row for each stack that calls are handed to."""

    list_display = ("origin", "state", "fares", "changed_at")
    search_fields = ("origin",)
    list_hint = (
        "The stacks that had the numbers before. While one is down, callers of numbers whose "
        "assistant is qualified are answered here at once; a few find out whether it is back."
    )
    list_empty = "A row appears with the first call that is handed to the stack before us."
    fields = ("origin", "state", "fares", "changed_at")

    @badge(description="State", label=_STATES)
    def state(self, obj: OldStack) -> str:
        """Return up, down or probing."""
        return health_of(obj).state

    @admin.display(description="How it fares")
    def fares(self, obj: OldStack) -> str:
        """Return a sentence."""
        return health_words(obj)


@admin.register(CallHandover)
class CallHandoverAdmin(ReadOnlyAdmin):
    """One row for each call that the old stack was given."""

    organisation_path = "call__organisation"
    list_display = ("begun_at", "call", "old_stack", "result", "took", "instead")
    list_filter = ("is_taken", "both_reached")
    list_select_related = ("call", "old_stack")
    list_hint = (
        "Calls that were handed to the stack before us. “Both may have been reached”: it gave us "
        "nothing in time, and may have taken the call all the same."
    )
    list_empty = "No call was handed over yet: it takes a number that is here with the route Vapi."
    fields = (
        *("call", "old_stack", "begun_at", "ended_at", "result", "reason", "attempt_ms"),
        *("instead", "tells", "status_told"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave alone what lists do not show: sealed columns are opened row by row."""
        rows: QuerySet[Any] = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and str(match.url_name).endswith("changelist")
        return rows.defer("answer", "cookies", "status_url", "status_asked") if is_list else rows

    @badge(
        description="Result",
        label={"taken": "success", "both": "danger", "lost": "warning", "asked": "info"},
    )
    def result(self, obj: CallHandover) -> Any:
        """Say what came of it."""
        if obj.ended_at is None:
            return "asked", "under way"
        if obj.is_taken:
            return "taken", "answered there"
        return ("both", "both may have been reached") if obj.both_reached else ("lost", "not there")

    @admin.display(description="Took")
    def took(self, obj: CallHandover) -> str:
        """Return how long it took, as far as it is over."""
        voice = (obj.outcome or {}).get("voice", {})
        return f"{voice['elapsed_ms']} ms" if "elapsed_ms" in voice else "–"

    @admin.display(description="Why")
    def reason(self, obj: CallHandover) -> str:
        """Return the reason of each request."""
        return " ".join(str(each.get("reason", "")) for each in (obj.outcome or {}).values())

    @admin.display(description="Told of the end")
    def tells(self, obj: CallHandover) -> str:
        """Return whom it wants told of the call's end; tokens are masked."""
        return redact_url(obj.status_url) if obj.status_url else "nobody"

    @admin.display(description="What came of that")
    def status_told(self, obj: CallHandover) -> str:
        """Say whether that has happened."""
        if obj.status_outcome is not None:
            return str(obj.status_outcome.get("reason", ""))
        return "waits to be sent" if obj.status_due_at else "–"
