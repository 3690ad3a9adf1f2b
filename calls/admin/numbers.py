"""Admin of phone numbers: who answers, under which policy, and whether calls arrive."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from assistants.models import Assistant
from calls.admin.dossier_page import dossier_urls
from calls.admin.move_pages import move_urls
from calls.admin.moving import moving_urls
from calls.admin.number_console import console_urls
from calls.admin.words import ROUTE_COLOURS
from calls.models import Call, CallPolicy, NumberChange, PhoneNumber
from calls.numbers.schedule import schedule_stored
from calls.numbers.switch.voice import Target
from calls.services.call_plan import connection_for, wording_for
from calls.services.consent_question import question_of
from calls.services.contract import contract_problem
from calls.services.handoffs import assistant_of_squad
from calls.services.number_routes import (
    RouteOrder,
    RoutePreview,
    RouteRefused,
    overtaken,
    previous_set,
    qualify,
    route_differs,
    route_preview,
    route_set,
    route_words,
)
from calls.services.old_stacks import stack_words
from calls.services.operators import desk_of, preview
from calls.services.previous_targets import previous_of, previous_problem, target_json
from calls.services.server_messages.targets import number_asks
from voiceplatform.base.phones import is_e164
from voiceplatform.base.redaction import redact_url
from voiceplatform.base.scoped_admin import (
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    ScopedRelatedFilter,
    badge,
)

# What ``route_set`` alone writes.
ROUTE_COLUMNS = frozenset({"route", "canary_percent", "canary_sticky"})
SHOWN_CHANGES = 8
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
        "patience_ms": "Longest wait for the old stack (milliseconds)",
        "previous_asks": "The old stack asks a server who answers",
        "voice_region": "Twilio region of its calls",
    }
    readonly_fields = (
        *("id", "before_us", "right_now", "said_first", "created_at", "updated_at"),
        *("schedule_words", "qualified_words", "last_changes", "old_stack_words"),
    )
    overtaken_by = (*ScopedAdmin.overtaken_by, RouteRefused)
    fieldsets = (
        (None, {"fields": ("organisation", "number_e164", "name")}),
        (
            "Who answers",
            {
                "fields": (
                    *("route", "canary_percent", "canary_sticky", "schedule_words"),
                    *("route_why", "assistant", "squad", "connection", "policy"),
                    *("said_first", "seen_version"),
                ),
                "description": "vapi: the old stack answers. canary: a share of callers comes to "
                "us. direct: we answer every call. paused: callers hear that the line is closed.",
            },
        ),
        (
            "The old stack",
            {
                "fields": (
                    *("before_us", "old_url", "patience_ms", "previous_asks", "old_stack_words"),
                    *("is_qualified", "qualified_words"),
                ),
                "description": "Calls that are not ours are handed to the stack that had the "
                "number before, as Twilio would ask it.",
            },
        ),
        ("Changes of the route", {"fields": ("last_changes",)}),
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
            {"fields": ("twilio_account", "twilio_sid", "voice_region")},
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

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save what is no route, then set the route where all routes are set.

        A number that is new begins on route vapi, and the form leaves what it does not show alone:
        somebody, or the guard, may have written it meanwhile.
        """
        order = form.order()
        if change:
            shown = {field.name for field in obj._meta.concrete_fields} & set(form.fields)
            obj.save(update_fields=[*sorted(shown - ROUTE_COLUMNS), "updated_at"])
            self.audit(request, "phonenumber.update", obj, fields=form.changed_data)
        else:
            obj.route, obj.canary_percent = PhoneNumber.Route.VAPI, 0
            super().save_model(request, obj, form, change)
        cleaned = form.cleaned_data
        if cleaned.get("old_url"):
            previous_set(obj, Target("url", url=cleaned["old_url"]))
        why = str(cleaned.get("route_why") or "")
        if "is_qualified" in cleaned:
            qualify(number=obj, is_qualified=cleaned["is_qualified"], actor=request.user, why=why)
        if route_differs(obj.pk, order):
            route_set(
                number_id=obj.pk,
                order=order,
                actor=request.user,
                why=why,
                expected_version=cleaned.get("seen_version") if change else None,
            )
        for problem in form.preview.problems if form.preview is not None else ():
            self.message_user(request, f"{problem.cause} {problem.fix}", messages.WARNING)

    @admin.display(description="At certain hours")
    def schedule_words(self, obj: PhoneNumber | None) -> str:
        """Say when the route holds, with the way to change it."""
        if obj is None or obj._state.adding:
            return "Save the number, then its hours can be set."
        page = reverse("admin:calls_phonenumber_route", args=[obj.pk])
        plan = schedule_stored(obj.schedule)
        said = "The route always holds." if plan is None else f"{route_words(obj)}."
        return format_html('{} <a href="{}">Change the hours</a>', said, page)

    @admin.display(description="Where calls went before")
    def before_us(self, obj: PhoneNumber | None) -> str:
        """Say where calls went before; an address may hold a token, which is masked."""
        if obj is None or obj._state.adding:
            return "Read from Twilio when the number is moved, or enter it below."
        target = previous_of(obj)
        if target.problem:
            return target.problem
        return f"{target.voice.method} {redact_url(target.voice.url)}"

    @admin.display(description="How it fares")
    def old_stack_words(self, obj: PhoneNumber | None) -> str:
        """Say whether the old stack answers, as its last calls show."""
        if obj is None or obj._state.adding:
            return "–"
        return stack_words(obj)

    @admin.display(description="Since")
    def qualified_words(self, obj: PhoneNumber | None) -> str:
        """Say who let the assistant stand in, and when."""
        if obj is None or obj.qualified_at is None:
            return "–"
        return f"{obj.qualified_at:%Y-%m-%d %H:%M} UTC, {obj.qualified_by}"

    @admin.display(description="The last ones")
    def last_changes(self, obj: PhoneNumber | None) -> str:
        """List who changed the route lately, and why."""
        if obj is None or obj._state.adding:
            return "–"
        lines = [
            (f"{each.created_at:%Y-%m-%d %H:%M} UTC", each.who, str(each), each.why or "–")
            for each in obj.changes.all()[:SHOWN_CHANGES]
        ]
        return format_html_join(mark_safe("<br>"), "{} · {}: {} ({})", lines) or "none yet"

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


@admin.register(NumberChange)
class NumberChangeAdmin(ReadOnlyAdmin):
    """Every change of a route, by whomever."""

    list_display = ("created_at", "number", "words", "who", "why", "kind")
    list_filter = ("kind", ("number", ScopedRelatedFilter))
    list_select_related = ("number",)
    search_fields = ("number__number_e164", "who", "why")
    date_hierarchy = None
    list_hint = "Who changed who answers a number, when and why: people, plans, moves, the guard."
    fields = ("created_at", "number", "words", "who", "why", "kind", "evidence")

    @admin.display(description="Change")
    def words(self, obj: NumberChange) -> str:
        """Return the route before and after."""
        return str(obj)


def revision_language(number: PhoneNumber) -> str:
    """Return the language of a number's published assistant; English without one."""
    revision = number.assistant.current_revision if number.assistant is not None else None
    return revision.language if revision is not None else "en"


def midnight() -> dt.datetime:
    """Return the beginning of today, UTC."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
