"""Admin of scenarios: a form with the text of the file, generating them, taking them from calls.

Rows are written by ``calls.services.parity_scenarios``. Runs and their report are in
``parity_runs``.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from assistants.models import Assistant
from calls.admin.parity_forms import ScenarioForm
from calls.models import ParityScenario
from calls.services.parity_choices import calls_to_extract
from calls.services.parity_scenarios import (
    ScenarioOvertaken,
    ScenarioRefused,
    scenario_change,
    scenario_extract,
    scenario_write,
    scenarios_generate,
    yaml_of,
)
from voiceplatform.base.prepared import RowGone
from voiceplatform.base.scoped_admin import (
    ScopedAdmin,
    ScopedRelatedFilter,
    badge,
    visible_choices,
)
from voiceplatform.base.selectors import uuids_in

READS = "calls.view_transcript"
_SOURCES = {"made": "primary", "file": "info", "generated": "warning", "extracted": "success"}


@admin.register(ParityScenario)
class ParityScenarioAdmin(ScopedAdmin):
    """What callers do in rehearsals and test calls."""

    form = ScenarioForm
    change_list_template = "admin/calls/parity/scenarios.html"
    list_display = ("name", "assistant", "source_badge", "is_used", "updated_at")
    list_filter = ("is_used", "source", ("assistant", ScopedRelatedFilter))
    list_select_related = ("assistant",)
    search_fields = ("name", "assistant__name")
    hidden_lookups = ("document",)
    autocomplete_fields = ("assistant",)
    overtaken_by = (RowGone, ScenarioOvertaken)
    list_hint = (
        "A scenario says who calls, what they say, which tools are to be called then, and what "
        "those answer. Runs play them on both stacks."
    )
    fields = ("assistant", "is_used", "text", "seen_version")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave what is sealed in the database; the form opens it."""
        rows: QuerySet[Any] = super().get_queryset(request).defer("document")
        return rows

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Keep a scenario with its assistant; the organisation is the assistant's."""
        return ["assistant"] if obj is not None else []

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the right to read what was said, where a scenario is a past call's."""
        allowed = bool(super().has_change_permission(request, obj))
        words = obj is not None and obj.source == ParityScenario.Source.EXTRACTED
        return allowed and (not words or request.user.has_perm(READS))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show to those who may only look the columns that are nobody's words."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ("assistant", "name", "source", "is_used")
        return self.fields

    @badge(description="Source", ordering="source", label=_SOURCES)
    def source_badge(self, obj: ParityScenario) -> Any:
        """Return where it came from."""
        return obj.source, str(obj.get_source_display()).lower()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store what the form says, against the version that it showed."""
        if change:
            scenario_change(
                row=obj,
                scenario=form.scenario,
                is_used=form.cleaned_data["is_used"],
                seen_version=form.cleaned_data.get("seen_version") or 0,
                actor=request.user,
            )
            obj.name = form.scenario.name
            return
        row = scenario_write(
            assistant=form.cleaned_data["assistant"],
            scenario=form.scenario,
            is_used=form.cleaned_data["is_used"],
            actor=request.user,
        )
        obj.__dict__.update(row.__dict__)

    def get_urls(self) -> list[Any]:
        """Add where scenarios are made, and their files."""
        wrap = self.admin_site.admin_view
        return [
            path("make/", wrap(self.make_view), name="calls_parityscenario_make"),
            path(
                "<uuid:object_id>/scenario.yaml",
                wrap(self.yaml_view),
                name="calls_parityscenario_yaml",
            ),
            *super().get_urls(),
        ]

    def yaml_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Download the file of one scenario."""
        row = self.get_object(request, str(object_id))
        if row is None:
            raise Http404("The scenario was not found.")
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        answer = HttpResponse(yaml_of(row.document), content_type="application/yaml; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="scenario-{row.pk}.yaml"'
        answer["Cache-Control"] = "no-store"
        return answer

    def make_view(self, request: HttpRequest) -> HttpResponse:
        """Generate scenarios from an assistant's tools, or take one from a past call, by POST."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        assistants = visible_choices(self.admin_site, Assistant, request).filter(
            deleted_at__isnull=True
        )
        asked = (request.POST if request.method == "POST" else request.GET).get("assistant", "")
        chosen = assistants.filter(pk__in=uuids_in([asked])).first()
        if asked and chosen is None:
            raise Http404("The assistant was not found.")
        may_read = request.user.has_perm(READS)
        if request.method == "POST" and chosen is not None:
            return self._make(request, chosen, may_read)
        context = {
            **self.admin_site.each_context(request),
            "title": "Make scenarios",
            "opts": self.opts,
            "assistants": assistants.order_by("name").only("pk", "name")[:500],
            "chosen": chosen,
            "calls": calls_to_extract(chosen) if chosen is not None and may_read else (),
            "may_read": may_read,
        }
        return TemplateResponse(request, "admin/calls/parity/make.html", context)

    def _make(self, request: HttpRequest, assistant: Assistant, may_read: bool) -> HttpResponse:
        page = reverse("admin:calls_parityscenario_changelist")
        if request.POST.get("what") == "generate":
            made = scenarios_generate(assistant=assistant, actor=request.user)
            words = f"{len(made)} scenarios made. Put them into your callers' words."
            messages.success(request, words) if made else messages.warning(
                request, "Nothing new: there is a scenario for each of its tools."
            )
            return HttpResponseRedirect(f"{page}?assistant__id__exact={assistant.pk}")
        if not may_read:
            raise PermissionDenied
        wanted = uuids_in([request.POST.get("call", "")])
        call = next((c for c in calls_to_extract(assistant) if c.pk in wanted), None)
        if call is None:
            raise Http404("The call was not found.")
        try:
            row = scenario_extract(call=call, assistant=assistant, actor=request.user)
        except ScenarioRefused as refused:
            messages.error(request, str(refused))
            back = reverse("admin:calls_parityscenario_make")
            return HttpResponseRedirect(f"{back}?assistant={assistant.pk}")
        return HttpResponseRedirect(reverse("admin:calls_parityscenario_change", args=[row.pk]))
