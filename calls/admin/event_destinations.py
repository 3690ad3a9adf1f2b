"""Admin of “Where events go”: who is told of calls, of which ones, and under which secret.

For people who write no code. A secret is shown once, on the answer that made it; addresses and
headers go in and never come out.
"""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from calls.admin.signed_receivers import STATES, SignedReceiverAdmin, Steps, state_of
from calls.events.receivers import KINDS, SEALED
from calls.models import EventDestination
from calls.selectors.delivery import undelivered_by_receiver
from calls.services.event_destinations import (
    destination_changed,
    destination_created,
    destination_delete,
    destination_switch_on,
    destination_test,
    earlier_secret_end,
    secret_renew,
)
from tools.server_admin import SecretLines
from tools.services import url_host
from voiceplatform.base.egress import EgressRefused, encrypted
from voiceplatform.base.scoped_admin import ScopedForm, badge
from voiceplatform.base.secret_form import SecretFormField

_MOST_HEADERS = 20
# What such a header would change is ours to say, or HTTP's.
_RESERVED = frozenset({"content-length", "content-type", "transfer-encoding", "connection", "host"})


def headers_from(text: str) -> dict[str, str]:
    """Read headers, one a line.

    Raises:
        ValidationError: a line that is no header, or one that we set ourselves.
    """
    headers: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        name, colon, value = (part.strip() for part in line.partition(":"))
        token = name.replace("-", "").replace("_", "")
        if not colon or not value or not (token.isascii() and token.isalnum()):
            raise forms.ValidationError(
                f"“{name[:40]}” is no header. Write one a line, Name: value."
            )
        if name.lower() in _RESERVED or name.lower().startswith(("webhook-", "x-voiceplatform-")):
            raise forms.ValidationError(f"{name} is set by this platform. Use another name.")
        if not (value.isascii() and value.isprintable()):
            raise forms.ValidationError(f"The value of {name} may hold plain characters only.")
        headers[name] = value
    if len(headers) > _MOST_HEADERS:
        raise forms.ValidationError(f"At most {_MOST_HEADERS} headers.")
    return headers


