"""What the pages of receivers share: a test, a secret that is shown once, its overlap, the end.

For receivers of events and of notices, which are rows and services of their own. It must not know
what either of them is sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from calls.services.event_destinations import OVERLAP
from voiceplatform.base.scoped_admin import BesideForm, ScopedAdmin

STATES = {"on": "success", "off": "info", "the receiver is gone": "danger"}


def state_of(row: Any) -> str:
    """Say whether a receiver is sent anything; one of ``STATES``."""
    if row.enabled:
        return "on"
    return "the receiver is gone" if row.switched_off_at else "off"


@dataclass(frozen=True, slots=True)
class Steps:
    """The services behind the buttons, each called with ``row`` and ``actor``.

    ``delete`` returns how many things that waited were given up, ``test`` the attempt or None,
    ``renew`` the new secret, ``end_earlier`` whether there was an earlier one.
    """

    delete: Callable[..., int]
    test: Callable[..., Any]
    renew: Callable[..., str]
    end_earlier: Callable[..., bool]


class SignedReceiverAdmin(BesideForm, ScopedAdmin):
    """A list of receivers whose requests are signed; ``things``: what they are sent."""

    steps: Steps
    things: str

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Remove through the service."""
        given_up = self.steps.delete(row=obj, actor=request.user)
        if given_up:
            words = f"{given_up} {self.things} that waited for it were given up."
            self.message_user(request, words, messages.WARNING)

    def get_actions(self, request: HttpRequest) -> Any:
        """Delete one by one."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Ask for confirmation without Django's look at foreign keys: what was sent stays."""
        return [str(obj) for obj in objs], {}, set(), []

    def views(self) -> dict[str, Callable[..., HttpResponse]]:
        """Return what the buttons of a receiver's page post to, by the last part of the path."""
        return {
            "test": self.test_view,
            "renew": self.renew_view,
            "end-earlier": self.end_earlier_view,
        }

    def get_urls(self) -> list[Any]:
        """Add what the buttons post to."""
        wrap, model = self.admin_site.admin_view, self.opts.model_name
        own = [
            path(f"<uuid:object_id>/{name}/", wrap(view), name=f"calls_{model}_{name}")
            for name, view in self.views().items()
        ]
        return [*own, *super().get_urls()]

    def test_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Send a test and say what came of it."""
        row = self.row(request, object_id)
        if request.method != "POST":
            return self.back(row)
        attempt = self.steps.test(row=row, actor=request.user)
        if attempt is None:
            words = "A worker sends it; look at Delivery attempts in a minute."
            self.message_user(request, words, messages.WARNING)
        elif attempt.status_code is not None and 200 <= attempt.status_code < 300:
            words = f"It was taken: status {attempt.status_code} after {attempt.duration_ms} ms."
            self.message_user(request, words, messages.SUCCESS)
        else:
            why = attempt.error or f"it answered {attempt.status_code}, and only a 2xx counts"
            self.message_user(request, f"It was not taken: {why}", messages.ERROR)
        return self.back(row)

    def is_signed(self, row: Any) -> bool:
        """Tell whether requests to this one are signed at all."""
        return True

    def renew_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Make a new secret and show it once."""
        row = self.row(request, object_id)
        if request.method != "POST" or not self.is_signed(row):
            return self.back(row)
        return self.secret_page(request, row, self.steps.renew(row=row, actor=request.user))

    def end_earlier_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Let the earlier secret sign no more."""
        row = self.row(request, object_id)
        if request.method == "POST" and self.steps.end_earlier(row=row, actor=request.user):
            self.message_user(request, "Only the newest secret signs from now on.")
        return self.back(row)

    def row(self, request: HttpRequest, object_id: uuid.UUID) -> Any:
        """Return a receiver that this person may see, and change where the request is a POST.

        Raises:
            Http404: there is none.
            PermissionDenied: it may only be looked at.
        """
        row = self.get_object(request, str(object_id))
        if row is None or not self.has_view_permission(request, row):
            raise Http404("The receiver was not found.")
        if request.method == "POST" and not self.has_change_permission(request, row):
            raise PermissionDenied
        return row

    def back(self, row: Any) -> HttpResponse:
        """Return to the receiver's page."""
        return HttpResponseRedirect(self._page_of(row))

    def secret_page(self, request: HttpRequest, row: Any, secret: str) -> HttpResponse:
        """Show a secret that was made just now."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Signing secret",
            "opts": self.opts,
            "row": row,
            "secret": secret,
            "things": self.things,
            "page_url": self._page_of(row),
            "overlap_hours": int(OVERLAP.total_seconds() // 3600),
            "had_one": bool(row.secret) and row.secret != secret,
        }
        response = TemplateResponse(request, "admin/calls/signed_receiver_secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def how_it_goes(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what stands above the form of every receiver."""
        until = row.earlier_secret_until
        return {
            "row": row,
            "state": state_of(row),
            "colour": STATES[state_of(row)],
            "may_change": self.has_change_permission(request, row),
            "earlier_until": until if until and until > timezone.now() else None,
        }

    def _page_of(self, row: Any) -> str:
        return reverse(f"admin:calls_{self.opts.model_name}_change", args=[row.pk])
