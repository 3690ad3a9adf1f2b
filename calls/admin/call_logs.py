"""Admin of call logs: import them, see what became of each line, ask for recordings.

Writes through ``calls.services.call_logs`` and ``past_recordings`` only; both are jobs, whose page
shows progress and cancels. Recordings need a purpose and a permission of their own.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html

from calls.admin.call_log_forms import LogAccountForm, LogFilesForm
from calls.admin.call_page import PERMISSION as MAY_READ
from calls.models import CallLogImport, CallLogPiece, ImportedCall
from calls.selectors.past_calls import SEALED
from calls.services.call_log_reading import WORDS
from calls.services.call_logs import (
    ImportRefused,
    api_import_begin,
    since_of,
    upload_import_begin,
)
from calls.services.past_recordings import MOST_CALLS, FetchRefused, fetch_begin
from voiceplatform.base.models import Job
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ScopedRelatedFilter, badge

MAY_IMPORT: Final = "calls.import_call_logs"


def _to_job(job: Job) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:base_job_change", args=[job.pk]))


@admin.register(CallLogImport)
class CallLogImportAdmin(ReadOnlyAdmin):
    """What each import of call logs brought, and the page that begins one."""

    change_list_template = "admin/calls/calllogimport/change_list.html"
    change_form_template = "admin/calls/calllogimport/change_form.html"
    list_display = ("created_at", "source", "label", "state_badge", "brought")
    list_filter = ("source", "created_at")
    list_select_related = ("job",)
    search_fields = ("label", "id__iexact")
    hidden_lookups = ("cursor", "problems", "pieces")
    list_hint = (
        "Calls that Vapi answered, brought here as history and as the baseline of parity. Nobody "
        "is told of them, and no count of this platform's own calls has them."
    )
    fields = (
        *("organisation", "source", "label", "since", "state_badge", "brought", "job_link"),
        *("created_by", "created_at", "finished_at"),
    )
    readonly_fields = ("state_badge", "brought", "job_link")

    def get_urls(self) -> list[Any]:
        """Add the page that begins an import."""
        view = self.admin_site.admin_view(self.import_view)
        own = path("import/", view, name="calls_calllogimport_import")
        return [own, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Offer to import to those who may."""
        extra = {**(extra_context or {}), "may_import": request.user.has_perm(MAY_IMPORT)}
        return super().changelist_view(request, extra)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show which lines could not be read, and why."""
        row = self.get_object(request, object_id)
        extra = {**(extra_context or {}), "log_problems": row.problems if row is not None else ()}
        return super().change_view(request, object_id, form_url, extra)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Show both forms; what is sent becomes a job."""
        if not request.user.has_perm(MAY_IMPORT):
            raise PermissionDenied
        is_post = request.method == "POST"
        from_account = is_post and "api_key" in request.POST
        from_files = is_post and not from_account
        files = LogFilesForm(
            request.POST if from_files else None,
            request.FILES if from_files else None,
            user=request.user,
        )
        account = LogAccountForm(request.POST if from_account else None, user=request.user)
        form = files if from_files else account
        if is_post and form.is_valid():
            given: dict[str, Any] = {
                "organisation": form.cleaned_data["organisation"],
                "actor": request.user,
                "since": since_of(form.cleaned_data["days"]),
            }
            try:
                if from_files:
                    row = upload_import_begin(files=files.cleaned_data["logs"], **given)
                else:
                    key = account.cleaned_data["api_key"]
                    row = api_import_begin(api_key=key, base_url=account.base_url, **given)
            except ImportRefused as refusal:
                form.add_error(None, f"{refusal}.")
            else:
                assert row.job is not None, "it was queued"
                return _to_job(row.job)
        context = {
            **self.admin_site.each_context(request),
            "title": "Import call logs",
            "opts": self.opts,
            "form": files,
            "account_form": account,
        }
        template = "admin/calls/calllogimport/import.html"
        response = TemplateResponse(request, template, context)
        response["Cache-Control"] = "no-store"
        return response

    @badge(
        description="State",
        label={"done": "success", "going on": "info", "stopped": "warning"},
    )
    def state_badge(self, obj: CallLogImport) -> str:
        """Return how far it is."""
        if obj.finished_at is not None:
            return "done"
        is_open = obj.job is not None and obj.job.state in (Job.State.QUEUED, Job.State.RUNNING)
        return "going on" if is_open else "stopped"

    @admin.display(description="Brought")
    def brought(self, obj: CallLogImport) -> str:
        """Return the counts in words."""
        counts = obj.counts
        return ", ".join(f"{counts[n]} {w}" for n, w in WORDS.items() if counts.get(n)) or "–"

    @admin.display(description="Job")
    def job_link(self, obj: CallLogImport) -> Any:
        """Link to progress and cancel."""
        if obj.job is None:
            return "run by the command"
        url = reverse("admin:base_job_change", args=[obj.job_id])
        return format_html('<a class="vp-link" href="{}">Progress, cancel</a>', url)


