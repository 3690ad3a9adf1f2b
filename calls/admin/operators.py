"""Admin of operator destinations: who takes over from the assistant, and when somebody is there.

For people who write no code: hours as they are written on a door, one field a day, and a sentence
that says whom a caller would reach right now.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from calls.models import OperatorDesk
from calls.models.operators import KEYS
from calls.numbers import hours
from calls.numbers.destinations import destination_of
from calls.services.operators import preview
from voiceplatform.base.scoped_admin import ScopedAdmin, ScopedForm, badge

_HOURS_HELP = "E.g. 09:00-12:30, 13:30-17:00 or 22:00-06:00. Empty: closed."
_NOWHERE = (
    "Calls cannot be handed to “{text}”: it is no phone number in international form, an emergency "
    "or premium number, or no SIP address. Fix: enter e.g. +15551230100 or "
    "sip:desk@pbx.example.com."
)


def _day_field(day: str) -> str:
    return f"hours_{day}"


def _hours_of(day: str, help_text: str = "") -> forms.CharField:
    return forms.CharField(
        label=hours.DAY_NAMES[day],
        required=False,
        max_length=120,
        widget=UnfoldAdminTextInputWidget,
        help_text=help_text,
    )


class OperatorDeskForm(ScopedForm):
    """A destination, its hours as one text for each day."""

    destination = forms.CharField(
        widget=UnfoldAdminTextInputWidget,
        help_text="A number such as +15551230100, or an address such as sip:desk@pbx.example.com.",
    )
    key = forms.CharField(
        required=False,
        max_length=1,
        initial="0",
        widget=UnfoldAdminTextInputWidget,
        help_text="The caller presses this key, alone, and is handed over. Empty: no key.",
    )
    zone = forms.ChoiceField(
        label="Time zone",
        initial="UTC",
        widget=UnfoldAdminSelectWidget,
        help_text="The hours below are those of a clock on the wall there.",
    )
    holidays = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="One a line, the date first, e.g. 2026-12-25 Christmas. Nobody is there then; a "
        "night that began the day before goes on to its end.",
    )
    hours_mon = _hours_of("mon", _HOURS_HELP)
    hours_tue = _hours_of("tue")
    hours_wed = _hours_of("wed")
    hours_thu = _hours_of("thu")
    hours_fri = _hours_of("fri")
    hours_sat = _hours_of("sat")
    hours_sun = _hours_of("sun")

    class Meta:
        model = OperatorDesk
        exclude = ("hours",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone: Any = self.fields.get("zone")
        if zone is not None:
            zone.choices = [(name, name) for name in sorted(available_timezones())]
        stored = self.instance.hours if isinstance(self.instance.hours, dict) else {}
        for day in hours.DAYS:
            if _day_field(day) in self.fields:
                self.initial.setdefault(_day_field(day), stored.get(day, ""))

    def clean_destination(self) -> str:
        """Take what may be dialled only."""
        return self._place("destination")

    def clean_outside_destination(self) -> str:
        """Take what may be dialled, or nothing."""
        return self._place("outside_destination")

    def clean_unanswered_destination(self) -> str:
        """Take what may be dialled, or nothing."""
        return self._place("unanswered_destination")

    def clean_holidays(self) -> str:
        """Take dates with names."""
        text = str(self.cleaned_data["holidays"])
        try:
            hours.holidays_of(text)
        except hours.HoursError as error:
            raise forms.ValidationError(f"Holidays: {error}") from error
        return text

    def clean_key(self) -> str:
        """Take a key of a telephone."""
        key = str(self.cleaned_data["key"])
        if key and key not in KEYS:
            raise forms.ValidationError(
                f"“{key}” is no key of a telephone. Fix: one of 0 to 9, * or #, or leave it empty."
            )
        return key

    def clean(self) -> dict[str, Any]:
        """Read the hours and refuse what would leave callers with nobody by mistake."""
        cleaned = super().clean()
        week: dict[str, str] = {}
        for day in hours.DAYS:
            text = str(cleaned.get(_day_field(day)) or "")
            try:
                week[day] = hours.day_text(hours.day_of(text))
            except hours.HoursError as error:
                self.add_error(_day_field(day), f"{hours.DAY_NAMES[day]}: {error}")
        if not self.errors and not cleaned.get("always_open") and not any(week.values()):
            self.add_error(
                "always_open",
                "No day has hours, so nobody would ever be there. Fix: fill in at least one day, "
                "or tick “Open at all hours”.",
            )
        if cleaned.get("outside") == OperatorDesk.Outside.NUMBER and not (
            cleaned.get("outside_destination") or "outside_destination" in self.errors
        ):
            self.add_error(
                "outside_destination",
                "Another number is to answer outside the hours, but none is entered. Fix: enter "
                "it, or choose something else for outside the hours.",
            )
        if cleaned.get("unanswered") == OperatorDesk.Unanswered.NUMBER and not (
            cleaned.get("unanswered_destination") or "unanswered_destination" in self.errors
        ):
            self.add_error(
                "unanswered_destination",
                "Another number is to be tried when nobody takes the call, but none is entered. "
                "Fix: enter it, or choose something else for that case.",
            )
        ring = cleaned.get("ring_seconds")
        if ring is not None and not 5 <= ring <= 600:
            self.add_error("ring_seconds", "Twilio rings for 5 to 600 seconds. Fix: e.g. 30.")
        self._one_default(cleaned)
        if not self.errors:
            self.instance.hours = {day: text for day, text in week.items() if text}
        return cleaned

    def _place(self, name: str) -> str:
        text = str(self.cleaned_data.get(name) or "").strip()
        place = destination_of(text)
        if text and not place:
            raise forms.ValidationError(_NOWHERE.format(text=text))
        return place

    def _one_default(self, cleaned: dict[str, Any]) -> None:
        owner = cleaned.get("organisation") or getattr(self.instance, "organisation", None)
        if not cleaned.get("is_default") or owner is None:
            return
        others = OperatorDesk.objects.filter(organisation=owner, is_default=True)
        other = others.exclude(pk=self.instance.pk).first()
        if other is not None:
            self.add_error(
                "is_default",
                f"“{other}” is the default already. Fix: take the mark away there first.",
            )


@admin.register(OperatorDesk)
class OperatorDeskAdmin(ScopedAdmin):
    """Destinations with their hours."""

    form = OperatorDeskForm
    list_display = ("name", "destination", "key", "right_now", "default_badge", "number_count")
    search_fields = ("name", "destination")
    ordering = ("name",)
    readonly_fields = ("right_now", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("organisation", "name", "is_default", "right_now")}),
        (
            "Who takes over",
            {
                "fields": (
                    *("destination", "key", "ring_seconds", "shows_caller"),
                    "announcement",
                ),
                "description": "A caller is handed over when they press the key, when the call "
                "policy says so, and when the assistant has failed. It works without the model.",
            },
        ),
        (
            "When nobody takes the call",
            {
                "fields": ("unanswered", "unanswered_destination", "no_answer_message"),
                "description": "The assistant cannot go on where it had failed itself, where the "
                "caller refused the policy line, and after several attempts. Then the message is "
                "said and the call ends.",
            },
        ),
        (
            "When somebody is there",
            {
                "fields": (
                    *("always_open", "zone"),
                    *(_day_field(day) for day in hours.DAYS),
                    "holidays",
                )
            },
        ),
        (
            "Outside these hours",
            {"fields": ("outside", "outside_destination", "outside_message")},
        ),
        ("Technical", {"fields": ("created_at", "updated_at"), "classes": ("collapse",)}),
    )
    field_labels = {  # noqa: RUF012 - never changed in place
        "is_default": "Default of the organisation",
        "always_open": "Open at all hours",
        "ring_seconds": "Ring for (seconds)",
        "shows_caller": "Show the caller's number",
        "announcement": "Said before it rings",
        "unanswered": "What happens then",
        "unanswered_destination": "The other number",
        "no_answer_message": "The message",
        "outside": "What happens then",
        "outside_destination": "The other number",
        "outside_message": "The message",
    }

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the hours as one text to those who may only look: days are fields of the form."""
        fieldsets = super().get_fieldsets(request, obj)
        if self.has_change_permission(request, obj) or (
            obj is None and self.has_add_permission(request)
        ):
            return fieldsets
        days = {_day_field(day) for day in hours.DAYS}
        shown = []
        for title, options in fieldsets:
            fields = [name for name in options["fields"] if name not in days]
            if len(fields) < len(options["fields"]):
                fields.append("opening_hours")
            shown.append((title, {**options, "fields": tuple(fields)}))
        return tuple(shown)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Count the numbers that name it."""
        rows: QuerySet[Any] = super().get_queryset(request)
        counted: QuerySet[Any] = rows.annotate(numbers_total=Count("numbers"))
        return counted

    @admin.display(description="Right now")
    def right_now(self, obj: OperatorDesk | None) -> str:
        """Say whom a caller would reach at this moment."""
        if obj is None or obj._state.adding:
            return "Save it, then this says whom a caller would reach at that moment."
        return preview(obj)

    @admin.display(description="Hours")
    def opening_hours(self, obj: OperatorDesk) -> str:
        """Return the week in one text."""
        week = zip(hours.DAYS, hours.hours_stored(obj.hours), strict=True)
        open_days = [
            f"{hours.DAY_NAMES[day]} {hours.day_text(spans)}" for day, spans in week if spans
        ]
        return "; ".join(open_days) or "none"

    @badge(description="Default", label={"default": "success"})
    def default_badge(self, obj: OperatorDesk) -> str:
        """Mark the organisation's default."""
        return "default" if obj.is_default else ""

    @admin.display(description="Numbers", ordering="numbers_total")
    def number_count(self, obj: Any) -> int:
        """Count the numbers that name it."""
        return int(obj.numbers_total)
