"""The terms of a plan as a person writes them: days, hours, steps, gates; for every form of plans.

Owns the fields that making and changing a plan have in common, and how they become what
``calls.numbers.plan`` takes. Which numbers a plan has is each form's own.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final
from zoneinfo import available_timezones

from django import forms
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from calls.numbers.hours import HoursError, Span, day_of, day_text, holidays_of
from calls.numbers.plan import STEPS, Gates, Plan
from calls.numbers.plan_hours import quiet_outside

WORKDAYS: Final = range(5)
_SPLIT = re.compile(r"[,\s]+")


def whole(
    label: str, initial: int, least: int, most: int, help_text: str = ""
) -> forms.IntegerField:
    """Return a field of a whole number."""
    return forms.IntegerField(
        label=label,
        initial=initial,
        min_value=least,
        max_value=most,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        help_text=help_text,
    )


def choice(
    label: str, choices: tuple[tuple[str, str], ...], help_text: str = ""
) -> forms.ChoiceField:
    """Return a field of a few choices; the first is proposed."""
    return forms.ChoiceField(
        label=label,
        choices=choices,
        initial=choices[0][0],
        widget=UnfoldAdminSelectWidget,
        help_text=help_text,
    )


class PlanTerms(forms.Form):
    """Days, hours, steps and gates of a plan."""

    days_apart = whole("Days from one to the next", 1, 1, 60)
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
    parity = choice(
        "Parity",
        (
            ("undecided is enough", "Must not have failed"),
            ("pass", "Must have passed"),
            ("not asked", "Is not asked"),
        ),
        "Whether the assistant calls the same tools as on the old stack. As long as nothing "
        "measures that here, it is undecided.",
    )
    approval = choice(
        "Approval by a person",
        (
            ("first step", "Before the first step of each number"),
            ("every step", "Before every step"),
            ("none", "None"),
        ),
    )
    soak_minutes = whole(
        "A step stands for at least, in minutes", 60, 0, 20_160, "Real time, also over the night."
    )
    least_calls = whole("and for at least this many calls", 20, 0, 100_000)
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
    budget_least = whole("but always this many", 1, 0, 1_000, "So that one bad call is no stop.")
    first_word_p95_ms = whole("First word, P95 in ms", 3_000, 100, 60_000)
    turn_p95_ms = whole("Answers, P95 in ms", 3_000, 100, 60_000)
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone: Any = self.fields["zone"]
        zone.choices = [(name, name) for name in sorted(available_timezones())]

    def terms_of(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """Return the plan's fields; empty, with errors at the fields, if something is wrong."""
        quiet = self._quiet(cleaned)
        freeze = self._read("freeze", cleaned)
        steps = self._steps(cleaned)
        if self.errors:
            return {}
        return {
            "zone": cleaned["zone"],
            "days_apart": cleaned["days_apart"],
            "steps": steps,
            "quiet": quiet,
            "freeze_days": frozenset(freeze),
            "gates": Gates(
                parity=cleaned["parity"],
                approval=cleaned["approval"],
                soak=dt.timedelta(minutes=cleaned["soak_minutes"]),
                least_calls=cleaned["least_calls"],
                budget_share=float(cleaned["budget_percent"]) / 100,
                budget_least=cleaned["budget_least"],
                first_word_p95_ms=cleaned["first_word_p95_ms"],
                turn_p95_ms=cleaned["turn_p95_ms"],
            ),
            "goes_on": cleaned["goes_on"],
            "stops_at_incident": cleaned["stops_at_incident"],
        }

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


def terms_shown(plan: Plan) -> dict[str, Any]:
    """Return what the fields of ``PlanTerms`` show for a plan, so that they read back as it is."""
    gates = plan.gates
    return {
        "days_apart": plan.days_apart,
        "first_day": plan.first_day,
        "zone": plan.zone,
        "on_workdays": day_text(quiet_outside(plan.quiet[WORKDAYS[0]])),
        "on_weekends": day_text(quiet_outside(plan.quiet[-1])),
        "freeze": "\n".join(day.isoformat() for day in sorted(plan.freeze_days)),
        "steps": ", ".join(map(str, plan.steps)),
        "parity": gates.parity,
        "approval": gates.approval,
        "soak_minutes": int(gates.soak.total_seconds() // 60),
        "least_calls": gates.least_calls,
        "budget_percent": f"{gates.budget_share * 100:.1f}",
        "budget_least": gates.budget_least,
        "first_word_p95_ms": gates.first_word_p95_ms,
        "turn_p95_ms": gates.turn_p95_ms,
        "goes_on": plan.goes_on,
        "stops_at_incident": plan.stops_at_incident,
    }
