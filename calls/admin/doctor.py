"""The doctor's page: what is wrong with this installation, for people who run it.

For superusers, because the checks look across organisations. The checks run when the button is
pressed, never by opening the page: they ask other people's servers.
"""

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from calls.doctor import Result, run_checks
from voiceplatform.base.services import audit_write

_COLOURS = {"ok": "success", "warning": "warning", "failed": "danger"}
_ORDER = {"failed": 0, "warning": 1, "ok": 2}


def doctor(request: HttpRequest) -> HttpResponse:
    """Show the page; run the checks on POST."""
    if not request.user.is_superuser:
        raise PermissionDenied
    results: list[Result] | None = None
    if request.method == "POST":
        results = sorted(run_checks(), key=lambda result: _ORDER[result.state])
        audit_write(actor=request.user, action="doctor.run", organisation=None)
    rows = [{"result": result, "colour": _COLOURS[result.state]} for result in results or ()]
    context = {
        **admin.site.each_context(request),
        "title": "Doctor",
        "rows": rows,
        "ran": results is not None,
        "failures": sum(result.state == "failed" for result in results or ()),
    }
    return TemplateResponse(request, "admin/calls/doctor.html", context)
