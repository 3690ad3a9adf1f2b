"""The page on which an operator talks to a revision through the browser, and the list of talks.

Owns who sees the page, its content policy and what the script is told. A talk begins only by POST
and is audited; its socket is ``calls.web``. Nothing that is said is on any other page.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from assistants.models import AssistantRevision
from calls.admin.words import ms_in_words, reason_in_words, seconds_in_words
from calls.models import Talk
from calls.services.talk import TOOLS_PERMISSION, TalkRefused, may_talk, talk_start, talk_token
from calls.services.talk_plan import is_standin, talk_choices, talk_connections
from tools.spec import SERVED_KINDS
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ScopedRelatedFilter, badge
from voiceplatform.base.selectors import rows_visible_to

_VIEW_REVISIONS = "assistants.view_assistantrevision"


def _revision(request: HttpRequest, object_id: int) -> AssistantRevision:
    rows = AssistantRevision.objects.select_related("assistant__organisation").defer(
        "document", "document_redacted", "server_url", "server_secret"
    )
    found: AssistantRevision | None = (
        rows_visible_to(rows, request.user, "assistant__organisation").filter(pk=object_id).first()
    )
    if found is None or not request.user.has_perm(_VIEW_REVISIONS):
        raise Http404("The revision was not found.")
    if not may_talk(request.user, found):
        raise PermissionDenied
    return found


def talk(request: HttpRequest, object_id: int) -> HttpResponse:
    """Show the page of one revision."""
    revision = _revision(request, object_id)
    assistant = revision.assistant
    connections = [
        {
            "id": str(each.row.pk),
            "name": each.row.name,
            "model": each.row.model,
            "is_standin": is_standin(each.row),
            "problem": each.problem,
        }
        for each in talk_choices(assistant)
    ]
    context = {
        **admin.site.each_context(request),
        "title": f"Talk to {assistant}",
        "assistant": assistant,
        "revision": revision,
        "is_live": revision.pk == assistant.current_revision_id,
        "is_draft": revision.pk == assistant.draft_revision_id,
        "connections": connections,
        "all_forbidden": bool(connections) and all(each["problem"] for each in connections),
        "may_call_tools": request.user.has_perm(TOOLS_PERMISSION),
        "tools_permission": TOOLS_PERMISSION,
        "tool_names": list(
            revision.tools.filter(deleted_at__isnull=True, type__in=SERVED_KINDS).values_list(
                "name", flat=True
            )
        ),
        "start_url": reverse("talk-start", args=[revision.pk]),
    }
    response = TemplateResponse(request, "admin/calls/talk.html", context)
    # Older browsers do not count a socket to the same address as 'self'.
    scheme = "wss" if request.is_secure() else "ws"
    response._csp_update = {  # type: ignore[attr-defined]  # django-csp reads it
        "connect-src": ["'self'", f"{scheme}://{request.get_host()}"]
    }
    response["Permissions-Policy"] = "microphone=(self), camera=(), geolocation=()"
    return response


def begin(request: HttpRequest, object_id: int) -> HttpResponse:
    """Begin a talk and answer the one address at which its socket opens, once and soon."""
    revision = _revision(request, object_id)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    organisation = revision.assistant.organisation
    wanted = request.POST.get("connection", "")
    chosen = next((c for c in talk_connections(organisation) if str(c.pk) == wanted), None)
    if chosen is None:
        return JsonResponse({"problem": "Choose a model connection."}, status=400)
    try:
        begun = talk_start(
            user=request.user,
            revision=revision,
            connection=chosen,
            calls_tools=request.POST.get("calls_tools") == "1",
        )
    except TalkRefused as refusal:
        return JsonResponse({"problem": f"Refused: {refusal}."}, status=403)
    return JsonResponse(
        {
            "socket": f"/web/media/{begun.pk}/{talk_token(begun)}",
            "is_standin": is_standin(chosen),
        },
        headers={"Cache-Control": "no-store"},
    )


@admin.register(Talk)
class TalkAdmin(ReadOnlyAdmin):
    """Talks through the browser: who, with what, how long, at what cost; not a word of them."""

    list_display = (
        *("created_at", "revision", "user", "tools_badge", "model"),
        *("length", "latency", "cost_usd", "outcome"),
    )
    list_filter = (
        *("calls_tools", "created_at"),
        ("revision__assistant", ScopedRelatedFilter),
    )
    search_fields = ("revision__assistant__name", "id")
    fields = (
        *("id", "organisation", "revision", "user", "connection", "model", "tools_badge"),
        *("created_at", "token_used_at", "ended_at", "outcome", "length", "turn_count"),
        *("tool_count", "first_word", "latency", "cost_usd"),
    )
    readonly_fields = ("tools_badge", "outcome", "length", "first_word", "latency")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave sealed columns in the database."""
        return (
            super()
            .get_queryset(request)
            .select_related("revision__assistant", "user", "connection", "organisation")
            .defer(
                *("revision__document", "revision__document_redacted", "revision__server_url"),
                *("revision__server_secret", "connection__api_key"),
            )
        )

    @badge(description="Tools", ordering="calls_tools", label={"called": "warning", "dry": "info"})
    def tools_badge(self, obj: Talk) -> str:
        """Say whether tool servers were really called."""
        return "called" if obj.calls_tools else "dry"

    @admin.display(description="Length", ordering="duration_seconds")
    def length(self, obj: Talk) -> str:
        """Return how long it lasted."""
        return seconds_in_words(obj.duration_seconds) if obj.ended_at else "–"

    @admin.display(description="First word")
    def first_word(self, obj: Talk) -> str:
        """Return the time from the start to the first sound."""
        return ms_in_words(obj.first_word_ms)

    @admin.display(description="Answers after", ordering="turn_latency_p50_ms")
    def latency(self, obj: Talk) -> str:
        """Return the middle of the times from end of speech to first sound."""
        return ms_in_words(obj.turn_latency_p50_ms)

    @admin.display(description="Outcome", ordering="ended_reason")
    def outcome(self, obj: Talk) -> str:
        """Say how it ended."""
        if obj.ended_reason == "customer-ended-call":
            return "Stopped by the person"
        if obj.ended_reason:
            return reason_in_words(obj.ended_reason)
        return "on, or its end was not stored" if obj.token_used_at else "never connected"
