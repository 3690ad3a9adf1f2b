"""The form that makes a plan: which numbers, on which days, by which steps, behind which gates.

Owns how a person writes these and what is proposed: one number a day for a week. What a plan may
be is ``calls.numbers.plan``; the row is written by ``calls.services.plans``.
"""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminTextInputWidget,
)

from calls.admin.plan_terms import PlanTerms, choice, whole
from calls.models import MigrationPlan, PhoneNumber
from calls.numbers.plan import Plan, PlanError
from calls.services.plan_choices import numbers_free, numbers_ready, quietest_first
from calls.services.plan_facts import has_parity_source
from calls.services.plan_pages import first_day_proposed
from voiceplatform.base.scoped_admin import ScopedForm

_WEEK: Final = 7


class PlanForm(PlanTerms, ScopedForm):
    """A plan as a person writes it; ``plan`` is it, once the form is valid."""

    which = choice(
        "Numbers",
        (
            ("ready", "The ones that are ready and still on Vapi"),
            ("chosen", "Those I tick below"),
        ),
        "Ready: the page “Readiness” found nothing that blocks, and no other plan has it.",
    )
    chosen: Any = forms.ModelMultipleChoiceField(
        label="Tick them",
        help_text="Only where Numbers says so.",
        queryset=PhoneNumber.objects.none(),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    order = choice(
        "Order",
        (
            ("quiet", "The ones with the fewest calls first"),
            ("list", "As they stand in the list"),
        ),
        "The first number is the one that teaches you most, so let it be one with few calls.",
    )
    most = whole("At most this many numbers", _WEEK, 1, 200)
    a_day = whole("Numbers a day", 1, 1, 50)

    class Meta:
        model = MigrationPlan
        fields = ("organisation", "name")

    plan: Plan

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].initial = "One number a day for a week"
        if has_parity_source():
            self.fields["parity"].initial = "pass"

    def clean(self) -> dict[str, Any]:
        """Make the plan, or say what of it cannot be."""
        cleaned = super().clean()
        terms = self.terms_of(cleaned)
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
                **terms,
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
