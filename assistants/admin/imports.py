"""Admin of imports: choose files or an account, look at what would happen, confirm; and past runs.

Writes through ``assistants.import_services`` and ``assistants.import_jobs`` only. Nothing an
uploaded file says is markup, and no page shows more of it than names, redacted fields and findings.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from unfold.decorators import action

from assistants import import_jobs, import_services
from assistants.admin.import_forms import AccountForm, UploadForm
from assistants.admin.import_report import (
    STATE_COLOURS,
    changes,
    object_page,
    report_json,
    run_page,
    summary,
)
from assistants.admin.secrets import missing_secrets_view
from assistants.models import Finding, ImportRun
from assistants.vapi_api import VapiApiError
from voiceplatform.base.models import Job
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, badge

_PAGE = "admin:assistants_importrun_change"


class ImportUploadMixin:
    """Adds the import page to the admin of assistants."""

    actions_list = ("import_vapi",)
    admin_site: admin.AdminSite

    @action(  # type: ignore[untyped-decorator]  # unfold has no types
        description="Import from Vapi", url_path="import", icon="upload_file", permissions=["add"]
    )
    def import_vapi(self, request: HttpRequest) -> HttpResponse:
        """Show both forms; what is uploaded or read becomes a preview."""
        is_post = request.method == "POST"
        from_account = is_post and "api_key" in request.POST
        uploads = is_post and not from_account
        upload = UploadForm(
            request.POST if uploads else None,
            request.FILES if uploads else None,
            user=request.user,
        )
        account = AccountForm(request.POST if from_account else None, user=request.user)
        if upload.is_valid():
            return self._preview_files(request, upload)
        if account.is_valid():
            try:
                job = import_jobs.api_preview_start(
                    organisation=account.cleaned_data["organisation"],
                    api_key=account.cleaned_data["api_key"],
                    base_url=account.cleaned_data["base_url"],
                    actor=request.user,
                )
            except VapiApiError as error:
                account.add_error(None, str(error))
            else:
                return _to_job(job)
        context = {
            **self.admin_site.each_context(request),
            "title": "Import from Vapi",
            "form": upload,
            "account_form": account,
            "earlier": request.user.has_perm("assistants.view_importrun"),
        }
        return TemplateResponse(request, "admin/assistants/assistant/import.html", context)

    def _preview_files(self, request: HttpRequest, form: UploadForm) -> HttpResponse:
        given: dict[str, Any] = {
            "organisation": form.cleaned_data["organisation"],
            "files": form.cleaned_data["uploads"],
            "actor": request.user,
        }
        if import_jobs.is_long(given["files"]):
            return _to_job(import_jobs.preview_start(**given))
        run = import_services.preview_create(**given)
        return HttpResponseRedirect(reverse(_PAGE, args=[run.pk]))


def _to_job(job: Job) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:base_job_change", args=[job.pk]))


@admin.register(ImportRun)
class ImportRunAdmin(ReadOnlyAdmin):
    """Past imports and previews that wait for a person."""

    list_display = ("created_at", "state_shown", "source", "created_by", "summary")
    list_filter = ("state", "source", "created_at")
    list_select_related = ("created_by",)
    date_hierarchy = "created_at"
    hidden_lookups = ("files", "objects_json")
    list_hint = (
        "What came over from Vapi, and what was said of each field. Begin one under Assistants, "
        "“Import from Vapi”; one that waits for you has written nothing yet."
    )
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
        return summary(obj)

    def get_urls(self) -> list[Any]:
        """Add the pages of a run and the one of missing secrets."""
        wrap = self.admin_site.admin_view
        name = "assistants_importrun"
        return [
            path("missing-secrets/", wrap(self.secrets_view), name=f"{name}_secrets"),
            path("<uuid:object_id>/confirm/", wrap(self.confirm_view), name=f"{name}_confirm"),
            path("<uuid:object_id>/object/", wrap(self.object_view), name=f"{name}_object"),
            path("<uuid:object_id>/report.json", wrap(self.json_view), name=f"{name}_json"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the objects with their findings, a page of them at a time."""
        run = self.get_object(request, object_id)
        extra = dict(extra_context or {})
        if run is not None:
            is_preview = run.state == ImportRun.State.PREVIEW
            job = import_jobs.open_job_of(run) if is_preview else None
            may = self._may_confirm(request) and job is None
            extra |= {
                "title": "Preview of an import" if is_preview else "Import",
                "import_page": run_page(run, request.GET, can_confirm=may),
                "import_job": job,
            }
        response: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return response

    def _run(self, request: HttpRequest, object_id: Any) -> ImportRun:
        run: ImportRun | None = self.get_object(request, str(object_id))
        if run is None or not self.has_view_permission(request, run):
            raise Http404("The import was not found.")
        return run

    def object_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Show every field of one object of a run, with what was found beside it."""
        run = self._run(request, object_id)
        page = object_page(run, request.GET.get("number"))
        context = {
            **self.admin_site.each_context(request),
            "title": page["object"]["name"] or "(no name)",
            "opts": self.opts,
            "object_page": page,
        }
        return TemplateResponse(request, "admin/assistants/importrun/object.html", context)

    def json_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Hand out the whole report as a file, in the form of the command's ``--json``."""
        run = self._run(request, object_id)
        response = JsonResponse(report_json(run), json_dumps_params={"ensure_ascii": False})
        response["Content-Disposition"] = f'attachment; filename="import-{run.pk}.json"'
        return response

    def secrets_view(self, request: HttpRequest) -> HttpResponse:
        """Show every missing secret once; take one in, or try one."""
        return missing_secrets_view(request, self.admin_site)

    def _may_confirm(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("assistants.add_assistant"))

    def confirm_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Import what the preview showed; only by POST, since it writes."""
        run = self.get_object(request, str(object_id))
        if run is None:
            raise Http404("The preview was not found.")
        if request.method != "POST":
            return HttpResponseRedirect(reverse(_PAGE, args=[run.pk]))
        if not self._may_confirm(request):
            return HttpResponse("You may not import assistants.", status=403)
        job = import_jobs.open_job_of(run)
        if job is not None:
            return _to_job(job)
        # What an account holds beyond its objects is told by the job's report.
        if changes(run) > import_jobs.DIRECT_OBJECTS or run.source != "upload":
            job = import_jobs.confirm_start(run=run, actor=request.user)
            return _to_job(job) if job else self._gone(request)
        report = import_services.preview_confirm(run=run, actor=request.user)
        if report is None or report.run is None:
            return self._gone(request)
        self.message_user(request, f"Imported: {summary(report.run)}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse(_PAGE, args=[report.run.pk]))

    def _gone(self, request: HttpRequest) -> HttpResponse:
        self.message_user(request, "This preview was imported already.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:assistants_importrun_changelist"))


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
            str(label): STATE_COLOURS[value] if STATE_COLOURS[value] != "muted" else True
            for value, label in Finding.State.choices
        },
    )
    def state_shown(self, obj: Finding) -> str:
        """Return the state in words."""
        return obj.get_state_display()
