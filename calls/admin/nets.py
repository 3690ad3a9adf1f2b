"""Admin of nets: who answers when nobody here does, since when, and a drill of it.

For people who write no code. The address goes in and never comes out; what happened is shown with
its date, drills apart from callers.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from calls.models import NetFiring, NumberNet
from calls.services.net_addresses import address_problem
from calls.services.net_drills import DrillRefused, drill_problem, net_drill_begin
from calls.services.net_probes import look_order
from calls.services.nets import NetOvertaken, net_set, net_view, seen_of
from voiceplatform.base.scoped_admin import (
    BesideForm,
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    ScopedRelatedFilter,
    badge,
)

_PROBES = {
    "not looked at": "info",
    "not moved": "info",
    "armed": "success",
    "mended": "warning",
    "alarm": "danger",
}
_STATES = {
    "armed": ("somebody is there", "success"),
    "bare": ("nobody", "danger"),
    "broken": ("broken", "danger"),
    "idle": ("not needed now", "info"),
    "unknown": ("not known", "warning"),
}
_OUTCOMES = {"somebody answered": "success", "nobody answered": "danger", "not known": "warning"}


class NetForm(ScopedForm):
    """A number's own address and mark; remembers what it was made from."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "seen" in self.fields:
            self.initial["seen"] = seen_of(self.instance)

    def clean(self) -> dict[str, Any]:
        """Judge the address."""
        cleaned = super().clean()
        if "address" in self.changed_data:
            if problem := address_problem(cleaned.get("address") or ""):
                self.add_error("address", problem)
        return cleaned


