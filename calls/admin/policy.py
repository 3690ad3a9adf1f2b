"""Admin of call policies and the lines that are played.

The texts are examples until the operator's counsel has reviewed them, and the pages say so.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from unfold.admin import StackedInline
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from calls.models import Call, CallPolicy, PolicyWording
from calls.models.operators import KEYS
from calls.numbers.consent import YES_KEY
from calls.services.operators import desk_of
from calls.services.policy_review import PolicyHasNoLine, policy_review, policy_unreview
from voiceplatform.base.scoped_admin import (
    OrganisationScoped,
    ScopedAdmin,
    ScopedForm,
    ScopedRelatedFilter,
    WordsField,
    badge,
)

_CAUTION = (
    "Wordings and rules here are examples. Have them reviewed by your own counsel before a number "
    "uses them, then mark the policy as reviewed."
)

_SPOKEN = {"text", "language", "question"}


class CallPolicyForm(ScopedForm):
    """A policy with word lists as text."""

    states = WordsField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="With commas, e.g. CA, FL, IL. Empty: the whole country.",
    )
    opt_out_words = WordsField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="With commas. A caller who says one of them is not called again.",
    )
    emergency_words = WordsField(
        label="Emergency words",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="With commas. Empty: the words that come with this version, in the assistant's "
        "language and in English.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "emergency" in self.fields:
            self.fields["emergency"].required = False

    def clean_emergency(self) -> str:
        """Take the default when nothing is chosen."""
        return self.cleaned_data["emergency"] or CallPolicy.Emergency.AUTO.value

    def clean_refusal_key(self) -> str:
        """Take a key of a telephone, or none."""
        key = str(self.cleaned_data["refusal_key"])
        if key and key not in KEYS:
            raise ValidationError(
                f"“{key}” is no key of a telephone. Fix: one of 0 to 9, * or #, or leave it empty."
            )
        return key

    def clean(self) -> dict[str, Any]:
        """Say what the database would refuse, in words."""
        cleaned = super().clean()
        if cleaned.get("recording_consent") == "ask" and cleaned.get("record_replay_audio"):
            self.add_error(
                "record_replay_audio",
                "Not possible together with asking for consent: no audio is kept before the "
                "caller has answered.",
            )
        if cleaned.get("recording_consent") == "ask" and cleaned.get("refusal_key") == YES_KEY:
            self.add_error(
                "refusal_key",
                "Under “Ask” key 1 means yes. Fix: another key, or leave it empty: 2 means no.",
            )
        self._refusal_reaches_somebody(cleaned)
        return cleaned

    def _refusal_reaches_somebody(self, cleaned: dict[str, Any]) -> None:
        """Refuse to promise a person where no number of this policy has one."""
        if cleaned.get("on_refusal") != CallPolicy.Refusal.HUMAN or self.instance._state.adding:
            return
        numbers = list(self.instance.numbers.select_related("operator_desk"))
        alone = [number for number in numbers if desk_of(number) is None]
        if alone:
            self.add_error(
                "on_refusal",
                f"{alone[0]} uses this policy and has no operator destination, so nobody would "
                "take over. Fix: give it one under “Operator destinations”, or choose another "
                "effect.",
            )


class WordingForm(ScopedForm):
    """A line; what callers have heard stays as they have heard it."""

    def clean(self) -> dict[str, Any]:
        """Refuse to rewrite evidence: calls point to the row that was played to them."""
        cleaned = super().clean()
        if (
            _SPOKEN & set(self.changed_data)
            and not self.instance._state.adding
            and Call.objects.filter(policy_wording=self.instance).exists()
        ):
            self.add_error(
                "text",
                "Callers have heard this version, so it is kept as evidence. Fix: leave it as it "
                "is and add the new text with a higher version.",
            )
        return cleaned


def _forget_audio(wording: PolicyWording) -> None:
    """Drop audio that no longer says what the text says."""
    wording.audio_mulaw = None
    wording.rendered_at = None
    wording.render_error = ""


class WordingInline(OrganisationScoped, StackedInline):  # type: ignore[misc]  # unfold has no types
    """Lines of a policy."""

    model = PolicyWording
    form = WordingForm
    organisation_path = "policy__organisation"
    extra = 0
    fields = ("language", "version", "text", "question", "rendered_at", "render_error")
    readonly_fields = ("rendered_at", "render_error")
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the audio in the database."""
        return super().get_queryset(request).select_related("policy").defer("audio_mulaw")


