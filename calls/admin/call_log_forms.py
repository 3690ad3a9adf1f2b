"""Forms of call logs and recording addresses: what may be sent, and for whom.

Owns the fields and their words. Nothing here reads a file's meaning, keeps a key or writes a row.
"""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from calls.services.call_logs import LONGEST_DAYS, USUAL_DAYS
from calls.services.tool_shims import LONGEST_DAYS as LONGEST_SHIM_DAYS
from calls.services.tool_shims import USUAL_DAYS as USUAL_SHIM_DAYS
from voiceplatform.base.models import Organisation
from voiceplatform.base.selectors import organisations_visible_to

_INPUT: Final = " ".join(INPUT_CLASSES)


class LogFilesInput(forms.FileInput):
    """A file input that takes several files."""

    allow_multiple_selected = True


class LogFilesField(forms.FileField):
    """Several uploaded files, not read: they may be large."""

    widget = LogFilesInput(
        attrs={"accept": ".json,.jsonl,.ndjson,.log,.gz,.txt", "multiple": True, "class": _INPUT}
    )

    def clean(self, data: Any, initial: Any = None) -> Any:
        """Return (name, chunks) of each; names are made different where they are equal."""
        given: list[Any] = data if isinstance(data, list) and data else [data or None]
        files: dict[str, Any] = {}
        for each in given:
            upload = super().clean(each, initial)
            name = upload.name
            while name in files:
                name = f"again-{name}"
            files[name] = upload.chunks()
        return list(files.items())


class ForOrganisation(forms.Form):
    """For whom; asked only of people who see several organisations."""

    organisation = forms.ModelChoiceField(
        queryset=Organisation.objects.none(), widget=UnfoldAdminSelectWidget, empty_label=None
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["organisation"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = organisations_visible_to(user).order_by("created_at")
        if field.queryset.count() == 1:
            field.widget = forms.HiddenInput()
            field.initial = field.queryset.first()


class _Since(ForOrganisation):
    days = forms.IntegerField(
        label="Calls of the last so many days",
        required=False,
        min_value=1,
        max_value=LONGEST_DAYS,
        initial=USUAL_DAYS,
        help_text="Empty: all that there are",
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
    )


class LogFilesForm(_Since):
    """Which files of logs to import."""

    logs = LogFilesField(
        label="Files",
        help_text="JSON or NDJSON, also packed with gzip: calls as GET /call answers them, or "
        "logged webhook bodies",
    )


class LogAccountForm(_Since):
    """Which account to read calls from."""

    api_key = forms.CharField(
        label="Vapi's private key",
        max_length=200,
        help_text="Sealed until the import ends, then forgotten",
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "class": _INPUT}),
    )

    def clean_api_key(self) -> str:
        """Refuse a key that cannot be sent."""
        key = str(self.cleaned_data["api_key"]).strip()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValidationError("It is no key. Fix: copy the private key of the organisation.")
        return key

    @property
    def base_url(self) -> str:
        """Return where Vapi's API is."""
        return str(settings.VAPI_BASE_URL)


class ShimForm(ForOrganisation):
    """A recording address to be made."""

    name = forms.CharField(max_length=120, widget=UnfoldAdminTextInputWidget())
    target_url = forms.CharField(
        label="The tool server's own URL",
        max_length=2000,
        help_text="As it is entered at Vapi now, parameters included. It is sealed: keep a copy, "
        "you will put it back",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )
    days = forms.IntegerField(
        label="Days to record",
        min_value=1,
        max_value=LONGEST_SHIM_DAYS,
        initial=USUAL_SHIM_DAYS,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
    )
