"""Admin of uploaded files: what can be searched, uploading one, and trying a question on it.

Writes through ``assistants.file_services`` and ``assistants.resource_services`` only. What a file
says is text and never becomes markup.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from unfold.widgets import INPUT_CLASSES, UnfoldAdminTextInputWidget

from assistants.file_services import (
    MAX_FILE_BYTES,
    FileIdTaken,
    file_upload,
    said_type,
    tools_using,
)
from assistants.knowledge.index import search
from assistants.knowledge.reading import KINDS
from assistants.models import FilePassage, FileReading, StoredResource
from assistants.resource_services import resource_delete
from voiceplatform.base.prepared import RowGone
from voiceplatform.base.scoped_admin import (
    BesideForm,
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    badge,
)

_SHOWN: Final = 5
_MOST_QUESTION: Final = 1_000


class FileForm(ScopedForm):
    """A file to upload."""

    upload = forms.FileField(
        label="File",
        widget=forms.FileInput(
            attrs={
                "accept": ".txt,.md,.csv,.json,.yaml,.yml,.html,.log,.pdf,.docx",
                "class": " ".join(INPUT_CLASSES),
            }
        ),
        help_text=f"{KINDS}; at most {MAX_FILE_BYTES // 2**20} MiB.",
    )
    vapi_id = forms.UUIDField(
        label="Its id at Vapi",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="If a tool that came from Vapi names this file: the id that the import calls "
        "missing. Otherwise leave it empty.",
        error_messages={"invalid": "This is no id. It looks like 6f9619ff-8b86-4d01-b42d-00cf…"},
    )

    class Meta:
        model = FileReading
        fields = ("organisation",)

    def clean_upload(self) -> Any:
        """Refuse what is too large."""
        upload = self.cleaned_data["upload"]
        if upload.size > MAX_FILE_BYTES:
            raise ValidationError(
                f"It is larger than {MAX_FILE_BYTES // 2**20} MiB. Split it, or take out pictures."
            )
        return upload

    def clean(self) -> dict[str, Any]:
        """Refuse an id that something else has."""
        cleaned = super().clean()
        file_id, own = cleaned.get("vapi_id"), cleaned.get("organisation")
        old = StoredResource.objects.only("organisation", "kind", "deleted_at")
        found = old.filter(pk=file_id).first() if file_id else None
        if found is not None and (
            own is None
            or found.organisation_id != own.pk
            or found.kind != StoredResource.Kind.FILE
            or found.deleted_at is None
        ):
            self.add_error("vapi_id", "This id is taken. Delete the file that has it first.")
        return cleaned


@admin.register(FileReading)
class FileReadingAdmin(BesideForm, ScopedAdmin):
    """Uploaded files: how far they are read, and a box to try a question."""

    form = FileForm
    change_form_template = "admin/assistants/filereading/change_form.html"
    list_display = ("name", "state_badge", "what", "pages", "size", "created_at")
    list_filter = ("state", "created_at")
    search_fields = ("file__name",)
    list_hint = (
        "Documents that assistants look things up in, through tools of the kind “query”. A file is "
        "read in the background after it was uploaded; then open it and try a question."
    )
    warn_unsaved_form = False
    actions: Any = None
    overtaken_by = (RowGone, FileIdTaken)
    readonly_fields = ("name", "state_badge", "what", "pages", "size", "used_by", "shown_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave out deleted files, and the bytes of all."""
        rows = super().get_queryset(request).filter(file__deleted_at__isnull=True)
        return rows.select_related("file", "organisation").defer("file__document", "file__content")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a file that changed is uploaded again."""
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the form of an upload, or what is known of a file."""
        if obj is None:
            return [(None, {"fields": ("upload", "vapi_id", "organisation")})]
        fields = ("name", "state_badge", "what", "pages", "size", "used_by", "organisation")
        return [
            (None, {"fields": fields}),
            ("Technical", {"fields": ("shown_id", "created_at"), "classes": ("collapse",)}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Leave the fields of an upload open."""
        return [] if obj is None else [*super().get_readonly_fields(request, obj), "created_at"]

    def beside_form(self, request: HttpRequest, obj: FileReading) -> dict[str, Any]:
        """Show what a question finds in the file."""
        question = request.GET.get("question", "").replace("\x00", "")[:_MOST_QUESTION]
        page = {
            "can_search": obj.state == FileReading.State.DONE,
            "question": question,
            "found": question and search(obj.organisation, [obj.pk], question, _SHOWN),
        }
        return {"file_page": page}

    @admin.display(description="Name", ordering="file__name")
    def name(self, obj: FileReading) -> str:
        """Return the name."""
        return str(obj)

    @badge(
        description="State",
        ordering="state",
        label={"processing": "info", "done": "success", "failed": "danger"},
    )
    def state_badge(self, obj: FileReading) -> Any:
        """Return how far it is."""
        return obj.state, obj.get_state_display()

    @admin.display(description="What was read")
    def what(self, obj: FileReading) -> str:
        """Return how much, or why nothing."""
        if obj.state == FileReading.State.FAILED:
            return obj.problem
        if obj.state == FileReading.State.PROCESSING:
            return "not yet"
        words = f"{obj.passage_count:,} passages, {obj.character_count:,} characters"
        return f"{words}. {obj.problem}" if obj.problem else words

    @admin.display(description="Pages", ordering="page_count")
    def pages(self, obj: FileReading) -> Any:
        """Return the number of pages of kinds that have some."""
        return obj.page_count or "–"

    @admin.display(description="Size")
    def size(self, obj: FileReading) -> str:
        """Return the size of the upload."""
        stored = obj.file.document_redacted.get("bytes")
        return filesizeformat(stored) if isinstance(stored, int) else "–"

    @admin.display(description="Tools that look things up in it")
    def used_by(self, obj: FileReading) -> str:
        """Return their names."""
        return ", ".join(tools_using(obj.file)) or "none yet"

    @admin.display(description="Id (what tools name)")
    def shown_id(self, obj: FileReading) -> uuid.UUID:
        """Return the id."""
        found: uuid.UUID = obj.pk
        return found

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Upload through the service."""
        upload = form.cleaned_data["upload"]
        file = file_upload(
            organisation=form.cleaned_data["organisation"],
            name=upload.name or "",
            mimetype=said_type(upload.content_type),
            content=upload.read(),
            actor=request.user,
            file_id=form.cleaned_data["vapi_id"],
        )
        obj.__dict__.update(FileReading.objects.select_related("file").get(pk=file.pk).__dict__)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Say which tools answer without it; they do not keep it from being deleted."""
        told = [
            f"{obj}, in which the tool “{tool}” looks things up: it answers without it then"
            for obj in objs
            for tool in tools_using(obj.file)
        ]
        return [*map(str, objs), *told], {}, set(), []

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        users = tools_using(obj.file)
        resource_delete(resource=obj.file, actor=request.user)
        if users:
            names = ", ".join(f"“{name}”" for name in users)
            words = f"The tools {names} answer without this file from now on."
            self.message_user(request, words, messages.WARNING)


@admin.register(FilePassage)
class FilePassageAdmin(ReadOnlyAdmin):
    """What a file was cut into; its words are searched on the page of the file."""

    organisation_path = "file__organisation"
    list_display = ("file", "ordinal", "page", "heading")
    list_select_related = ("file__file",)
    search_fields = ("heading__startswith",)
    fields = ("file", "ordinal", "page", "heading", "text")
    hidden_lookups = ("text", "words")
    list_hint = "The pieces of uploaded files, as they are found and as assistants read them."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave out deleted files, and the bytes of all."""
        rows = super().get_queryset(request).filter(file__file__deleted_at__isnull=True)
        heavy = ("document", "document_redacted", "content")
        return rows.select_related("file__file").defer(
            "words", *(f"file__file__{name}" for name in heavy)
        )

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Keep it out of menus."""
        return False
