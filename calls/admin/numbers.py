"""Admin of phone numbers: who answers, under which policy, and whether calls arrive."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe

from calls.admin.dossier_page import dossier_urls
from calls.admin.move_pages import move_urls
from calls.admin.moving import moving_urls
from calls.admin.number_console import console_urls
from calls.admin.number_form import PhoneNumberForm
from calls.admin.words import ROUTE_COLOURS
from calls.models import Call, CallPolicy, NumberChange, PhoneNumber
from calls.numbers.schedule import schedule_stored
from calls.numbers.switch.voice import Target
from calls.services.call_plan import wording_for
from calls.services.consent_question import question_of
from calls.services.number_routes import (
    RouteRefused,
    previous_set,
    qualify,
    route_differs,
    route_set,
    route_words,
)
from calls.services.old_stacks import stack_words
from calls.services.operators import desk_of, preview
from calls.services.previous_targets import previous_of
from voiceplatform.base.redaction import redact_url
from voiceplatform.base.scoped_admin import (
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedRelatedFilter,
    badge,
)

# What ``route_set`` alone writes.
ROUTE_COLUMNS = frozenset({"route", "canary_percent", "canary_sticky"})
SHOWN_CHANGES = 8


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
    list_empty = "No route was changed yet. Routes are changed on a number's page under Moving."
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
