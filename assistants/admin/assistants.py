"""Admin of assistants: one form in plain words; saving makes a draft or publishes.

Writes through ``assistants.services`` and ``assistants.revisions`` only. The form is
``assistant_form``, the pages of revisions ``revisions``.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from assistants import services
from assistants.admin.assistant_form import AssistantForm
from assistants.admin.imports import ImportUploadMixin
from assistants.admin.revision_page import history_of
from assistants.exceptions import AssistantInUse, RevisionRefused
from assistants.models import Assistant
from assistants.revisions import revision_publish
from assistants.selectors import assistant_users
from assistants.voice_table import voices_heard
from tools.models import Tool
from voiceplatform.base.admin import pretty_json
from voiceplatform.base.scoped_admin import RetiredRowsAdmin, badge, visible_choices


@admin.register(Assistant)
class AssistantAdmin(ImportUploadMixin, RetiredRowsAdmin):
    """Assistants with their current revision."""

    form = AssistantForm
    change_form_template = "admin/assistants/assistant/change_form.html"
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

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Look up at once what callers of the assistants on this page hear."""
        found = super().get_changelist_instance(request)
        heard = voices_heard(found.result_list)
        for row in found.result_list:
            row.heard = heard.get(row.pk)
        return found

    @admin.display(description="Callers hear", ordering="current_revision__voice")
    def voice(self, obj: Any) -> str:
        """Return the voice, and whether it was decided for all assistants with their voice."""
        if obj.heard is None:
            return ""
        decided = " (decided)" if obj.heard.decided else ""
        return f"{obj.heard.voice.capitalize()}{decided}"

    @admin.display(description="Language", ordering="current_revision__language")
    def language(self, obj: Assistant) -> str:
        """Return the current language."""
        return obj.current_revision.language if obj.current_revision else ""

    @badge(
        description="State",
        label={
            "live": "success",
            "deleted": "danger",
            "draft": "warning",
            "draft waits": "warning",
        },
    )
    def state(self, obj: Assistant) -> str:
        """Say whether it can still answer, and whether a draft waits."""
        if obj.deleted_at:
            return "deleted"
        if obj.current_revision_id is None:
            return "draft"
        return "draft waits" if obj.draft_revision_id else "live"

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
            ("This change", {"fields": ("note", "seen_revision", "seen_voice")}),
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

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the history beside the form."""
        obj = self.get_object(request, object_id) if object_id else None
        extra = dict(extra_context or {})
        if obj is not None:
            extra["history"] = history_of(obj, may_change=self.has_change_permission(request, obj))
        response: HttpResponse = super().changeform_view(request, object_id, form_url, extra)
        return response

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make what changed the draft, or publish it."""
        as_draft = "_draft" in request.POST
        changes, note = form.changes(is_new=not change), form.cleaned_data.get("note", "")
        if not change:
            stored = services.assistant_create(
                organisation=form.cleaned_data["organisation"],
                changes=changes,
                actor=request.user,
                as_draft=as_draft,
                note=note,
            )
        elif changes:
            stored = services.assistant_edit(
                assistant=obj,
                changes=changes,
                actor=request.user,
                from_draft=True,
                as_draft=as_draft,
                note=note,
            )
        else:
            self._save_unchanged(request, obj, as_draft=as_draft, note=note)
            return
        obj.__dict__.update(stored.__dict__)
        obj._state.fields_cache = stored._state.fields_cache
        if as_draft:
            assert obj.draft_revision is not None
            words = f"Revision {obj.draft_revision.number} is a draft; it answers no call yet."
        else:
            assert obj.current_revision is not None
            words = f"Revision {obj.current_revision.number} is live for the next call."
        self.message_user(request, words)

    def _save_unchanged(self, request: HttpRequest, obj: Any, *, as_draft: bool, note: str) -> None:
        draft = obj.draft_revision
        if as_draft or draft is None:
            self.message_user(
                request, "Nothing was changed, so no revision was made.", messages.WARNING
            )
            return
        try:
            stored = revision_publish(assistant=obj, revision=draft, actor=request.user, note=note)
        except RevisionRefused as error:
            self.message_user(request, f"Not published: {error}", messages.ERROR)
            return
        assert stored.current_revision is not None
        self.message_user(
            request, f"Revision {stored.current_revision.number} is live for the next call."
        )

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        try:
            services.assistant_delete(assistant=obj, actor=request.user)
        except AssistantInUse as error:
            self.message_user(request, str(error), messages.ERROR)
