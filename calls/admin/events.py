"""Admin of the outbox: what must be told, to whom, and every try.

Payloads and what receivers answered may repeat what was said in a call, so they are shown to nobody
here (answers: only with the transcript permission).
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from calls.models import DeliveryAttempt, OutboxEvent
from calls.services.redelivery import event_redeliver
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ReadOnlyInline, badge

_STATE_COLOURS = {"pending": "warning", "delivered": "success", "given up": "danger"}


class AttemptInline(ReadOnlyInline):
    """Tries of an event."""

    model = DeliveryAttempt
    fields = ("number", "at", "status_code", "duration_ms", "error")
    readonly_fields = fields
    verbose_name_plural = "Attempts"


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    """Events with their state."""

    list_display = (
        *("created_at", "kind", "destination_host", "state_badge", "attempt_count"),
        *("next_attempt_at", "call"),
    )
    list_filter = ("state", "created_at")
    list_select_related = ("call",)
    search_fields = ("id", "kind", "destination_host", "call__call_sid")
    inlines = (AttemptInline,)
    actions = ("deliver_again",)
    hidden_lookups = ("destination", "payload")
    fields = (
        *("id", "organisation", "call", "kind", "schema_version", "destination_host"),
        *("state_badge", "attempt_count", "next_attempt_at", "lease_until"),
        *("created_at", "settled_at"),
    )
    readonly_fields = ("state_badge",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave sealed payloads in the database."""
        return super().get_queryset(request).defer("payload", "destination")

    @badge(description="State", ordering="state", label=_STATE_COLOURS)
    def state_badge(self, obj: OutboxEvent) -> str:
        """Return the state as a badge."""
        return str(obj.get_state_display()).lower()

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person may order another try."""
        return bool(request.user.has_perm("calls.change_outboxevent"))

    @admin.action(description="Deliver again now", permissions=["redeliver"])
    def deliver_again(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> None:
        """Make the events due; receivers recognise them by the same event id."""
        due = held = 0
        for event in queryset:
            if event_redeliver(event=event):
                due += 1
                self.audit(request, "outboxevent.deliver_again", event)
            else:
                held += 1
        if due:
            self.message_user(
                request, f"{due} {'is' if due == 1 else 'are'} due now and out within seconds."
            )
        if held:
            self.message_user(
                request,
                f"{held} {'is' if held == 1 else 'are'} being delivered at this moment and "
                f"{'was' if held == 1 else 'were'} left alone. Look at the attempts in a minute.",
                messages.WARNING,
            )


@admin.register(DeliveryAttempt)
class DeliveryAttemptAdmin(ReadOnlyAdmin):
    """Tries to deliver."""

    organisation_path = "event__organisation"
    list_display = ("at", "event", "number", "outcome", "status_code", "duration_ms", "error")
    list_filter = ("at",)
    ordering = ("-id",)
    list_select_related = ("event",)
    search_fields = ("event__id", "event__destination_host", "error")
    hidden_lookups = ("response_excerpt",)
    readonly_fields = ("outcome",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave sealed payloads in the database."""
        return super().get_queryset(request).defer("event__payload", "event__destination")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Show the answer only to people who may read transcripts: receivers echo."""
        fields = ["event", "number", "at", "outcome", "status_code", "duration_ms", "error"]
        if request.user.has_perm("calls.view_transcript"):
            fields.append("response_excerpt")
        return fields

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Record that an answer, which may repeat what was said, was looked at."""
        obj = kwargs.get("obj")
        if obj is not None and request.user.has_perm("calls.view_transcript"):
            self.audit(request, "transcript.view", obj, through="delivery attempt")
        return super().render_change_form(request, *args, **kwargs)

    @badge(description="Outcome", label={"accepted": "success", "refused": "danger"})
    def outcome(self, obj: DeliveryAttempt) -> str:
        """Say whether the receiver took it."""
        taken = obj.status_code is not None and 200 <= obj.status_code < 300
        return "accepted" if taken else "refused"
