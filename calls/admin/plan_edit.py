"""The page that changes a plan: a draft altogether, one that is on where that is safe.

Shows the plan as the form that made it would, with its numbers a line a day. A field that nobody
touched keeps what is stored, also where the form could not show it exactly. What is safe is
``calls.numbers.plan_change``; the row is written by ``calls.services.plans``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from calls.admin.plan_terms import PlanTerms, terms_shown
from calls.models import MigrationPlan, PhoneNumber
from calls.numbers.plan import Plan, PlanError, PlanState
from calls.services import plans
from calls.services.plan_choices import numbers_free
from calls.services.plan_pages import first_day_proposed
from voiceplatform.base.phones import normalised
from voiceplatform.base.selectors import uuids_in

CHANGES: Final = "calls.change_migrationplan"
EDITABLE: Final = ("draft", "running", "paused")
_SPLIT = re.compile(r"[,;\s]+")
# Which fields of the form make a field of the plan, and of its gates.
_OF_PLAN: Final[Mapping[str, tuple[str, ...]]] = {
    "zone": ("zone",),
    "days_apart": ("days_apart",),
    "first_day": ("first_day",),
    "steps": ("steps",),
    "quiet": ("on_workdays", "on_weekends"),
    "freeze_days": ("freeze",),
    "goes_on": ("goes_on",),
    "stops_at_incident": ("stops_at_incident",),
}
_OF_GATES: Final[Mapping[str, str]] = {
    "parity": "parity",
    "approval": "approval",
    "soak": "soak_minutes",
    "least_calls": "least_calls",
    "budget_share": "budget_percent",
    "budget_least": "budget_least",
    "first_word_p95_ms": "first_word_p95_ms",
    "turn_p95_ms": "turn_p95_ms",
}


class PlanEditForm(PlanTerms):
    """A plan that exists, as a person changes it; ``plan`` is the new one, once it is valid."""

    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget)
    days = forms.CharField(
        label="Numbers, a line a day",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8}),
        help_text="In the order in which they move; a comma between two numbers of the same day.",
    )
    why = forms.CharField(
        label="Why",
        max_length=500,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="In a few words; it is kept with the change.",
    )
    version = forms.IntegerField(widget=forms.HiddenInput, min_value=0)
    field_order = ("name", "days")

    plan: Plan

    def __init__(self, row: MigrationPlan, plan: Plan, state: PlanState, data: Any = None) -> None:
        self._row, self._before = row, plan
        self._labels = _e164(plan)
        # A number that was deleted cannot be written in a line, and stays where it was.
        self._gone = {each for each in plan.numbers if each not in self._labels}
        shown = {
            **terms_shown(plan),
            "name": row.name,
            "days": "\n".join(
                ", ".join(self._labels[each] for each in wave if each in self._labels)
                for wave in plan.waves
            ),
            "version": row.version,
        }
        super().__init__(data, initial=shown)
        if state.status != "draft":
            self.fields["days"].help_text += (
                f" The plan is on: its numbers stay, and so do the {len(state.opened)} days that "
                "have begun."
            )

    def clean(self) -> dict[str, Any]:
        """Make the plan, or say what of it cannot be."""
        cleaned = super().clean() or {}
        terms = self.terms_of(cleaned)
        waves = self._waves(cleaned)
        if self.errors:
            return cleaned
        terms["first_day"] = cleaned["first_day"] or first_day_proposed(cleaned["zone"])
        changed = set(self.changed_data)
        told = {
            name: terms[name] for name, fields in _OF_PLAN.items() if changed.intersection(fields)
        }
        gates = {
            name: getattr(terms["gates"], name)
            for name, field in _OF_GATES.items()
            if field in changed
        }
        try:
            self.plan = replace(
                self._before, waves=waves, gates=replace(self._before.gates, **gates), **told
            )
        except PlanError as error:
            self.add_error(None, _sentence(error))
        return cleaned

    def _waves(self, cleaned: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
        if "days" not in self.changed_data:
            return self._before.waves
        lines = [
            [normalised(word) for word in _SPLIT.split(line) if word]
            for line in str(cleaned.get("days") or "").splitlines()
        ]
        free = numbers_free(self._row.organisation).filter(
            number_e164__in=[each for line in lines for each in line]
        )
        known = {text: number_id for number_id, text in self._labels.items()}
        known |= {number.number_e164: str(number.pk) for number in free}
        unknown = sorted({each for line in lines for each in line if each not in known})
        if unknown:
            self.add_error(
                "days",
                f"{', '.join(unknown)}: no such number is here, or another plan that is on has "
                "it. Fix: write the numbers as in the list, e.g. +15550100001.",
            )
            return ()
        waves = [tuple(known[each] for each in line) for line in lines if line]
        if self._row.status == MigrationPlan.Status.DRAFT:
            return tuple(waves)
        for index, wave in enumerate(self._before.waves):
            gone = tuple(each for each in wave if each in self._gone)
            if gone and index < len(waves):
                waves[index] = (*waves[index], *gone)
            elif gone:
                waves.append(gone)
        return tuple(waves)


class EditDoor:
    """Mixin for the admin of plans: the page that changes one."""

    def edit_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Show the plan as a form, and change it on POST."""
        me: Any = self
        row: MigrationPlan = me._row(request, object_id)
        if not request.user.has_perm(CHANGES):
            raise PermissionDenied
        if row.status not in EDITABLE:
            raise Http404("A plan that has finished is not changed.")
        try:
            plan, state = plans.plan_of(row)
        except PlanError as error:
            messages.error(request, _sentence(error))
            return HttpResponseRedirect(_page_of(row))
        form = PlanEditForm(row, plan, state, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                plans.plan_change(
                    row=row,
                    name=form.cleaned_data["name"],
                    plan=form.plan,
                    actor=request.user,
                    why=form.cleaned_data["why"],
                    version=form.cleaned_data["version"],
                )
            except PlanError as error:
                form.add_error(None, _sentence(error))
            else:
                messages.success(request, "The plan is changed; its record says what.")
                return HttpResponseRedirect(_page_of(row))
        answer: HttpResponse = me._page(request, "edit", row, f"Change {row.name}", {"form": form})
        return answer


def _e164(plan: Plan) -> dict[str, str]:
    rows = PhoneNumber.objects.filter(pk__in=uuids_in(plan.numbers))
    return {str(pk): number for pk, number in rows.values_list("pk", "number_e164")}


def _page_of(row: MigrationPlan) -> str:
    return reverse("admin:calls_migrationplan_change", args=[row.pk])


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}"