@admin.register(NumberNet)
class NumberNetAdmin(BesideForm, ScopedAdmin):
    """The net of each number."""

    form = NetForm
    list_display = (
        *("number_shown", "probe_badge", "reached_in", "fallback"),
        *("last_real", "last_drill", "probed_at"),
    )
    list_filter = ("probe_state", "address_state", "is_test", ("number", ScopedRelatedFilter))
    list_select_related = ("number",)
    search_fields = ("number__number_e164", "number__name")
    hidden_lookups = ("address",)
    change_form_template = "admin/calls/numbernet/change_form.html"
    list_hint = (
        "Who answers a number's callers when this site cannot, and when that last really happened. "
        "Every number has a row within a minute of being entered; a net is armed by moving the "
        "number. Each night it is compared with Twilio: what was lost is written again, what "
        "somebody replaced is told to those who get notices."
    )
    overtaken_by = (*ScopedAdmin.overtaken_by, NetOvertaken)
    fieldsets = (
        (
            "Who answers in our place",
            {
                "fields": ("address", "method", "is_test", "seen"),
                "description": "Without an address of your own Twilio asks what answered before "
                "the move, as long as that exists, and only while the phone still rings. Save, and "
                "a worker writes the new address to Twilio and asks it once.",
            },
        ),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: the rows come with the numbers."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: the rows go with the numbers."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Look up the newest firings along; the sealed address stays where no form needs it."""
        newest = NetFiring.objects.filter(number=OuterRef("number")).order_by("-fired_at")
        rows: QuerySet[Any] = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == "calls_numbernet_changelist":
            rows = rows.defer("address")
        shown: QuerySet[Any] = rows.annotate(
            real_at=Subquery(newest.filter(kind="real").values("fired_at")[:1]),
            drill_at=Subquery(newest.filter(kind="drill").values("fired_at")[:1]),
        )
        return shown

    def choices_queryset(self, request: HttpRequest) -> Any:
        """Offer rows without opening what is sealed."""
        return super().choices_queryset(request).defer("address")

    @admin.display(description="Number", ordering="number__number_e164")
    def number_shown(self, obj: NumberNet) -> str:
        """Return the number."""
        return obj.number.number_e164

    @badge(description="Net", ordering="probe_state", label=_PROBES)
    def probe_badge(self, obj: NumberNet) -> str:
        """Return what the last look found."""
        return obj.get_probe_state_display()

    @admin.display(description="Reached after")
    def reached_in(self, obj: NumberNet) -> str | None:
        """Say when Twilio asks the net: dead, hanging."""
        if obj.dead_ms is None or obj.hanging_ms is None or not obj.has_fallback:
            return None
        return f"{obj.dead_ms / 1000:g} s, or {obj.hanging_ms / 1000:g} s if we hang"

    @badge(
        description="Answers",
        ordering="address_state",
        label={"answers": "success", "does not answer": "danger", "not looked at": "info"},
    )
    def fallback(self, obj: NumberNet) -> str:
        """Say whether who is asked in our place answered at the last look."""
        return obj.get_address_state_display()

    @admin.display(description="Last really fired", ordering="real_at")
    def last_real(self, obj: Any) -> Any:
        """Return when a caller last needed it."""
        return obj.real_at

    @admin.display(description="Last drill", ordering="drill_at")
    def last_drill(self, obj: Any) -> Any:
        """Return when it was last fired on purpose."""
        return obj.drill_at

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store through the service, if the net is still as it was shown."""
        given = form.cleaned_data
        net_set(
            net=obj,
            address=given["address"],
            method=given["method"],
            is_test=given["is_test"],
            actor=request.user,
            seen=given.get("seen") or "",
        )

    def get_urls(self) -> list[Any]:
        """Add what the buttons of a net's page lead to."""
        wrap = self.admin_site.admin_view
        steps = {"look": self.look_view, "drill": self.drill_view}
        own = [
            path(f"<int:object_id>/{name}/", wrap(view), name=f"calls_numbernet_{name}")
            for name, view in steps.items()
        ]
        return [*own, *super().get_urls()]

    def look_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Have a worker look at Twilio now."""
        net = self._net(request, object_id)
        if request.method == "POST":
            look_order(net=net, actor=request.user)
            words = "A worker looks at Twilio now. Load this page again in a few seconds."
            self.message_user(request, words)
        return self._back(net)

    def drill_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Ask before a drill, then order it."""
        net = self._net(request, object_id)
        if request.method == "POST":
            try:
                job = net_drill_begin(number=net.number, actor=request.user)
            except DrillRefused as refused:
                self.message_user(request, str(refused), messages.ERROR)
                return self._back(net)
            return HttpResponseRedirect(reverse("admin:base_job_change", args=[job.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": "Drill",
            "opts": self.opts,
            "net": net,
            "problem": drill_problem(net.number, net),
        }
        return TemplateResponse(request, "admin/calls/numbernet/drill.html", context)

    def _net(self, request: HttpRequest, object_id: int) -> NumberNet:
        row: NumberNet | None = self.get_object(request, str(object_id))
        if row is None or not self.has_view_permission(request, row):
            raise Http404("The net was not found.")
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        return row

    def _back(self, net: NumberNet) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:calls_numbernet_change", args=[net.pk]))

    def beside_form(self, request: HttpRequest, obj: NumberNet) -> dict[str, Any]:
        """Show the four parts above the form."""
        view = net_view(obj.number)
        parts = [
            {
                "letter": each.part.letter,
                "title": each.part.title,
                "words": each.part.words,
                "state": _STATES[each.part.state][0],
                "colour": _STATES[each.part.state][1],
                "last_real": each.last_real,
                "last_drill": each.last_drill,
            }
            for each in view.parts
        ]
        page = {
            "net": obj,
            "parts": parts,
            "probe": obj.get_probe_state_display(),
            "colour": _PROBES[obj.get_probe_state_display()],
            "may_change": self.has_change_permission(request, obj),
            "drill_problem": drill_problem(obj.number, obj),
        }
        return {"net_page": page}


@admin.register(NetFiring)
class NetFiringAdmin(ReadOnlyAdmin):
    """Each time that a part of a net was needed."""

    list_display = ("fired_at", "number_shown", "part", "kind", "outcome_badge", "words", "seconds")
    list_filter = ("kind", "part", "outcome", ("number", ScopedRelatedFilter))
    list_select_related = ("number",)
    search_fields = ("number__number_e164", "call_sid")
    list_hint = (
        "Calls that somebody else had to answer, one row each: what Twilio's own errors and our "
        "calls tell, and drills, which are marked as such. Empty: no net was ever needed."
    )
    list_empty = "No net was ever needed. A drill on a number's net shows that it holds."
    fields = (
        *("organisation", "number", "part", "kind", "outcome", "words"),
        *("fired_at", "seconds", "call_sid", "noticed_at"),
    )

    @admin.display(description="Number", ordering="number__number_e164")
    def number_shown(self, obj: NetFiring) -> str:
        """Return the number."""
        return obj.number.number_e164

    @badge(description="The caller", ordering="outcome", label=_OUTCOMES)
    def outcome_badge(self, obj: NetFiring) -> str:
        """Say what became of the caller."""
        return obj.get_outcome_display()
