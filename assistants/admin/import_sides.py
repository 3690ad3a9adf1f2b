"""Admin of what both sides changed: compare ours with what an import brought, and choose one.

Writes through ``assistants.import_sides`` only. Lists what waits; a choice takes it off the list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from assistants.admin.revision_page import changes_shown
from assistants.import_sides import (
    ChoiceRefused,
    bare,
    imported_keep_ours,
    imported_row,
    imported_take,
    row_document,
)
from assistants.models import ImportedObject
from tools.exceptions import ToolTypeIsFixed
from voiceplatform.base.scoped_admin import ReadOnlyAdmin

_NAME = "assistants_importedobject"
_CHANGES = {"tool": "tools.change_tool", "squad": "assistants.change_squad"}


@admin.register(ImportedObject)
class ImportedObjectAdmin(ReadOnlyAdmin):
    """Tools, squads and resources that changed here and at Vapi since the last import."""

    list_display = ("name_shown", "kind", "updated_at")
    list_filter = ("kind", "updated_at")
    search_fields = ("name", "object_id")
    hidden_lookups = ("document",)
    list_hint = (
        "What changed here and at Vapi since the last import. Ours answers calls until somebody "
        "takes the other one."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return what waits, without the sealed documents."""
        return super().get_queryset(request).filter(waits=True).defer("document")

    @admin.display(description="Name", ordering="name")
    def name_shown(self, obj: ImportedObject) -> str:
        """Return the name, or the id where there is none."""
        return obj.name or str(obj.object_id)

    def get_urls(self) -> list[Any]:
        """Add the two choices."""
        wrap = self.admin_site.admin_view
        return [
            path("<int:object_id>/take/", wrap(self.take_view), name=f"{_NAME}_take"),
            path("<int:object_id>/keep/", wrap(self.keep_view), name=f"{_NAME}_keep"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Compare our version with the imported one."""
        if request.method != "GET":
            return HttpResponse("Imported versions cannot be edited.", status=403)
        imported = self._found(request, object_id)
        row = imported_row(imported)
        ours = bare(imported.kind, row_document(row)) if row is not None else None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{imported.name or imported.object_id}: ours and Vapi's",
            "opts": self.opts,
            "imported": imported,
            "row_url": _row_url(row) if row is not None else "",
            "changes": [] if ours is None else changes_shown(ours, imported.document),
            "may_choose": _may_choose(request, imported),
        }
        return TemplateResponse(request, "admin/assistants/importedobject/choose.html", context)

    def take_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Replace ours by the imported version."""
        return self._choose(request, object_id, imported_take, "Vapi's version is in use now.")

    def keep_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Keep ours."""
        return self._choose(request, object_id, imported_keep_ours, "Ours stays as it is.")

    def _choose(
        self, request: HttpRequest, object_id: int, service: Callable[..., None], words: str
    ) -> HttpResponse:
        imported = self._found(request, object_id)
        if request.method != "POST":
            return HttpResponseRedirect(reverse(f"admin:{_NAME}_change", args=[imported.pk]))
        if not _may_choose(request, imported):
            return HttpResponse("You may not change this object.", status=403)
        try:
            service(imported=imported, actor=request.user)
        except (ChoiceRefused, ToolTypeIsFixed) as error:
            self.message_user(request, f"Nothing was done: {error}", messages.ERROR)
        else:
            self.message_user(request, words, messages.SUCCESS)
        return HttpResponseRedirect(reverse(f"admin:{_NAME}_changelist"))

    def _found(self, request: HttpRequest, object_id: Any) -> ImportedObject:
        found: ImportedObject | None = self.get_object(request, str(object_id))
        if found is None or not self.has_view_permission(request, found):
            raise Http404("Nothing waits there. Somebody may have chosen already.")
        return found


def _may_choose(request: HttpRequest, imported: ImportedObject) -> bool:
    wanted = _CHANGES.get(imported.kind, "assistants.change_storedresource")
    return bool(request.user.has_perm(wanted))


def _row_url(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
