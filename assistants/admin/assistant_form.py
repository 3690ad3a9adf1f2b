"""The form of an assistant: its draft, or what answers calls, in the words of ops people.

Owns the fields and what of them changed; saving is ``assistants.admin.assistants``.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from assistants.models import Assistant, AssistantRevision
from assistants.selectors import revision_tools
from assistants.speech_models import is_speech_model, why_no_speech_model
from assistants.voice_table import VoiceDecision, revision_voice, voice_for
from assistants.voices import FEEL, REALTIME_VOICES
from tools.models import Tool
from voiceplatform.base.scoped_admin import ScopedForm
from voiceplatform.base.secret_form import SecretFormField

_MODES = (
    ("assistant-speaks-first", "The assistant says the greeting"),
    (
        "assistant-speaks-first-with-model-generated-message",
        "The assistant greets in its own words",
    ),
    ("assistant-waits-for-user", "The assistant waits for the caller"),
)
COLUMNS = (
    *("name", "instructions", "first_message", "first_message_mode"),
    *("first_message_interruptible", "end_call_message", "voice", "language", "model"),
    *("max_duration_seconds", "server_url", "server_secret"),
)


class ProseField(forms.CharField):
    """Text whose line breaks and outer blanks stay as they are stored.

    Browsers send CR LF; a prompt that nobody touched would count as changed in every line.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)

    def to_python(self, value: Any) -> Any:
        """Return the text with plain line breaks."""
        return _plain(super().to_python(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare texts, not line breaks."""
        return bool(_plain(initial) != _plain(data))


def _plain(text: str | None) -> str:
    return (text or "").replace("\r\n", "\n").replace("\r", "\n")


class AssistantForm(ScopedForm):
    """One revision of an assistant as ops people see it."""

    name = forms.CharField(max_length=40, widget=UnfoldAdminTextInputWidget)
    instructions = ProseField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 14}),
        help_text="Who the assistant is, what it should achieve and what it must never do.",
    )
    first_message = ProseField(
        required=False,
        label="Greeting",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Spoken word for word. Empty: the assistant waits for the caller.",
    )
    first_message_mode = forms.ChoiceField(
        choices=_MODES, label="Who speaks first", widget=UnfoldAdminSelectWidget
    )
    first_message_interruptible = forms.BooleanField(
        required=False, label="The caller may interrupt the greeting", widget=UnfoldBooleanWidget
    )
    end_call_message = ProseField(
        required=False,
        max_length=1000,
        label="Goodbye",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Spoken before the assistant hangs up. Empty: it hangs up silently.",
    )
    voice = forms.ChoiceField(
        choices=[(name, f"{name.capitalize()}: {FEEL[name]}") for name in REALTIME_VOICES],
        initial="marin",
        label="Callers hear",
        widget=UnfoldAdminSelectWidget,
    )
    language = forms.RegexField(
        regex=r"^[a-z]{2}$",
        required=False,
        initial="en",
        widget=UnfoldAdminTextInputWidget,
        help_text="Two letters, e.g. en, de, es; helps to understand callers. Empty: any language.",
    )
    model = forms.CharField(
        required=False,
        max_length=80,
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: the model of the connection that the number uses. At Azure that "
        "connection's deployment answers, whatever stands here.",
    )
    max_duration_seconds = forms.IntegerField(
        min_value=10,
        max_value=43_200,
        initial=600,
        label="Longest call (seconds)",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="The call is ended after this time, without a goodbye. 600 is ten minutes.",
    )
    tool_ids = forms.ModelMultipleChoiceField(
        queryset=Tool.objects.none(),
        required=False,
        label="Tools",
        widget=UnfoldAdminSelectMultipleWidget,
        help_text="Saved tools the assistant may use. Inline tools of its document stay as well.",
    )
    server_url = SecretFormField(
        required=False,
        label="Webhook address",
        help_text="Where events of its calls are sent. Hidden, because it may carry a token.",
    )
    server_secret = SecretFormField(
        required=False,
        label="Webhook secret",
        help_text="Sent as the header X-Vapi-Secret, so that your server knows it is us.",
    )
    note = forms.CharField(
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="Why you change it, in your words. Shown in the history beside your name.",
    )
    seen_revision = forms.IntegerField(required=False, widget=forms.HiddenInput)
    seen_voice = forms.CharField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Assistant
        fields = ("organisation",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        instance = kwargs.get("instance")
        base = shown_revision(instance)
        if instance is not None and base is not None:
            names = [name for name in COLUMNS if name != "name" and not name.startswith("server_")]
            initial = {name: getattr(base, name) for name in names}
            initial["name"] = (
                base.document_redacted.get("name") or instance.name
                if base.pk == instance.draft_revision_id
                else instance.name
            )
            initial["tool_ids"] = [t.pk for t in revision_tools(base) if not t.is_inline]
            initial["seen_revision"] = base.number
            heard = revision_voice(base)
            initial["voice"] = initial["seen_voice"] = heard.voice
            kwargs["initial"] = initial | kwargs.get("initial", {})
        super().__init__(*args, **kwargs)
        if instance is not None and base is not None and "voice" in self.fields:
            self.fields["voice"].help_text = voice_words(heard)

    def stored_secret(self, name: str) -> str:
        """Look on the revision that is shown."""
        base = shown_revision(self.instance)
        return getattr(base, name) if base else ""

    def clean_voice(self) -> str:
        """Refuse a voice in whose place an operator decided that callers hear another.

        Raises:
            ValidationError: callers would not hear what is chosen.
        """
        voice: str = self.cleaned_data["voice"]
        owner = self.cleaned_data.get("organisation") or self.instance.organisation_id
        if not self._replaces_voice(voice) or owner is None:
            return voice
        heard = voice_for(owner, {"provider": "openai", "voiceId": voice}).voice
        if heard != voice:
            raise ValidationError(
                f"Under Voices somebody decided that callers hear {heard.capitalize()} wherever an "
                f"assistant has {voice.capitalize()}. Choose {heard.capitalize()}, or change that "
                "decision."
            )
        return voice

    def _replaces_voice(self, voice: str) -> bool:
        """Tell whether a person chose ``voice``, rather than left what the page showed."""
        shown = self.data.get(self.add_prefix("seen_voice")) or self.initial.get("voice")
        return bool(voice != shown)

    def clean_model(self) -> str:
        """Take models that can hold a conversation.

        Raises:
            ValidationError: it is another kind of model, or shut down.
        """
        model: str = self.cleaned_data["model"]
        if model and not is_speech_model(model):
            why = why_no_speech_model(model)
            raise ValidationError(
                f"“{model}” {why}. Use a model such as gpt-realtime-2.1, or leave this empty."
            )
        return model

    def clean_seen_revision(self) -> int | None:
        """Refuse to write over what somebody else saved while this page was open.

        Raises:
            ValidationError: another revision is there now; the next attempt may replace it.
        """
        seen: int | None = self.cleaned_data.get("seen_revision")
        base = shown_revision(self.instance)
        if seen is None or base is None or seen == base.number:
            return seen
        data: Any = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict
        data[self.add_prefix("seen_revision")] = str(base.number)
        self.data = data
        self.add_error(
            None,
            ValidationError(
                f"{base.author or 'Somebody'} saved r{base.number} while you were editing "
                f"r{seen}. Compare the two first: saving again replaces r{base.number} by what "
                "stands here."
            ),
        )
        return seen

    def changes(self, *, is_new: bool) -> dict[str, Any]:
        """Return what was changed, as ``assistants.services`` takes it."""
        names = [*COLUMNS, "tool_ids"]
        if not is_new:
            names = [name for name in names if name in self.changed_data]
        changes = {name: self.cleaned_data[name] for name in names if name in self.cleaned_data}
        if not is_new:
            # What the page showed may have been decided for all assistants with a voice.
            voice = changes.pop("voice", "")
            if voice and self._replaces_voice(voice):
                changes["own_voice"] = voice
        if "tool_ids" in changes:
            changes["tool_ids"] = [str(tool.pk) for tool in changes["tool_ids"]]
        return changes


def shown_revision(assistant: Assistant | None) -> AssistantRevision | None:
    """Return what the form shows: the draft, else what answers calls."""
    if assistant is None:
        return None
    return assistant.draft_revision or assistant.current_revision


def voice_words(heard: VoiceDecision) -> SafeString:
    """Return where the voice comes from that callers hear, and what choosing another one does.

    Escaped here: the admin takes a help text for markup, and a document names the voice.
    """
    if heard.is_same:
        return SafeString("The assistant's own voice.")
    if heard.decided:
        why = "decided under Voices for every assistant with it"
    else:
        why = f"proposed, not decided yet: {heard.reason}"
    old = f"“{heard.old}” at Vapi" if any(heard.key) else "an assistant that names no voice"
    return format_html(
        "For {}; {}. Choosing another voice here changes this assistant alone.", old, why
    )
