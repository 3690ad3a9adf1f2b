"""Admin of tool calls: which were made, what was sent and answered, what checks found.

Machine-written rows, read-only. What a tool was asked and what it answered may repeat what was
said: it is shown with ``calls.view_transcript`` only, and every view is audited.
"""

from __future__ import annotations

import json
import re
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from assistants.models import ImportRun
from calls.admin.call_page import PERMISSION
from calls.admin.words import clock, ms_in_words
from calls.models import SilentHost, ToolCheck, ToolExchange, ToolInvocation
from calls.services.tool_check import check_start
from calls.services.tool_records import exchange_bodies
from calls.services.tool_try import PERMISSION as PERMISSION_TO_TRY
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ScopedRelatedFilter, badge
from voiceplatform.base.selectors import organisations_visible_to, rows_visible_to, uuids_in

STATE_COLOURS = {
    "running": "primary",
    "ok": "success",
    "error": "danger",
    "timeout": "warning",
    "refused": "warning",
}
_CALL_SID = re.compile("CA[0-9a-f]{32}")
VERDICT_COLOURS = {"unknown": "info", "ok": "success", "unsure": "warning", "failed": "danger"}
_SEALED_OF_TOOLS = (
    *("document", "document_redacted", "server_url", "server_secret", "server_headers"),
    *("parameters", "messages", "destinations", "description"),
)


def sealed(prefix: str) -> list[str]:
    """Return the bulky and sealed columns of a tool that is fetched along as ``prefix``."""
    return [f"{prefix}__{name}" for name in _SEALED_OF_TOOLS]


@admin.register(ToolInvocation)
class ToolInvocationAdmin(ReadOnlyAdmin):
    """Which tools were used; arguments and outputs are on the page of the call."""

    list_display = ("when", "name", "state_badge", "status", "took", "attempts", "call_shown")
    list_filter = ("state", ("tool", ScopedRelatedFilter), "created_at")
    list_select_related = ("call", "exchange")
    search_fields = ("name__startswith", "call__call_sid__exact", "call__id__iexact")
    search_help_text = "Beginning of a tool's name, a whole Twilio call SID, or a whole call id"
    ordering = ("-id",)
    list_hint = (
        "Every function call of an assistant, newest first: what it was for stands on the page of "
        "its call, what was sent to the tool server on the page of its request."
    )
    hidden_lookups = ("arguments_json", "output", "exchange")
    fields = (
        *("call", "tool_call_id", "name", "tool", "state_badge", "created_at", "begins"),
        *("took", "status", "attempts", "exchange"),
    )
    readonly_fields = ("state_badge", "begins", "took", "status", "attempts")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Do not even fetch what was passed and answered."""
        rows = ToolInvocation.objects.order_by(*self.get_ordering(request))
        if not request.user.is_superuser:
            # By value and not by a join: only so is the index by organisation walked in order.
            own = organisations_visible_to(request.user).values_list("pk", flat=True)
            rows = rows.filter(organisation__in=list(own))
        return rows.defer("arguments_json", "output", "exchange__content")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look for what the term is by its form: one condition that an index serves, not three."""
        term = search_term.strip()
        call_ids = uuids_in([term])
        if call_ids:
            return queryset.filter(call__in=call_ids), False
        if _CALL_SID.fullmatch(term):
            return queryset.filter(call__call_sid=term), False
        return (queryset.filter(name__startswith=term) if term else queryset), False

    @admin.display(description="When", ordering="id")
    def when(self, obj: ToolInvocation) -> Any:
        """Return when it was stored."""
        return obj.created_at or "–"

    @admin.display(description="Call")
    def call_shown(self, obj: ToolInvocation) -> str:
        """Lead to where it stands in the conversation."""
        url = reverse("admin:calls_call_change", args=[obj.call_id])
        return format_html('<a href="{}#tool-{}">{}</a>', url, obj.pk, obj.call)

    @badge(description="Result", ordering="state", label=STATE_COLOURS)
    def state_badge(self, obj: ToolInvocation) -> Any:
        """Return the state as a badge."""
        return obj.state, str(obj.get_state_display()).lower()

    @admin.display(description="Begins at", ordering="started_ms")
    def begins(self, obj: ToolInvocation) -> str:
        """Return the position in the call."""
        return clock(obj.started_ms)

    @admin.display(description="Took", ordering="duration_ms")
    def took(self, obj: ToolInvocation) -> str:
        """Return the duration."""
        return ms_in_words(obj.duration_ms)

    @admin.display(description="Answered with")
    def status(self, obj: ToolInvocation) -> str:
        """Return what the server answered with, or why it did not; '–' where nothing was sent."""
        return answered_with(obj.exchange) if obj.exchange else "–"

    @admin.display(description="Attempts")
    def attempts(self, obj: ToolInvocation) -> Any:
        """Return how often it was sent."""
        return obj.exchange.attempts if obj.exchange else "–"


