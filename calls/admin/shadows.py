"""Admin of hearing along: the switch of each number, and the calls that were heard.

Written through ``calls.services.shadow_switches`` only; a run that collects the calls is begun with
the other runs. Nothing that anybody said is on these pages.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from unfold.widgets import UnfoldBooleanSwitchWidget

from calls.models import ShadowCall, ShadowSwitch
from calls.parity.shadow_rules import why_never
from calls.services.shadow_switches import (
    ShadowOvertaken,
    ShadowRefused,
    shadow_set,
    standing_of,
)
from voiceplatform.base.prepared import RowGone
from voiceplatform.base.scoped_admin import (
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    ScopedRelatedFilter,
    badge,
)

_STATE_COLOURS = {
    "offered": "info",
    "hearing": "primary",
    "done": "success",
    "nothing": "info",
    "failed": "warning",
}


class ShadowForm(ScopedForm):
    """The switch of a number, as it was shown."""

    confirms = forms.BooleanField(
        label="Callers are told",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="I confirm that callers of this number are told of the second company that "
        "listens, as its call policy names it. It is kept with your name; needed to turn it on.",
    )
    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and not self.instance._state.adding:
            self.initial["seen_version"] = self.instance.version


@admin.register(ShadowSwitch)
class ShadowSwitchAdmin(ScopedAdmin):
    """Which numbers' calls may be heard along while the old stack answers them."""

    form = ShadowForm
    list_display = ("number", "on_badge", "percent", "most_at_once", "confirmed_by")
    list_filter = ("is_on",)
    list_select_related = ("number", "organisation")
    search_fields = ("number__number_e164", "number__name")
    autocomplete_fields = ("number",)
    overtaken_by = (RowGone, ShadowOvertaken)
    list_hint = (
        "While a run collects calls of a number, some calls that its old stack answers are copied "
        "to a session of ours that nobody hears. Callers notice nothing; the call policy has to "
        "name who listens."
    )
    fields = (
        *("number", "is_on", "percent", "most_at_once", "notice", "confirms", "seen_version"),
        *("standing", "confirmed_by", "confirmed_at"),
    )
    readonly_fields = ("standing", "confirmed_by", "confirmed_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Keep a switch with its number; the organisation is the number's."""
        return [*self.readonly_fields, *(["number"] if obj is not None else [])]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Leave the switch, turned off: it says who confirmed what."""
        return False

    @badge(description="State", label={"on": "success", "off": "info"})
    def on_badge(self, obj: ShadowSwitch) -> str:
        """Return whether it is on."""
        return "on" if obj.is_on else "off"

    @admin.display(description="Calls may be heard")
    def standing(self, obj: ShadowSwitch) -> str:
        """Return why no call may be heard along, or that calls may be."""
        if obj is None or obj._state.adding:
            return "-"
        never = why_never(standing_of(obj.number, obj.notice))
        return f"No: {never}." if never else "Yes, while it is on and a run collects them."

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Turn the switch as the form says, against the version that it showed."""
        given = form.cleaned_data
        row = shadow_set(
            number=obj.number if change else given["number"],
            is_on=given["is_on"],
            percent=given["percent"],
            most_at_once=given["most_at_once"],
            notice=given["notice"],
            confirms=given["confirms"],
            actor=request.user,
            seen_version=given.get("seen_version"),
        )
        obj.__dict__.update(row.__dict__)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Say on the form why it cannot be turned like that."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except ShadowRefused as refused:
            words = str(refused)
            self.message_user(request, words[:1].upper() + words[1:], messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


@admin.register(ShadowCall)
class ShadowCallAdmin(ReadOnlyAdmin):
    """Calls that are or were heard along, and what became of each."""

    list_display = ("created_at", "call", "run", "position", "state_badge", "problem")
    list_filter = ("state", ("run", ScopedRelatedFilter))
    list_select_related = ("call", "run")
    search_fields = ("call__call_sid", "run__id__iexact")
    list_hint = "Which calls a run of hearing along took, in the order in which they came."
    fields = (
        *("run", "call", "position", "state", "problem", "created_at", "begun_at", "ended_at"),
        "organisation",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave long columns in the database."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer("run__measures", "run__options", "run__marks", "run__figures")

    @badge(description="State", ordering="state", label=_STATE_COLOURS)
    def state_badge(self, obj: ShadowCall) -> str:
        """Return the state."""
        return obj.state
