"""Admin of imports: choose files, look at what would happen, confirm; and past runs.

Writes through ``assistants.import_services`` only. Nothing an uploaded file says is markup, and no
page shows more of it than names and findings.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from unfold.decorators import action
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget

from assistants import import_services
from assistants.findings import KEPT, MAPPED
from assistants.import_services import ImportFile
from assistants.models import Finding, ImportRun
from voiceplatform.base.models import Organisation
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, badge
from voiceplatform.base.selectors import organisations_visible_to

MOST_BYTES: Final = 20 * 1024 * 1024
_OUTCOME_COLOURS: Final = {
    "created": "success",
    "updated": "info",
    "unchanged": "muted",
    "refused": "danger",
    "ignored": "muted",
}
_STATE_COLOURS: Final = {
    "mapped": "success",
    "mapped-lossy": "info",
    "caller-audible": "warning",
    "kept": "muted",
    "unsupported": "warning",
    "secret-missing": "danger",
    "invalid": "danger",
}
_OUTCOME_WORDS: Final = {
    "created": ("new", "created"),
    "updated": ("will change", "changed"),
    "unchanged": ("stays as it is", "unchanged"),
    "refused": ("cannot be imported", "refused"),
    "ignored": ("is left out", "left out"),
}
_WORST_FIRST: Final = ("invalid", "secret-missing", "caller-audible", "unsupported", "mapped-lossy")


class FilesInput(forms.FileInput):
    """A file input that takes several files."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several uploaded files, read."""

    widget = FilesInput(
        attrs={
            "accept": ".json,.jsonl,.yaml,.yml,.md",
            "multiple": True,
            "class": " ".join(INPUT_CLASSES),
        }
    )

    def clean(self, data: Any, initial: Any = None) -> Any:
        """Return the files as ``ImportFile``; names are made different where they are equal.

        Raises:
            ValidationError: no file, or more than 20 MiB together.
        """
        given: list[Any] = data if isinstance(data, list) and data else [data or None]
        uploads: list[Any] = [super(FilesField, self).clean(each, initial) for each in given]
        if sum(upload.size for upload in uploads) > MOST_BYTES:
            raise ValidationError(
                "More than 20 MiB together. Import them in parts, or with the command import_vapi."
            )
        files: dict[str, ImportFile] = {}
        for upload in uploads:
            name = upload.name
            while name in files:
                name = f"again-{name}"
            files[name] = ImportFile(name, upload.read())
        return list(files.values())


