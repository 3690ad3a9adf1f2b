"""Admin of recordings: what became of each, and what Twilio still has to delete.

The player is on the page of a call, for people who may read what was said; each play is audited.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import path

from calls.admin.call_page import PERMISSION
from calls.admin.words import seconds_in_words
from calls.models import Recording, RecordingRemoval
from calls.services.recording_sound import sound_response, stored_recording
from voiceplatform.base.scoped_admin import ReadOnlyAdmin, badge

_COLOURS = {
    "wanted": "info",
    "recording": "primary",
    "ready": "info",
    "stored": "success",
    "absent": "warning",
    "failed": "danger",
    "removed": "warning",
}


@admin.register(Recording)
class RecordingAdmin(ReadOnlyAdmin):
    """What became of each recording."""

    list_display = ("call", "created_at", "state_badge", "lasts", "problem")
    list_filter = ("state", "created_at")
    list_select_related = ("call",)
    search_fields = ("call__call_sid__exact", "call__id__iexact", "recording_sid__exact")
    list_hint = (
        "Calls are recorded where the organisation's switch is on, the assistant wants it, the "
        "number's call policy allows it, and nothing of the call is masked. Listen on the page of "
        "the call."
    )
    fields = (
        *("organisation", "call", "state_badge", "problem", "recording_sid", "channels"),
        *("lasts", "offset_ms", "size_bytes", "sha256", "attempts", "next_attempt_at"),
        *("created_at", "stored_at"),
    )
    readonly_fields = ("state_badge", "lasts")

    @badge(description="State", ordering="state", label=_COLOURS)
    def state_badge(self, obj: Recording) -> Any:
        """Return the state as a badge."""
        return obj.state, str(obj.get_state_display()).lower()

    @admin.display(description="Duration", ordering="duration_seconds")
    def lasts(self, obj: Recording) -> str:
        """Return the duration in words."""
        return seconds_in_words(obj.duration_seconds) if obj.duration_seconds else "–"


@admin.register(RecordingRemoval)
class RecordingRemovalAdmin(ReadOnlyAdmin):
    """Deletions at Twilio that are not done yet."""

    list_display = ("call_sid", "reason", "attempts", "next_attempt_at", "problem")
    list_select_related = ("account",)
    search_fields = ("call_sid", "recording_sid")
    list_hint = (
        "Recordings that Twilio is still to delete. A row goes when Twilio has done it; one that "
        "stays names why. It is tried again every hour at least, and never given up."
    )
    fields = (
        *("organisation", "account", "call_sid", "recording_sid", "reason"),
        *("attempts", "next_attempt_at", "problem", "created_at"),
    )


def recording_urls(owner: Any) -> list[Any]:
    """Return the route below a call that plays its recording."""

    def view(request: HttpRequest, object_id: uuid.UUID) -> HttpResponseBase:
        call = owner.get_object(request, str(object_id))
        if call is None or not owner.has_view_permission(request, call):
            raise Http404("The call was not found.")
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        row = stored_recording(call)
        if row is None:
            raise Http404("There is no recording of this call.")
        # A player asks for parts; the first one is the play.
        if request.headers.get("Range", "bytes=0-").startswith("bytes=0-"):
            owner.audit(request, "recording.play", call, through="admin")
        return sound_response(request, row, "stereo")

    return [
        path(
            "<uuid:object_id>/recording/",
            owner.admin_site.admin_view(view),
            name="calls_call_recording",
        )
    ]
