"""Admin of phone numbers: who answers, under which policy, and whether calls arrive."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextInputWidget

from assistants.models import Assistant
from calls.admin.dossier_page import dossier_urls
from calls.admin.move_pages import move_urls
from calls.admin.moving import moving_urls
from calls.admin.number_console import console_urls
from calls.admin.words import ROUTE_COLOURS
from calls.models import Call, CallPolicy, PhoneNumber
from calls.services.call_plan import connection_for, wording_for
from calls.services.consent_question import question_of
from calls.services.contract import contract_problem
from calls.services.handoffs import assistant_of_squad
from calls.services.operators import desk_of, preview
from calls.services.server_messages.targets import number_asks
from voiceplatform.base.phones import is_e164
from voiceplatform.base.scoped_admin import ScopedAdmin, ScopedForm, ScopedRelatedFilter, badge

_OPEN_ROUTES = frozenset({PhoneNumber.Route.DIRECT, PhoneNumber.Route.CANARY})


class PhoneNumberForm(ScopedForm):
    """A number; says in words what the database would refuse."""

    number_e164 = forms.CharField(
        label="Number",
        widget=UnfoldAdminTextInputWidget,
        help_text="With country code and without blanks, e.g. +15551230100.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered: Any = self.fields.get("assistant")
        if offered is not None and self.instance.squad_id and self.instance.assistant_id:
            # One that is written inside the squad is in no list, and is kept all the same.
            among = Q(pk__in=offered.queryset.values("pk")) | Q(pk=self.instance.assistant_id)
            offered.queryset = Assistant.objects.filter(among)

    def clean_number_e164(self) -> str:
        """Take E.164 only."""
        number = str(self.cleaned_data["number_e164"])
        if not is_e164(number):
            raise forms.ValidationError("Enter a number in the form +15551230100.")
        return number

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
        if cleaned.get("route") == PhoneNumber.Route.CANARY:
            # Until calls can be handed back to Vapi, a canary would take every caller.
            self.add_error(
                "route", "A canary needs the hand-over to Vapi, which comes with a later version."
            )
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


@admin.register(PhoneNumber)
class PhoneNumberAdmin(ScopedAdmin):
    """Numbers with their route."""

    form = PhoneNumberForm
    change_form_outer_before_template = "admin/calls/phonenumber/before_form.html"
    list_display = (
        *("number", "name", "route_badge", "assistant", "policy_state"),
        *("last_call", "calls_today"),
    )
    list_filter = ("route", ("assistant", ScopedRelatedFilter), ("policy", ScopedRelatedFilter))
    list_select_related = ("assistant", "policy")
    search_fields = ("number_e164", "name")
    autocomplete_fields = (
        *("twilio_account", "assistant", "squad", "connection", "policy", "operator_desk"),
    )
    field_labels = {  # noqa: RUF012 - never changed in place
        "canary_percent": "Share of callers in a canary (percent)",
        "connection": "Model connection",
        "policy": "Call policy",
        "health_data": "Health data (PHI)",
        "eu_data": "Data stays in the EU",
        "operator_desk": "Operator destination",
        "fallback_message": "Last words",
        "max_call_seconds": "Longest call (seconds)",
        "max_tool_calls": "Most tool calls",
        "max_spend_usd": "Most money spent (USD)",
        "twilio_sid": "Twilio's id of the number",
    }
    readonly_fields = (
        *("id", "previous_voice_url", "right_now", "said_first", "created_at", "updated_at"),
    )
    fieldsets = (
        (None, {"fields": ("organisation", "number_e164", "name")}),
        (
            "Who answers",
            {
                "fields": (
                    *("route", "canary_percent", "assistant", "squad", "connection", "policy"),
                    "said_first",
                ),
                "description": "vapi: the old stack answers. canary: a share of callers comes to "
                "us, always the same ones. direct: we answer every call. paused: callers hear "
                "that the line is closed.",
            },
        ),
        (
            "Callers' data",
            {
                "fields": ("health_data", "eu_data"),
                "description": "A marked number never uses a model connection whose contract does "
                "not allow it: calls are declined instead.",
            },
        ),
        (
            "A person, always",
            {
                "fields": ("operator_desk", "right_now", "fallback_message"),
                "description": "When the model cannot be reached: the old stack while the phone "
                "still rings, then the operator destination, then the last words.",
            },
        ),
        (
            "Ceilings of one call",
            {
                "fields": ("max_call_seconds", "max_tool_calls", "max_spend_usd"),
                "description": "A call that reaches one of these is ended.",
            },
        ),
        (
            "Twilio",
            {"fields": ("twilio_account", "twilio_sid", "previous_voice_url")},
        ),
        ("Technical", {"fields": ("id", "created_at", "updated_at"), "classes": ("collapse",)}),
    )

    def get_urls(self) -> list[Any]:
        """Add the pages on which numbers are moved."""
        pages = (*moving_urls(self), *console_urls(self), *move_urls(self), *dossier_urls(self))
        return [*pages, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Look up the last call and today's count along, each by the index of its number."""
        calls = Call.objects.filter(
            organisation=OuterRef("organisation"), number=OuterRef("pk")
        ).order_by("-created_at")
        today = calls.filter(created_at__gte=midnight()).order_by()
        counted = today.values("number").annotate(total=Count("pk")).values("total")
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                last_call_at=Subquery(calls.values("created_at")[:1]),
                today_total=Coalesce(Subquery(counted, output_field=IntegerField()), 0),
            )
        )
        return rows

    @admin.display(description="A person, right now")
    def right_now(self, obj: PhoneNumber | None) -> str:
        """Say whom a caller who asks for a person would reach at this moment."""
        if obj is None or obj._state.adding:
            return "Save the number, then this says whom a caller would reach at that moment."
        return preview(desk_of(obj))

    @admin.display(description="What callers are told first")
    def said_first(self, obj: PhoneNumber | None) -> str:
        """Return the policy's line in the assistant's language, and the question it asks."""
        if obj is None or obj.policy is None:
            return "Choose a call policy and save, then this shows its line."
        language = revision_language(obj)
        wording = wording_for(obj.policy, language)
        if wording is None:
            return "The policy has no line yet."
        asks = obj.policy.recording_consent == CallPolicy.Consent.ASK
        if not asks:
            return wording.text
        return f"{wording.text} – {question_of(Call(number=obj, policy_wording=wording)).question}"

    @badge(description="Route", ordering="route", label=ROUTE_COLOURS)
    def route_badge(self, obj: PhoneNumber) -> Any:
        """Return the route as a badge; a canary with its share."""
        if obj.route == PhoneNumber.Route.CANARY:
            return obj.route, f"canary {obj.canary_percent}%"
        return obj.route

    @badge(
        description="Policy",
        ordering="policy__name",
        label={"reviewed": "success", "not reviewed": "danger", "none": "warning"},
    )
    def policy_state(self, obj: PhoneNumber) -> Any:
        """Say whether counsel agreed to the number's policy."""
        if obj.policy is None:
            return "none", "no policy"
        return "reviewed" if obj.policy.reviewed_at else "not reviewed"

    @admin.display(description="Number", ordering="number_e164")
    def number(self, obj: PhoneNumber) -> str:
        """Return the number."""
        return obj.number_e164

    @admin.display(description="Last call", ordering="last_call_at")
    def last_call(self, obj: Any) -> Any:
        """Return when it last rang."""
        return obj.last_call_at

    @admin.display(description="Calls today", ordering="today_total")
    def calls_today(self, obj: Any) -> int:
        """Count the calls since midnight UTC."""
        return int(obj.today_total)


def revision_language(number: PhoneNumber) -> str:
    """Return the language of a number's published assistant; English without one."""
    revision = number.assistant.current_revision if number.assistant is not None else None
    return revision.language if revision is not None else "en"


def midnight() -> dt.datetime:
    """Return the beginning of today, UTC."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
