"""The pages of a tool that need calls, a layer above it: its figures, trying it, checking it.

Extends the admin of tools, whose form and rules stay its own. Requests leave by POST only, with a
permission of their own, and are audited by the services.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from assistants.models import FileReading
from calls.admin.tool_form import ArgumentsForm
from calls.admin.tool_records import STATE_COLOURS, answered_with, indented, sealed
from calls.admin.words import ms_in_words
from calls.models import ToolInvocation
from calls.selectors.tools import MOST_ON_PAGE, ToolFigures, tool_figures
from calls.services.silent_hosts import silent_servers
from calls.services.tool_check import marked_calls_allow
from calls.services.tool_try import PERMISSION, ToolTrial, TryRefused, tool_try
from tools.admin import ToolAdmin
from tools.knowledge import knowledge_file_ids
from tools.models import Tool
from tools.spec import ASKING_KINDS, POSTED_KINDS
from voiceplatform.base.scoped_admin import BesideForm, badge
from voiceplatform.base.selectors import uuids_in

DAYS = (7, 30)
_MOST_RECENT = 10
_COLOURS = {"good": "success", "some": "warning", "bad": "danger", "none": "info"}

admin.site.unregister(Tool)


@admin.register(Tool)
class ToolPagesAdmin(BesideForm, ToolAdmin):
    """Tools with how they did lately, a page to try one, and what the last check found."""

    change_form_template = "admin/tools/tool/change_form.html"
    list_display: tuple[str, ...] = (
        *("name", "kind", "server_url_host", "succeeded", "typical", "slow"),
        *("place", "updated_at"),
    )
    list_hint = (
        "What assistants may do while they talk. The figures are of the last 7 days, of at most "
        "200 calls a tool; open a tool to try it and to see more."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave out of lists what no column shows."""
        rows = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == "tools_tool_changelist":
            return rows.defer(*(name.partition("__")[2] for name in sealed("tool")))
        return rows

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Fetch the figures of all tools of the shown page at once."""
        changelist = super().get_changelist_instance(request)
        shown = list(changelist.result_list)
        figures = tool_figures((tool.pk for tool in shown), days=DAYS[0])
        for tool in shown:
            tool.figures = figures[tool.pk]
        changelist.result_list = shown
        return changelist

    @badge(description="Succeeded", label=_COLOURS)
    def succeeded(self, obj: Any) -> Any:
        """Return the share of calls that were answered without an error."""
        return _grade(obj.figures), _share(obj.figures)

    @admin.display(description="Takes, in the middle")
    def typical(self, obj: Any) -> str:
        """Return the median time."""
        return ms_in_words(obj.figures.p50_ms)

    @admin.display(description="95% within")
    def slow(self, obj: Any) -> str:
        """Return the time that 95 of 100 calls stay under."""
        return ms_in_words(obj.figures.p95_ms)

    def get_urls(self) -> list[Any]:
        """Add the page to try a tool, and what the button beside its check posts to."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:object_id>/try/", wrap(self.try_view), name="tools_tool_try"),
            path("<uuid:object_id>/allow/", wrap(self.allow_view), name="tools_tool_allow"),
            *super().get_urls(),
        ]

    def allow_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Store whether the owner of the tool's server allows test requests; only by POST."""
        tool: Tool | None = self.get_object(request, str(object_id))
        if tool is None or not self.has_view_permission(request, tool):
            raise Http404("The tool was not found.")
        back = HttpResponseRedirect(reverse("admin:tools_tool_change", args=[tool.pk]))
        if request.method != "POST":
            return back
        if not (tool.deleted_at is None and request.user.has_perm("tools.change_tool")):
            raise PermissionDenied
        allowed = request.POST.get("allowed") == "1"
        marked_calls_allow(tool=tool, actor=request.user, allowed=allowed)
        words = "Checks may send" if allowed else "Checks no longer send"
        self.message_user(request, f"{words} this tool's server a request marked as a test.")
        return back

    def beside_form(self, request: HttpRequest, obj: Tool) -> dict[str, Any]:
        """Show how the tool did above its form, and the way to try it."""
        return {"tool_page": self._page(request, obj)}

    def _page(self, request: HttpRequest, tool: Tool) -> dict[str, Any]:
        may_see_calls = request.user.has_perm("calls.view_toolinvocation")
        rows = [
            (f"{days} days", tool_figures([tool.pk], days=days, most=MOST_ON_PAGE)[tool.pk])
            for days in DAYS
        ]
        return {
            "figures": [
                {
                    "period": period,
                    "count": f"{figures.count:,}{'+' if figures.is_capped else ''}",
                    "share": _share(figures),
                    "colour": _COLOURS[_grade(figures)],
                    "p50": ms_in_words(figures.p50_ms),
                    "p95": ms_in_words(figures.p95_ms),
                }
                for period, figures in rows
            ],
            "recent": self._recent(tool) if may_see_calls else [],
            "all_url": reverse("admin:calls_toolinvocation_changelist")
            + f"?tool__id__exact={tool.pk}"
            if may_see_calls
            else "",
            "try_url": reverse("admin:tools_tool_try", args=[tool.pk])
            if self._may_try(request, tool)
            else "",
            "files": _files(tool) if tool.type == "query" else [],
            "silent": silent_servers(request.user, hostname=tool.server_url_host)
            if tool.server_url_host
            else [],
            "check": getattr(tool, "check_result", None),
            "allow_url": reverse("admin:tools_tool_allow", args=[tool.pk])
            if tool.type in POSTED_KINDS
            and tool.deleted_at is None
            and request.user.has_perm("tools.change_tool")
            else "",
        }

    def _recent(self, tool: Tool) -> list[dict[str, Any]]:
        rows = (
            ToolInvocation.objects.filter(tool=tool)
            .select_related("call", "exchange")
            .defer("arguments_json", "output", "exchange__content")
            .order_by("-pk")[:_MOST_RECENT]
        )
        return [
            {
                "when": row.created_at,
                "call": row.call,
                "anchor": f"tool-{row.pk}",
                "state": str(row.get_state_display()).lower(),
                "colour": STATE_COLOURS.get(row.state, "info"),
                "answer": answered_with(row.exchange) if row.exchange else "–",
                "took": ms_in_words(row.duration_ms),
            }
            for row in rows
        ]

    def _may_try(self, request: HttpRequest, tool: Tool) -> bool:
        return (
            tool.deleted_at is None
            and tool.type in ASKING_KINDS
            and bool(request.user.has_perm(PERMISSION))
        )

    def try_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Show the form of the arguments; on POST send a marked test request."""
        tool: Tool | None = self.get_object(request, str(object_id))
        if tool is None or not self.has_view_permission(request, tool):
            raise Http404("The tool was not found.")
        if not self._may_try(request, tool):
            raise PermissionDenied
        # A person who may only look at tools is given rows without secrets, which send nothing.
        tool = Tool.objects.select_related("organisation").get(pk=tool.pk)
        form = ArgumentsForm(
            request.POST if request.method == "POST" else None, schema=tool.parameters
        )
        trial, problem = None, ""
        if form.is_valid():
            try:
                trial = tool_try(tool=tool, arguments_json=form.as_json(), actor=request.user)
            except TryRefused as refusal:
                problem = str(refusal)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Try {tool.name}",
            "opts": self.opts,
            "tool": tool,
            "form": form,
            "problem": problem,
            "trial": _shown(trial) if trial else None,
        }
        response = TemplateResponse(request, "admin/tools/tool/try.html", context)
        response["Cache-Control"] = "no-store"
        return response


def _files(tool: Tool) -> list[dict[str, Any]]:
    """Return the files that a query tool names, with what is wrong with those that it misses."""
    ids = uuids_in(knowledge_file_ids(tool.document_redacted))
    rows = FileReading.objects.for_organisation(tool.organisation).filter(
        pk__in=ids, file__deleted_at__isnull=True
    )
    found = {
        row.pk: row for row in rows.select_related("file").only("state", "problem", "file__name")
    }
    return [_file(pk, found.get(pk)) for pk in ids]


def _file(pk: uuid.UUID, row: FileReading | None) -> dict[str, Any]:
    if row is None:
        return {
            "name": str(pk),
            "words": "not here: the tool answers without it",
            "colour": "danger",
            "url": f"{reverse('admin:assistants_filereading_add')}?vapi_id={pk}",
            "link": "Upload it",
        }
    return {
        "name": str(row),
        "words": row.problem or row.get_state_display(),
        "colour": {"done": "success", "failed": "danger"}.get(row.state, "info"),
        "url": reverse("admin:assistants_filereading_change", args=[pk]),
        "link": "Search in it",
    }


def _grade(figures: ToolFigures) -> str:
    """Grade a share as people do: one failure in twenty is noticed, one in five is a fault."""
    percent = figures.ok_percent
    if percent is None:
        return "none"
    return "good" if percent >= 95 else "some" if percent >= 80 else "bad"


def _share(figures: ToolFigures) -> str:
    percent = figures.ok_percent
    return "no calls" if percent is None else f"{percent:.1f}%" if percent < 100 else "100%"


def _shown(trial: ToolTrial) -> dict[str, Any]:
    return {
        "is_ok": trial.is_ok,
        "words": "answered" if trial.is_ok else trial.outcome,
        "colour": STATE_COLOURS.get(trial.outcome, "info"),
        "url": trial.url_shown,
        "headers": ", ".join(trial.header_names),
        "status": f"HTTP {trial.status}" if trial.status else trial.error or "no answer",
        "took": ms_in_words(trial.duration_ms),
        "output": trial.output,
        "spoken": trial.spoken,
        "warning": trial.warning,
        "request": indented(trial.request),
        "response": indented(trial.response),
    }