def answered_with(exchange: ToolExchange) -> str:
    """Return the status of an answer, or why none came."""
    return f"HTTP {exchange.status}" if exchange.status else exchange.error or "no answer"


@admin.register(ToolExchange)
class ToolExchangeAdmin(ReadOnlyAdmin):
    """What was sent to tool servers and what came back, without secrets."""

    organisation_path = "call__organisation"
    list_display = ("created_at", "host", "answer", "took", "attempts", "call_shown")
    list_filter = ("created_at",)
    list_select_related = ("call",)
    search_fields = ("host__startswith", "call__call_sid__exact", "call__id__iexact")
    search_help_text = "Beginning of a host, a whole Twilio call SID, or a whole call id"
    ordering = ("-id",)
    list_hint = (
        "Every request to a tool server, newest first. One request carries all calls of one "
        "answer of the model that go to the same server."
    )
    hidden_lookups = ("content", "url_shown")
    readonly_fields = (
        *("address", "answer", "took", "sizes", "tool_calls"),
        *("request_shown", "response_shown"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the bodies in the database; the page of one fetches them."""
        return super().get_queryset(request).defer("content")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Show the bodies only to people who may read transcripts."""
        fields = ["call", "created_at", "address", "answer", "took", "attempts", "sizes"]
        fields.append("tool_calls")
        if request.user.has_perm(PERMISSION):
            fields += ["request_shown", "response_shown"]
        return fields

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Record that bodies, which repeat what was said, were looked at."""
        obj = kwargs.get("obj")
        if obj is not None and request.user.has_perm(PERMISSION):
            self.audit(request, "transcript.view", obj, through="tool request")
        return super().render_change_form(request, *args, **kwargs)

    @admin.display(description="Sent to")
    def address(self, obj: ToolExchange) -> str:
        """Return the address without secrets."""
        return obj.url_shown or obj.host

    @admin.display(description="Answered with", ordering="status")
    def answer(self, obj: ToolExchange) -> str:
        """Return what the server answered with, or why it did not."""
        return answered_with(obj)

    @admin.display(description="Took", ordering="duration_ms")
    def took(self, obj: ToolExchange) -> str:
        """Return the duration."""
        return ms_in_words(obj.duration_ms)

    @admin.display(description="Call")
    def call_shown(self, obj: ToolExchange) -> str:
        """Return the call."""
        return str(obj.call)

    @admin.display(description="Sizes")
    def sizes(self, obj: ToolExchange) -> str:
        """Return how large both bodies were on the wire."""
        return f"{obj.request_bytes:,} bytes sent, {obj.response_bytes:,} received"

    @admin.display(description="Function calls")
    def tool_calls(self, obj: ToolExchange) -> str:
        """Return the function calls it carried."""
        names = obj.invocations.order_by("id").values_list("name", flat=True)[:20]
        return ", ".join(names) or "–"

    @admin.display(description="Sent, without secrets")
    def request_shown(self, obj: ToolExchange) -> SafeString:
        """Return the request as a block."""
        return block(exchange_bodies(obj).request)

    @admin.display(description="Came back, without secrets")
    def response_shown(self, obj: ToolExchange) -> SafeString:
        """Return the answer as a block."""
        return block(exchange_bodies(obj).response)


def block(text: str) -> SafeString:
    """Return a body as an escaped block, indented where it is JSON."""
    return format_html('<pre class="vp-json">{}</pre>', indented(text) or "nothing is kept")


def indented(text: str) -> str:
    """Indent JSON; leave other text as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


@admin.register(ToolCheck)
class ToolCheckAdmin(ReadOnlyAdmin):
    """What the last check of each tool's server found, and the way to check all of them."""

    list_before_template = "admin/tools/tool/check_start.html"
    list_hint = (
        "Whether the servers of your tools would answer a call now. A check asks each server for "
        "nothing but its certificate and a HEAD request, which no handler takes for a call; a "
        "test request is sent only where the owner of the server allows it."
    )
    list_display = ("tool", "verdict_badge", "kind", "what", "fix", "checked_at")
    list_filter = ("verdict", "allows_marked_call", "checked_at")
    search_fields = ("tool__name", "tool__server_url_host")
    ordering = ("tool__name", "id")
    hidden_lookups = ("answers",)
    fields = (
        *("organisation", "tool", "verdict_badge", "kind", "checked_at", "answers_shown"),
        *("allows_marked_call", "allowed_by", "allowed_at"),
    )
    readonly_fields = ("verdict_badge", "kind", "answers_shown")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave sealed columns of the tools in the database."""
        rows = super().get_queryset(request).select_related("tool", "organisation")
        return rows.defer(*sealed("tool"))

    def get_urls(self) -> list[Any]:
        """Add what the button of a check posts to."""
        start = self.admin_site.admin_view(self.start_view)
        return [path("start/", start, name="calls_toolcheck_start"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Offer to check all servers to those who may send test requests."""
        may_start = request.user.has_perm(PERMISSION_TO_TRY)
        organisations = organisations_visible_to(request.user).order_by("created_at")
        extra = {
            **(extra_context or {}),
            "check_organisations": list(organisations) if may_start else [],
        }
        return super().changelist_view(request, extra)

    def start_view(self, request: HttpRequest) -> HttpResponse:
        """Begin a check of an organisation or of one import; only by POST, since it asks servers.

        An import that the person cannot see is none.
        """
        back = HttpResponseRedirect(reverse("admin:calls_toolcheck_changelist"))
        if request.method != "POST":
            return back
        if not request.user.has_perm(PERMISSION_TO_TRY):
            raise PermissionDenied
        run = None
        organisations = organisations_visible_to(request.user)
        if request.POST.get("run"):
            wanted = uuids_in([request.POST["run"]])
            runs = rows_visible_to(ImportRun.objects.defer("files"), request.user, "organisation")
            run = runs.filter(pk__in=wanted).select_related("organisation").first()
            organisation = run.organisation if run else None
        else:
            wanted = uuids_in([request.POST.get("organisation", "")])
            organisation = organisations.filter(pk__in=wanted).first()
        if organisation is None:
            raise Http404("There is nothing of this name to check.")
        job = check_start(
            organisation=organisation,
            actor=request.user,
            run=run,
            may_post=request.POST.get("may_post") == "1",
        )
        return HttpResponseRedirect(reverse("admin:base_job_change", args=[job.pk]))

    @badge(description="Result", ordering="verdict", label=VERDICT_COLOURS)
    def verdict_badge(self, obj: ToolCheck) -> Any:
        """Return the verdict as a badge."""
        return obj.verdict, obj.get_verdict_display()

    @admin.display(description="Asked with")
    def kind(self, obj: ToolCheck) -> str:
        """Say how far the check went."""
        if obj.checked_at is None:
            return "–"
        return "TLS and HEAD only" if obj.was_dry else "a marked test request"

    @admin.display(description="What was found")
    def what(self, obj: ToolCheck) -> str:
        """Return what is wrong, or what is well."""
        found = [each for each in obj.answers if each.get("state") in ("failed", "unsure")]
        return " ".join(f"{each['question']}: {each['words']}" for each in found or obj.answers)

    @admin.display(description="What to do")
    def fix(self, obj: ToolCheck) -> str:
        """Return what a person does about it."""
        fixes = [str(each["fix"]) for each in obj.answers if each.get("fix")]
        return " ".join(dict.fromkeys(fixes)) or "–"

    @admin.display(description="Answers")
    def answers_shown(self, obj: ToolCheck) -> SafeString:
        """Return every question with its answer."""
        lines = [f"{each.get('question')}: {each.get('words')}" for each in obj.answers]
        return format_html("<pre>{}</pre>", "\n".join(lines) or "not checked yet")


@admin.register(SilentHost)
class SilentHostAdmin(ReadOnlyAdmin):
    """Servers that are left alone for a while, as each process has met them."""

    list_display = ("host", "failures", "since", "last_at")
    list_hint = (
        "Tool servers that gave no answer at all several times in a row. They are left alone for "
        "15 seconds at a time, then one request tries again; a row goes when it is answered."
    )
    search_fields = ("host__startswith",)
    fields = ("organisation", "host", "process", "failures", "since", "last_at")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Keep it out of menus; the overview and the pages of tools tell of them."""
        return False
