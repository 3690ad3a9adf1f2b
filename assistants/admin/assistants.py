"""Admin of assistants: one form in plain words; saving publishes a new revision.

Writes through ``assistants.services`` only. Revisions are shown and never changed.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from assistants import services
from assistants.admin.imports import ImportUploadMixin
from assistants.exceptions import AssistantInUse
from assistants.models import Assistant, AssistantRevision, RevisionTool
from assistants.selectors import assistant_users, revision_tools
from assistants.wire.vapi_config import REALTIME_VOICES
from tools.models import Tool
from tools.services import url_host
from voiceplatform.base.admin import pretty_json
from voiceplatform.base.scoped_admin import (
    ReadOnlyAdmin,
    ReadOnlyInline,
    RetiredRowsAdmin,
    ScopedForm,
    badge,
    visible_choices,
)
from voiceplatform.base.secret_form import SecretFormField

_MODES = (
    ("assistant-speaks-first", "The assistant says the greeting"),
    (
        "assistant-speaks-first-with-model-generated-message",
        "The assistant greets in its own words",
    ),
    ("assistant-waits-for-user", "The assistant waits for the caller"),
)
_FIELDS = (
    *("name", "instructions", "first_message", "first_message_mode"),
    *("first_message_interruptible", "end_call_message", "voice", "language", "model"),
    *("max_duration_seconds", "server_url", "server_secret"),
)


class AssistantForm(ScopedForm):
    """The current revision of an assistant as ops people see it."""

    name = forms.CharField(max_length=40, widget=UnfoldAdminTextInputWidget)
    instructions = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 14}),
        help_text="Who the assistant is, what it should achieve and what it must never do.",
    )
    first_message = forms.CharField(
        required=False,
        label="Greeting",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Spoken word for word. Empty: the assistant waits for the caller.",
    )
    first_message_mode = forms.ChoiceField(
        choices=_MODES, label="Who speaks first", widget=UnfoldAdminSelectWidget
    )
    first_message_interruptible = forms.BooleanField(
        required=False, label="The caller may interrupt the greeting", widget=UnfoldBooleanWidget
    )
    end_call_message = forms.CharField(
        required=False,
        max_length=1000,
        label="Goodbye",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Spoken before the assistant hangs up. Empty: it hangs up silently.",
    )
    voice = forms.ChoiceField(
        choices=[(name, name.capitalize()) for name in REALTIME_VOICES],
        initial="marin",
        widget=UnfoldAdminSelectWidget,
    )
    language = forms.RegexField(
        regex=r"^[a-z]{2}$",
        required=False,
        initial="en",
        widget=UnfoldAdminTextInputWidget,
        help_text="Two letters, e.g. en, de, es; helps to understand callers. Empty: any language.",
    )
    model = forms.RegexField(
        regex=r"^gpt-realtime[a-zA-Z0-9._-]{0,68}$",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: the model of the connection that the number uses.",
    )
    max_duration_seconds = forms.IntegerField(
        min_value=10,
        max_value=43_200,
        initial=600,
        label="Longest call (seconds)",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="The call is ended after this time, without a goodbye. 600 is ten minutes.",
    )
    tool_ids = forms.ModelMultipleChoiceField(
        queryset=Tool.objects.none(),
        required=False,
        label="Tools",
        widget=UnfoldAdminSelectMultipleWidget,
        help_text="Saved tools the assistant may use. Inline tools of its document stay as well.",
    )
    server_url = SecretFormField(
        required=False,
        label="Webhook address",
        help_text="Where events of its calls are sent. Hidden, because it may carry a token.",
    )
    server_secret = SecretFormField(
        required=False,
        label="Webhook secret",
        help_text="Sent as the header X-Vapi-Secret, so that your server knows it is us.",
    )

    class Meta:
        model = Assistant
        fields = ("organisation",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        instance = kwargs.get("instance")
        revision = instance.current_revision if instance else None
        if instance is not None and revision is not None:
            shown = [name for name in _FIELDS if not name.startswith("server_")]
            initial = {name: getattr(revision, name) for name in shown if name != "name"}
            initial |= {"name": instance.name}
            initial["tool_ids"] = [t.pk for t in revision_tools(revision) if not t.is_inline]
            kwargs["initial"] = initial | kwargs.get("initial", {})
        super().__init__(*args, **kwargs)

    def stored_secret(self, name: str) -> str:
        """Look on the current revision."""
        revision = self.instance.current_revision
        return getattr(revision, name) if revision else ""


@admin.register(Assistant)
class AssistantAdmin(ImportUploadMixin, RetiredRowsAdmin):
    """Assistants with their current revision."""

    form = AssistantForm
    list_display = ("name_shown", "revision", "voice", "language", "state", "updated_at")
    list_filter = (("deleted_at", admin.EmptyFieldListFilter), "updated_at")
    search_fields = ("name", "id")
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave sealed documents in the database."""
        rows = super().get_queryset(request).select_related("current_revision", "organisation")
        sealed = ("document", "document_redacted", "server_url", "server_secret")
        return rows.defer(*(f"current_revision__{name}" for name in sealed))

    def choices_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Offer live assistants."""
        return super().choices_queryset(request).filter(deleted_at__isnull=True)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Keep deleted assistants out of the pickers of other pages."""
        if request.path.endswith("/autocomplete/"):
            queryset = queryset.filter(deleted_at__isnull=True)
        found: tuple[QuerySet[Any], bool] = super().get_search_results(
            request, queryset, search_term
        )
        return found

    @admin.display(description="Name", ordering="name")
    def name_shown(self, obj: Assistant) -> str:
        """Return the name, or the id where there is none."""
        return str(obj)

    @badge(description="Revision", ordering="current_revision__number", label="info")
    def revision(self, obj: Assistant) -> str:
        """Return the current revision's number."""
        return f"r{obj.current_revision.number}" if obj.current_revision else ""

    @admin.display(description="Voice", ordering="current_revision__voice")
    def voice(self, obj: Assistant) -> str:
        """Return the current voice."""
        return obj.current_revision.voice if obj.current_revision else ""

    @admin.display(description="Language", ordering="current_revision__language")
    def language(self, obj: Assistant) -> str:
        """Return the current language."""
        return obj.current_revision.language if obj.current_revision else ""

    @badge(description="State", label={"live": "success", "deleted": "danger"})
    def state(self, obj: Assistant) -> str:
        """Say whether it can still answer."""
        return "deleted" if obj.deleted_at else "live"

    @admin.display(description="Document, without secrets")
    def document_shown(self, obj: Assistant) -> SafeString:
        """Return the raw document as a block."""
        revision = obj.current_revision
        return pretty_json(revision.document_redacted if revision else {})

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Offer the tools the person may see; Django must not look for columns of these names."""
        kwargs["fields"] = ("organisation",) if obj is None else ()
        base: Any = super().get_form(request, obj, **kwargs)
        tools = visible_choices(self.admin_site, Tool, request)
        if obj is not None:
            tools = tools.filter(organisation=obj.organisation_id)

        class OfferedForm(base):  # type: ignore[misc]  # made at run time
            """The form with this person's tools."""

            def __init__(self, *args: Any, **inner: Any) -> None:
                super().__init__(*args, **inner)
                self.fields["tool_ids"].queryset = tools

        return OfferedForm

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Group the form by what ops people think of."""
        talk = ("first_message_mode", "first_message", "first_message_interruptible")
        sound = ("voice", "language", "model", "max_duration_seconds")
        sets = [
            (None, {"fields": ("organisation", "name", "instructions")}),
            ("Greeting and goodbye", {"fields": (*talk, "end_call_message")}),
            ("Voice and limits", {"fields": sound}),
            ("Tools", {"fields": ("tool_ids",)}),
            ("Webhook", {"fields": ("server_url", "server_secret")}),
        ]
        if obj is not None:
            technical = ("id", "created_at", "updated_at", "document_shown")
            sets.append(("Technical", {"fields": technical, "classes": ("collapse",)}))
        return sets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show ids and times."""
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "id", "created_at", "updated_at", "document_shown"]

    def users_of(self, obj: Any) -> list[str]:
        """Return the numbers that it answers."""
        return assistant_users(obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Publish what changed as the next revision."""
        data = form.cleaned_data
        names = form.changed_data if change else [*_FIELDS, "tool_ids"]
        changes = {name: data[name] for name in names if name in data and name != "organisation"}
        if "tool_ids" in changes:
            changes["tool_ids"] = [str(tool.pk) for tool in changes["tool_ids"]]
        if change:
            stored = services.assistant_edit(assistant=obj, changes=changes, actor=request.user)
        else:
            stored = services.assistant_create(
                organisation=data["organisation"], changes=changes, actor=request.user
            )
        obj.__dict__.update(stored.__dict__)
        assert obj.current_revision is not None
        self.message_user(
            request, f"Revision {obj.current_revision.number} is live for the next call."
        )

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        try:
            services.assistant_delete(assistant=obj, actor=request.user)
        except AssistantInUse as error:
            self.message_user(request, str(error), messages.ERROR)


class RevisionToolInline(ReadOnlyInline):
    """Tools of a revision in their order."""

    model = RevisionTool
    fields = ("position", "tool")
    verbose_name_plural = "Tools"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the tools along."""
        rows: QuerySet[Any] = super().get_queryset(request).select_related("tool")
        return rows.defer("tool__document")


@admin.register(AssistantRevision)
class AssistantRevisionAdmin(ReadOnlyAdmin):
    """Frozen states of assistants."""

    organisation_path = "assistant__organisation"
    list_display = (
        *("assistant", "number", "source_badge", "created_by", "created_at"),
        *("voice", "language", "model_shown"),
    )
    list_filter = ("source", "voice", "language", "created_at")
    list_select_related = ("assistant", "created_by")
    search_fields = ("assistant__name", "assistant__id")
    date_hierarchy = "created_at"
    inlines = (RevisionToolInline,)
    hidden_lookups = ("document", "server_url", "server_secret")
    fields = (
        *("assistant", "number", "source", "created_by", "created_at"),
        *("instructions", "first_message", "first_message_mode"),
        *("first_message_interruptible", "end_call_message"),
        *("voice", "language", "model_shown", "max_duration_seconds"),
        *("webhook", "secret_state", "document_shown"),
    )
    readonly_fields = ("model_shown", "webhook", "secret_state", "document_shown")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave sealed documents in the database."""
        return super().get_queryset(request).defer("document")

    @badge(description="Came from", ordering="source", label=True)
    def source_badge(self, obj: AssistantRevision) -> str:
        """Return the source as a badge."""
        return obj.source

    @admin.display(description="Model", ordering="model")
    def model_shown(self, obj: AssistantRevision) -> str:
        """Return the model in words."""
        return obj.model or "the connection's"

    @admin.display(description="Webhook host")
    def webhook(self, obj: AssistantRevision) -> str:
        """Return the host only: an address may carry a token."""
        return url_host(obj.server_url) or "none"

    @admin.display(description="Webhook secret")
    def secret_state(self, obj: AssistantRevision) -> str:
        """Say whether one is set."""
        return "set" if obj.server_secret else "not set"

    @admin.display(description="Document, without secrets")
    def document_shown(self, obj: AssistantRevision) -> SafeString:
        """Return the raw document as a block."""
        return pretty_json(obj.document_redacted)


@admin.register(RevisionTool)
class RevisionToolAdmin(ReadOnlyAdmin):
    """Which tool belongs to which revision."""

    organisation_path = "revision__assistant__organisation"
    list_display = ("revision", "position", "tool")
    list_select_related = ("revision__assistant", "tool")
    search_fields = ("tool__name", "revision__assistant__name")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Keep it out of menus; the revision page shows it."""
        return False
