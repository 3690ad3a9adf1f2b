"""The form that makes a plan: which numbers, on which days, by which steps, behind which gates.

Owns how a person writes these and what is proposed: one number a day for a week. What a plan may
be is ``calls.numbers.plan``; the row is written by ``calls.services.plans``.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final
from zoneinfo import available_timezones

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDateWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from calls.models import MigrationPlan, PhoneNumber
from calls.numbers.hours import HoursError, Span, day_of, holidays_of
from calls.numbers.plan import STEPS, Gates, Plan, PlanError
from calls.numbers.plan_hours import quiet_outside
from calls.services.plan_choices import numbers_free, numbers_ready, quietest_first
from calls.services.plan_facts import has_parity_source
from calls.services.plan_pages import first_day_proposed
from voiceplatform.base.scoped_admin import ScopedForm

WORKDAYS: Final = range(5)
_WEEK: Final = 7
_SPLIT = re.compile(r"[,\s]+")


def _whole(
    label: str, initial: int, least: int, most: int, help_text: str = ""
) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        initial=initial,
        min_value=least,
        max_value=most,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        help_text=help_text,
    )


def _choice(
    label: str, choices: tuple[tuple[str, str], ...], help_text: str = ""
) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        choices=choices,
        initial=choices[0][0],
        widget=UnfoldAdminSelectWidget,
        help_text=help_text,
    )


class PlanForm(ScopedForm):
    """A plan as a person writes it; ``plan`` is it, once the form is valid."""

    which = _choice(
        "Numbers",
        (
            ("ready", "The ones that are ready and still on Vapi"),
            ("chosen", "Those I tick below"),
        ),
        "Ready: the page “Readiness” found nothing that blocks, and no other plan has it.",
    )
    chosen: Any = forms.ModelMultipleChoiceField(
        label="Tick",
        queryset=PhoneNumber.objects.none(),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    order = _choice(
        "Order",
        (
            ("quiet", "The ones with the fewest calls first"),
            ("list", "As they stand in the list"),
        ),
        "The first number is the one that teaches you most, so let it be one with few calls.",
    )
    most = _whole("At most this many numbers", _WEEK, 1, 200)
    a_day = _whole("Numbers a day", 1, 1, 50)
    days_apart = _whole("Days from one to the next", 1, 1, 60)
    first_day = forms.DateField(
        label="First day",
        widget=UnfoldAdminDateWidget,
        help_text="In the time zone below. Empty: tomorrow.",
        required=False,
    )
    zone = forms.ChoiceField(
        label="Time zone",
        initial="UTC",
        widget=UnfoldAdminSelectWidget,
        help_text="Hours and days are those of a clock on the wall there.",
    )
    on_workdays = forms.CharField(
        label="Something may move on workdays",
        required=False,
        initial="09:00-16:00",
        max_length=120,
        widget=UnfoldAdminTextInputWidget,
        help_text="E.g. 09:00-12:00, 13:00-16:00. The rest of the day is quiet. Empty: never.",
    )
    on_weekends = forms.CharField(
        label="and on Saturdays and Sundays",
        required=False,
        max_length=120,
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: nothing moves then.",
    )
    freeze = forms.CharField(
        label="Freeze days",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Nothing moves from midnight to midnight. One a line, the date first, e.g. "
        "2026-12-24 Christmas Eve. More can be added while the plan is on.",
    )
    steps = forms.CharField(
        initial=", ".join(map(str, STEPS)),
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="Shares of a number's calls in percent; the last is 100. A number on a SIP trunk "
        "knows only 100.",
    )
    parity = _choice(
        "Parity",
        (
            ("undecided is enough", "Must not have failed"),
            ("pass", "Must have passed"),
            ("not asked", "Is not asked"),
        ),
        "Whether the assistant calls the same tools as on the old stack. As long as nothing "
        "measures that here, it is undecided.",
    )
    approval = _choice(
        "Approval by a person",
        (
            ("first step", "Before the first step of each number"),
            ("every step", "Before every step"),
            ("none", "None"),
        ),
    )
    soak_minutes = _whole(
        "A step stands for at least, in minutes", 60, 0, 20_160, "Real time, also over the night."
    )
    least_calls = _whole("and for at least this many calls", 20, 0, 100_000)
    budget_percent = forms.DecimalField(
        label="Of these calls may be bad, in percent",
        initial=2,
        min_value=0,
        max_value=100,
        max_digits=4,
        decimal_places=1,
        widget=UnfoldAdminTextInputWidget,
        help_text="Bad: ended by a fault, silence, or a tool that failed.",
    )
    budget_least = _whole("but always this many", 1, 0, 1_000, "So that one bad call is no stop.")
    first_word_p95_ms = _whole("First word, P95 in ms", 3_000, 100, 60_000)
    turn_p95_ms = _whole("Answers, P95 in ms", 3_000, 100, 60_000)
    goes_on = forms.BooleanField(
        label="Begin the next day although a number is held or stopped",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
    )
    stops_at_incident = forms.BooleanField(
        label="An incident of one number pauses the whole plan",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
    )

    class Meta:
        model = MigrationPlan
        fields = ("organisation", "name")

    plan: Plan

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone: Any = self.fields["zone"]
        zone.choices = [(name, name) for name in sorted(available_timezones())]
        self.fields["name"].initial = "One number a day for a week"
        if has_parity_source():
            self.fields["parity"].initial = "pass"

    def clean(self) -> dict[str, Any]:
        """Make the plan, or say what of it cannot be."""
        cleaned = super().clean()
        quiet = self._quiet(cleaned)
        freeze = self._read("freeze", cleaned)
        steps = self._steps(cleaned)
        if self.errors:
            return cleaned
        numbers = self._numbers(cleaned)
        if not numbers:
            return cleaned
        try:
            self.plan = Plan(
                plan_id="",
                waves=_waves([str(number.pk) for number in numbers], cleaned["a_day"]),
                first_day=cleaned["first_day"] or first_day_proposed(cleaned["zone"]),
                zone=cleaned["zone"],
                days_apart=cleaned["days_apart"],
                steps=steps,
                quiet=quiet,
                freeze_days=frozenset(freeze),
                gates=Gates(
                    parity=cleaned["parity"],
                    approval=cleaned["approval"],
                    soak=dt.timedelta(minutes=cleaned["soak_minutes"]),
                    least_calls=cleaned["least_calls"],
                    budget_share=float(cleaned["budget_percent"]) / 100,
                    budget_least=cleaned["budget_least"],
                    first_word_p95_ms=cleaned["first_word_p95_ms"],
                    turn_p95_ms=cleaned["turn_p95_ms"],
                ),
                goes_on=cleaned["goes_on"],
                stops_at_incident=cleaned["stops_at_incident"],
            )
        except PlanError as error:
            self.add_error(None, str(error))
        return cleaned

    def _numbers(self, cleaned: dict[str, Any]) -> list[PhoneNumber]:
        organisation = cleaned["organisation"]
        if cleaned["which"] == "ready":
            found = numbers_ready(organisation)
            if not found:
                self.add_error(
                    "which",
                    "No number is ready. Fix: check them on the page “Readiness” and do what it "
                    "says, or tick numbers below; their plan waits until they are ready.",
                )
        else:
            found = list(cleaned["chosen"])
            taken = set(found) - set(
                numbers_free(organisation).filter(pk__in=[n.pk for n in found])
            )
            if not found:
                self.add_error("chosen", "No number is ticked. Fix: tick the ones to move.")
            if any(number.organisation_id != organisation.pk for number in found):
                self.add_error("chosen", f"One of these does not belong to {organisation}.")
            elif taken:
                names = ", ".join(sorted(str(number) for number in taken))
                self.add_error(
                    "chosen", f"Another plan that is on has {names}. Fix: leave it out there first."
                )
        if self.errors:
            return []
        if cleaned["order"] == "quiet":
            found = quietest_first(found)
        return found[: cleaned["most"]]

    def _quiet(self, cleaned: dict[str, Any]) -> tuple[tuple[Span, ...], ...]:
        week: dict[str, tuple[Span, ...]] = {}
        for name in ("on_workdays", "on_weekends"):
            try:
                spans = day_of(str(cleaned.get(name) or ""))
                if any(span.crosses_midnight for span in spans):
                    raise HoursError(
                        "a span goes over midnight. Fix: end it at 24:00 and begin the next day at "
                        "00:00."
                    )
                week[name] = quiet_outside(spans)
            except HoursError as error:
                self.add_error(name, str(error))
                week[name] = ()
        if not self.errors and not cleaned.get("on_workdays") and not cleaned.get("on_weekends"):
            self.add_error("on_workdays", "Nothing could ever move. Fix: e.g. 09:00-16:00.")
        return tuple(week["on_workdays" if day in WORKDAYS else "on_weekends"] for day in range(7))

    def _read(self, name: str, cleaned: dict[str, Any]) -> tuple[dt.date, ...]:
        try:
            return holidays_of(str(cleaned.get(name) or ""))
        except HoursError as error:
            self.add_error(name, str(error))
            return ()

    def _steps(self, cleaned: dict[str, Any]) -> tuple[int, ...]:
        words = [word for word in _SPLIT.split(str(cleaned.get("steps", "")).strip()) if word]
        try:
            return tuple(int(word.removesuffix("%")) for word in words)
        except ValueError:
            self.add_error("steps", "These are no percentages. Fix: e.g. 5, 25, 50, 100.")
            return ()

    def _post_clean(self) -> None:
        """Leave the row alone: a plan is not what its columns hold one by one."""


class WhyForm(forms.Form):
    """Why somebody does something to a plan, and what the page showed when they decided."""

    why = forms.CharField(
        label="Why",
        max_length=500,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="In a few words; it is kept with the change.",
    )
    day = forms.DateField(
        label="Day",
        required=False,
        widget=forms.DateInput(attrs={"type": "date", "class": "vp-input"}),
    )
    version = forms.IntegerField(widget=forms.HiddenInput, min_value=0)
    seen = forms.CharField(widget=forms.HiddenInput, required=False, max_length=400)

    def clean_why(self) -> str:
        """Refuse blanks."""
        why = str(self.cleaned_data["why"]).replace("\x00", "").strip()
        if not why:
            raise ValidationError("Say in a few words why; it is kept with the change.")
        return why


def _waves(ids: list[str], a_day: int) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(ids[first : first + a_day]) for first in range(0, len(ids), a_day))
