"""The overview of all numbers that are moved, and the way back for all of them at once.

Owns which numbers are shown and what one confirmation orders. Puts numbers back through
``calls.services.number_moves`` alone.
"""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone

from calls.admin.moving_doors import (
    CLICK_SECONDS,
    check_may_change,
    check_may_look,
    number_of,
    page,
    part,
    why_of,
)
from calls.models import NumberMove, NumberReadiness, PhoneNumber
from calls.selectors.move_views import ReturningRow, returning_rows
from calls.selectors.moves import PLACES, Filters, MovingRow, moving_rows, numbers_here
from calls.services.number_moves import restore_all_begin, restore_begin, restore_try
from voiceplatform.base.models import Job, Organisation
from voiceplatform.base.selectors import organisations_visible_to

WHY_BACK: Final = "put back by hand"
_IDLE_SECONDS: Final = 10


def moving_urls(model_admin: Any) -> list[Any]:
    """Return the URLs of these pages, for the admin of numbers."""
    view = model_admin.admin_site.admin_view
    return [
        path("moving/", view(moving_page), name="calls_phonenumber_moving"),
        path("restore-all/", view(restore_all_page), name="calls_phonenumber_restore_all"),
        path(
            "restore-all/<uuid:job_id>/", view(returning_page), name="calls_phonenumber_returning"
        ),
        path(
            "restore-all/<uuid:job_id>/rows/",
            view(returning_part),
            name="calls_phonenumber_returning_rows",
        ),
    ]


def moving_page(request: HttpRequest) -> HttpResponse:
    """Show every number in one row."""
    check_may_look(request)
    filters = Filters(
        place=request.GET.get("place", ""),
        route=request.GET.get("route", ""),
        readiness=request.GET.get("readiness", ""),
        text=request.GET.get("q", "").strip()[:40],
    )
    rows = moving_rows(request.user, filters)
    return page(
        request,
        "moving",
        "Moving numbers",
        rows=rows,
        unchecked=_unchecked(request, rows),
        here=sum(row.is_here for row in rows),
        here_total=numbers_here(request.user).count(),
        filters=filters,
        is_filtered=filters != Filters(),
        places=PLACES,
        routes=PhoneNumber.Route.values,
        colours=NumberReadiness.Colour.choices,
    )


def _unchecked(request: HttpRequest, rows: list[MovingRow]) -> int:
    """Count the numbers that no check has seen; for those who may see readiness."""
    if not request.user.has_perm("calls.view_numberreadiness"):
        return 0
    return sum(not row.readiness.title for row in rows)


def restore_all_page(request: HttpRequest) -> HttpResponse:
    """Show what would be put back and, on POST, order it."""
    check_may_look(request)
    groups = _groups(request)
    if request.method == "POST":
        check_may_change(request)
        for organisation, numbers in groups:
            if str(organisation.pk) == request.POST.get("organisation") and numbers:
                job = restore_all_begin(
                    organisation=organisation, actor=request.user, why=why_of(request, WHY_BACK)
                )
                return HttpResponseRedirect(
                    reverse("admin:calls_phonenumber_returning", args=[job.pk])
                )
        messages.warning(request, "Nothing was ordered: no number of yours is here any more.")
    return page(request, "restore_all", "Put all numbers back", groups=groups)


def _groups(request: HttpRequest) -> list[tuple[Organisation, list[PhoneNumber]]]:
    """Return the numbers that are here, by organisation; those without any are left out."""
    numbers = list(numbers_here(request.user).order_by("number_e164"))
    owners = organisations_visible_to(request.user).filter(
        pk__in={number.organisation_id for number in numbers}
    )
    return [
        (owner, [number for number in numbers if number.organisation_id == owner.pk])
        for owner in owners.order_by("name")
    ]


def returning_page(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Show how far the way back of all numbers is; on POST do some of it in this request."""
    job = _job(request, job_id)
    if request.method == "POST":
        check_may_change(request)
        _work(request, job)
        return HttpResponseRedirect(reverse("admin:calls_phonenumber_returning", args=[job.pk]))
    return page(request, "returning", "All numbers are put back", **_returning(request, job))


def returning_part(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Answer the rows alone, for the page that is open."""
    job = _job(request, job_id)
    return part(request, "returning_part", **_returning(request, job))


def _job(request: HttpRequest, job_id: uuid.UUID) -> Job:
    check_may_look(request)
    job: Job | None = Job.objects.visible_to(request.user).filter(pk=job_id).first()
    if job is None or job.organisation is None or not job.kind.startswith("restore"):
        raise Http404("The job was not found.")
    return job


def _returning(request: HttpRequest, job: Job) -> dict[str, Any]:
    rows = returning_rows(job)
    waits = (timezone.now() - job.created_at).total_seconds()
    is_over = job.finished_at is not None and not any(row.is_open for row in rows)
    return {
        "job": job,
        "rows": rows,
        "done": sum(row.is_done for row in rows),
        "total": len(rows),
        "is_over": is_over,
        "is_idle": job.state == Job.State.QUEUED and waits > _IDLE_SECONDS,
        "part_url": reverse("admin:calls_phonenumber_returning_rows", args=[job.pk]),
    }


def _work(request: HttpRequest, job: Job) -> None:
    """Put back what is left, one after the other, as long as a click may take.

    For when no worker takes the job; both at once do no harm, a number has one way back.
    """
    until = time.monotonic() + 2 * CLICK_SECONDS
    left: list[ReturningRow] = [row for row in returning_rows(job) if not row.is_done]
    for row in left:
        rest = until - time.monotonic()
        if rest <= 1:
            break
        number = number_of(request, row.number_id, to_change=True)
        move: NumberMove | None = restore_begin(
            number=number, actor=request.user, why=str(job.parameters.get("why") or WHY_BACK)
        )
        if move is not None:
            restore_try(move.pk, within_seconds=min(rest, CLICK_SECONDS))