@admin.register(CallPolicy)
class CallPolicyAdmin(ScopedAdmin):
    """Who is told what, before the assistant speaks."""

    form = CallPolicyForm
    list_display = (
        *("name", "country", "direction", "recording_consent", "review", "default_badge"),
        *("effective_from", "wording_count"),
    )
    list_filter = (
        ("reviewed_at", admin.EmptyFieldListFilter),
        *("recording_consent", "direction", "country"),
    )
    search_fields = ("name", "source", "sector")
    ordering = ("name", "-effective_from")  # the count below makes Django forget the model's
    date_hierarchy = "effective_from"
    inlines = (WordingInline,)
    actions = ("mark_reviewed",)
    field_labels = {  # noqa: RUF012 - never changed in place
        "on_refusal": "When a caller refuses",
        "refusal_key": "Key to refuse",
        "refusal_message": "Said before the call ends",
        "emergency": "When an emergency word is heard",
        "emergency_notice": "The notice",
    }
    readonly_fields = ("reviewed_at", "reviewed_by", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("organisation", "name", "is_default"), "description": _CAUTION}),
        (
            "Where it applies",
            {"fields": ("country", "states", "direction", "sector", "effective_from")},
        ),
        (
            "Recording",
            {
                "fields": (
                    *("recording_consent", "on_refusal", "refusal_key", "refusal_message"),
                    *("record_replay_audio", "second_processor"),
                ),
                "description": "A caller refuses by the key, at the beginning of a call, or in "
                "words such as “do not record”, at any time. From then on nothing of the call is "
                "recorded and what was recorded is deleted; the transcript stays. "
                "Ask: Twilio's voice says the line and then the question; the caller answers by "
                "key 1 or 2, or says yes or no. Before that the assistant hears nothing. Without "
                "an answer the question is asked once more, then it counts as a refusal. Go on "
                "unrecorded then means: no transcript either.",
            },
        ),
        (
            "Emergency",
            {
                "fields": ("emergency", "emergency_words", "emergency_notice"),
                "description": "What happens, once in a call, when the caller says one of the "
                "words. The platform never dials an emergency number itself.",
            },
        ),
        (
            "Outbound calls only",
            {
                "fields": ("opt_out_words", "calling_hours"),
                "description": "These are kept for calls that the platform places itself, which "
                "come with a later version. They have no effect on incoming calls.",
            },
        ),
        (
            "Review",
            {
                "fields": ("source", "reviewed_at", "reviewed_by", "created_at", "updated_at"),
                "description": "Use the action “Mark as reviewed” in the list once counsel agreed. "
                "A later change takes the mark away.",
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Count the wordings along."""
        rows: QuerySet[Any] = super().get_queryset(request)
        counted: QuerySet[Any] = rows.annotate(wordings_total=Count("wordings"))
        return counted

    @badge(description="Reviewed", label={"reviewed": "success", "not reviewed": "danger"})
    def review(self, obj: CallPolicy) -> str:
        """Say whether counsel agreed."""
        return "reviewed" if obj.reviewed_at else "not reviewed"

    @badge(description="Default", label={"default": "success"})
    def default_badge(self, obj: CallPolicy) -> str:
        """Mark the organisation's default."""
        return "default" if obj.is_default else ""

    @admin.display(description="Wordings", ordering="wordings_total")
    def wording_count(self, obj: Any) -> int:
        """Count the lines."""
        return int(obj.wordings_total)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Take the review mark away when the substance changes."""
        if change and set(form.changed_data) - {"name", "is_default", "source"}:
            obj.reviewed_at = None
            obj.reviewed_by = None
        super().save_model(request, obj, form, change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Take the review mark away when a line changes, and the line's audio."""
        for changed in formset.initial_forms:
            if isinstance(changed.instance, PolicyWording) and _SPOKEN & set(changed.changed_data):
                _forget_audio(changed.instance)
        super().save_formset(request, form, formset, change)
        if formset.has_changed() and change:
            policy_unreview(policy=form.instance)

    @admin.action(description="Mark as reviewed by counsel", permissions=["change"])
    def mark_reviewed(self, request: HttpRequest, queryset: QuerySet[CallPolicy]) -> None:
        """Record who says that counsel agreed, and when."""
        marked = 0
        for policy in queryset.filter(reviewed_at__isnull=True):
            try:
                policy_review(policy=policy, reviewer=request.user)
            except PolicyHasNoLine as problem:
                self.message_user(request, str(problem), messages.ERROR)
                continue
            marked += 1
            self.audit(request, "callpolicy.review", policy)
        if marked:
            self.message_user(request, "Marked as reviewed in your name.")


@admin.register(PolicyWording)
class PolicyWordingAdmin(ScopedAdmin):
    """The line that is played, per language and version."""

    form = WordingForm
    organisation_path = "policy__organisation"
    list_display = ("policy", "language", "version", "excerpt", "audio_state", "rendered_at")
    list_filter = ("language", ("policy", ScopedRelatedFilter))
    list_select_related = ("policy",)
    search_fields = ("text", "policy__name")
    autocomplete_fields = ("policy",)
    fields = (
        *("policy", "language", "version", "text", "question"),
        *("audio_state", "rendered_at", "render_error"),
    )
    readonly_fields = ("audio_state", "rendered_at", "render_error")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the audio in the database."""
        rows: QuerySet[Any] = super().get_queryset(request).defer("audio_mulaw")
        ready = Count("pk", filter=Q(audio_mulaw__isnull=False))
        counted: QuerySet[Any] = rows.annotate(has_audio=ready)
        return counted

    @admin.display(description="Line")
    def excerpt(self, obj: PolicyWording) -> str:
        """Return the beginning of the text."""
        return obj.text if len(obj.text) <= 80 else f"{obj.text[:79]}…"

    @badge(
        description="Audio", label={"ready": "success", "not rendered": "info", "failed": "danger"}
    )
    def audio_state(self, obj: Any) -> str:
        """Say whether the line can be played."""
        if obj.render_error:
            return "failed"
        return "ready" if getattr(obj, "has_audio", 0) else "not rendered"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Drop audio that no longer says what the text says, and the policy's review mark.

        A new line counts as well: the newest version is the one that is played.
        """
        if form.changed_data:
            _forget_audio(obj)
            policy_unreview(policy=obj.policy)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Take the review mark away: another line is played now, or none."""
        policy_unreview(policy=obj.policy)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Take the review marks away."""
        for obj in queryset:
            policy_unreview(policy=obj.policy)
        super().delete_queryset(request, queryset)
