"""The page of one voice: hear the candidates say an assistant's own first line, and decide once.

Adds to the voice table's admin what needs a model connection. Rendering costs money, so it begins
only by POST, by people who may decide; looking and listening need no more than the right to see.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.urls import path, reverse

from assistants.admin.voices import VoiceChoiceAdmin, hears_another, old_voice
from assistants.models import VoiceChoice
from assistants.voice_table import used_voices
from assistants.voices import FEEL, REALTIME_VOICES, VoiceKey, nearest, stand_in
from calls.services import voice_sample
from calls.services.voice_sample import Sample, Samples, Spoken

FIRST_CANDIDATES: Final = 4
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


@admin.register(VoiceChoice)
class VoicePageAdmin(VoiceChoiceAdmin):
    """The voice table, with samples."""

    change_form_template = "admin/assistants/voicechoice/change_form.html"

    def get_urls(self) -> list[Any]:
        """Add the samples below each row."""
        views = {
            "listen": ("<int:object_id>/listen/", self.listen_view),
            "samples": ("<int:object_id>/samples/", self.samples_view),
            "sample": ("<int:object_id>/sample/<str:voice>/", self.sample_view),
        }
        return [
            *(
                path(route, self.admin_site.admin_view(view), name=f"assistants_voicechoice_{name}")
                for name, (route, view) in views.items()
            ),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the candidates."""
        choice = self.get_object(request, object_id)
        extra = dict(extra_context or {})
        if choice is not None and self.has_view_permission(request, choice):
            may_decide = self.has_change_permission(request, choice)
            extra |= {
                "title": old_voice(choice),
                "voice_page": _page(request, choice, may_decide=may_decide),
            }
        response: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return response

    def _choice(self, request: HttpRequest, object_id: int) -> VoiceChoice:
        choice: VoiceChoice | None = self.get_object(request, str(object_id))
        if choice is None or not self.has_view_permission(request, choice):
            raise Http404("The voice was not found.")
        return choice

    def listen_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Begin to render what is missing of the candidates on the page; only by POST."""
        choice = self._choice(request, object_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request, choice):
            return HttpResponse("You may not have voices spoken.", status=403)
        line, voices = _asked(request, choice, voice_sample.spoken_lines(choice))
        job = voice_sample.samples_start(
            choice=choice, line=line, voices=voices, actor=request.user
        )
        if job is None and voice_sample.speaking_connection(choice.organisation) is None:
            self.message_user(request, voice_sample.NO_CONNECTION, messages.ERROR)
        target = reverse("admin:assistants_voicechoice_change", args=[choice.pk])
        return HttpResponseRedirect(f"{target}?{_query(request, line)}#candidates")

    def samples_view(self, request: HttpRequest, object_id: int) -> JsonResponse:
        """Say which samples can be heard by now; the page asks while they are rendered."""
        choice = self._choice(request, object_id)
        line, voices = _asked(request, choice, voice_sample.spoken_lines(choice))
        found = voice_sample.samples_of(choice, line, voices)
        return JsonResponse(
            {
                "pending": found.is_pending,
                "done": found.done,
                "total": found.total,
                "problem": found.problem,
                "samples": [
                    {
                        "voice": sample.voice,
                        "url": _sample_url(choice, line, sample),
                        "error": sample.error,
                    }
                    for sample in found.samples
                ],
            },
            headers={"Cache-Control": "no-store"},
        )

    def sample_view(self, request: HttpRequest, object_id: int, voice: str) -> HttpResponse:
        """Send one sample as audio."""
        choice = self._choice(request, object_id)
        audio = None
        if voice in REALTIME_VOICES:
            lines = voice_sample.spoken_lines(choice)
            line = voice_sample.line_of(lines, request.GET.get("assistant", ""))
            audio = voice_sample.sample_audio(choice, line, voice)
        if audio is None:
            raise Http404("Nothing is rendered here yet.")
        return audio_response(request, audio)


def _asked(
    request: HttpRequest, choice: VoiceChoice, lines: Sequence[Spoken]
) -> tuple[Spoken, tuple[str, ...]]:
    line = voice_sample.line_of(lines, request.GET.get("assistant", ""))
    ranked = nearest(stand_in(choice.provider, choice.voice_id).voice)
    voices = ranked if "all" in request.GET else ranked[:FIRST_CANDIDATES]
    # What is decided stays in sight, however far it is from the catalogue's proposal.
    decided = (choice.realtime_voice,) if choice.realtime_voice in REALTIME_VOICES else ()
    return line, tuple(dict.fromkeys((*voices, *decided)))


def _query(request: HttpRequest, line: Spoken, **more: str) -> str:
    asked = {"assistant": line.assistant_id} if line.assistant_id else {}
    if "all" in request.GET:
        asked["all"] = "1"
    return urlencode(asked | more)


def _sample_url(choice: VoiceChoice, line: Spoken, sample: Sample) -> str:
    if not sample.file_name:
        return ""
    target = reverse("admin:assistants_voicechoice_sample", args=[choice.pk, sample.voice])
    # The file's name changes with the text, so a browser never plays yesterday's line.
    asked = {"assistant": line.assistant_id, "v": sample.file_name[:12]}
    return f"{target}?{urlencode(asked)}"


def _page(request: HttpRequest, choice: VoiceChoice, *, may_decide: bool) -> dict[str, Any]:
    """Return what the template shows: plain values."""
    lines = voice_sample.spoken_lines(choice)
    line, voices = _asked(request, choice, lines)
    found = voice_sample.samples_of(choice, line, voices)
    known = stand_in(choice.provider, choice.voice_id)
    key = VoiceKey(choice.provider, choice.voice_id)
    _, number = used_voices([choice.organisation]).get((choice.organisation.pk, key), (known, 0))
    own = reverse("admin:assistants_voicechoice_change", args=[choice.pk])
    listen = reverse("admin:assistants_voicechoice_listen", args=[choice.pk])
    samples = reverse("admin:assistants_voicechoice_samples", args=[choice.pk])
    query = _query(request, line)
    return {
        "old": old_voice(choice),
        "about": known.about,
        "is_decided": choice.decided_at is not None,
        "decided_by": choice.decided_by,
        "decided_at": choice.decided_at,
        "hears": choice.realtime_voice,
        "feel": FEEL.get(choice.realtime_voice, ""),
        "hears_another": hears_another(choice),
        "reason": choice.reason,
        "used_by": number,
        "line": line,
        "lines": [
            {
                "name": each.assistant_name or "an assistant",
                "text": each.text,
                "is_chosen": each.assistant_id == line.assistant_id,
                "url": f"{own}?{urlencode({'assistant': each.assistant_id})}#candidates",
            }
            for each in lines
        ],
        "candidates": [_candidate(choice, line, sample) for sample in found.samples],
        "is_pending": found.is_pending,
        "progress": _progress(found),
        "problem": found.problem,
        "can_listen": may_decide and found.problem != voice_sample.NO_CONNECTION,
        "is_missing": any(not sample.file_name for sample in found.samples),
        "may_decide": may_decide,
        "shows_all": "all" in request.GET,
        "all_url": f"{own}?{_query(request, line, all='1')}#candidates",
        "listen_url": f"{listen}?{query}",
        "samples_url": f"{samples}?{query}",
        "save_url": f"{own}?{query}",
    }


def _progress(found: Samples) -> str:
    return f"{found.done} of {found.total} spoken" if found.is_pending else ""


def _candidate(choice: VoiceChoice, line: Spoken, sample: Sample) -> dict[str, Any]:
    proposed = stand_in(choice.provider, choice.voice_id).voice
    return {
        "voice": sample.voice,
        "name": sample.voice.capitalize(),
        "feel": FEEL[sample.voice],
        "is_heard": sample.voice == choice.realtime_voice,
        "is_proposed": sample.voice == proposed,
        "url": _sample_url(choice, line, sample),
        "error": sample.error,
    }


def audio_response(request: HttpRequest, audio: bytes) -> HttpResponse:
    """Answer with WAV audio or the asked part of it: Safari plays only what comes in ranges."""
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    if asked is None or asked[0] == "bytes=-":
        return HttpResponse(audio, content_type="audio/wav", headers=headers)
    size = len(audio)
    if asked[1]:
        start, end = int(asked[1]), min(int(asked[2] or size), size - 1)
    else:
        start, end = max(size - int(asked[2]), 0), size - 1
    if start > end:
        headers["Content-Range"] = f"bytes */{size}"
        return HttpResponse(status=416, headers=headers)
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    part = audio[start : end + 1]
    return HttpResponse(part, status=206, content_type="audio/wav", headers=headers)
