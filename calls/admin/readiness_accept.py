"""Admin of accepted differences: the page on which a person accepts them, and the record.

A page shows what callers hear differently by the documents as they are at that moment; only a POST
with a reason accepts it, and only exactly what was shown (``calls.services.readiness_accept``).
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from calls.models import AudibleAcceptance, PhoneNumber
from calls.numbers.readiness.facts import Audible
from calls.services.readiness_accept import (
    MOST_WHY,
    AcceptError,
    audible_accept,
    audible_now,
    seen_of,
)
from voiceplatform.base.scoped_admin import ReadOnlyAdmin

ACCEPTS: Final = "calls.accept_audible"


class AcceptForm(forms.Form):
    """Why somebody accepts what callers hear, and what the page showed them."""

    why = forms.CharField(
        label="Why",
        max_length=MOST_WHY,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="In a few words, e.g. who listened to it; it is kept with your name.",
    )
    seen = forms.CharField(widget=forms.HiddenInput, max_length=64)


class AcceptDoor:
    """Mixin for the admin of readiness: the page of one row that accepts."""

    def accept_urls(self) -> list[Any]:
        """Return the page's URL."""
        me: Any = self
        view = me.admin_site.admin_view(self.accept_view)
        return [path("<uuid:object_id>/accept/", view, name="calls_numberreadiness_accept")]

    def accept_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Show what callers hear differently, and accept it on POST."""
        me: Any = self
        row = me.get_object(request, str(object_id))
        if row is None or row.number_id is None:
            raise Http404("There is no number here whose callers could hear anything.")
        if not me.has_view_permission(request, row) or not request.user.has_perm(ACCEPTS):
            raise PermissionDenied
        number: PhoneNumber = PhoneNumber.objects.select_related(
            "organisation", "assistant__current_revision", "squad"
        ).get(pk=row.number_id)
        audible, problem = _audible(number)
        shown = {"seen": seen_of(audible)}
        form = AcceptForm(request.POST if request.method == "POST" else None, initial=shown)
        if request.method == "POST" and form.is_valid():
            try:
                count = audible_accept(number=number, actor=request.user, **form.cleaned_data)
            except AcceptError as error:
                form.add_error(None, f"{str(error)[:1].upper()}{str(error)[1:]}")
                # The page shows what is there now, so the next press means that.
                form.data = request.POST.copy()
                form.data.update(shown)
            else:
                messages.success(request, f"Accepted: {count}. The numbers were judged anew.")
                return HttpResponseRedirect(
                    reverse("admin:calls_numberreadiness_change", args=[row.pk])
                )
        context = {
            **me.admin_site.each_context(request),
            "title": f"What callers of {row.number_e164} hear differently",
            "opts": me.opts,
            "row": row,
            "form": form,
            "problem": problem,
            "fresh": [each.shown() for each in audible if each.accepted is None],
            "accepted": [
                (each.shown(), each.accepted) for each in audible if each.accepted is not None
            ],
        }
        template = "admin/calls/numberreadiness/accept.html"
        answer = TemplateResponse(request, template, context)
        answer["Cache-Control"] = "no-store"
        return answer


def _audible(number: PhoneNumber) -> tuple[tuple[Audible, ...], str]:
    try:
        return audible_now(number), ""
    except AcceptError as error:
        return (), str(error)


@admin.register(AudibleAcceptance)
class AudibleAcceptanceAdmin(ReadOnlyAdmin):
    """Who accepted what callers hear differently."""

    list_display = ("at", "of", "count", "who", "why")
    list_display_links = ("at",)
    list_select_related = ("revision__assistant",)
    search_fields = ("who", "why", "revision__assistant__name")
    date_hierarchy = "at"
    fields = ("organisation", "at", "of", "accepted", "who", "why")
    readonly_fields = ("of", "accepted")
    list_hint = (
        "What callers hear differently than at Vapi and somebody accepted. It holds for one "
        "revision of an assistant: a new one asks again. It is accepted on the page of a number "
        "under Readiness."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave what is sealed of revisions in the database."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related("organisation", "revision__assistant").only(
            *("organisation__name", "source", "words", "who", "why", "at"),
            *("revision__number", "revision__assistant__name"),
        )

    @admin.display(description="Assistant", ordering="revision__assistant__name")
    def of(self, obj: AudibleAcceptance) -> str:
        """Return the revision, or that a squad holds the document."""
        return str(obj.revision) if obj.revision is not None else "a member of a squad"

    @admin.display(description="Findings")
    def count(self, obj: AudibleAcceptance) -> int:
        """Count what was accepted."""
        return len(obj.words)

    @admin.display(description="Accepted")
    def accepted(self, obj: AudibleAcceptance) -> str:
        """Return what was accepted, one a line."""
        return "\n".join(map(str, obj.words))
