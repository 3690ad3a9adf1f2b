"""The form of a phone number: what it asks for, and what it refuses, each with what to do instead.

Writes nothing: the admin of numbers saves, and routes are set by ``number_routes``.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from assistants.models import Assistant
from calls.models import CallPolicy, PhoneNumber
from calls.numbers.switch.voice import Target
from calls.services.call_plan import connection_for
from calls.services.contract import contract_problem
from calls.services.handoffs import assistant_of_squad
from calls.services.number_routes import (
    RouteOrder,
    RoutePreview,
    overtaken,
    route_preview,
)
from calls.services.operators import desk_of
from calls.services.previous_targets import previous_problem, target_json
from calls.services.server_messages.targets import number_asks
from voiceplatform.base.phones import is_e164
from voiceplatform.base.scoped_admin import (
    ScopedForm,
)

_OPEN_ROUTES = frozenset({PhoneNumber.Route.DIRECT, PhoneNumber.Route.CANARY})


class PhoneNumberForm(ScopedForm):
    """A number; says in words what the database would refuse."""

    number_e164 = forms.CharField(
        label="Number",
        widget=UnfoldAdminTextInputWidget,
        help_text="With country code and without blanks, e.g. +15551230100.",
    )

    canary_sticky = forms.ChoiceField(
        label="A caller of a canary stays where they are",
        required=False,
        choices=PhoneNumber.Sticky.choices,
        widget=UnfoldAdminSelectWidget,
    )
    is_qualified = forms.BooleanField(
        label="May stand in for the old stack",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="When the old stack is down, callers of a number on route vapi are answered by "
        "the assistant. Tick it once the assistant has been tried.",
    )
    old_url = forms.CharField(
        label="Address of the old stack",
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="Where Twilio sent the calls before, if the move has not recorded it. Empty: "
        "what is recorded stays.",
    )
    route_why = forms.CharField(
        label="Why the route is changed",
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="Kept with the change, for whoever looks later.",
    )
    seen_version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    preview: RoutePreview | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("seen_version", self.instance.version)
        self.initial.setdefault("is_qualified", self.instance.qualified_at is not None)
        offered: Any = self.fields.get("assistant")
        if offered is not None and self.instance.squad_id and self.instance.assistant_id:
            # One that is written inside the squad is in no list, and is kept all the same.
            among = Q(pk__in=offered.queryset.values("pk")) | Q(pk=self.instance.assistant_id)
            offered.queryset = Assistant.objects.filter(among)

    def _is_current(self, cleaned: dict[str, Any]) -> None:
        """Refuse what was filled in over a route that somebody, or the guard, has changed since."""
        seen, stored = cleaned.get("seen_version"), self.stored
        if seen is not None and stored is not None and seen != stored.version:
            problem = overtaken(stored, seen)
            self.add_error(None, f"{problem.cause} {problem.fix}")

    @property
    def stored(self) -> PhoneNumber | None:
        """Return the number as it is, None for a new one."""
        row: PhoneNumber | None = PhoneNumber.objects.filter(pk=self.instance.pk).first()
        return row

    def order(self) -> RouteOrder:
        """Return the route that was asked for."""
        number = self.instance
        return RouteOrder(
            route=number.route,
            canary_percent=number.canary_percent or 0,
            sticky=str(self.cleaned_data.get("canary_sticky") or ""),
        )

    def _post_clean(self) -> None:
        """Judge the route with everything else of the form as it would be."""
        super()._post_clean()  # type: ignore[misc]  # not in the stubs
        if self.errors or "route" not in self.fields:
            return
        if not self.instance.canary_sticky:
            self.instance.canary_sticky = PhoneNumber.Sticky.CALLER
        if old_url := self.cleaned_data.get("old_url"):
            # Stored after the form's own columns; the route is judged as if it were.
            self.instance.previous_target = target_json(Target("url", url=old_url))
        self.preview = route_preview(self.instance, self.order())
        for problem in self.preview.errors:
            field = problem.field if problem.field in self.fields else "route"
            self.add_error(field, f"{problem.cause} Fix: {problem.fix}")

    def clean_number_e164(self) -> str:
        """Take E.164 only."""
        number = str(self.cleaned_data["number_e164"])
        if not is_e164(number):
            raise forms.ValidationError("Enter a number in the form +15551230100.")
        return number

    def clean_canary_sticky(self) -> str:
        """Keep what is stored where nothing was chosen."""
        return str(self.cleaned_data.get("canary_sticky") or self.instance.canary_sticky)

    def clean_old_url(self) -> str:
        """Take an address that can be asked, and none of ours."""
        url = str(self.cleaned_data.get("old_url") or "").strip()
        if url and (problem := previous_problem(url)):
            raise forms.ValidationError(problem)
        return url

    def _server_says_who_answers(self) -> bool:
        stored = PhoneNumber.objects.filter(pk=self.instance.pk).first()
        if stored is None:
            return False
        stored.assistant_id = None
        return number_asks(stored)

    def clean(self) -> dict[str, Any]:
        """Require assistant and reviewed policy where we answer (design.md 11), and ceilings."""
        cleaned = super().clean()
        squad = cleaned.get("squad")
        if squad is not None and not cleaned.get("assistant"):
            cleaned["assistant"] = assistant_of_squad(squad)
            if cleaned["assistant"] is None:
                self.add_error(
                    "squad",
                    "None of its assistants can answer yet: they are missing or not published. "
                    "Publish the first one, or choose another squad.",
                )
        if cleaned.get("route") in _OPEN_ROUTES:
            if not cleaned.get("assistant") and not self._server_says_who_answers():
                self.add_error(
                    "assistant",
                    "Choose who answers before calls come to us, or give the number a server that "
                    "names an assistant for each call.",
                )
            policy = cleaned.get("policy")
            if policy is None:
                self.add_error("policy", "Choose a call policy before calls come to us.")
            elif policy.reviewed_at is None:
                self.add_error("policy", "This policy is not marked as reviewed by counsel yet.")
            elif self._refuses_to_nobody(policy, cleaned):
                self.add_error(
                    "policy",
                    "This policy asks callers for consent and hands those who do not agree to a "
                    "person, but the number has no operator destination. Fix: choose one below, "
                    "or another effect in the policy.",
                )
            self._check_contract(cleaned)
        self._is_current(cleaned)
        for name, low, high, words in (
            ("canary_percent", 0, 100, "From 0 to 100."),
            ("max_call_seconds", 10, 14_400, "From 10 seconds to 14400 (4 hours)."),
        ):
            value = cleaned.get(name)
            if value is not None and not low <= value <= high:
                self.add_error(name, words)
        spend = cleaned.get("max_spend_usd")
        if spend is not None and spend <= 0:
            self.add_error("max_spend_usd", "More than 0: no call without a ceiling.")
        return cleaned

    def _refuses_to_nobody(self, policy: CallPolicy, cleaned: dict[str, Any]) -> bool:
        """Tell whether a caller who does not agree is promised a person whom nobody named."""
        asks = policy.recording_consent == CallPolicy.Consent.ASK
        if not asks or policy.on_refusal != CallPolicy.Refusal.HUMAN:
            return False
        organisation = cleaned.get("organisation") or getattr(self.instance, "organisation", None)
        desk = cleaned.get("operator_desk")
        return desk_of(PhoneNumber(organisation=organisation, operator_desk=desk)) is None

    def _check_contract(self, cleaned: dict[str, Any]) -> None:
        """Refuse a connection that the number's data may not go to (design.md 11)."""
        marks = {name: bool(cleaned.get(name)) for name in ("health_data", "eu_data")}
        organisation = cleaned.get("organisation") or getattr(self.instance, "organisation", None)
        number = PhoneNumber(
            organisation=organisation, connection=cleaned.get("connection"), **marks
        )
        connection = connection_for(number) if organisation is not None else None
        problem = contract_problem(number, connection) if connection is not None else ""
        if problem:
            self.add_error("connection", f"Choose another one: {problem}.")
