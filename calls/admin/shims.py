"""Admin of recording addresses: make one, what to change where, the way back, what came through.

Writes through ``calls.services.tool_shims`` only. The customer's own address is never shown whole;
ours is, to those who may make one, since they have to enter it at Vapi.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html

from calls.admin.call_log_forms import ShimForm
from calls.models import ShimRecord, ToolShim
from calls.services.tool_shims import (
    ShimRefused,
    shim_address,
    shim_make,
    shim_remove,
    shim_stop,
)
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.redaction import redact_url
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, badge

MAY_MAKE: Final = "calls.add_toolshim"
_SEALED: Final = ("target_url", "token")


@admin.register(ToolShim)
class ToolShimAdmin(ReadOnlyAdmin):
    """Recording addresses."""

    change_list_template = "admin/calls/toolshim/change_list.html"
    list_display = ("name", "state_badge", "records_until", "request_count", "last", "lead")
    list_filter = ("records_until",)
    search_fields = ("name", "id__iexact")
    hidden_lookups = ("target_url", "token", "token_hash", "records")
    list_hint = (
        "Addresses that stand before a tool server: every request goes on to it as it came, and "
        "the order of tool calls is kept. For assistants whose logs are not enough."
    )
    fields = (
        *("organisation", "name", "state_badge", "lead", "records_until"),
        *("stopped_at", "request_count", "failure_count", "last_request_at", "created_by"),
        "created_at",
    )
    readonly_fields = ("state_badge", "lead")

    def get_urls(self) -> list[Any]:
        """Add the pages that make one and lead through its use."""
        view = self.admin_site.admin_view
        return [
            path("make/", view(self.make_view), name="calls_toolshim_make"),
            path("<uuid:object_id>/steps/", view(self.steps_view), name="calls_toolshim_steps"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out what is sealed."""
        return super().get_queryset(request).defer(*_SEALED)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Offer to make one to those who may."""
        extra = {**(extra_context or {}), "may_make": request.user.has_perm(MAY_MAKE)}
        return super().changelist_view(request, extra)

    def make_view(self, request: HttpRequest) -> HttpResponse:
        """Make an address, then show what to do with it."""
        if not request.user.has_perm(MAY_MAKE):
            raise PermissionDenied
        form = ShimForm(request.POST if request.method == "POST" else None, user=request.user)
        if form.is_valid():
            try:
                row = shim_make(**form.cleaned_data, actor=request.user)
            except ShimRefused as refusal:
                form.add_error(None, f"{refusal}.")
            else:
                return _to_steps(row.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": "New recording address",
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/calls/toolshim/make.html", context)

    def steps_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Show the address and what to change where; end or delete it on POST."""
        row = self.get_queryset(request).filter(pk=object_id).first()
        if row is None:
            raise Http404("The recording address was not found.")
        if not request.user.has_perm(MAY_MAKE):
            raise PermissionDenied
        if request.method == "POST":
            return self._act(request, row)
        try:
            address, target = shim_address(row), redact_url(row.target_url)
        except DecryptionError:
            address, target = "", "sealed with a key that is gone"
        context = {
            **self.admin_site.each_context(request),
            "title": row.name,
            "opts": self.opts,
            "row": row,
            "address": address,
            "target": target,
            "is_recording": _is_recording(row),
        }
        response = TemplateResponse(request, "admin/calls/toolshim/steps.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _act(self, request: HttpRequest, row: ToolShim) -> HttpResponse:
        step = request.POST.get("step", "")
        try:
            if step == "stop" and not shim_stop(shim=row, actor=request.user):
                messages.info(request, "The recording had ended already.")
            if step == "remove":
                is_sure = request.POST.get("sure") == "yes"
                shim_remove(shim=row, actor=request.user, is_sure=is_sure)
                return HttpResponseRedirect(reverse("admin:calls_toolshim_changelist"))
        except ShimRefused as refusal:
            messages.error(request, f"{str(refusal)[:1].upper()}{str(refusal)[1:]}.")
        return _to_steps(row.pk)

    @badge(
        description="State",
        label={"recording": "success", "forwarding only": "warning", "not asked": "info"},
    )
    def state_badge(self, obj: ToolShim) -> str:
        """Return what it does now."""
        if not _is_recording(obj):
            return "forwarding only"
        return "recording" if obj.request_count else "not asked"

    @admin.display(description="Last request", ordering="last_request_at")
    def last(self, obj: ToolShim) -> Any:
        """Return when it was last asked."""
        return obj.last_request_at or "never"

    @admin.display(description="Steps")
    def lead(self, obj: ToolShim) -> Any:
        """Link to the page that leads through its use."""
        url = reverse("admin:calls_toolshim_steps", args=[obj.pk])
        return format_html('<a class="vp-link" href="{}">Open</a>', url)


@admin.register(ShimRecord)
class ShimRecordAdmin(ReadOnlyAdmin):
    """Requests that came through and wait to become part of their calls."""

    organisation_path = "shim__organisation"
    list_display = ("shim", "received_at")
    list_select_related = ("shim",)
    hidden_lookups = ("content",)
    fields = ("shim", "received_at")
    list_hint = "Sealed; a row goes within seconds, when a worker has made it part of its call."

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out what is sealed."""
        rows = super().get_queryset(request)
        return rows.defer("content", *(f"shim__{name}" for name in _SEALED))


def _is_recording(row: ToolShim) -> bool:
    return row.stopped_at is None and row.records_until > timezone.now()


def _to_steps(pk: uuid.UUID) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:calls_toolshim_steps", args=[pk]))