class EventDestinationForm(ScopedForm):
    """A receiver of events."""

    url = SecretFormField(
        label="Address",
        help_text="Where events are posted, beginning with https://. It is not shown again.",
    )
    kinds = forms.MultipleChoiceField(
        label="Events",
        choices=[(name, f"{name}: {words}") for name, words in KINDS.items()],
        initial=["call.ended"],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    headers_entered = SecretFormField(
        label="Headers",
        required=False,
        widget=SecretLines,
        help_text="Sent with every event, one a line, e.g. X-Team: desk. They replace the stored "
        "ones.",
    )

    class Meta:
        model = EventDestination
        fields = (
            *("organisation", "name", "url", "kinds", "assistants", "numbers"),
            *("headers_entered", "timeout_seconds", "enabled"),
        )
        labels = {  # noqa: RUF012 - read by Django as it stands
            "assistants": "Only calls of these assistants",
            "numbers": "Only calls to these numbers",
            "timeout_seconds": "Patience, in seconds",
            "enabled": "On",
        }
        help_texts = {  # noqa: RUF012 - read by Django as it stands
            "enabled": "Off: nothing new is told, and what waits is kept until it is on again.",
        }

    def stored_secret(self, name: str) -> str:
        """Say that headers are stored, without what they are."""
        if name == "headers_entered":
            return "stored" if self.instance.headers else ""
        return super().stored_secret(name)

    def clean_timeout_seconds(self) -> int:
        """Keep within what an attempt may take."""
        seconds = int(self.cleaned_data["timeout_seconds"])
        if not 1 <= seconds <= 30:
            raise forms.ValidationError("Choose 1 to 30 seconds.")
        return seconds

    def clean(self) -> dict[str, Any]:
        """Judge the address, read the headers, keep to one organisation's calls."""
        cleaned = super().clean()
        own = cleaned.get("organisation") or self.instance.organisation
        for name in ("assistants", "numbers"):
            if any(each.organisation_id != own.pk for each in cleaned.get(name) or ()):
                self.add_error(name, f"One of them belongs to another organisation, not to {own}.")
        url = cleaned.get("url") or ""
        if url and "url" in self.changed_data:
            try:
                encrypted(url)
            except EgressRefused as refusal:
                self.add_error("url", str(refusal))
        entered = cleaned.get("headers_entered") or ""
        if entered != "stored" and "headers_entered" in self.changed_data:
            try:
                self.instance.headers = headers_from(entered) or None
            except forms.ValidationError as error:
                self.add_error("headers_entered", error)
        self.instance.url_host = url_host(url)
        return cleaned


@admin.register(EventDestination)
class EventDestinationAdmin(SignedReceiverAdmin):
    """Who is told of calls."""

    steps = Steps(
        delete=destination_delete,
        test=destination_test,
        renew=secret_renew,
        end_earlier=earlier_secret_end,
    )
    things = "events"

    form = EventDestinationForm
    list_display = ("name", "url_host", "events", "state", "waiting", "updated_at")
    list_filter = ("enabled",)
    search_fields = ("name", "url_host")
    hidden_lookups = ("url", "headers", "secret", "earlier_secret", "plain_secret")
    autocomplete_fields = ("assistants", "numbers")
    change_form_template = "admin/calls/eventdestination/change_form.html"
    list_hint = (
        "Servers of yours that are told of calls: a call log, Vapi's reports a second time. Each "
        "request is signed; the receiver checks it with the secret that is shown once."
    )

    def choices_queryset(self, request: HttpRequest) -> Any:
        """Offer names without opening what is sealed."""
        return super().choices_queryset(request).defer(*SEALED)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave what is sealed in the database, where no form shows it."""
        rows = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and match.url_name == "calls_eventdestination_changelist"
        return rows.defer(*SEALED) if is_list else rows

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Put the filters by themselves."""
        return [
            (None, {"fields": ("organisation", "name", "url", "kinds", "enabled")}),
            ("Which calls", {"fields": ("assistants", "numbers")}),
            ("How it is asked", {"fields": ("headers_entered", "timeout_seconds")}),
        ]

    @badge(description="Events", label=True)
    def events(self, obj: EventDestination) -> list[str]:
        """Return the kinds as badges."""
        return [str(kind) for kind in obj.kinds]

    @badge(description="State", label=STATES)
    def state(self, obj: EventDestination) -> str:
        """Say whether it is told anything."""
        return state_of(obj)

    @admin.display(description="Undelivered")
    def waiting(self, obj: Any) -> int:
        """Count what has not been taken."""
        return int(obj.undelivered)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Count the undelivered events of all rows of the page at once."""
        changelist = super().get_changelist_instance(request)
        shown = list(changelist.result_list)
        counts = undelivered_by_receiver([row.pk for row in shown])
        for row in shown:
            row.undelivered = counts.get(row.pk, 0)
        changelist.result_list = shown
        return changelist

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store through the service; a new secret is remembered for this response."""
        if change:
            destination_changed(row=obj, actor=request.user, fields=form.changed_data)
            return
        request.made_secret = destination_created(  # type: ignore[attr-defined]  # for `response_add`
            row=obj, actor=request.user, fields=form.changed_data
        )

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret once, on the answer itself."""
        made = request.made_secret  # type: ignore[attr-defined]  # by `save_model`
        return self.secret_page(request, obj, made)

    def views(self) -> dict[str, Any]:
        """Add the button of a receiver that was switched off."""
        return {**super().views(), "switch-on": self.switch_on_view}

    def switch_on_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Send to it again."""
        row = self.row(request, object_id)
        if request.method == "POST":
            destination_switch_on(row=row, actor=request.user)
            self.message_user(request, "It is on. What waited for it goes out within seconds.")
        return self.back(row)

    def beside_form(self, request: HttpRequest, obj: EventDestination) -> dict[str, Any]:
        """Show how it is going above the form."""
        page = {
            **self.how_it_goes(request, obj),
            "undelivered": undelivered_by_receiver([obj.pk]).get(obj.pk, 0),
            "has_secret": bool(obj.secret),
        }
        return {"destination_page": page}