class UploadForm(forms.Form):
    """What to import, and for whom."""

    uploads = FilesField(
        label="Files",
        allow_empty_file=True,
        help_text="JSON, YAML or Markdown exports of assistants, tools and phone numbers. Choose "
        "the tools together with the assistants that use them.",
    )
    organisation = forms.ModelChoiceField(
        queryset=Organisation.objects.none(), widget=UnfoldAdminSelectWidget, empty_label=None
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["organisation"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = organisations_visible_to(user).order_by("created_at")
        if field.queryset.count() == 1:
            field.widget = forms.HiddenInput()
            field.initial = field.queryset.first()


class ImportUploadMixin:
    """Adds the upload page to the admin of assistants."""

    actions_list = ("import_vapi",)
    admin_site: admin.AdminSite

    @action(  # type: ignore[untyped-decorator]  # unfold has no types
        description="Import from Vapi", url_path="import", icon="upload_file", permissions=["add"]
    )
    def import_vapi(self, request: HttpRequest) -> HttpResponse:
        """Show the upload form; what is uploaded becomes a preview."""
        form = UploadForm(
            request.POST if request.method == "POST" else None,
            request.FILES if request.method == "POST" else None,
            user=request.user,
        )
        if form.is_valid():
            run = import_services.preview_create(
                organisation=form.cleaned_data["organisation"],
                files=form.cleaned_data["uploads"],
                actor=request.user,
            )
            return HttpResponseRedirect(reverse("admin:assistants_importrun_change", args=[run.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": "Import from Vapi",
            "form": form,
        }
        return TemplateResponse(request, "admin/assistants/assistant/import.html", context)


@admin.register(ImportRun)
class ImportRunAdmin(ReadOnlyAdmin):
    """Past imports and previews that wait for a person."""

    list_display = ("created_at", "state_shown", "source", "created_by", "summary")
    list_filter = ("state", "source", "created_at")
    list_select_related = ("created_by",)
    date_hierarchy = "created_at"
    hidden_lookups = ("files", "objects_json")
    fields = ("created_at", "state_shown", "source", "created_by")
    readonly_fields = ("state_shown",)
    change_form_template = "admin/assistants/importrun/change_form.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave sealed files in the database."""
        return super().get_queryset(request).defer("files")

    @badge(
        description="State",
        ordering="state",
        label={"waits for you": "warning", "imported": "success"},
    )
    def state_shown(self, obj: ImportRun) -> str:
        """Return the state in words."""
        return "waits for you" if obj.state == ImportRun.State.PREVIEW else "imported"

    @admin.display(description="Objects")
    def summary(self, obj: ImportRun) -> str:
        """Return how many objects had which outcome."""
        return _summary(obj)

    def get_urls(self) -> list[Any]:
        """Add the page that confirms a preview."""
        view = self.admin_site.admin_view(self.confirm_view)
        name = "assistants_importrun_confirm"
        return [path("<uuid:object_id>/confirm/", view, name=name), *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show every object with its findings."""
        run = self.get_object(request, object_id)
        extra = dict(extra_context or {})
        if run is not None:
            extra |= {
                "title": "Preview of an import"
                if run.state == ImportRun.State.PREVIEW
                else "Import",
                "import_page": _page(run, can_confirm=self._may_confirm(request)),
            }
        response: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return response

    def _may_confirm(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("assistants.add_assistant"))

    def confirm_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Import what the preview showed; only by POST, since it writes."""
        run = self.get_object(request, str(object_id))
        if run is None:
            raise Http404("The preview was not found.")
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:assistants_importrun_change", args=[run.pk]))
        if not self._may_confirm(request):
            return HttpResponse("You may not import assistants.", status=403)
        report = import_services.preview_confirm(run=run, actor=request.user)
        if report is None or report.run is None:
            self.message_user(request, "This preview was imported already.", messages.WARNING)
            return HttpResponseRedirect(reverse("admin:assistants_importrun_changelist"))
        self.message_user(request, f"Imported: {_summary(report.run)}.", messages.SUCCESS)
        return HttpResponseRedirect(
            reverse("admin:assistants_importrun_change", args=[report.run.pk])
        )


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    """Every finding of every run, to search and count them."""

    organisation_path = "run__organisation"
    list_display = ("run", "path", "state_shown", "message")
    list_filter = ("state",)
    search_fields = ("path", "message")
    fields = ("run", "object_number", "path", "state_shown", "message")
    readonly_fields = ("state_shown",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave sealed files in the database."""
        return super().get_queryset(request).select_related("run").defer("run__files")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Keep it out of menus; the run's page shows them by object."""
        return False

    @badge(
        description="Severity",
        ordering="state",
        label={
            "works as before": "success",
            "works differently": "info",
            "callers hear it": "warning",
            "does not work yet": "warning",
            "a secret is missing": "danger",
            "needs a correction": "danger",
        },
    )
    def state_shown(self, obj: Finding) -> str:
        """Return the state in words."""
        return obj.get_state_display()


def _summary(run: ImportRun) -> str:
    is_preview = run.state == ImportRun.State.PREVIEW
    found = Counter(entry["outcome"] for entry in run.objects_json)
    return ", ".join(
        f"{found[outcome]} {_OUTCOME_WORDS[outcome][0 if is_preview else 1]}"
        for outcome in import_services.OUTCOMES
        if found[outcome]
    )


def _page(run: ImportRun, *, can_confirm: bool) -> dict[str, Any]:
    """Return what the run's template shows: plain values, no model that could reveal more."""
    is_preview = run.state == ImportRun.State.PREVIEW
    by_object: dict[int, list[Finding]] = {}
    for finding in run.findings.order_by("object_number", "id"):
        by_object.setdefault(finding.object_number, []).append(finding)
    objects = []
    for number, entry in enumerate(run.objects_json):
        findings = [
            {
                "path": finding.path,
                "state": finding.state,
                "words": finding.get_state_display(),
                "colour": _STATE_COLOURS.get(finding.state, "muted"),
                "message": finding.message,
            }
            for finding in by_object.get(number, [])
        ]
        loud = [each for each in findings if each["state"] not in (MAPPED, KEPT)]
        objects.append(
            {
                **entry,
                "words": _OUTCOME_WORDS[entry["outcome"]][0 if is_preview else 1],
                "colour": _OUTCOME_COLOURS.get(entry["outcome"], "muted"),
                "loud": sorted(loud, key=lambda each: _WORST_FIRST.index(str(each["state"]))),
                "quiet": [each for each in findings if each["state"] in (MAPPED, KEPT)],
            }
        )
    changes = sum(entry["outcome"] in ("created", "updated") for entry in run.objects_json)
    return {
        "run": {"id": run.pk, "created_at": run.created_at, "organisation": run.organisation.name},
        "is_preview": is_preview,
        "can_confirm": is_preview and can_confirm and changes > 0,
        "changes": changes,
        "summary": _summary(run),
        "objects": objects,
    }
