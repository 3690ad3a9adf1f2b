"""Admin of proposed instructions: what drifts, the sentence against it, and whether it helped.

Rows are written by ``calls.services.guardrail_proposals``; each change is asked for on a page of
its own. An instruction goes into a draft, which answers no call until somebody publishes it.
"""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from calls.admin.ask_page import ask_page
from calls.models import GuardrailProposal, ParityRun
from calls.services.guardrail_proposals import (
    GuardrailRefused,
    guardrail_reject,
    guardrail_verify,
    guardrails_apply,
    guardrails_propose,
)
from voiceplatform.base.scoped_admin import (
    BesideForm,
    ReadOnlyAdmin,
    ScopedRelatedFilter,
    badge,
)
from voiceplatform.base.selectors import rows_visible_to

State = GuardrailProposal.State
COLOURS = {
    State.PROPOSED: "info",
    State.REJECTED: "muted",
    State.APPLIED: "warning",
    State.VERIFIED: "success",
    State.NO_BETTER: "danger",
}


class ProposeForm(forms.Form):
    """Which run's drift is looked at."""

    run: Any = forms.ModelChoiceField(queryset=None, widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = ParityRun.objects.filter(state=ParityRun.State.DONE).order_by("-created_at")
        field: Any = self.fields["run"]
        field.queryset = rows_visible_to(rows, request.user, "organisation")


class ApplyForm(forms.Form):
    """The instruction as it will stand in the prompt, and what was shown of its state."""

    instruction = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Explicit, one rule, in the prompt's language.",
    )
    seen = forms.CharField(widget=forms.HiddenInput)


class SureForm(forms.Form):
    """What was shown of a proposal's state."""

    seen = forms.CharField(widget=forms.HiddenInput)


def seen_of(row: GuardrailProposal) -> str:
    """Return what of a proposal a page has shown, to compare it with what is stored later."""
    return f"{row.state}:{row.applied_revision_id}:{row.verification_id}"


