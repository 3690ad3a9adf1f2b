"""Admin of revisions: read-only rows, two of them compared, and publish, discard, bring back.

Writes through ``assistants.revisions`` only, by POST only; what pages show is ``revision_page``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from assistants import revisions
from assistants.admin.revision_page import compare_page, revision_url
from assistants.exceptions import RevisionRefused
from assistants.models import Assistant, AssistantRevision, RevisionTool
from tools.services import url_host
from voiceplatform.base.admin import pretty_json
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, ReadOnlyInline, badge

_MAY_CHANGE = "assistants.change_assistant"


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
        *("assistant", "number", "source_badge", "author_shown", "note", "created_at"),
        *("voice", "language", "model_shown"),
    )
    list_filter = ("source", "voice", "language", "created_at")
    list_select_related = ("assistant",)
    search_fields = ("assistant__name", "assistant__id", "note", "author")
    date_hierarchy = "created_at"
    inlines = (RevisionToolInline,)
    hidden_lookups = ("document", "server_url", "server_secret")
    fields = (
        *("assistant", "number", "compare_link", "source", "author_shown", "note", "created_at"),
        *("instructions", "first_message", "first_message_mode"),
        *("first_message_interruptible", "end_call_message"),
        *("voice", "language", "model_shown", "max_duration_seconds"),
        *("webhook", "secret_state", "document_shown"),
    )
    readonly_fields = (
        *("compare_link", "author_shown", "model_shown", "webhook", "secret_state"),
        "document_shown",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave sealed documents in the database."""
        return super().get_queryset(request).defer("document")

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Let the page of an assistant link to its revisions."""
        if lookup == "assistant__id__exact":
            return True
        return super().lookup_allowed(lookup, value, request)

    @badge(description="Came from", ordering="source", label=True)
    def source_badge(self, obj: AssistantRevision) -> str:
        """Return the source as a badge."""
        return obj.source

    @admin.display(description="Author", ordering="author")
    def author_shown(self, obj: AssistantRevision) -> str:
        """Return who made it."""
        return obj.author.removeprefix("user:") or "–"

    @admin.display(description="Compare")
    def compare_link(self, obj: AssistantRevision) -> SafeString:
        """Link to the comparison with what answers calls, or with the revision before it."""
        return format_html(
            '<a class="vp-link" href="{}">Compare with another revision</a>',
            revision_url(obj.pk, "compare"),
        )

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

    def get_urls(self) -> list[Any]:
        """Add the comparison and what may be done from it."""
        views: dict[str, Callable[..., HttpResponse]] = {
            "compare": self.compare_view,
            "publish": self.publish_view,
            "discard": self.discard_view,
            "revert": self.revert_view,
        }
        own = [
            path(
                f"<int:object_id>/{name}/",
                self.admin_site.admin_view(view),
                name=f"assistants_assistantrevision_{name}",
            )
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def _revision(self, request: HttpRequest, object_id: int) -> AssistantRevision:
        """Return a revision that the person may see, with its assistant.

        Raises:
            Http404: there is none.
        """
        rows = self.get_queryset(request).select_related("assistant__organisation")
        found: AssistantRevision | None = rows.filter(pk=object_id).first()
        if found is None or not self.has_view_permission(request, found):
            raise Http404("The revision was not found.")
        return found

    def compare_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Compare two revisions of one assistant: ``?old=`` and ``?new=`` are their ids."""
        here = self._revision(request, object_id)
        assistant = here.assistant
        new = self._other(request, "new", assistant) or here
        old = self._other(request, "old", assistant) or _natural_other(assistant, new)
        page = compare_page(assistant, old, new, may_change=_may_change(request, assistant))
        context = {
            **self.admin_site.each_context(request),
            "title": f"r{old.number} to r{new.number}",
            "opts": self.opts,
            "page": page,
            "sides": [{"word": word, "facts": page[word]} for word in ("old", "new")],
        }
        return TemplateResponse(request, "admin/assistants/assistantrevision/compare.html", context)

    def _other(
        self, request: HttpRequest, name: str, assistant: Assistant
    ) -> AssistantRevision | None:
        text = request.GET.get(name, "")
        if not text.isdecimal() or len(text) > 18:
            return None
        return assistant.revisions.filter(pk=int(text)).first()

    def publish_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Publish the draft."""
        return self._write(request, object_id, revisions.revision_publish, "revision")

    def discard_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Discard the draft."""
        return self._write(request, object_id, revisions.draft_discard, "revision")

    def revert_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Publish an old revision again, as a new one."""
        return self._write(request, object_id, revisions.revision_revert, "to_revision")

    def _write(
        self, request: HttpRequest, object_id: int, service: Callable[..., Assistant], name: str
    ) -> HttpResponse:
        revision = self._revision(request, object_id)
        if request.method != "POST":
            return HttpResponseRedirect(revision_url(revision.pk, "compare"))
        if not _may_change(request, revision.assistant):
            return HttpResponse("You may not change this assistant.", status=403)
        arguments: dict[str, Any] = {name: revision}
        if service is not revisions.draft_discard:
            arguments["note"] = request.POST.get("note", "")[:500]
        try:
            stored = service(assistant=revision.assistant, actor=request.user, **arguments)
        except RevisionRefused as error:
            self.message_user(request, f"Nothing was done: {error}", messages.ERROR)
        else:
            live = stored.current_revision
            words = (
                f"The draft r{revision.number} is discarded; it stays in the history."
                if service is revisions.draft_discard
                else f"Revision {live.number if live else ''} is live for the next call."
            )
            self.message_user(request, words, messages.SUCCESS)
        return HttpResponseRedirect(
            reverse("admin:assistants_assistant_change", args=[revision.assistant_id])
        )


def _may_change(request: HttpRequest, assistant: Assistant) -> bool:
    return assistant.deleted_at is None and bool(request.user.has_perm(_MAY_CHANGE))


def _natural_other(assistant: Assistant, new: AssistantRevision) -> AssistantRevision:
    """Return what answers calls, or for that the revision before it; at last the very same."""
    live = assistant.current_revision
    if live is not None and live.pk != new.pk:
        return live
    before = assistant.revisions.filter(number__lt=new.number).order_by("-number").first()
    return before or new


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
