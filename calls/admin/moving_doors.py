"""What the pages on which numbers are moved do alike: who may open them, and which number is meant.

Owns the two permissions: looking needs the one to view numbers, everything that a caller would
notice the one to change them. A number of another organisation is not there at all.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from calls.models import PhoneNumber

VIEWS: Final = "calls.view_phonenumber"
CHANGES: Final = "calls.change_phonenumber"
MOST_WHY: Final = 500
# Of what a person waits for in one click; the worker goes on with the rest.
CLICK_SECONDS: Final = 8.0


def may_change(request: HttpRequest) -> bool:
    """Tell whether the person may move numbers, route them and put them back."""
    return bool(request.user.has_perm(CHANGES))


def check_may_look(request: HttpRequest) -> None:
    """Refuse who may not even look.

    Raises:
        PermissionDenied: they may not.
    """
    if not (request.user.has_perm(VIEWS) or may_change(request)):
        raise PermissionDenied


def check_may_change(request: HttpRequest) -> None:
    """Refuse who may only look.

    Raises:
        PermissionDenied: they may not change numbers.
    """
    if not may_change(request):
        raise PermissionDenied


def number_of(
    request: HttpRequest, object_id: uuid.UUID, *, to_change: bool = False
) -> PhoneNumber:
    """Return a number of the person's, with its account and what answers it.

    Raises:
        Http404: there is none, or it is somebody else's.
        PermissionDenied: the person may not look at it, or not change it.
    """
    row: PhoneNumber | None = (
        PhoneNumber.objects.visible_to(request.user)
        .select_related("twilio_account", "organisation")
        # What is sealed is opened when it is needed, so that a lost key closes no page.
        .defer(
            *("previous_target", "twilio_account__auth_token", "twilio_account__api_key_secret"),
            "twilio_account__auth_token_secondary",
        )
        .filter(pk=object_id)
        .first()
    )
    if row is None:
        raise Http404("The number was not found.")
    check_may_look(request)
    if to_change:
        check_may_change(request)
    return row


def why_of(request: HttpRequest, default: str = "") -> str:
    """Return the reason that was typed, or what stands for none."""
    return request.POST.get("why", "").replace("\x00", "").strip()[:MOST_WHY] or default


def page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    """Answer one of these pages; it is of the moment, so nobody keeps it.

    A ``number`` in the context leads back to its own page from the head of the page.
    """
    trail = [{"title": "Moving", "link": reverse("admin:calls_phonenumber_moving")}]
    number = context.get("number")
    if isinstance(number, PhoneNumber):
        link = reverse("admin:calls_phonenumber_console", args=[number.pk])
        trail.append({"title": number.number_e164, "link": link})
    response = TemplateResponse(
        request,
        f"admin/calls/phonenumber/{template}.html",
        {
            **admin.site.each_context(request),
            "title": title,
            "opts": PhoneNumber._meta,
            "trail": trail,
            "may_change": may_change(request),
            **context,
        },
    )
    response["Cache-Control"] = "no-store"
    return response


def part(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """Answer what changes of such a page, for the script that follows it."""
    response = TemplateResponse(
        request,
        f"admin/calls/phonenumber/{template}.html",
        {"may_change": may_change(request), **context},
    )
    response["Cache-Control"] = "no-store"
    return response
