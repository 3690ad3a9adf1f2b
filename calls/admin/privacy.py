"""Admin of personal data: what is masked, how long things stay, who was erased.

Erasing asks for the number twice and for a permission of its own, and only a POST begins it. The
pages about an erasure never show whom it was about.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html_join
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from calls.models import Erasure, RedactionRule, RetentionRule
from calls.privacy.custom import MOST_PATTERNS, CustomPatternError, compiled
from calls.services.erasure import (
    CallerIsOnCall,
    Found,
    NotANumber,
    caller_number,
    erasure_preview,
)
from calls.services.erasure_jobs import erasure_start
from calls.services.retention import retention_preview
from voiceplatform.base.scoped_admin import (
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    ScopedRelatedFilter,
    badge,
)
from voiceplatform.base.selectors import organisations_visible_to

PERMISSION = "calls.erase_caller"
_KINDS = {
    "phone_numbers": "phone numbers",
    "email_addresses": "e-mail",
    "payment_cards": "cards",
    "social_security_numbers": "social security numbers",
    "birth_dates": "dates of birth",
}
_RETAINED = {
    "transcript": "What was said",
    "tool_body": "What tools were sent and answered",
    "call_input": "Recorded inputs, with audio where it is kept",
    "recording": "Recordings",
    "report": "Reports and other events",
    "call": "Whole calls",
    "audit": "Audit entries",
}


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}"


class PatternsField(forms.CharField):
    """Own patterns, one a line."""

    def prepare_value(self, value: Any) -> Any:
        """Join a stored list."""
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Split the text."""
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def validate(self, value: Any) -> None:
        """Refuse what could not be used, with the line that is meant."""
        if len(value) > MOST_PATTERNS:
            raise ValidationError(
                f"At most {MOST_PATTERNS} patterns can be used. Fix: remove some."
            )
        for number, pattern in enumerate(value, 1):
            try:
                compiled(pattern)
            except CustomPatternError as error:
                raise ValidationError(f"Line {number}: {error}") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as lists."""
        return bool((initial or []) != self.to_python(data))


class RedactionRuleForm(ScopedForm):
    """A rule with its own patterns as lines."""

    custom_patterns = PatternsField(
        label="Own patterns",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="One a line, e.g. [A-Z]{2}\\d{6} for a member number such as AB123456. Letters "
        "match in either case.",
    )


@admin.register(RedactionRule)
class RedactionRuleAdmin(ScopedAdmin):
    """What is masked before anything of a call is stored."""

    form = RedactionRuleForm
    list_display = ("rule_for", "effective_from", "masks")
    list_filter = (("assistant", ScopedRelatedFilter), "effective_from")
    list_select_related = ("assistant",)
    search_fields = ("assistant__name",)
    autocomplete_fields = ("assistant",)
    readonly_fields = ("created_at", "updated_at")
    field_labels = {  # noqa: RUF012 - never changed in place
        "effective_from": "From",
        "email_addresses": "E-mail addresses",
        "birth_dates": "Dates of birth",
        "listening_allowed": "Listening is allowed",
    }
    list_hint = (
        "What is replaced by a mask such as [phone] before anything that was said is stored or "
        "reported. Without a rule everything is kept as it was said."
    )
    fieldsets = (
        (
            None,
            {
                "fields": ("organisation", "assistant", "effective_from"),
                "description": "Of an assistant's own rules, else of those for every assistant, "
                "the newest that has begun counts. It holds for what is stored from then on; what "
                "was stored before stays as it is.",
            },
        ),
        (
            "What is masked",
            {
                "fields": (*_KINDS, "custom_patterns"),
                "description": "In turns, arguments and answers of tools, and so in every report. "
                "Numbers are also found where English words spell them. A tool itself gets what "
                "the assistant wrote. Under a rule that masks anything the inputs of calls are not "
                "recorded, so such a call cannot be replayed.",
            },
        ),
        (
            "While a call is on",
            {
                "fields": ("listening_allowed",),
                "description": "What is read of a call that is on is masked too. Sound cannot be: "
                "where a rule masks anything, and in compliance mode, listeners are sent away "
                "unless this is ticked. Whether the caller agrees is another question, which the "
                "number's policy decides.",
            },
        ),
        ("Technical", {"fields": ("created_at", "updated_at"), "classes": ("collapse",)}),
    )

    @admin.display(description="For", ordering="assistant__name")
    def rule_for(self, obj: RedactionRule) -> str:
        """Name the assistant."""
        return str(obj.assistant) if obj.assistant is not None else "Every other assistant"

    @admin.display(description="Masks")
    def masks(self, obj: RedactionRule) -> str:
        """List what is masked."""
        kinds = [words for column, words in _KINDS.items() if getattr(obj, column)]
        if obj.custom_patterns:
            kinds.append(f"{len(obj.custom_patterns)} own")
        return ", ".join(kinds) or "nothing"


@admin.register(RetentionRule)
class RetentionRuleAdmin(ScopedAdmin):
    """How long things stay, and what goes when."""

    list_display = ("organisation", "transcript_days", "call_input_days", "last_run_at")
    ordering = ("organisation__name",)
    search_fields = ("organisation__name",)
    readonly_fields = ("what_goes_when", "last_run_at", "last_run", "updated_at")
    field_labels = {  # noqa: RUF012 - never changed in place
        "transcript_days": "What was said",
        "tool_body_days": "What tools were sent and answered",
        "call_input_days": "Recorded inputs",
        "recording_days": "Recordings",
        "report_days": "Reports and other events",
        "call_days": "Whole calls",
        "audit_days": "Audit entries",
    }
    list_hint = (
        "How many days things are kept. Every ten minutes what is older is taken away, a little at "
        "a time."
    )
    fieldsets = (
        (None, {"fields": ("organisation", "what_goes_when")}),
        (
            "Days",
            {
                "fields": tuple(field_labels),
                "description": "Counted from the beginning of a call. What is gone does not come "
                "back.",
            },
        ),
        ("Last run", {"fields": ("last_run_at", "last_run", "updated_at")}),
    )

    @admin.display(description="What goes when")
    def what_goes_when(self, obj: RetentionRule) -> str:
        """Return a line for each kind, as the saved days would have it."""
        if obj.pk is None:
            return "Save first; then this shows what goes when."
        lines = []
        for due in retention_preview(obj):
            what, unit = _RETAINED[due.kind], "entries" if due.kind == "audit" else "calls"
            if due.before is None:
                lines.append((f"{what}: kept for ever",))
            else:
                lines.append(
                    (
                        f"{what}: of {due.now_calls} {unit} at the next run (before "
                        f"{due.before:%Y-%m-%d}), of {due.soon_calls} more within a week",
                    )
                )
        return format_html_join("", "<div>{}</div>", lines)

    @admin.display(description="Taken away last")
    def last_run(self, obj: RetentionRule) -> str:
        """Return the counts of the last run that did something."""
        return (
            ", ".join(
                f"{_RETAINED.get(kind, kind).lower()}: {count}"
                for kind, count in obj.last_counts.items()
            )
            or "nothing yet"
        )


class EraseForm(forms.Form):
    """The number, and once more the number."""

    organisation: Any = forms.ModelChoiceField(queryset=None, widget=UnfoldAdminSelectWidget)
    number = forms.CharField(
        max_length=40,
        widget=UnfoldAdminTextInputWidget,
        help_text="With + and country code, e.g. +14155550100",
    )
    confirmation = forms.CharField(
        label="The same number again",
        max_length=40,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="Type it, once you have seen what goes. There is no way back.",
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices: Any = self.fields["organisation"]
        choices.queryset = organisations_visible_to(user).order_by("name")
        choices.initial = choices.queryset.first()

    def clean_number(self) -> str:
        """Take a number in international form."""
        try:
            return caller_number(self.cleaned_data["number"])
        except NotANumber as error:
            raise ValidationError(_sentence(error)) from error

    def clean(self) -> dict[str, Any]:
        """Compare what was typed twice, where somebody did."""
        cleaned: dict[str, Any] = super().clean() or {}
        typed = cleaned.get("confirmation", "").strip()
        if typed and "number" in cleaned and typed != cleaned["number"]:
            self.add_error(
                "confirmation",
                f"This is not {cleaned['number']}. Fix: type the number exactly so.",
            )
        return cleaned


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    """That callers were erased, and the page that does it."""

    change_list_template = "admin/calls/erasure/change_list.html"
    list_display = ("at", "actor", "calls", "outcome")
    list_display_links = ("at",)
    list_filter = ("at",)
    search_fields = ("actor",)
    hidden_lookups = ("counts",)
    fields = ("organisation", "at", "finished_at", "actor", "erased", "left")
    readonly_fields = ("erased", "left")
    list_hint = (
        "That somebody was erased, when and by whom; never who it was. What receivers of reports "
        "keep is theirs to erase."
    )

    @admin.display(description="Calls")
    def calls(self, obj: Erasure) -> int:
        """Count the calls."""
        return int(obj.counts.get("calls.call", 0))

    @badge(
        description="Outcome",
        label={"erased": "success", "something is left": "danger", "not finished": "warning"},
    )
    def outcome(self, obj: Erasure) -> str:
        """Say whether all is gone."""
        if obj.finished_at is None:
            return "not finished"
        return "something is left" if obj.problems else "erased"

    @admin.display(description="Erased")
    def erased(self, obj: Erasure) -> str:
        """List the counts."""
        lines = [(kind, count) for kind, count in sorted(obj.counts.items())]
        return format_html_join("", "<div>{}: {}</div>", lines) or "–"

    @admin.display(description="Left")
    def left(self, obj: Erasure) -> str:
        """List what could not be erased."""
        lines = [(problem,) for problem in obj.problems]
        return format_html_join("", "<div>{}</div>", lines) or "nothing"

    def has_erase_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person may erase callers."""
        return bool(request.user.has_perm(PERMISSION))

    def get_urls(self) -> list[Any]:
        """Add the page that erases."""
        erase = self.admin_site.admin_view(self.erase_view)
        return [path("erase/", erase, name="calls_erasure_erase"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Offer the page to those who may."""
        extra = {**(extra_context or {}), "may_erase": self.has_erase_permission(request)}
        return super().changelist_view(request, extra)

    def erase_view(self, request: HttpRequest) -> HttpResponse:
        """Show what would go; with the number typed twice, begin."""
        if not self.has_erase_permission(request):
            raise PermissionDenied
        form = EraseForm(request.POST if request.method == "POST" else None, user=request.user)
        found: Found | None = None
        if form.is_valid():
            given = {name: form.cleaned_data[name] for name in ("organisation", "number")}
            try:
                found = erasure_preview(**given)
            except CallerIsOnCall as problem:
                form.add_error("number", _sentence(problem))
            else:
                if form.cleaned_data["confirmation"].strip():
                    job = erasure_start(**given, actor=request.user)
                    return HttpResponseRedirect(reverse("admin:base_job_change", args=[job.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": "Erase a caller",
            "opts": self.opts,
            "form": form,
            "found": sorted((+found.counts).items()) if found is not None else None,
        }
        response = TemplateResponse(request, "admin/calls/erasure/erase.html", context)
        response["Cache-Control"] = "no-store"
        return response
