"""Admin of critical arguments: which fields of which tool a run judges, and who decided so.

Rows are written by ``calls.services.critical_marks``; the list is of what people decided, and one
page shows all tools of a revision, whether somebody decided on them or the rule did.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from assistants.models import Assistant, AssistantRevision
from calls.models import CriticalMarks
from calls.parity.marking import KINDS, Field
from calls.services.critical_marks import (
    MarkedRevision,
    MarkedTool,
    MarksOvertaken,
    MarksRefused,
    marks_change,
    marks_shown,
)
from voiceplatform.base.scoped_admin import (
    ReadOnlyAdmin,
    ScopedRelatedFilter,
    visible_choices,
)
from voiceplatform.base.selectors import uuids_in

CHANGES = "calls.change_criticalmarks"
_MOST_REVISIONS = 50
_MOST_ASSISTANTS = 500


@dataclass(frozen=True, slots=True)
class _Line:
    """A field with what its list shows as chosen."""

    field: Field
    name: str
    chosen: str


@dataclass(frozen=True, slots=True)
class _Card:
    """A tool as the page shows it; ``extra`` is what was typed of a field that no list has."""

    tool: MarkedTool
    lines: tuple[_Line, ...]
    extra: tuple[str, str] = ("", "")


@admin.register(CriticalMarks)
class CriticalMarksAdmin(ReadOnlyAdmin):
    """What people decided about critical arguments."""

    change_list_template = "admin/calls/criticalmarks/change_list.html"
    change_form_template = "admin/calls/criticalmarks/change_form.html"
    list_display = ("tool", "assistant", "number", "decided", "changed_by", "changed_at")
    list_display_links = ("tool",)
    list_filter = (("revision__assistant", ScopedRelatedFilter),)
    list_select_related = ("revision__assistant",)
    search_fields = ("tool", "revision__assistant__name", "changed_by")
    fields = ("organisation", "tool", "assistant", "number", "decided", "changed_by", "changed_at")
    readonly_fields = ("assistant", "number", "decided")
    list_hint = (
        "Critical arguments are fields in which both stacks must say the same, such as a phone "
        "number or a date. They are marked by rule; here stands where a person decided otherwise. "
        "A run keeps the marks that it began with."
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave long columns in the database."""
        return super().get_queryset(request).defer("revision__document")

    @admin.display(description="Assistant", ordering="revision__assistant__name")
    def assistant(self, obj: CriticalMarks) -> str:
        """Return the assistant's name."""
        return str(obj.revision.assistant.name)

    @admin.display(description="From revision", ordering="revision__number")
    def number(self, obj: CriticalMarks) -> str:
        """Return the revision from which on it holds."""
        return f"r{obj.revision.number}"

    @admin.display(description="Decided")
    def decided(self, obj: CriticalMarks) -> str:
        """Return the decisions in words."""
        words = [f"{path}: {kind or 'not critical'}" for path, kind in obj.decisions.items()]
        return "; ".join(words) or "as the rule says"

    def get_urls(self) -> list[Any]:
        """Add the page of a revision."""
        edit = self.admin_site.admin_view(self.edit_view)
        return [path("edit/", edit, name="calls_criticalmarks_edit"), *super().get_urls()]

    def edit_view(self, request: HttpRequest) -> HttpResponse:
        """Show the tools of a revision with their fields; store what is chosen, by POST."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        may_change = request.user.has_perm(CHANGES)
        if request.method == "POST" and not may_change:
            raise PermissionDenied
        assistants = visible_choices(self.admin_site, Assistant, request).filter(
            deleted_at__isnull=True
        )
        revision = self._revision(request, assistants)
        wanted: dict[str, dict[str, str]] = {}
        shown = None if revision is None else marks_shown(revision)
        problems: list[str] = []
        if request.method == "POST":
            if revision is None or shown is None:
                raise Http404("The revision was not found.")
            wanted = _wanted(request)
            try:
                changed = marks_change(
                    revision=revision,
                    wanted=wanted,
                    seen=request.POST.get("seen", ""),
                    actor=request.user,
                )
            except MarksRefused as refused:
                problems = refused.problems
            except MarksOvertaken as overtaken:
                words = f"{overtaken} Nothing was stored. Look again, then decide."
                self.message_user(request, words, messages.ERROR)
                return HttpResponseRedirect(_edit_url(revision))
            else:
                words = f"Changed: {', '.join(changed)}." if changed else "Nothing was changed."
                self.message_user(request, words, messages.SUCCESS)
                return HttpResponseRedirect(_edit_url(revision))
        context = {
            **self.admin_site.each_context(request),
            "title": "Critical arguments",
            "opts": self.opts,
            "assistants": assistants.order_by("name").only("pk", "name")[:_MOST_ASSISTANTS],
            "chosen": revision,
            "revisions": _revisions(revision),
            "cards": [] if shown is None else _cards(shown, wanted, request),
            "seen": shown.seen if shown is not None else "",
            "kinds": KINDS,
            "problems": problems,
            "may_change": may_change,
        }
        return TemplateResponse(request, "admin/calls/criticalmarks/edit.html", context)

    def _revision(self, request: HttpRequest, assistants: Any) -> AssistantRevision | None:
        """Return the revision that was asked for, or the assistant's current one."""
        given = request.POST if request.method == "POST" else request.GET
        rows = AssistantRevision.objects.select_related("assistant__organisation").filter(
            assistant__in=assistants
        )
        asked, of = given.get("revision", ""), given.get("assistant", "")
        found = None
        if asked:
            found = rows.filter(pk=asked[:18]).first() if asked.isdecimal() else None
        elif of:
            current = rows.filter(pk=F("assistant__current_revision"))
            found = current.filter(assistant__in=uuids_in([of])).first()
        if (asked or of) and found is None:
            raise Http404("The revision was not found.")
        return found


