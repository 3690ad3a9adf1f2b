"""Admin of tools: a form in plain words; every change goes through ``tools.services``."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldBooleanWidget

from tools import server_admin, services
from tools.critical import argument_paths, critical_arguments, mark_critical
from tools.exceptions import ToolInUse
from tools.loose_json import as_object, as_text
from tools.models import Tool
from tools.selectors import tool_users
from tools.server_forms import SERVER_FIELDS, ServerFields, ServerFieldsAdmin, written
from tools.wire.vapi_tool import read_tool
from voiceplatform.base.admin import pretty_json
from voiceplatform.base.scoped_admin import RetiredRowsAdmin, badge

__all__ = ["ToolAdmin", "ToolForm", "server_admin"]

_EDITED = (
    *("name", "description", "parameters", "server_url", "server_secret"),
    *("timeout_seconds", "is_async"),
)
_WAYS = ("timeout_seconds", "is_async", "idempotent")


class ToolForm(ServerFields):
    """A tool as ops people see it."""

    idempotent = forms.BooleanField(
        label="Safe to repeat",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Asking twice with the same arguments does no harm, as when it only looks "
        "something up. If a call is interrupted before the answer is there, the request is sent "
        "once more; otherwise the assistant is told that nothing is known.",
    )
    critical = forms.MultipleChoiceField(
        label="Critical arguments",
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Where two calls are compared, one of these that differs counts as an error of "
        "its own. Phone numbers, e-mail addresses, names, dates and ids are ticked for you.",
    )

    class Meta:
        model = Tool
        fields = ("organisation", "type", *_EDITED)
        labels = {  # noqa: RUF012 - read by Django as it stands
            "type": "Kind",
            "name": "Name",
            "parameters": "Arguments (JSON Schema)",
            "server_url": "Address of the tool server",
            "server_secret": "Shared secret",
            "timeout_seconds": "Give up after (seconds)",
            "is_async": "Do not wait for the answer",
        }
        help_texts = {  # noqa: RUF012 - read by Django as it stands
            "type": "Usually “function”: the assistant asks your server. It cannot change later.",
            "name": "What the assistant calls it: letters, digits, - and _, at most 64.",
            "description": "Tells the assistant when to use the tool. Write it as an instruction.",
            "parameters": "Which facts the assistant must collect before it uses the tool.",
            "server_url": "Shown as host only, because addresses may carry access tokens.",
            "server_secret": "Sent as the header X-Vapi-Secret, so your server knows it is us.",
            "timeout_seconds": "1 to 300. The caller hears nothing new while we wait.",
            "is_async": "The assistant goes on talking at once and never learns the result.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields:
            self.fields["name"].validators.append(_function_name)
        if "idempotent" in self.fields:
            self.initial.setdefault("idempotent", _is_idempotent(self.instance))
        critical = self.fields.get("critical")
        if isinstance(critical, forms.MultipleChoiceField):
            paths = argument_paths(self.instance.parameters) if self.instance.pk else ()
            if not paths or self.instance._state.adding:
                del self.fields["critical"]
            else:
                critical.choices = [(path, path) for path in paths]
                self.initial.setdefault("critical", _critical(self.instance))

    def clean_parameters(self) -> dict[str, Any]:
        """Accept an object only."""
        value = self.cleaned_data.get("parameters")
        if value in (None, ""):
            return {}
        if not isinstance(value, dict):
            raise forms.ValidationError("This must be a JSON object, e.g. {}.")
        return value


def _is_idempotent(tool: Tool) -> bool:
    return isinstance(tool.document_redacted, dict) and (
        tool.document_redacted.get("idempotent") is True
    )


def _critical(tool: Tool) -> list[str]:
    return list(critical_arguments(tool.document_redacted, tool.parameters))


_function_name = forms.RegexField(regex=r"^[a-zA-Z0-9_-]{1,64}$").validators[0]


@admin.register(Tool)
class ToolAdmin(ServerFieldsAdmin, RetiredRowsAdmin):
    """Saved and inline tools."""

    form = ToolForm
    list_display: tuple[str, ...] = (
        *("name", "kind", "server_url_host", "timeout", "place", "updated_at"),
    )
    list_filter = ("type", "is_inline", "is_async")
    search_fields = ("name", "description", "server_url_host", "id")
    list_display_links = ("name",)
    readonly_fields = ("id", "server_host", "created_at", "updated_at", "document_shown")
    hidden_lookups = ("document", "server_url", "server_secret", "server_headers")

    @badge(description="Kind", ordering="type", label=True)
    def kind(self, obj: Tool) -> str:
        """Return the type as a badge."""
        return obj.type

    @admin.display(description="Gives up after", ordering="timeout_seconds")
    def timeout(self, obj: Tool) -> str:
        """Return the timeout with its unit."""
        return f"{obj.timeout_seconds} s"

    @badge(description="Place", label={"saved": "success", "inline": "info", "deleted": "danger"})
    def place(self, obj: Tool) -> str:
        """Say whether the tool is shared, written inside one assistant, or gone."""
        return "deleted" if obj.deleted_at else "inline" if obj.is_inline else "saved"

    @admin.display(description="Safe to repeat", boolean=True)
    def idempotent(self, obj: Tool) -> bool:
        """Show the mark to those who may only look: it is a field of the form, not a column."""
        return _is_idempotent(obj)

    @admin.display(description="Critical arguments")
    def critical(self, obj: Tool) -> str:
        """Name them to those who may only look."""
        return ", ".join(_critical(obj)) or "-"

    @admin.display(description="Server")
    def server_host(self, obj: Tool) -> str:
        """Name the host, and say so where nothing is encrypted on the way there.

        Imports and the API take such an address as Vapi does; the form takes no new one.
        """
        document = as_object(obj.document_redacted)
        url = as_text(as_object(document.get("server")).get("url")) or as_text(document.get("url"))
        if not url.strip().lower().startswith("http:"):
            return obj.server_url_host or "-"
        return (
            f"{obj.server_url_host}: requests go there unencrypted, as they do from Vapi, and to "
            "public addresses only. Fix: use https."
        )

    @admin.display(description="Document, without secrets")
    def document_shown(self, obj: Tool) -> SafeString:
        """Return the raw document as a block."""
        return pretty_json(obj.document_redacted)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the sealed document in the database."""
        return super().get_queryset(request).defer("document")

    def choices_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Offer saved, live tools."""
        return super().choices_queryset(request).filter(deleted_at__isnull=True, is_inline=False)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Put the rare and the technical behind the usual."""
        main: tuple[str, ...] = ("organisation", "type", "name", "description", "parameters")
        if obj is not None and argument_paths(obj.parameters):
            main = (*main, "critical")
        server = ("server_url", "server_host") if obj else ("server_url",)
        sets = [
            (None, {"fields": main}),
            ("Server", {"fields": (*server, "server_secret", *_WAYS)}),
            ("How the server is asked", {"fields": SERVER_FIELDS, "classes": ("collapse",)}),
        ]
        if obj is not None:
            technical = ("id", "created_at", "updated_at", "document_shown")
            sets.append(("Technical", {"fields": technical, "classes": ("collapse",)}))
        return sets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Fix the type once the tool exists."""
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "type"] if obj is not None else fields

    def is_open(self, obj: Any) -> bool:
        """Leave out inline tools: their home is an assistant's revision."""
        return super().is_open(obj) and not obj.is_inline

    def users_of(self, obj: Any) -> list[str]:
        """Return the assistants that have it."""
        return tool_users(obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write through the service, which keeps the document and the columns together."""
        data = form.cleaned_data
        if change:
            edited = (*_EDITED, "idempotent")
            changes = {name: data[name] for name in edited if name in form.changed_data}
            stored = services.tool_edit(
                tool=obj,
                changes=changes,
                actor=request.user,
                mend=lambda document: _mended(document, data, form.changed_data),
            )
        else:
            document = services.tool_document(Tool(**{name: data[name] for name in _new(data)}))
            document |= {"idempotent": True} if data.get("idempotent") else {}
            document = written(document, data, form.changed_data)
            stored = services.tool_store(
                organisation=data["organisation"], document=document, actor=request.user
            )
        obj.__dict__.update(stored.__dict__)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        try:
            services.tool_delete(tool=obj, actor=request.user)
        except ToolInUse as error:
            self.message_user(request, str(error), messages.ERROR)


def _mended(document: dict[str, Any], data: dict[str, Any], changed: list[str]) -> dict[str, Any]:
    """Return the document with what is no column of the tool."""
    new = written(document, data, changed)
    if "critical" not in changed:
        return new
    return mark_critical(new, data["critical"], read_tool(new).parameters)


def _new(data: dict[str, Any]) -> list[str]:
    return ["type", *(name for name in _EDITED if name in data)]
