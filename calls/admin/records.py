"""Admin of calls and what was recorded of them; everything is read-only.

What was said is shown on the page of a call (``call_page``) and where it is searched
(``spoken_page``), to people with ``calls.view_transcript``, and every view is audited.
"""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html

from calls.admin.call_page import PERMISSION, call_outcome, call_page
from calls.admin.live_page import live_urls
from calls.admin.recordings import recording_urls
from calls.admin.spoken_page import may_search, said_urls, search_in_list
from calls.admin.words import (
    STATUS_COLOURS,
    clock,
    failure_marks,
    is_failure,
    ms_in_words,
    reason_in_words,
    seconds_in_words,
)
from calls.doctor.explain import explain
from calls.models import Call, CallInputChunk, Turn
from calls.services.spoken_audit import MOST_IDS
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ScopedRelatedFilter, badge

_SEALED = (
    *("revision__document", "revision__server_url", "revision__server_secret"),
    *("connection__api_key", "metrics", "next_step"),
)


def failed_calls() -> Q:
    """Return the condition of calls that we or a provider broke."""
    condition = Q()
    for mark in failure_marks():
        condition |= Q(ended_reason__contains=mark)
    return condition


class FailedFilter(admin.SimpleListFilter):
    """Calls that broke, and those that did not."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("failed", "Something broke"), ("fine", "Ended as it should")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        if self.value() == "failed":
            return queryset.filter(failed_calls())
        if self.value() == "fine":
            return queryset.filter(status=Call.Status.ENDED).exclude(failed_calls())
        return queryset


@admin.register(Call)
class CallAdmin(ReadOnlyAdmin):
    """Calls; the page of one is ``call_page``."""

    change_form_template = "admin/calls/call/change_form.html"
    list_display = (
        *("when", "caller_shown", "number_shown", "assistant", "status_badge"),
        *("outcome", "duration", "cost", "first_word"),
    )
    list_filter = (
        *("status", FailedFilter, "created_at", "stack"),
        *(("number", ScopedRelatedFilter), ("revision__assistant", ScopedRelatedFilter)),
    )
    # Beginnings and whole ids only: a search inside a million rows would read them all.
    search_fields = (
        *("caller__startswith", "callee__startswith", "call_sid__exact", "id__iexact"),
    )
    search_help_text = (
        "Beginning of a number with +, a whole Twilio call SID, a whole call id, or, for those who "
        "may read transcripts, words that were said"
    )
    list_before_template = "admin/calls/call/list_before.html"
    hidden_lookups = (
        "turns",
        "tool_invocations",
        "input_chunks",
        "media_token_hash",
        "events",
        "recording",
    )
    fields = ("call_sid",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave sealed and bulky columns in the database; the page fetches what it needs."""
        rows = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == "calls_call_change":
            return rows.select_related(
                *("number", "revision__assistant", "connection", "organisation"),
                "policy_wording__policy",
            ).defer(*_SEALED[:4], "policy_wording__audio_mulaw")
        return rows.select_related(
            "number", "revision__assistant", "connection", "organisation"
        ).defer(*_SEALED)

    @admin.display(description="When", ordering="created_at")
    def when(self, obj: Call) -> Any:
        """Return when it rang."""
        return obj.created_at

    @admin.display(description="From", ordering="caller")
    def caller_shown(self, obj: Call) -> str:
        """Return the caller."""
        return obj.caller or "withheld"

    @admin.display(description="To", ordering="callee")
    def number_shown(self, obj: Call) -> str:
        """Return the number's name, or the number."""
        return obj.number.name or obj.number.number_e164 if obj.number else obj.callee

    @admin.display(description="Assistant", ordering="revision__assistant__name")
    def assistant(self, obj: Call) -> str:
        """Return who answered."""
        return f"{obj.revision.assistant} r{obj.revision.number}" if obj.revision else "–"

    @badge(description="Status", ordering="status", label=STATUS_COLOURS)
    def status_badge(self, obj: Call) -> Any:
        """Return the status as a badge."""
        return obj.status, str(obj.get_status_display()).lower()

    @admin.display(description="Outcome", ordering="ended_reason")
    def outcome(self, obj: Call) -> str:
        """Return the ended reason in words; marked when something broke."""
        words = reason_in_words(obj.ended_reason)
        if is_failure(obj.ended_reason):
            return format_html(
                '<a href="{}"><span class="vp-badge vp-badge-danger">{}</span></a>',
                reverse("admin:calls_call_why", args=[obj.pk]),
                words,
            )
        return words or "–"

    def get_urls(self) -> list[Any]:
        """Add the page that says why a call failed."""
        why = self.admin_site.admin_view(self.why_view)
        own = path("<uuid:object_id>/why/", why, name="calls_call_why")
        return [*live_urls(self), *recording_urls(self), *said_urls(self), own, *super().get_urls()]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find calls by what was said in them too."""
        rows, may_repeat = super().get_search_results(request, queryset, search_term)
        said = search_in_list(request, queryset, search_term) if search_term else None
        return (rows if said is None else rows | said), may_repeat

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Lead to the words that were found."""
        extra = {**(extra_context or {}), "most_said": MOST_IDS}
        if may_search(request):
            words = {"words": request.GET["q"]} if request.GET.get("q") else {}
            extra["said_url"] = f"{reverse('admin:calls_call_said')}?{urlencode(words)}"
        return super().changelist_view(request, extra)

    def why_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Say in plain words what went wrong in a call; nothing that was said."""
        call = self.get_object(request, str(object_id))
        if call is None or not self.has_view_permission(request, call):
            raise Http404("The call was not found.")
        failed = is_failure(call.ended_reason)
        context = {
            **self.admin_site.each_context(request),
            "title": "Why did this call fail?" if failed else "Nothing failed in this call",
            "opts": self.opts,
            "call": call,
            "outcome": call_outcome(call),
            "failed": failed,
            "findings": explain(call),
            "refusals_url": (
                reverse("admin:calls_refusedrequest_changelist")
                if request.user.has_perm("calls.view_refusedrequest")
                else ""
            ),
        }
        return TemplateResponse(request, "admin/calls/call/why.html", context)

    @admin.display(description="Duration", ordering="duration_seconds")
    def duration(self, obj: Call) -> str:
        """Return the duration in words."""
        return seconds_in_words(obj.duration_seconds) if obj.ended_at else "–"

    @admin.display(description="Cost", ordering="cost_usd")
    def cost(self, obj: Call) -> str:
        """Return the cost in USD."""
        return f"${obj.cost_usd:.3f}"

    @admin.display(description="First word", ordering="first_word_ms")
    def first_word(self, obj: Call) -> str:
        """Return how long the caller waited for the first word."""
        return ms_in_words(obj.first_word_ms)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Render the page of a call; record that its transcript was looked at."""
        call = self.get_object(request, object_id) if object_id else None
        if call is None or not self.has_view_permission(request, call):
            return super().changeform_view(request, object_id, form_url, extra_context)
        may_read = bool(request.user.has_perm(PERMISSION))
        if may_read:
            self.audit(request, "transcript.view", call, through="admin")
        context = {
            **(extra_context or {}),
            "call_page": call_page(call, may_read=may_read),
            "outcome": call_outcome(call),
        }
        return super().changeform_view(request, object_id, form_url, context)


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin):
    """When who spoke; what was said is on the page of the call."""

    organisation_path = "call__organisation"
    list_display = ("call", "ordinal", "speaker", "begins", "interrupted", "latency")
    list_filter = ("role", "interrupted")
    list_select_related = ("call",)
    search_fields = ("call__call_sid__exact", "call__id__iexact")
    ordering = ("-id",)
    hidden_lookups = ("text", "text_unheard", "item_id")
    fields = ("call", "ordinal", "speaker", "begins", "ends", "interrupted", "latency")
    readonly_fields = ("speaker", "begins", "ends", "latency")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Do not even fetch what was said."""
        return super().get_queryset(request).defer("text", "text_unheard")

    @badge(
        description="Speaker",
        ordering="role",
        label={"user": "info", "assistant": "primary", "system": "warning"},
    )
    def speaker(self, obj: Turn) -> Any:
        """Return who spoke."""
        return obj.role, str(obj.get_role_display()).lower()

    @admin.display(description="Begins at", ordering="started_ms")
    def begins(self, obj: Turn) -> str:
        """Return the position in the call."""
        return clock(obj.started_ms)

    @admin.display(description="Ends at", ordering="ended_ms")
    def ends(self, obj: Turn) -> str:
        """Return the position in the call."""
        return clock(obj.ended_ms) if obj.ended_ms is not None else "–"

    @admin.display(description="Answered after", ordering="latency_ms")
    def latency(self, obj: Turn) -> str:
        """Return how long the caller waited."""
        return ms_in_words(obj.latency_ms)


@admin.register(CallInputChunk)
class CallInputChunkAdmin(ReadOnlyAdmin):
    """Pieces of recorded inputs; their content is for ``replay_call`` only."""

    organisation_path = "call__organisation"
    list_display = ("call", "stream_number", "ordinal", "created_at")
    list_select_related = ("call",)
    search_fields = ("call__call_sid__exact", "call__id__iexact")
    ordering = ("-id",)
    hidden_lookups = ("data",)
    fields = ("call", "stream_number", "ordinal", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Do not even fetch the content."""
        return super().get_queryset(request).defer("data")