def _revisions(chosen: AssistantRevision | None) -> list[AssistantRevision]:
    if chosen is None:
        return []
    rows = AssistantRevision.objects.filter(assistant=chosen.assistant_id).order_by("-number")
    newest = list(rows.only("pk", "number", "created_at", "assistant")[:_MOST_REVISIONS])
    return newest if any(row.pk == chosen.pk for row in newest) else [chosen, *newest]


def _wanted(request: HttpRequest) -> dict[str, dict[str, str]]:
    """Return the kinds that were chosen, by path by tool, with the fields that were typed in."""
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for name, kind in request.POST.items():
        tool, path = _named(name)
        if tool:
            wanted[tool][path] = str(kind)
    for tool, (path, kind) in _typed(request).items():
        wanted[tool][path] = kind
    return dict(wanted)


def _typed(request: HttpRequest) -> dict[str, tuple[str, str]]:
    """Return the one field more of each tool that somebody typed in, with its kind."""
    posted = request.POST
    names = (posted.getlist(name) for name in ("extra_tool", "extra_path", "extra_kind"))
    return {
        tool: (path.strip(), kind) for tool, path, kind in zip(*names, strict=False) if path.strip()
    }


def _named(name: str) -> tuple[str, str]:
    """Return the tool and the path that a list of the page is named by; '' for anything else."""
    try:
        tool, path = json.loads(name)
    except (TypeError, ValueError):
        return "", ""
    return (tool, path) if isinstance(tool, str) and isinstance(path, str) else ("", "")


def _cards(
    shown: MarkedRevision, wanted: dict[str, dict[str, str]], request: HttpRequest
) -> list[_Card]:
    """Return the tools with what is chosen: what holds, or what was posted and refused."""
    typed = _typed(request)
    return [
        _Card(
            tool,
            tuple(
                _Line(
                    field,
                    json.dumps([tool.name, field.path]),
                    wanted.get(tool.name, {}).get(field.path, field.kind or ""),
                )
                for field in tool.fields
            ),
            typed.get(tool.name, ("", "")),
        )
        for tool in shown.tools
    ]


def _edit_url(revision: AssistantRevision) -> str:
    return f"{reverse('admin:calls_criticalmarks_edit')}?revision={revision.pk}"
