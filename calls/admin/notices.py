"""Admin of “Who is told”: mailboxes, servers and chat rooms that get notices of incidents.

For people who write no code. Addresses go in and never come out; the secret of a webhook is shown
once, on the answer that made it.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest, HttpResponse

from calls.admin.signed_receivers import STATES, SignedReceiverAdmin, Steps, state_of
from calls.models import Notice, NoticeReceiver
from calls.services.notices import (
    receiver_changed,
    receiver_created,
    receiver_delete,
    receiver_earlier_secret_end,
    receiver_secret_renew,
    receiver_test,
)
from tools.services import url_host
from voiceplatform.base.egress import EgressRefused, encrypted
from voiceplatform.base.scoped_admin import (
    ReadOnlyAdmin,
    ScopedForm,
    badge,
)
from voiceplatform.base.secret_form import SecretFormField

_SEALED = ("address", "secret", "earlier_secret")


class NoticeReceiverForm(ScopedForm):
    """Somebody who is told."""

    address = SecretFormField(
        label="Address",
        help_text="A mailbox, or for a webhook or Slack an address that begins with https://. It "
        "is not shown again.",
    )

    class Meta:
        model = NoticeReceiver
        fields = ("organisation", "name", "kind", "address", "enabled")

    def clean(self) -> dict[str, Any]:
        """Judge the address by the kind."""
        cleaned = super().clean()
        kind = cleaned.get("kind") or self.instance.kind
        address = (cleaned.get("address") or "").strip()
        if kind == NoticeReceiver.Kind.EMAIL and not settings.EMAIL_HOST:
            self.add_error(
                None,
                "This instance has no mail server. Set SMTP_HOST and MAIL_FROM, or choose a "
                "webhook or Slack.",
            )
        if not address or "address" not in self.changed_data:
            return cleaned
        cleaned["address"] = address
        try:
            self.instance.address_hint = _hint(kind, address)
        except (EgressRefused, ValidationError) as error:
            words = error.messages if isinstance(error, ValidationError) else str(error)
            self.add_error("address", words)
        return cleaned


def _hint(kind: str, address: str) -> str:
    """Return what people may read of an address.

    Raises:
        ValidationError: it is no mailbox.
        EgressRefused: it is no address that a notice may be sent to.
    """
    if kind == NoticeReceiver.Kind.EMAIL:
        validate_email(address)
        return address.rpartition("@")[2]
    encrypted(address)
    return url_host(address)


@admin.register(NoticeReceiver)
class NoticeReceiverAdmin(SignedReceiverAdmin):
    """Who is told."""

    steps = Steps(
        delete=receiver_delete,
        test=receiver_test,
        renew=receiver_secret_renew,
        end_earlier=receiver_earlier_secret_end,
    )
    things = "notices"

    form = NoticeReceiverForm
    list_display = ("name", "kind", "address_hint", "state", "updated_at")
    list_filter = ("kind", "enabled")
    search_fields = ("name", "address_hint")
    hidden_lookups = _SEALED
    change_form_template = "admin/calls/noticereceiver/change_form.html"
    list_hint = (
        "Who is told when a guard opens an incident, when the number is back, and when a person is "
        "needed. Notices hold ids and figures, never a telephone number or a word of a call."
    )
    list_empty = "Nobody is told of incidents yet. Add a mailbox, a webhook or a Slack channel."

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave what is sealed in the database, where no form shows it."""
        rows = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and match.url_name == "calls_noticereceiver_changelist"
        return rows.defer(*_SEALED) if is_list else rows

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Keep the kind once an address of that kind is stored."""
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else [*fields, "kind"]

    @badge(description="State", label=STATES)
    def state(self, obj: NoticeReceiver) -> str:
        """Say whether it is told anything."""
        return state_of(obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store through the service; a new secret is remembered for this response."""
        if change:
            receiver_changed(row=obj, actor=request.user, fields=form.changed_data)
            return
        request.made_secret = receiver_created(  # type: ignore[attr-defined]  # for `response_add`
            row=obj, actor=request.user, fields=form.changed_data
        )

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret of a webhook once, on the answer itself."""
        made = request.made_secret  # type: ignore[attr-defined]  # by `save_model`
        if made:
            return self.secret_page(request, obj, made)
        return self.back(obj)

    def is_signed(self, row: NoticeReceiver) -> bool:
        """Tell whether requests to this one are signed: those to a webhook."""
        return row.kind == NoticeReceiver.Kind.WEBHOOK

    def beside_form(self, request: HttpRequest, obj: NoticeReceiver) -> dict[str, Any]:
        """Show how it is going above the form."""
        page = {**self.how_it_goes(request, obj), "is_signed": self.is_signed(obj)}
        return {"receiver_page": page}


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    """What people were told."""

    list_display = ("created_at", "subject", "words", "incident")
    list_display_links = ("created_at",)
    list_filter = ("created_at",)
    list_select_related = ("incident",)
    search_fields = ("subject", "words", "id__iexact")
    hidden_lookups = ("ids",)
    fields = ("organisation", "created_at", "subject", "words", "incident", "key")
    list_hint = (
        "Every notice, whoever the receivers were. Whether it arrived is shown on the page of its "
        "incident and in the Outbox."
    )
    list_empty = "Nothing had to be told."
