"""How a tool's server is asked, as fields of the tool's form: credential and switches.

None of them is a column: they stand in the tool's document. Owns their reading and writing there,
for the form and for those who may only look. ``tools.admin`` mixes both classes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldBooleanWidget

from tools.loose_json import as_object, as_text
from tools.models import ServerCredential, Tool
from tools.switches import Switches, read_switches, write_switches
from voiceplatform.base.egress import EgressRefused, encrypted
from voiceplatform.base.scoped_admin import ScopedForm, visible_choices
from voiceplatform.base.selectors import uuids_in

_SWITCHES: Final = ("legacy_message", "text_arguments", "without_aliases", "object_answers")
SERVER_FIELDS: Final = ("credential", *_SWITCHES)


def _mark(label: str, help_text: str) -> forms.BooleanField:
    return forms.BooleanField(
        label=label, required=False, widget=UnfoldBooleanWidget, help_text=help_text
    )


class ServerFields(ScopedForm):
    """The fields, filled from the document of the tool."""

    credentials: ClassVar[QuerySet[ServerCredential]] = ServerCredential.objects.none()

    credential = forms.ModelChoiceField(
        label="Credential",
        queryset=ServerCredential.objects.none(),
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Where a shared secret is not enough: a token, a signature, a certificate or a "
        "proxy, entered under Server credentials.",
    )
    legacy_message = _mark(
        "Old message",
        "The server is sent the old function-call message, one call at a time, and no tool-calls.",
    )
    text_arguments = _mark(
        "Arguments as text",
        "Arguments are sent as JSON text instead of an object, for servers typed after Vapi's SDK.",
    )
    without_aliases = _mark(
        "Strict schema",
        "Leave out the name, arguments and parameters that stand beside each function.",
    )

    object_answers = _mark(
        "Any object is the answer",
        "The server answers with a JSON object of its own instead of results. Vapi would tell the "
        "assistant that nothing came back; here the assistant reads the object.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shown = self.instance.document_redacted if self.instance.pk else {}
        switches = read_switches(shown)
        for name, value in (
            ("legacy_message", switches.legacy_message),
            ("text_arguments", switches.text_arguments),
            ("without_aliases", not switches.aliases),
            ("object_answers", switches.object_answers),
        ):
            if name in self.fields:
                self.initial.setdefault(name, value)
        field = self.fields.get("credential")
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = self.credentials
            row = _named(self.credentials, shown)
            self.initial.setdefault("credential", row.pk if row else None)

    def clean(self) -> dict[str, Any]:
        """Refuse a new address without encryption; imported ones stay as they are."""
        cleaned = super().clean()
        url = cleaned.get("server_url")
        if url and "server_url" in self.changed_data:
            try:
                encrypted(str(url))
            except EgressRefused as refusal:
                self.add_error("server_url", str(refusal))
        return cleaned


def _named(rows: QuerySet[ServerCredential], document: Any) -> ServerCredential | None:
    """Return the credential that a document names, if it was entered here."""
    server = as_object(as_object(document).get("server"))
    ids = uuids_in([as_text(server.get("credentialId"))])
    return rows.filter(credential_id__in=ids).first() if ids else None


def written(
    document: Mapping[str, Any], data: Mapping[str, Any], changed: list[str]
) -> dict[str, Any]:
    """Return ``document`` with what a person changed among ``SERVER_FIELDS``."""
    new = dict(document)
    if "credential" in changed:
        row = data.get("credential")
        server = dict(as_object(new.get("server")))
        server.pop("credentialId", None)
        new["server"] = server | ({"credentialId": str(row.credential_id)} if row else {})
    if not set(_SWITCHES) & set(changed):
        return new
    return write_switches(
        new,
        Switches(
            text_arguments=bool(data.get("text_arguments")),
            aliases=not data.get("without_aliases"),
            legacy_message=bool(data.get("legacy_message")),
            object_answers=bool(data.get("object_answers")),
        ),
    )


class ServerFieldsAdmin:
    """Mixin of the tool's admin: what to choose from, and the values for who may only look."""

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Offer the credentials that the person may see."""
        made = super().get_form(request, obj, **kwargs)  # type: ignore[misc]  # a mixin's
        site = self.admin_site  # type: ignore[attr-defined]
        rows = visible_choices(site, ServerCredential, request)
        made.credentials = rows if obj is None else rows.filter(organisation=obj.organisation_id)
        return made

    @admin.display(description="Credential")
    def credential(self, obj: Tool) -> str:
        """Name the credential of a tool."""
        rows = ServerCredential.objects.for_organisation(obj.organisation)
        row = _named(rows, obj.document_redacted)
        return row.name if row else ""

    @admin.display(description="Old message", boolean=True)
    def legacy_message(self, obj: Tool) -> bool:
        """Show the switch."""
        return read_switches(obj.document_redacted).legacy_message

    @admin.display(description="Arguments as text", boolean=True)
    def text_arguments(self, obj: Tool) -> bool:
        """Show the switch."""
        return read_switches(obj.document_redacted).text_arguments

    @admin.display(description="Strict schema", boolean=True)
    def without_aliases(self, obj: Tool) -> bool:
        """Show the switch."""
        return not read_switches(obj.document_redacted).aliases

    @admin.display(description="Any object is the answer", boolean=True)
    def object_answers(self, obj: Tool) -> bool:
        """Show the switch."""
        return read_switches(obj.document_redacted).object_answers
