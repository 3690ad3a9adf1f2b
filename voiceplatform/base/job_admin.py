"""Admin of jobs: live progress, a button to cancel, and the way to what came of it.

Writes through ``base.jobs`` only. A job's sealed secret and its lease are shown to nobody.
"""

from __future__ import annotations

import json
from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import NoReverseMatch, path, reverse

from voiceplatform.base import jobs
from voiceplatform.base.models import Job
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, badge

_COLOURS = {
    "queued": "info",
    "running": "primary",
    "done": "success",
    "failed": "danger",
    "cancelled": "warning",
}
_WORDS = {
    "queued": "waits for a worker",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Long pieces of work."""

    list_display = ("kind_shown", "state_badge", "progress", "message", "created_by", "created_at")
    list_hint = (
        "Long pieces of work that somebody began in the admin: imports and spoken samples. They go "
        "on when the page is closed; open one to watch or cancel it."
    )
    list_filter = ("state", "kind", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("kind", "message")
    date_hierarchy = "created_at"
    hidden_lookups = ("parameters", "result")
    fields = ("organisation", "kind", "state_badge", "message", "created_by", "created_at")
    readonly_fields = ("state_badge",)
    change_form_template = "admin/base/job/change_form.html"

    @admin.display(description="Kind", ordering="kind")
    def kind_shown(self, obj: Job) -> str:
        """Return the kind in words."""
        return obj.kind.replace("-", " ").capitalize()

    @badge(description="State", ordering="state", label=_COLOURS)
    def state_badge(self, obj: Job) -> str:
        """Return the state as a badge."""
        return obj.state

    @admin.display(description="Progress")
    def progress(self, obj: Job) -> str:
        """Return done of total."""
        return f"{obj.done_count} of {obj.total_count}" if obj.total_count else str(obj.done_count)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let people watch what they began themselves."""
        own = obj is not None and obj.created_by_id == request.user.pk
        return own or bool(super().has_view_permission(request, obj))

    def get_urls(self) -> list[Any]:
        """Add what the page's script polls and what its button posts to."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:object_id>/progress/", wrap(self.progress_view), name="base_job_progress"),
            path("<uuid:object_id>/cancel/", wrap(self.cancel_view), name="base_job_cancel"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one job."""
        job = self.get_object(request, object_id)
        extra = dict(extra_context or {})
        if job is not None:
            extra |= {"title": _title(job), "job_page": self._page(request, job)}
        response: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return response

    def progress_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Answer how far a job is, as JSON."""
        return JsonResponse(self._state(request, self._job(request, object_id)))

    def cancel_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Ask a job to stop; only by POST, since it writes."""
        job = self._job(request, object_id)
        back = HttpResponseRedirect(reverse("admin:base_job_change", args=[job.pk]))
        if request.method != "POST":
            return back
        if not self._may_cancel(request, job):
            return HttpResponse("You may not cancel this job.", status=403)
        if jobs.job_cancel(job=job, actor=request.user):
            self.message_user(request, "It stops after the object at hand.", messages.SUCCESS)
        else:
            self.message_user(request, "It had ended already.", messages.WARNING)
        return back

    def _job(self, request: HttpRequest, object_id: Any) -> Job:
        job: Job | None = self.get_object(request, str(object_id))
        if job is None:
            raise Http404("The job was not found.")
        if not self.has_view_permission(request, job):
            raise Http404("The job was not found.")
        return job

    def _may_cancel(self, request: HttpRequest, job: Job) -> bool:
        own = job.created_by_id is not None and job.created_by_id == request.user.pk
        return own or bool(request.user.has_perm("base.change_job"))

    def _state(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        return {
            "state": job.state,
            "words": "stopping" if _is_stopping(job) else _WORDS[job.state],
            "colour": _COLOURS[job.state],
            "done": job.done_count,
            "total": job.total_count,
            "message": job.message,
            "has_ended": job.finished_at is not None,
            "result_url": self._result_url(request, job),
        }

    def _page(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        return {
            "job": job,
            "title": _title(job),
            "parameters": _block(jobs.public_parameters(job)),
            "result": _block(job.result),
            "can_cancel": not job.finished_at
            and not job.cancel_requested
            and self._may_cancel(request, job),
            **self._state(request, job),
        }

    def _result_url(self, request: HttpRequest, job: Job) -> str:
        """Return the page of the row that a job made, '' where there is none for this person."""
        result = job.result if isinstance(job.result, dict) else {}
        label, key = str(result.get("model", "")), result.get("id")
        if label.count(".") != 1 or not (key or result.get("is_list")):
            return ""
        page = f"admin:{label.replace('.', '_')}"
        try:
            registered = self.admin_site._registry.get(apps.get_model(label))
            url = reverse(f"{page}_change", args=[key]) if key else reverse(f"{page}_changelist")
        except (LookupError, NoReverseMatch):
            return ""
        may_look = registered is not None and registered.has_view_permission(request)
        return url if may_look else ""


def _title(job: Job) -> str:
    return job.kind.replace("-", " ").capitalize()


def _is_stopping(job: Job) -> bool:
    return job.cancel_requested and job.finished_at is None


def _block(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) if value else ""
