"""Admin of hand-overs to old stacks: what came of each, and how the stacks fare.

Rows are written by calls. A person may say one thing alone: that a stack works again.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from calls.models import CallHandover, OldStack
from calls.services.call_take_back import INSTEAD_WORDS
from calls.services.old_stacks import health_of, health_words, stack_mended
from voiceplatform.base.redaction import redact_url
from voiceplatform.base.scoped_admin import BesideForm, ReadOnlyAdmin, badge

_STATES = {"up": "success", "down": "danger", "probing": "warning"}


@admin.register(OldStack)
class OldStackAdmin(BesideForm, ReadOnlyAdmin):
    """One row for each stack that calls are handed to."""

    list_display = ("origin", "state", "fares", "changed_at")
    search_fields = ("origin",)
    list_hint = (
        "The stacks that had the numbers before. While one is down, callers of numbers whose "
        "assistant is qualified are answered here at once; a few find out whether it is back."
    )
    list_empty = "A row appears with the first call that is handed to the stack before us."
    fields = ("origin", "state", "fares", "changed_at")
    change_form_template = "admin/calls/oldstack/change_form.html"

    def beside_form(self, request: HttpRequest, obj: OldStack) -> dict[str, Any]:
        """Offer to say that it works again, where something speaks against it."""
        state = health_of(obj).state
        may_mend = state != "up" and request.user.has_perm("calls.change_oldstack")
        page = {"row": obj, "state": state, "colour": _STATES[state], "words": health_words(obj)}
        return {"stack_page": {**page, "may_mend": may_mend}}

    def get_urls(self) -> list[Any]:
        """Add the page behind “It works again”."""
        view = self.admin_site.admin_view(self.mended_view)
        own = path("<int:object_id>/mended/", view, name="calls_oldstack_mended")
        return [own, *super().get_urls()]

    def mended_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Say what follows, then take the person's word for it."""
        row: OldStack | None = self.get_object(request, str(object_id))
        if row is None or not self.has_view_permission(request, row):
            raise Http404("The old stack was not found.")
        if not request.user.has_perm("calls.change_oldstack"):
            raise PermissionDenied
        if request.method == "POST":
            if stack_mended(stack_id=row.pk, actor=request.user):
                self.message_user(request, "The next caller is handed over to it again.")
            else:
                words = "Nothing speaks against it by now, so nothing was changed."
                self.message_user(request, words, messages.WARNING)
            return HttpResponseRedirect(reverse("admin:calls_oldstack_change", args=[row.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": "It works again",
            "opts": self.opts,
            "row": row,
            "words": health_words(row),
        }
        return TemplateResponse(request, "admin/calls/oldstack/mended.html", context)

    @badge(description="State", label=_STATES)
    def state(self, obj: OldStack) -> str:
        """Return up, down or probing."""
        return health_of(obj).state

    @admin.display(description="How it fares")
    def fares(self, obj: OldStack) -> str:
        """Return a sentence."""
        return health_words(obj)


@admin.register(CallHandover)
class CallHandoverAdmin(ReadOnlyAdmin):
    """One row for each call that the old stack was given."""

    organisation_path = "call__organisation"
    list_display = ("begun_at", "call", "old_stack", "result", "took", "otherwise")
    list_filter = ("is_taken", "both_reached")
    list_select_related = ("call", "old_stack")
    list_hint = (
        "Calls that were handed to the stack before us. “Both may have been reached”: it gave us "
        "nothing in time, and may have taken the call all the same."
    )
    list_empty = "No call was handed over yet: it takes a number that is here with the route Vapi."
    fields = (
        *("call", "old_stack", "begun_at", "ended_at", "result", "reason", "attempt_ms"),
        *("otherwise", "tells", "status_told"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave alone what lists do not show: sealed columns are opened row by row."""
        rows: QuerySet[Any] = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and str(match.url_name).endswith("changelist")
        return rows.defer("answer", "cookies", "status_url", "status_asked") if is_list else rows

    @badge(
        description="Result",
        label={"taken": "success", "both": "danger", "lost": "warning", "asked": "info"},
    )
    def result(self, obj: CallHandover) -> Any:
        """Say what came of it."""
        if obj.ended_at is None:
            return "asked", "under way"
        if obj.is_taken:
            return "taken", "answered there"
        return ("both", "both may have been reached") if obj.both_reached else ("lost", "not there")

    @admin.display(description="If it gives nothing")
    def otherwise(self, obj: CallHandover) -> str:
        """Say who takes the call then."""
        return INSTEAD_WORDS.get(obj.instead, obj.instead)

    @admin.display(description="Took")
    def took(self, obj: CallHandover) -> str:
        """Return how long it took, as far as it is over."""
        voice = (obj.outcome or {}).get("voice", {})
        return f"{voice['elapsed_ms']} ms" if "elapsed_ms" in voice else "–"

    @admin.display(description="Why")
    def reason(self, obj: CallHandover) -> str:
        """Return the reason of each request."""
        return " ".join(str(each.get("reason", "")) for each in (obj.outcome or {}).values())

    @admin.display(description="Told of the end")
    def tells(self, obj: CallHandover) -> str:
        """Return whom it wants told of the call's end; tokens are masked."""
        return redact_url(obj.status_url) if obj.status_url else "nobody"

    @admin.display(description="What came of that")
    def status_told(self, obj: CallHandover) -> str:
        """Say whether that has happened."""
        if obj.status_outcome is not None:
            return str(obj.status_outcome.get("reason", ""))
        return "waits to be sent" if obj.status_due_at else "–"