@admin.register(GuardrailProposal)
class GuardrailProposalAdmin(BesideForm, ReadOnlyAdmin):
    """Explicit instructions against drift."""

    change_list_template = "admin/calls/guardrailproposal/change_list.html"
    change_form_template = "admin/calls/guardrailproposal/change_form.html"
    list_display = ("pattern", "instruction", "assistant", "share", "state_badge", "created_at")
    list_display_links = ("pattern",)
    list_filter = ("state", "kind", ("assistant", ScopedRelatedFilter))
    list_select_related = ("assistant",)
    search_fields = ("pattern", "instruction", "tool", "assistant__name")
    hidden_lookups = ("figures",)
    fields = (
        *("organisation", "assistant", "run", "pattern", "instruction", "share", "state_badge"),
        *("decided_by", "decided_at", "applied_revision", "verification", "created_at"),
    )
    readonly_fields = ("share", "state_badge")
    list_hint = (
        "What calls of a run drift in again and again, and the sentence against it, by rule. "
        "Four of ten calls are held out: no proposal sees them, and they judge whether it helped. "
        "See docs/guardrails.md."
    )

    @badge(description="State", ordering="state", label=COLOURS)
    def state_badge(self, obj: GuardrailProposal) -> Any:
        """Say how far it is."""
        return obj.state, str(obj.get_state_display()).lower()

    @admin.display(description="Seen", ordering="seen")
    def share(self, obj: GuardrailProposal) -> str:
        """Show how often it was seen."""
        return f"{obj.seen} of {obj.looked_at} pairs"

    def has_apply_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person may decide on proposals."""
        return bool(request.user.has_perm("calls.apply_guardrails"))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Offer to look at a run."""
        extra = {"may_propose": self.has_apply_permission(request)}
        return super().changelist_view(request, {**(extra_context or {}), **extra})

    def beside_form(self, request: HttpRequest, obj: GuardrailProposal) -> dict[str, Any]:
        """Show what can be done, and what it changed."""
        may = self.has_apply_permission(request)
        run = obj.verification
        can_verify = run is None or run.state in (
            *(ParityRun.State.FAILED, ParityRun.State.CANCELLED),
        )
        return {
            "guardrail_page": {
                "row": obj,
                "colour": COLOURS[State(obj.state)],
                "figures": obj.figures,
                "may_decide": may and obj.state == State.PROPOSED,
                "may_verify": may and obj.state == State.APPLIED and can_verify,
            }
        }

    def get_urls(self) -> list[Any]:
        """Add the pages that ask."""
        wrap, name = self.admin_site.admin_view, "calls_guardrailproposal"
        return [
            path("propose/", wrap(self.propose_view), name=f"{name}_propose"),
            path("<uuid:object_id>/apply/", wrap(self.apply_view), name=f"{name}_apply"),
            path("<uuid:object_id>/reject/", wrap(self.reject_view), name=f"{name}_reject"),
            path("<uuid:object_id>/verify/", wrap(self.verify_view), name=f"{name}_verify"),
            *super().get_urls(),
        ]

    def propose_view(self, request: HttpRequest) -> HttpResponse:
        """Ask which run is looked at, and store what it asks for."""
        if not self.has_apply_permission(request):
            raise PermissionDenied
        back = reverse("admin:calls_guardrailproposal_changelist")
        form = ProposeForm(request.POST or None, request=request)
        if request.method == "POST" and form.is_valid():
            try:
                rows = guardrails_propose(run=form.cleaned_data["run"], actor=request.user)
            except GuardrailRefused as refused:
                form.add_error(None, f"Nothing was proposed: {refused}")
            else:
                words = (
                    f"{len(rows)} instructions are proposed."
                    if rows
                    else ("Nothing drifts again and again in that run.")
                )
                self.message_user(request, words)
                return HttpResponseRedirect(back)
        return ask_page(
            self,
            request,
            form,
            title="Propose instructions",
            means=("The drift of a run is looked at; nothing is changed by this.",),
            button="Look at it",
            back=back,
        )

    def apply_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Ask for the words, and put them into a draft."""
        row = self._row(request, object_id)
        initial = {"instruction": row.instruction, "seen": seen_of(row)}
        return self._decide(
            request,
            row,
            ApplyForm(request.POST or None, initial=initial),
            title="Put it into a draft",
            means=(
                f"In {row.seen} of {row.looked_at} pairs: {row.pattern}.",
                "The sentence is added to the prompt of a new draft of the assistant. The draft "
                "answers no call until somebody publishes it.",
            ),
            button="Put it into a draft",
            act=lambda form: guardrails_apply(
                rows=[row],
                actor=request.user,
                wording={str(row.pk): form.cleaned_data["instruction"]},
            ),
            done="It stands in the draft. Verify it next, on the calls that were held out.",
        )

    def reject_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Ask whether it is not wanted."""
        row = self._row(request, object_id)
        return self._decide(
            request,
            row,
            SureForm(request.POST or None, initial={"seen": seen_of(row)}),
            title="Reject this instruction",
            means=(row.instruction, "The prompt stays as it is."),
            button="Reject it",
            act=lambda form: guardrail_reject(row=row, actor=request.user),
            done="It is rejected.",
        )

    def verify_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Ask whether a run is to be begun, and begin it."""
        row = self._row(request, object_id)
        return self._decide(
            request,
            row,
            SureForm(request.POST or None, initial={"seen": seen_of(row)}),
            title="Verify on held-out calls",
            means=(
                "A run of the same kind is begun with the draft, on the calls that no proposal has "
                "seen. It costs what its calls cost, within the limit of the first run.",
            ),
            button="Begin the run",
            act=lambda form: guardrail_verify(row=row, actor=request.user),
            done="The run is begun; this page says what came of it.",
        )

    def _row(self, request: HttpRequest, object_id: uuid.UUID) -> GuardrailProposal:
        row: GuardrailProposal | None = self.get_object(request, str(object_id))
        if row is None or not self.has_view_permission(request, row):
            raise Http404("The proposal was not found.")
        if not self.has_apply_permission(request):
            raise PermissionDenied
        return row

    def _decide(
        self,
        request: HttpRequest,
        row: GuardrailProposal,
        form: forms.Form,
        *,
        title: str,
        means: tuple[str, ...],
        button: str,
        act: Any,
        done: str,
    ) -> HttpResponse:
        back = reverse("admin:calls_guardrailproposal_change", args=[row.pk])
        if request.method == "POST" and form.is_valid():
            if form.cleaned_data["seen"] != seen_of(row):
                words = "It was changed since you opened that page; nothing was done. Look again."
                self.message_user(request, words, messages.WARNING)
                return HttpResponseRedirect(back)
            try:
                act(form)
            except GuardrailRefused as refused:
                self.message_user(request, f"Nothing was done: {refused}", messages.ERROR)
            else:
                self.message_user(request, done)
            return HttpResponseRedirect(back)
        return ask_page(self, request, form, title=title, means=means, button=button, back=back)
