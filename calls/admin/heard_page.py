"""The page of a run that says what was misheard, with the sound at that second.

A mixin of the admin of runs. What callers said is shown to those who may read transcripts; the
sound itself is behind the recording's own page, which asks and audits by itself.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path

from calls.models import ParityRun
from calls.services.heard_again import heard_run

READS = "calls.view_transcript"


class HeardPage:
    """Adds ``<run>/heard/`` to the admin of runs."""

    def get_urls(self) -> list[Any]:
        """Add the page."""
        wrap = self.admin_site.admin_view  # type: ignore[attr-defined]
        own = path("<uuid:object_id>/heard/", wrap(self.heard_view), name="calls_parityrun_heard")
        return [own, *super().get_urls()]  # type: ignore[misc]

    def heard_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """List what was misheard, where calls were cut, and how much was understood alike."""
        run: ParityRun | None = self.get_object(request, str(object_id))  # type: ignore[attr-defined]
        if run is None or run.kind not in (ParityRun.Kind.REPLAY, ParityRun.Kind.REHEAR):
            raise Http404("The run was not found.")
        if not self.has_view_permission(request, run):  # type: ignore[attr-defined]
            raise PermissionDenied
        may_read = bool(request.user.has_perm(READS))
        if may_read:
            self.audit(request, "parity_run.heard", run)  # type: ignore[attr-defined]
        context = {
            **self.admin_site.each_context(request),  # type: ignore[attr-defined]
            "title": "What was heard",
            "opts": self.opts,  # type: ignore[attr-defined]
            "run": run,
            "heard": heard_run(run, with_words=may_read),
            "may_read": may_read,
        }
        answer = TemplateResponse(request, "admin/calls/parity/heard.html", context)
        answer["Cache-Control"] = "no-store"
        return answer
