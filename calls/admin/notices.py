"""Admin of “Who is told”: mailboxes, servers and chat rooms that get notices of incidents.

For people who write no code. Addresses go in and never come out; the secret of a webhook is shown
once, on the answer that made it.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_email
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from calls.models import Notice, NoticeReceiver
from calls.services.event_destinations import OVERLAP
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
    BesideForm,
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    badge,
)
from voiceplatform.base.secret_form import SecretFormField

_STATES = {"on": "success", "off": "info", "the receiver is gone": "danger"}
_SEALED = ("address", "secret", "earlier_secret")


def _state(row: NoticeReceiver) -> str:
    if row.enabled:
        return "on"
    return "the receiver is gone" if row.switched_off_at else "off"


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
class NoticeReceiverAdmin(BesideForm, ScopedAdmin):
    """Who is told."""

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

    @badge(description="State", label=_STATES)
    def state(self, obj: NoticeReceiver) -> str:
        """Say whether it is told anything."""
        return _state(obj)

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
            return self._secret_page(request, obj, made)
        return self._back(obj)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Remove through the service."""
        given_up = receiver_delete(row=obj, actor=request.user)
        if given_up:
            self.message_user(
                request, f"{given_up} notices that waited for it were given up.", messages.WARNING
            )

    def get_actions(self, request: HttpRequest) -> Any:
        """Delete one by one."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Ask for confirmation without Django's look at foreign keys: the record stays."""
        return [str(obj) for obj in objs], {}, set(), []

    def get_urls(self) -> list[Any]:
        """Add what the buttons of a receiver's page post to."""
        wrap = self.admin_site.admin_view
        steps = {
            "test": self.test_view,
            "renew": self.renew_view,
            "end-earlier": self.end_earlier_view,
        }
        own = [
            path(f"<uuid:object_id>/{name}/", wrap(view), name=f"calls_noticereceiver_{name}")
            for name, view in steps.items()
        ]
        return [*own, *super().get_urls()]

    def test_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Send a test and say what came of it."""
        row = self._row(request, object_id)
        if request.method != "POST":
            return self._back(row)
        attempt = receiver_test(row=row, actor=request.user)
        if attempt is None:
            words = "A worker sends it; look at Delivery attempts in a minute."
            self.message_user(request, words, messages.WARNING)
        elif attempt.status_code is not None and 200 <= attempt.status_code < 300:
            words = f"It was taken: status {attempt.status_code} after {attempt.duration_ms} ms."
            self.message_user(request, words, messages.SUCCESS)
        else:
            why = attempt.error or f"it answered {attempt.status_code}, and only a 2xx counts"
            self.message_user(request, f"It was not taken: {why}", messages.ERROR)
        return self._back(row)

    def renew_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Make a new secret of a webhook and show it once."""
        row = self._row(request, object_id)
        if request.method != "POST" or row.kind != NoticeReceiver.Kind.WEBHOOK:
            return self._back(row)
        return self._secret_page(request, row, receiver_secret_renew(row=row, actor=request.user))

    def end_earlier_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Let the earlier secret sign no more."""
        row = self._row(request, object_id)
        if request.method == "POST" and receiver_earlier_secret_end(row=row, actor=request.user):
            self.message_user(request, "Only the newest secret signs from now on.")
        return self._back(row)

    def _row(self, request: HttpRequest, object_id: uuid.UUID) -> NoticeReceiver:
        row: NoticeReceiver | None = self.get_object(request, str(object_id))
        if row is None or not self.has_view_permission(request, row):
            raise Http404("The receiver was not found.")
        if request.method == "POST" and not self.has_change_permission(request, row):
            raise PermissionDenied
        return row

    def _back(self, row: NoticeReceiver) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:calls_noticereceiver_change", args=[row.pk]))

    def _secret_page(self, request: HttpRequest, row: NoticeReceiver, secret: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Signing secret",
            "opts": self.opts,
            "row": row,
            "secret": secret,
            "overlap_hours": int(OVERLAP.total_seconds() // 3600),
            "had_one": bool(row.secret) and row.secret != secret,
        }
        response = TemplateResponse(request, "admin/calls/noticereceiver/secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def beside_form(self, request: HttpRequest, obj: NoticeReceiver) -> dict[str, Any]:
        """Show how it is going above the form."""
        until = obj.earlier_secret_until
        page = {
            "row": obj,
            "earlier_until": until if until and until > timezone.now() else None,
            "state": _state(obj),
            "colour": _STATES[_state(obj)],
            "may_change": self.has_change_permission(request, obj),
            "is_signed": obj.kind == NoticeReceiver.Kind.WEBHOOK,
        }
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
