"""The page that leads through leaving Vapi: what is in the way, the steps, what is due afterwards.

Owns the page; each step is a job of ``calls.services.leaving_jobs`` and begins with a POST. Needs
a permission of its own. Vapi's key is handed on and shown nowhere.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from calls.models import Departure
from calls.numbers.leaving import CONFIRMATION, UNSEEN, outstanding
from calls.services.leaving import (
    NOT_UNDOABLE,
    LeavingRefused,
    departure_accept,
    departure_begin,
    found_of,
    key_done,
    token_done,
)
from calls.services.leaving_jobs import export_folder_of, open_step, step_begin
from voiceplatform.base.selectors import organisations_visible_to

PERMISSION: Final = "calls.leave_vapi"
_COLOURS: Final = {"blocks": "danger", "ask": "warning", "note": "info"}
_WEIGHTS: Final = {"blocks": "in the way", "ask": "answer for it", "note": "to be known"}
_MOST_KEY: Final = 200


def leaving_urls(model_admin: Any) -> list[Any]:
    """Return the URLs of these pages, for the admin of leaves."""
    view = model_admin.admin_site.admin_view
    pages = _Pages(model_admin)
    return [
        path("begin/", view(pages.begin), name="calls_departure_begin"),
        path("<uuid:object_id>/leave/", view(pages.leave), name="calls_departure_leave"),
    ]


def _check_may(request: HttpRequest) -> None:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied


class _Pages:
    def __init__(self, model_admin: Any) -> None:
        self.admin = model_admin

    def begin(self, request: HttpRequest) -> HttpResponse:
        """Take up the open leave of an organisation, or a new one; only by POST."""
        _check_may(request)
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:calls_departure_changelist"))
        chosen = request.POST.get("organisation", "")
        organisations = organisations_visible_to(request.user).order_by("created_at")
        organisation = next((o for o in organisations if str(o.pk) == chosen), None)
        if organisation is None:
            raise Http404("The organisation was not found.")
        departure = departure_begin(organisation=organisation)
        return HttpResponseRedirect(reverse("admin:calls_departure_leave", args=[departure.pk]))

    def leave(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Show a leave and, on POST, do what was asked for."""
        rows = Departure.objects.visible_to(request.user).defer("sealed")
        departure = rows.select_related("organisation").filter(pk=object_id).first()
        if departure is None:
            raise Http404("The leave was not found.")
        _check_may(request)
        if request.method == "POST":
            return self._act(request, departure)
        job = open_step(departure)
        found = found_of(departure)
        accepted = departure.accepted
        context = {
            **self.admin.admin_site.each_context(request),
            "title": "Leave Vapi",
            "opts": self.admin.opts,
            "departure": departure,
            "job": job,
            "found": [
                {
                    "of": each,
                    "code": each.code.replace("_", " "),
                    "said": accepted.get(each.key),
                    "colour": "success" if each.key in accepted else _COLOURS[each.weight],
                    "words": "answered for" if each.key in accepted else _WEIGHTS[each.weight],
                }
                for each in found
            ],
            "left": len(outstanding(found, accepted)),
            "numbers": departure.numbers.select_related("number").exclude(problem=""),
            "confirmation": CONFIRMATION,
            "unseen": UNSEEN,
            "not_undoable": NOT_UNDOABLE,
            "folder": departure.export_folder or export_folder_of(departure),
        }
        response = TemplateResponse(request, "admin/calls/departure/leave.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _act(self, request: HttpRequest, departure: Departure) -> HttpResponse:
        posted = request.POST
        back = HttpResponseRedirect(reverse("admin:calls_departure_leave", args=[departure.pk]))
        step = posted.get("step", "")
        why = posted.get("why", "").replace("\x00", "")
        simple: dict[str, Callable[[], None]] = {
            "accept": lambda: departure_accept(
                departure=departure, key=posted.get("key", ""), actor=request.user, why=why
            ),
            "token": lambda: token_done(departure=departure, actor=request.user),
            "key": lambda: key_done(departure=departure, actor=request.user),
        }
        try:
            if step in simple:
                simple[step]()
                return back
            if step not in {"look", "export", "leave", "undo"}:
                return back
            job = step_begin(
                departure=departure,
                step=step,  # type: ignore[arg-type]  # one of the four, as was just asked
                actor=request.user,
                vapi_key=posted.get("vapi_key", "").strip()[:_MOST_KEY],
                typed=posted.get("typed", ""),
                why=why,
            )
        except LeavingRefused as refusal:
            words = str(refusal)
            messages.error(request, f"{words[:1].upper()}{words[1:]}")
            return back
        return HttpResponseRedirect(reverse("admin:base_job_change", args=[job.pk]))
