"""Admin of incidents and of a guard's limits: what happened, what was done, and how it ends.

Rows are written by the guard. What a person does, closing an incident and ordering a restore
again, goes through ``calls.services.guards`` after a page that asks why; a page that was open
while the guard went on is shown anew instead of being followed.
"""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from calls.models import GuardLimits, Incident, IncidentCall, NumberGuard
from calls.numbers.guard import WORDS
from calls.selectors.guards import told_of
from calls.services.guards import IncidentError, incident_close, incident_restore_again
from voiceplatform.base.scoped_admin import (
    BesideForm,
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    ScopedRelatedFilter,
    badge,
)

STATE_COLOURS = {"due": "warning", "restored": "success", "person": "danger", "nothing": "info"}
_STACKS = {"direct": "answered here", "vapi": "answered by the old stack"}


class WhyForm(forms.Form):
    """Why somebody does it, and what they had before them."""

    why = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="What was wrong, and what has been done. It is kept with the incident.",
    )
    seen = forms.CharField(widget=forms.HiddenInput)


def seen_of(row: Incident) -> str:
    """Return what of an incident a page has shown, to compare it with what is stored later."""
    return f"{row.state}:{row.tries}:{'closed' if row.closed_at else 'open'}"


@admin.register(Incident)
class IncidentAdmin(BesideForm, ReadOnlyAdmin):
    """What the guards have seen and done."""

    list_display = ("opened_at", "number", "open_badge", "words", "state_badge", "restored_at")
    list_display_links = ("opened_at",)
    list_filter = ("state", "stack", "opened_at", ("number", ScopedRelatedFilter))
    list_select_related = ("number",)
    search_fields = ("number__number_e164", "number__name", "id__iexact")
    hidden_lookups = ("evidence",)
    change_form_template = "admin/calls/incident/change_form.html"
    list_hint = (
        "A guard watches the calls of each number that is answered here. When they become bad it "
        "sends the number back where it was, once, tells the people under Who is told, and keeps "
        "an incident with the calls. It stays open until somebody closes it."
    )
    list_empty = "No guard has found a number's calls bad. Who would be told: see Who is told."
    fields = (
        *("organisation", "id", "number", "stack", "opened_at", "signals_in_words", "words"),
        *("state_badge", "tries", "restored_at", "last_error"),
        *("closed_at", "closed_by", "closed_why"),
    )
    readonly_fields = ("state_badge", "signals_in_words", "open_badge")

    @badge(description="", label={"open": "danger", "closed": "muted"})
    def open_badge(self, obj: Incident) -> str:
        """Say whether it is open."""
        return "closed" if obj.closed_at else "open"

    @badge(description="Way back", ordering="state", label=STATE_COLOURS)
    def state_badge(self, obj: Incident) -> Any:
        """Say how far the way back is."""
        return obj.state, str(obj.get_state_display()).lower()

    @admin.display(description="What was seen")
    def signals_in_words(self, obj: Incident) -> str:
        """Name the signals."""
        words: dict[str, str] = dict(WORDS)  # type: ignore[arg-type]  # its keys are words
        return ", ".join(words.get(each, each) for each in obj.signals)

    def beside_form(self, request: HttpRequest, obj: Incident) -> dict[str, Any]:
        """Show its calls, who was told, and what can be done."""
        may_change = request.user.has_perm("calls.change_incident")
        is_open = obj.closed_at is None
        listed = obj.listed.select_related("call").order_by("call__ended_at")
        calls = [
            {
                "pk": each.call_id,
                "at": each.call.created_at,
                "reason": each.call.ended_reason,
                "seconds": each.call.duration_seconds,
            }
            for each in listed.only(
                *("call__created_at", "call__ended_at", "call__ended_reason"),
                *("call__duration_seconds", "incident"),
            )
        ]
        return {
            "incident_page": {
                "row": obj,
                "stack": _STACKS[obj.stack],
                "colour": "muted" if not is_open else STATE_COLOURS[obj.state],
                "calls": calls if request.user.has_perm("calls.view_call") else None,
                "call_count": len(calls),
                "told": told_of(obj),
                "sent_home": bool(obj.evidence.get("sent_home")),
                "route_refused": obj.evidence.get("route_refused", ""),
                "may_close": may_change and is_open and obj.state != Incident.State.RESTORING,
                "may_restore": may_change and is_open and obj.state == Incident.State.PERSON,
            }
        }

    def get_urls(self) -> list[Any]:
        """Add the two pages that ask why."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:object_id>/close/", wrap(self.close_view), name="calls_incident_close"),
            path(
                "<uuid:object_id>/restore/", wrap(self.restore_view), name="calls_incident_restore"
            ),
            *super().get_urls(),
        ]

    def close_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Ask why the incident is over, and close it."""
        return self._ask(
            request,
            object_id,
            title="Close this incident",
            means="The guard is armed anew: calls that begin from now on count, earlier ones do "
            "not. The number's route is not changed by this.",
            button="Close the incident",
            act=incident_close,
            done="The incident is closed, and the guard is on again.",
        )

    def restore_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Ask why the restore may be tried again, and order it."""
        return self._ask(
            request,
            object_id,
            title="Restore the number again",
            means="Twilio is asked again, within seconds, to send the number's calls where they "
            "went before it was moved. What somebody else has changed there is not overwritten.",
            button="Restore again",
            act=incident_restore_again,
            done="The restore is ordered; this page shows each try.",
        )

    def _ask(
        self,
        request: HttpRequest,
        object_id: uuid.UUID,
        *,
        title: str,
        means: str,
        button: str,
        act: Any,
        done: str,
    ) -> HttpResponse:
        row: Incident | None = self.get_object(request, str(object_id))
        if row is None or not self.has_view_permission(request, row):
            raise Http404("The incident was not found.")
        if not request.user.has_perm("calls.change_incident"):
            raise PermissionDenied
        back = HttpResponseRedirect(reverse("admin:calls_incident_change", args=[row.pk]))
        form = WhyForm(request.POST or None, initial={"seen": seen_of(row)})
        if request.method == "POST" and form.is_valid():
            if form.cleaned_data["seen"] != seen_of(row):
                words = (
                    "The guard went on since you opened that page; nothing was done. Look again."
                )
                self.message_user(request, words, messages.WARNING)
                return back
            try:
                act(incident=row, actor=request.user, why=form.cleaned_data["why"])
            except IncidentError as error:
                self.message_user(request, f"Nothing was done: {error}", messages.ERROR)
            else:
                self.message_user(request, done)
            return back
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "row": row,
            "means": means,
            "button": button,
            "form": form,
        }
        return TemplateResponse(request, "admin/calls/incident/act.html", context)


class GuardLimitsForm(ScopedForm):
    """Limits of a guard, within what a guard can work with."""

    class Meta:
        model = GuardLimits
        fields = (
            *("organisation", "number", "first_word_ms", "turn_ms", "early_seconds"),
            *("usual_failed_percent", "usual_dead_air_percent", "usual_tool_failed_percent"),
            "usual_hung_up_percent",
        )

    def clean(self) -> dict[str, Any]:
        """Keep each figure within its range."""
        cleaned = super().clean()
        ranges = {
            **dict.fromkeys(("first_word_ms", "turn_ms"), (500, 30_000)),
            "early_seconds": (1, 60),
            **{name: (0, 50) for name in self.fields if name.endswith("_percent")},
        }
        for name, (low, high) in ranges.items():
            value = cleaned.get(name)
            if value is not None and not low <= value <= high:
                self.add_error(name, f"Choose {low} to {high}.")
        return cleaned


@admin.register(GuardLimits)
class GuardLimitsAdmin(ScopedAdmin):
    """From where on a call counts as bad."""

    form = GuardLimitsForm
    list_display = ("whose", "first_word_ms", "turn_ms", "early_seconds", "updated_at")
    list_select_related = ("number",)
    search_fields = ("number__number_e164", "number__name")
    autocomplete_fields = ("number",)
    list_hint = (
        "What the guards count as a bad call, and how many are usual. Without a row here the usual "
        "limits hold: a number goes home after about four failed calls in a row."
    )
    list_empty = "The usual limits hold for every number. Add a row only to change them."

    @admin.display(description="For", ordering="number")
    def whose(self, obj: GuardLimits) -> str:
        """Name the number, or say that it is for all others."""
        return str(obj.number) if obj.number_id else "every other number"


@admin.register(NumberGuard)
class NumberGuardAdmin(ReadOnlyAdmin):
    """Which numbers are watched, and since when their calls count."""

    list_display = ("number", "stack", "on_badge", "armed_at", "next_at")
    list_filter = ("stack",)
    list_select_related = ("number",)
    search_fields = ("number__number_e164", "number__name")
    hidden_lookups = ("state",)
    fields = ("organisation", "number", "stack", "on_badge", "armed_at", "off_since", "next_at")
    readonly_fields = ("on_badge",)
    list_hint = (
        "Each number that is answered here has a guard, and one more for the calls that its old "
        "stack answered. It is armed when the number comes here, and anew when an incident ends."
    )
    list_empty = "No number is answered here, so nothing is watched."

    @badge(description="State", label={"on": "success", "off": "muted", "incident": "danger"})
    def on_badge(self, obj: NumberGuard) -> str:
        """Say whether it watches."""
        if obj.state:
            return "incident"
        return "off" if obj.off_since else "on"


@admin.register(IncidentCall)
class IncidentCallAdmin(ReadOnlyAdmin):
    """The calls that counted in incidents."""

    organisation_path = "incident__organisation"
    list_display = ("incident", "call")
    list_display_links = ("incident",)
    list_select_related = ("incident", "call")
    search_fields = ("call__call_sid", "incident__id__iexact")
    list_hint = "Each call that counted against its number when a guard opened an incident."
