"""Admin of squads and stored resources: to look at without their secrets, and to delete.

Writes through ``assistants.squad_services`` and ``assistants.resource_services`` only.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from assistants import resource_services, squad_services
from assistants.exceptions import ResourceInUse, SquadInUse
from assistants.models import Assistant, Squad, StoredResource
from assistants.selectors import COMPANIONS, resource_users, squad_users
from assistants.wire.vapi_squad import assistant_ids, squad_members
from voiceplatform.base.admin import pretty_json
from voiceplatform.base.scoped_admin import RetiredRowsAdmin, badge
from voiceplatform.base.selectors import uuids_in

_HIDDEN = ("document", "content")


class DocumentAdmin(RetiredRowsAdmin):
    """A row that is one document: imported or sent over REST, never typed in here."""

    hidden_lookups = _HIDDEN
    readonly_fields: Any = ("document_shown",)
    warn_unsaved_form = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: documents come by import and REST."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: documents are changed where they come from."""
        return False

    @badge(description="State", label={"live": "success", "deleted": "danger"})
    def state(self, obj: Any) -> str:
        """Say whether it is still listed."""
        return "deleted" if obj.deleted_at else "live"

    @admin.display(description="Document, without secrets")
    def document_shown(self, obj: Any) -> SafeString:
        """Return the document as a block."""
        return pretty_json(obj.document_redacted)


@admin.register(Squad)
class SquadAdmin(DocumentAdmin):
    """Squads with the assistants that hand calls on to each other."""

    list_display = ("name_shown", "members", "state", "updated_at")
    list_filter = (("deleted_at", admin.EmptyFieldListFilter), "updated_at")
    search_fields = ("name", "id")
    list_hint = (
        "Assistants that hand a call on to each other. They come by import from Vapi and over "
        "REST, and are changed there."
    )
    readonly_fields = ("members_shown", "document_shown")
    fieldsets = (
        (None, {"fields": ("organisation", "name", "members_shown", "updated_at")}),
        (
            "Technical",
            {"fields": ("id", "created_at", "document_shown"), "classes": ("collapse",)},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the sealed document in the database."""
        return super().get_queryset(request).defer("document")

    @admin.display(description="Who answers, and hands on to whom")
    def members_shown(self, obj: Squad) -> SafeString:
        """Return the members in words; the first one answers the call."""
        ids = assistant_ids(obj.document_redacted)
        rows = Assistant.objects.filter(organisation=obj.organisation_id, pk__in=uuids_in(ids))
        names = {str(pk): str(name) for pk, name in rows.values_list("pk", "name")}
        return format_html(
            "<ol>{}</ol>",
            format_html_join(
                "",
                "<li>{}. {}{}</li>",
                (
                    (
                        number,
                        member.name,
                        format_html_join(
                            "",
                            '<div class="vp-hint">hands on to {}{}</div>',
                            (
                                (name, format_html(" when: {}", why) if why else "")
                                for name, why in member.hands_on
                            ),
                        ),
                    )
                    for number, member in enumerate(squad_members(obj.document_redacted, names), 1)
                ),
            ),
        )

    @admin.display(description="Name", ordering="name")
    def name_shown(self, obj: Squad) -> str:
        """Return the name, or the id where there is none."""
        return str(obj)

    @admin.display(description="Members")
    def members(self, obj: Squad) -> int:
        """Count the assistants."""
        members = obj.document_redacted.get("members")
        return len(members) if isinstance(members, list) else 0

    def users_of(self, obj: Any) -> list[str]:
        """Return the numbers that it answers."""
        return squad_users(obj)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        try:
            squad_services.squad_delete(squad=obj, actor=request.user)
        except SquadInUse as error:
            self.message_user(request, str(error), messages.ERROR)


@admin.register(StoredResource)
class StoredResourceAdmin(DocumentAdmin):
    """What config-as-code tools keep here: credentials, evaluations, files and the like."""

    list_display = ("name_shown", "kind", "state", "updated_at")
    list_filter = ("kind", ("deleted_at", admin.EmptyFieldListFilter), "updated_at")
    search_fields = ("name", "id")
    list_hint = (
        "What config-as-code tools keep at Vapi besides assistants: kept and returned word for "
        "word, without effect on calls. They come by import and over REST."
    )
    fieldsets = (
        (None, {"fields": ("organisation", "kind", "name", "updated_at", "document_shown")}),
        ("Technical", {"fields": ("id", "created_at"), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the sealed document and the bytes of files in the database."""
        rows = super().get_queryset(request)
        return rows.defer(*_HIDDEN)

    @admin.display(description="Name", ordering="name")
    def name_shown(self, obj: StoredResource) -> str:
        """Return the name, or the id where there is none."""
        return obj.name or str(obj.pk)

    def is_open(self, obj: Any) -> bool:
        """Leave out companions: they go with the number or call that they belong to."""
        return super().is_open(obj) and obj.kind not in COMPANIONS

    def users_of(self, obj: Any) -> list[str]:
        """Return the simulations or suites that name it."""
        return resource_users(obj)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        try:
            resource_services.resource_delete(resource=obj, actor=request.user)
        except ResourceInUse as error:
            self.message_user(request, str(error), messages.ERROR)
