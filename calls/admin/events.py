"""Admin of the outbox: what must be told, to whom, and every try.

Payloads and what receivers answered may repeat what was said in a call, so they are shown to nobody
here (answers: only with the transcript permission).
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from calls.models import DeliveryAttempt, EventDestination, OutboxEvent
from calls.selectors.delivery import Selection, undelivered
from calls.selectors.reconciler import checked_at, checks_for
from calls.services.redelivery import MOST_IDS, event_redeliver, events_redeliver
from voiceplatform.base.models import Job
from voiceplatform.base.scoped_admin import (
    ReadOnlyAdmin,
    ReadOnlyInline,
    ScopedRelatedFilter,
    badge,
)
from voiceplatform.base.selectors import organisations_visible_to

_FEW = 20  # made due one by one, each with an audit entry of its own
_STATE_COLOURS = {"pending": "warning", "delivered": "success", "given up": "danger"}


class AttemptInline(ReadOnlyInline):
    """Tries of an event."""

    model = DeliveryAttempt
    fields = ("number", "at", "status_code", "duration_ms", "error")
    readonly_fields = fields
    verbose_name_plural = "Attempts"


class RedeliverForm(forms.Form):
    """Which events of the past are to go out again."""

    organisation = forms.ModelChoiceField(
        queryset=EventDestination.objects.none(), widget=UnfoldAdminSelectWidget
    )
    states = forms.MultipleChoiceField(
        label="Events that are",
        choices=[
            (OutboxEvent.State.DEAD, "given up"),
            (OutboxEvent.State.PENDING, "still being tried"),
            (OutboxEvent.State.DELIVERED, "delivered already"),
        ],
        initial=[OutboxEvent.State.DEAD],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    since = forms.SplitDateTimeField(
        label="From", required=False, widget=UnfoldAdminSplitDateTimeWidget
    )
    until = forms.SplitDateTimeField(
        label="Until", required=False, widget=UnfoldAdminSplitDateTimeWidget
    )
    kind = forms.CharField(
        required=False,
        max_length=60,
        widget=UnfoldAdminTextInputWidget({"placeholder": "e.g. end-of-call-report"}),
    )
    receiver = forms.ModelChoiceField(
        label="For",
        required=False,
        empty_label="every receiver",
        queryset=EventDestination.objects.none(),
        widget=UnfoldAdminSelectWidget,
    )
    host = forms.CharField(
        label="Host",
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget({"placeholder": "e.g. hooks.example.com"}),
    )

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        organisation: Any = self.fields["organisation"]
        organisation.queryset = organisations_visible_to(user).order_by("created_at")
        organisation.initial = organisation.queryset.first()
        receiver: Any = self.fields["receiver"]
        receiver.queryset = EventDestination.objects.visible_to(user)

    def clean(self) -> dict[str, Any]:
        """Compare the two moments, and the receiver's organisation."""
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since >= until:
            self.add_error("until", "This is not after From. Choose a later moment.")
        receiver, own = cleaned.get("receiver"), cleaned.get("organisation")
        if receiver and own and receiver.organisation_id != own.pk:
            self.add_error("receiver", f"This one belongs to another organisation, not to {own}.")
        return cleaned

    def selection(self) -> Selection:
        """Return what is meant."""
        given = self.cleaned_data
        return Selection(
            given["organisation"].pk,
            states=tuple(given["states"]),
            since=given["since"],
            until=given["until"],
            kind=given["kind"],
            host=given["host"],
            receiver_id=given["receiver"].pk if given["receiver"] else None,
        )


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    """Events with their state."""

    list_display = (
        *("created_at", "kind", "destination_host", "state_badge", "attempt_count"),
        *("next_attempt_at", "call"),
    )
    list_filter = ("state", "created_at", ("receiver", ScopedRelatedFilter))
    list_select_related = ("call",)
    list_before_template = "admin/calls/outboxevent/list_before.html"
    list_hint = (
        "What others are told of calls: each row is one event for one receiver. An event that "
        "nobody takes is tried again for three days and then given up; deliver it again when the "
        "receiver is back."
    )
    search_fields = ("id", "kind", "destination_host", "call__call_sid")
    inlines = (AttemptInline,)
    actions = ("deliver_again",)
    hidden_lookups = ("destination", "payload")
    fields = (
        *("id", "organisation", "call", "kind", "schema_version", "destination_host", "receiver"),
        *("sequence", "state_badge", "attempt_count", "next_attempt_at", "lease_until"),
        *("created_at", "failing_since", "settled_at"),
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
        rows = list(queryset.values_list("pk", "organisation_id")[: MOST_IDS + 1])
        if len(rows) > _FEW:
            self._deliver_many(request, rows)
            return
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

    def _deliver_many(self, request: HttpRequest, rows: list[Any]) -> None:
        if len(rows) > MOST_IDS:
            words = f"Choose at most {MOST_IDS:,}, or use “Deliver a time again” above the list."
            self.message_user(request, words, messages.ERROR)
            return
        every = tuple(str(value) for value in OutboxEvent.State.values)
        for organisation in organisations_visible_to(request.user):
            ids = tuple(event_id for event_id, owner in rows if owner == organisation.pk)
            if ids:
                chosen = Selection(organisation.pk, states=every, ids=ids)
                self._said(
                    request,
                    events_redeliver(
                        selection=chosen, organisation=organisation, actor=request.user
                    ),
                )

    def _said(self, request: HttpRequest, outcome: Job | int) -> None:
        if isinstance(outcome, Job):
            where = reverse("admin:base_job_change", args=[outcome.pk])
            words = format_html(
                'A job makes {} events due. <a href="{}">Watch it</a>', outcome.total_count, where
            )
            self.message_user(request, words)
        elif outcome:
            self.message_user(request, f"{outcome} due now and out within seconds.")
        else:
            self.message_user(request, "No event fits; nothing was changed.", messages.WARNING)

    def get_urls(self) -> list[Any]:
        """Add the page that delivers a stretch of time again."""
        wrap = self.admin_site.admin_view
        name = "calls_outboxevent_redeliver"
        return [path("redeliver/", wrap(self.redeliver_view), name=name), *super().get_urls()]

    def redeliver_view(self, request: HttpRequest) -> HttpResponse:
        """Ask which events, and make them due."""
        if not (self.has_view_permission(request) and self.has_redeliver_permission(request)):
            raise PermissionDenied
        form = RedeliverForm(request.user, request.POST or None)
        if request.method == "POST" and form.is_valid():
            outcome = events_redeliver(
                selection=form.selection(),
                organisation=form.cleaned_data["organisation"],
                actor=request.user,
            )
            self._said(request, outcome)
            return HttpResponseRedirect(reverse("admin:calls_outboxevent_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": "Deliver a time again",
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/calls/outboxevent/redeliver.html", context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Say above the list what is undelivered, and when that was last checked."""
        figures = {
            **undelivered(request.user),
            "checked_at": checked_at(checks_for(request.user)),
            "may_redeliver": self.has_redeliver_permission(request),
        }
        extra = {**(extra_context or {}), "delivery": figures}
        return super().changelist_view(request, extra)


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