@admin.register(CallLogPiece)
class CallLogPieceAdmin(ReadOnlyAdmin):
    """Pieces of uploaded logs that wait to be read."""

    organisation_path = "log_import__organisation"
    list_display = ("log_import", "file_name", "ordinal")
    list_select_related = ("log_import",)
    hidden_lookups = ("data",)
    fields = ("log_import", "file_name", "ordinal")
    list_hint = "Uploaded logs, sealed; a row goes when its import has read it."

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out what is sealed."""
        return super().get_queryset(request).defer("data")


@admin.register(ImportedCall)
class ImportedCallAdmin(ReadOnlyAdmin):
    """Calls of the old stack, and the asking for their recordings."""

    list_display = ("call", "assistant", "number", "whole_badge", "consent", "has_recording")
    list_filter = (
        *("is_whole", "consent", "was_here"),
        *(("assistant", ScopedRelatedFilter), ("number", ScopedRelatedFilter)),
    )
    list_select_related = ("call", "call__recording", "assistant", "number")
    search_fields = ("log_id__iexact", "provider_sid__exact", "call__caller__startswith")
    hidden_lookups = ("facts", "recordings", "structured", "tellings")
    list_hint = (
        "Calls that Vapi answered, from their logs. What was said is on the page of the call. "
        "Recordings stay at Vapi until somebody asks for them."
    )
    actions: Any = ("fetch_recordings",)
    fields = (
        *("organisation", "call", "log_id", "provider_sid", "assistant", "number"),
        *("whole_badge", "has_times", "was_here", "consent", "log_import"),
        *("created_at", "updated_at"),
    )
    readonly_fields = ("whole_badge",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out what is sealed."""
        return super().get_queryset(request).defer(*SEALED)

    @badge(description="Log", ordering="is_whole", label={"whole": "success", "part": "warning"})
    def whole_badge(self, obj: ImportedCall) -> str:
        """Return whether the log tells the call to its end."""
        return "whole" if obj.is_whole else "part"

    @admin.display(description="Recording", boolean=True)
    def has_recording(self, obj: ImportedCall) -> bool:
        """Tell whether its sound is here."""
        found = obj.call._state.fields_cache.get("recording")
        return found is not None and found.state == "stored"

    def has_fetch_permission(self, request: HttpRequest) -> bool:
        """Tell who may ask for recordings: who may import, and read what was said."""
        return request.user.has_perms((MAY_IMPORT, MAY_READ))

    @admin.action(description="Fetch their recordings", permissions=["fetch"])
    def fetch_recordings(self, request: HttpRequest, queryset: Any) -> Any:
        """Ask what they are for, then begin a job."""
        rows = list(queryset.select_related("organisation")[: MOST_CALLS + 1])
        owners = {row.organisation for row in rows}
        if len(owners) != 1 or len(rows) > MOST_CALLS:
            messages.error(
                request, f"Choose calls of one organisation, at most {MOST_CALLS} at once."
            )
            return None
        if "purpose" in request.POST:
            try:
                job = fetch_begin(
                    organisation=owners.pop(),
                    calls=[row.call_id for row in rows],
                    purpose=request.POST["purpose"].replace("\x00", ""),
                    actor=request.user,
                    api_key=request.POST.get("api_key", "").replace("\x00", ""),
                )
            except FetchRefused as refusal:
                messages.error(request, f"{str(refusal)[:1].upper()}{str(refusal)[1:]}.")
            else:
                return _to_job(job)
        unknown = sum(row.consent == ImportedCall.Consent.UNKNOWN for row in rows)
        context = {
            **self.admin_site.each_context(request),
            "title": "Fetch recordings",
            "opts": self.opts,
            "rows": rows,
            "unknown": unknown,
            "refused": sum(row.consent == ImportedCall.Consent.REFUSED for row in rows),
        }
        return TemplateResponse(request, "admin/calls/importedcall/fetch.html", context)
