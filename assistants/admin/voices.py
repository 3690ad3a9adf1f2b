"""Admin of the voice table: which Realtime voice callers hear for each voice in use.

Writes through ``assistants.voice_table`` only; saving a row is a decision. The class is registered
by the calls layer, whose page adds the samples to listen to: they need a model connection.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget

from assistants import voice_table
from assistants.models import VoiceChoice
from assistants.voices import FEEL, REALTIME_VOICES, VoiceKey, stand_in
from voiceplatform.base.scoped_admin import ScopedAdmin, ScopedForm, badge
from voiceplatform.base.selectors import organisations_visible_to


def old_voice(choice: VoiceChoice) -> str:
    """Return what people call the voice that an assistant's document names."""
    return voice_table.name_of(VoiceKey(choice.provider, choice.voice_id), choice.known_as)


def hears_another(choice: VoiceChoice) -> bool:
    """Tell whether callers hear another voice than at Vapi."""
    known = stand_in(choice.provider, choice.voice_id)
    return not (known.is_same and known.voice == choice.realtime_voice)


class VoiceForm(ScopedForm):
    """The one thing to decide."""

    realtime_voice = forms.ChoiceField(
        label="Realtime voice",
        choices=[(name, f"{name.capitalize()}: {FEEL[name]}") for name in REALTIME_VOICES],
        widget=UnfoldAdminSelectWidget,
        error_messages={"required": "Choose one of the candidates."},
    )


class VoiceChoiceAdmin(ScopedAdmin):
    """Every voice that an organisation's assistants use, with what callers hear instead."""

    form = VoiceForm
    list_display = (
        *("voice_name", "hears", "heard_badge", "assistants", "state"),
        *("decided_by", "decided_at"),
    )
    list_filter = (
        ("decided_at", admin.EmptyFieldListFilter),
        *("provider", "realtime_voice"),
    )
    list_select_related = ("decided_by",)
    search_fields = ("known_as", "voice_id", "provider", "realtime_voice")
    fields = ("realtime_voice",)
    list_hint = (
        "Every voice that your assistants have at Vapi, and what callers hear instead. Open one to "
        "hear the candidates and decide once for all assistants with it."
    )
    actions: Any = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: rows come from the assistants."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a row goes when nothing uses the voice and nobody decided about it."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Give every voice in use its row before the rows are shown."""
        if self.has_view_permission(request):
            voice_table.voices_seed(organisations_visible_to(request.user))
        extra = {"title": "What callers hear", **(extra_context or {})}
        response: HttpResponse = super().changelist_view(request, extra)
        return response

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Count the assistants of the rows on this page at once."""
        found = super().get_changelist_instance(request)
        used = voice_table.used_voices({row.organisation_id for row in found.result_list})
        for row in found.result_list:
            key = (row.organisation_id, VoiceKey(row.provider, row.voice_id))
            row.used_by = used[key][1] if key in used else 0
        return found

    @admin.display(description="Voice at Vapi", ordering="known_as")
    def voice_name(self, obj: VoiceChoice) -> str:
        """Return provider and name."""
        return old_voice(obj)

    @admin.display(description="Callers hear", ordering="realtime_voice")
    def hears(self, obj: VoiceChoice) -> str:
        """Return the Realtime voice and its feel."""
        feel = FEEL.get(obj.realtime_voice, "not known")
        return f"{obj.realtime_voice.capitalize()} ({feel})"

    @badge(
        description="Difference",
        label={"callers hear another voice": "warning", "the same voice": "success"},
    )
    def heard_badge(self, obj: VoiceChoice) -> str:
        """Say whether callers notice."""
        return "callers hear another voice" if hears_another(obj) else "the same voice"

    @admin.display(description="Assistants")
    def assistants(self, obj: Any) -> int:
        """Return how many assistants speak with it."""
        return int(obj.used_by)

    @badge(
        description="State",
        ordering="decided_at",
        label={"decided": "success", "proposed": "info"},
    )
    def state(self, obj: VoiceChoice) -> str:
        """Say whether a person chose it or the catalogue proposes it; the same voice is neither."""
        if obj.decided_at:
            return "decided"
        return "proposed" if hears_another(obj) else ""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Decide for every assistant with this voice."""
        decided = voice_table.voice_decide(
            organisation=obj.organisation,
            provider=obj.provider,
            voice_id=obj.voice_id,
            realtime_voice=form.cleaned_data["realtime_voice"],
            actor=request.user,
        )
        obj.__dict__.update(decided.__dict__)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """Say what holds from now on, and go back to the list."""
        self.message_user(
            request,
            f"Decided. From the next call on, callers hear {obj.realtime_voice.capitalize()} from "
            f"every assistant with the voice “{old_voice(obj)}”.",
        )
        return HttpResponseRedirect(reverse("admin:assistants_voicechoice_changelist"))
