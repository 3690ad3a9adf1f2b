"""What a revision says before any model is there: its state on the revision's page, and its sound.

Adds to the admin of revisions what needs the calls layer. Rendering costs money, so it is asked for
only by POST, by people who may publish; looking and listening need no more than the right to see.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from assistants.admin.revision_page import revision_url
from assistants.admin.revisions import AssistantRevisionAdmin
from assistants.models import AssistantRevision
from assistants.services import revision_document
from calls.admin.voice_page import audio_response
from calls.models import RenderedClip
from calls.services.clip_render import clips_again, revision_plan
from calls.services.clips import greeting_problem
from calls.services.voice_sample import wav_of_mulaw
from voiceplatform.base.scoped_admin import BesideForm, ReadOnlyAdmin, badge

_MAY_RENDER: Final = "assistants.change_assistant"
_BADGES: Final = {"ready": "success", "waits": "info", "renders": "info", "failed": "danger"}
_WORDS: Final = {
    "ready": "ready",
    "waits": "not rendered yet",
    "renders": "is being rendered anew",
    "failed": "failed",
}
NO_CLIPS: Final = (
    "Nothing is rendered for this revision. It happens by itself within seconds once a number "
    "answers with it; until then the model is asked."
)


def state_of(clip: Any) -> str:
    """Return in a word how far a line is; ``has_audio`` is annotated."""
    if clip.render_error:
        return "failed"
    if clip.has_audio:
        return "renders" if clip.due_at else "ready"
    return "waits"


def with_state(rows: QuerySet[RenderedClip]) -> QuerySet[Any]:
    """Leave the audio in the database and say whether there is any."""
    there = ExpressionWrapper(Q(audio_mulaw__isnull=False), output_field=BooleanField())
    return rows.defer("audio_mulaw").annotate(has_audio=there)


def clips_shown(revision: AssistantRevision, *, may_render: bool) -> dict[str, Any]:
    """Return what the page of a revision says of its rendered speech: plain values."""
    rows = with_state(RenderedClip.objects.filter(revision=revision))
    plan = revision_plan(revision, timezone.now())
    problem = greeting_problem(revision_document(revision), plan, timezone.now())
    shown = [
        {
            "what": clip.get_kind_display(),
            "text": clip.text,
            "voice": clip.voice.capitalize(),
            "is_heard": clip.voice == plan.voice,
            "model": clip.speech_model,
            "state": _WORDS[state_of(clip)],
            "colour": _BADGES[state_of(clip)],
            "error": clip.render_error,
            "next_at": clip.due_at if clip.render_error else None,
            "audio_url": _audio_url(clip),
        }
        for clip in rows
    ]
    return {
        "rows": shown,
        "greeting_problem": problem,
        "nothing": "" if shown else NO_CLIPS,
        "again_url": revision_url(revision.pk, "clips") if may_render else "",
        "again_words": "Render again" if shown else "Render now",
    }


def _audio_url(clip: Any) -> str:
    if not clip.has_audio:
        return ""
    # A browser never plays yesterday's sound.
    version = int(clip.rendered_at.timestamp()) if clip.rendered_at else 0
    return reverse("admin:calls_renderedclip_audio", args=[clip.pk]) + f"?v={version}"


admin.site.unregister(AssistantRevision)


@admin.register(AssistantRevision)
class RevisionWithClipsAdmin(BesideForm, AssistantRevisionAdmin):
    """Revisions, with what is rendered of them."""

    def get_urls(self) -> list[Any]:
        """Add the way to have it rendered."""
        view = self.admin_site.admin_view(self.clips_view)
        name = "assistants_assistantrevision_clips"
        return [path("<int:object_id>/clips/", view, name=name), *super().get_urls()]

    def beside_form(self, request: HttpRequest, obj: AssistantRevision) -> dict[str, Any]:
        """Show what is rendered above the revision."""
        return {"clips": clips_shown(obj, may_render=request.user.has_perm(_MAY_RENDER))}

    def clips_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Have everything rendered anew; only by POST."""
        revision = self._revision(request, object_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm(_MAY_RENDER):
            return HttpResponse("You may not have this revision rendered.", status=403)
        lines = clips_again(revision=revision, actor=request.user)
        if lines:
            words = f"{lines} lines are rendered in the next seconds; reload to see them."
            self.message_user(request, words, messages.SUCCESS)
        else:
            words = "Nothing can be rendered. Fix: open a model connection under Connections."
            self.message_user(request, words, messages.ERROR)
        return HttpResponseRedirect(revision_url(revision.pk, "change"))


@admin.register(RenderedClip)
class RenderedClipAdmin(ReadOnlyAdmin):
    """Rendered lines of all revisions: which failed, and why."""

    organisation_path = "revision__assistant__organisation"
    list_display = ("revision", "kind", "excerpt", "voice", "state", "render_error", "rendered_at")
    list_filter = ("kind", "voice", "speech_model", ("render_error", admin.EmptyFieldListFilter))
    search_fields = ("text", "revision__assistant__name")
    fields = (
        *("revision", "kind", "text", "language", "voice", "speed", "speech_model", "connection"),
        *("state", "listen", "rendered_at", "render_error", "attempts", "due_at", "created_at"),
    )
    readonly_fields = ("state", "listen")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave audio and sealed columns in the database."""
        rows = super().get_queryset(request).select_related("revision__assistant", "connection")
        return with_state(rows).defer(
            *("audio_mulaw", "revision__document", "revision__document_redacted"),
            *("revision__server_url", "revision__server_secret", "connection__api_key"),
        )

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Keep it out of menus; the page of a revision shows it."""
        return False

    @admin.display(description="Words")
    def excerpt(self, obj: RenderedClip) -> str:
        """Return the beginning of the text."""
        return obj.text if len(obj.text) <= 80 else f"{obj.text[:79]}…"

    @badge(description="State", label={_WORDS[key]: colour for key, colour in _BADGES.items()})
    def state(self, obj: RenderedClip) -> str:
        """Say whether it can be played."""
        return _WORDS[state_of(obj)]

    @admin.display(description="Listen")
    def listen(self, obj: RenderedClip) -> SafeString | str:
        """Return a player."""
        url = _audio_url(obj)
        return format_html('<audio controls preload="none" src="{}"></audio>', url) if url else "–"

    def get_urls(self) -> list[Any]:
        """Add the audio below each row."""
        view = self.admin_site.admin_view(self.audio_view)
        name = "calls_renderedclip_audio"
        return [path("<int:object_id>/audio/", view, name=name), *super().get_urls()]

    def audio_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Send one line as audio."""
        clip = self.get_object(request, str(object_id))
        if clip is None or not self.has_view_permission(request, clip) or not clip.audio_mulaw:
            raise Http404("Nothing is rendered here yet.")
        return audio_response(request, wav_of_mulaw(bytes(clip.audio_mulaw)))
