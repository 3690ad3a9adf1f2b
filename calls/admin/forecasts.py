"""Admin of cost forecasts: what a minute would cost here, and that somebody accepts it is dearer.

Rows are written by ``calls.services.cost_forecasts``; nothing here computes a price.
"""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from unfold.widgets import (
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from assistants.models import Assistant
from calls.admin.ask_page import ask_page
from calls.models import CostForecast, PhoneNumber
from calls.money.rates import PRICES
from calls.parity.forecast import GOAL_PERCENT, RECIPE
from calls.services.cost_forecasts import ForecastRefused, forecast_approve, forecasts_make
from voiceplatform.base.scoped_admin import (
    BesideForm,
    ReadOnlyAdmin,
    ScopedRelatedFilter,
    badge,
    visible_choices,
)

COLOURS = {"cheaper": "success", "dearer": "danger", "undecided": "info"}
_FACTS = {
    "caller_share": "Caller speaks, share of the call",
    "agent_share": "Assistant speaks, share of the call",
    "turns_a_call": "Turns a call",
    "responses_a_call": "Answers of the model a call",
    "prompt_tokens": "Tokens of prompt and tools, sent with every answer",
    "tool_tokens_a_call": "Tokens of tool calls and results a call",
    "cache": "Share of what was sent before that is billed as cached",
    "cache_is_measured": "That share is measured by replays",
    "billed_minutes_a_minute": "Carrier's minutes per minute spoken, each leg rounded up",
    "price_since": "Price list of",
}
_SHARES = ("caller_share", "agent_share", "cache")


class MakeForm(forms.Form):
    """Whose calls, and which models."""

    assistant: Any = forms.ModelChoiceField(queryset=None, widget=UnfoldAdminSelectWidget)
    number: Any = forms.ModelChoiceField(
        queryset=None,
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Only past calls of this number. Empty: all past calls of the assistant.",
    )
    models = forms.MultipleChoiceField(
        choices=[(name, name) for name in PRICES],
        required=False,
        widget=UnfoldAdminSelectMultipleWidget,
        help_text="Empty: the assistant's own and the two that are current.",
    )

    def __init__(self, *args: Any, site: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, model in (("assistant", Assistant), ("number", PhoneNumber)):
            field: Any = self.fields[name]
            field.queryset = visible_choices(site, model, request)


class ApproveForm(forms.Form):
    """Who accepts it, and why."""

    name = forms.CharField(
        label="Name", max_length=200, widget=UnfoldAdminTextInputWidget,
        help_text="Who accepts that calls are dearer here, as people know them.",
    )  # fmt: skip
    note = forms.CharField(
        label="Why", max_length=500, widget=UnfoldAdminTextareaWidget({"rows": 3})
    )


@admin.register(CostForecast)
class CostForecastAdmin(BesideForm, ReadOnlyAdmin):
    """What past calls would have cost here."""

    change_list_template = "admin/calls/costforecast/change_list.html"
    change_form_template = "admin/calls/costforecast/change_form.html"
    list_display = (
        *("created_at", "assistant", "number", "model", "verdict_badge", "here", "old", "off"),
    )
    list_display_links = ("created_at",)
    list_filter = ("verdict", "model", ("assistant", ScopedRelatedFilter))
    list_select_related = ("assistant", "number")
    search_fields = ("number__number_e164", "number__name", "assistant__name", "model")
    hidden_lookups = ("figures",)
    fields = (
        *("organisation", "assistant", "revision", "number", "model", "calls", "created_at"),
        *("made_by", "approved_by", "approved_at", "approval_note", "checked_at"),
    )
    list_hint = (
        "What the calls of the old stack would have cost here, a minute, for each model; an "
        "interval, because calls differ and the cache is not ours. After 100 calls here the "
        "forecast's error is shown. See docs/cost.md."
    )

    @badge(description="Verdict", ordering="verdict", label=COLOURS)
    def verdict_badge(self, obj: CostForecast) -> str:
        """Say it in a word."""
        return str(obj.verdict)

    @admin.display(description="Here, USD a minute", ordering="middle_usd")
    def here(self, obj: CostForecast) -> str:
        """Show P10 to P90."""
        return f"{obj.low_usd:.4f} to {obj.high_usd:.4f}"

    @admin.display(description="Old stack", ordering="old_middle_usd")
    def old(self, obj: CostForecast) -> str:
        """Show P10 to P90."""
        if obj.old_low_usd is None or obj.old_high_usd is None:
            return "not known"
        return f"{obj.old_low_usd:.4f} to {obj.old_high_usd:.4f}"

    @admin.display(description="Off by", ordering="error_percent")
    def off(self, obj: CostForecast) -> str:
        """Show the error, once it is known."""
        if obj.error_percent is None:
            return f"{obj.actual_calls} of 100 calls"
        return f"{obj.error_percent:.1f}%"

    def has_make_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person may make a forecast."""
        return bool(request.user.has_perm("calls.add_costforecast"))

    def has_approve_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person may accept that a number is dearer."""
        return bool(request.user.has_perm("calls.approve_dearer"))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Offer a new forecast, beside the published figures."""
        extra = {"may_make": self.has_make_permission(request), "quoted": RECIPE}
        return super().changelist_view(request, {**(extra_context or {}), **extra})

    def beside_form(self, request: HttpRequest, obj: CostForecast) -> dict[str, Any]:
        """Show the interval and what it is made of."""
        figures = obj.figures
        facts = [(name, words, figures[name]) for name, words in _FACTS.items() if name in figures]
        return {
            "forecast_page": {
                "row": obj,
                "colour": COLOURS[obj.verdict],
                "why": figures.get("why", ""),
                "parts": list(figures.get("usd_a_minute", {}).items()),
                "old_parts": list(figures.get("old_usd_a_minute", {}).items()),
                "facts": [(words, _said(name, value)) for name, words, value in facts],
                "goal": GOAL_PERCENT,
                "may_approve": self.has_approve_permission(request),
            }
        }

    def get_urls(self) -> list[Any]:
        """Add the page that makes forecasts and the one that accepts."""
        wrap = self.admin_site.admin_view
        return [
            path("make/", wrap(self.make_view), name="calls_costforecast_make"),
            path(
                "<uuid:object_id>/approve/",
                wrap(self.approve_view),
                name="calls_costforecast_approve",
            ),
            *super().get_urls(),
        ]

    def make_view(self, request: HttpRequest) -> HttpResponse:
        """Ask whose calls are priced, and price them."""
        if not self.has_make_permission(request):
            raise PermissionDenied
        back = reverse("admin:calls_costforecast_changelist")
        form = MakeForm(request.POST or None, site=self.admin_site, request=request)
        if request.method == "POST" and form.is_valid():
            try:
                rows = forecasts_make(
                    assistant=form.cleaned_data["assistant"],
                    number=form.cleaned_data["number"],
                    models=form.cleaned_data["models"],
                    actor=request.user,
                )
            except ForecastRefused as refused:
                form.add_error(None, f"Nothing was made: {refused}")
            else:
                self.message_user(request, f"{len(rows)} forecasts are made.")
                return HttpResponseRedirect(back)
        return ask_page(
            self,
            request,
            form,
            title="Make a forecast",
            means=(
                "The newest past calls of the old stack, 500 at most, are priced as if our stack "
                "had answered them: the same talk, the same tools, each model's prices.",
                "Nothing is asked of a model, and no call is made.",
            ),
            button="Make it",
            back=back,
        )

    def approve_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Ask who accepts that it is dearer, and why."""
        row: CostForecast | None = self.get_object(request, str(object_id))
        if row is None or not self.has_view_permission(request, row):
            raise Http404("The forecast was not found.")
        if not self.has_approve_permission(request):
            raise PermissionDenied
        back = reverse("admin:calls_costforecast_change", args=[row.pk])
        form = ApproveForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                forecast_approve(row=row, actor=request.user, **form.cleaned_data)
            except ForecastRefused as refused:
                self.message_user(request, f"Nothing was done: {refused}", messages.ERROR)
            else:
                self.message_user(request, "It is noted who accepts that it is dearer here.")
            return HttpResponseRedirect(back)
        means = (
            f"By this forecast a minute with {row.model} costs {row.low_usd:.4f} to "
            f"{row.high_usd:.4f} USD here.",
            "Your name, the name below and the reason are kept with it and in the audit. It cannot "
            "be taken back; another forecast can be made.",
        )
        return ask_page(
            self, request, form, title="Accept that it is dearer", means=means, button="Accept",
            back=back,
        )  # fmt: skip


def _said(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no, it is assumed"
    if isinstance(value, list):
        return " to ".join(_said(name, each) for each in value)
    if name in _SHARES and isinstance(value, int | float):
        return f"{value:.0%}"
    return str(value)
