"""Forms of the import page: uploaded files, or a Vapi account with its key.

Owns what may be sent; nothing here reads a file's meaning or keeps a key.
"""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from assistants.import_results import ImportFile
from voiceplatform.base.models import Organisation
from voiceplatform.base.selectors import organisations_visible_to

MOST_BYTES: Final = 20 * 1024 * 1024


class FilesInput(forms.FileInput):
    """A file input that takes several files."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several uploaded files, read."""

    widget = FilesInput(
        attrs={
            "accept": ".json,.jsonl,.yaml,.yml,.md",
            "multiple": True,
            "class": " ".join(INPUT_CLASSES),
        }
    )

    def clean(self, data: Any, initial: Any = None) -> Any:
        """Return the files as ``ImportFile``; names are made different where they are equal.

        Raises:
            ValidationError: no file, or more than 20 MiB together.
        """
        given: list[Any] = data if isinstance(data, list) and data else [data or None]
        uploads: list[Any] = [super(FilesField, self).clean(each, initial) for each in given]
        if sum(upload.size for upload in uploads) > MOST_BYTES:
            raise ValidationError(
                "More than 20 MiB together. Import them in parts, or with the command import_vapi."
            )
        files: dict[str, ImportFile] = {}
        for upload in uploads:
            name = upload.name
            while name in files:
                name = f"again-{name}"
            files[name] = ImportFile(name, upload.read())
        return list(files.values())


class _ForOrganisation(forms.Form):
    """For whom; asked only of people who see several organisations."""

    organisation = forms.ModelChoiceField(
        queryset=Organisation.objects.none(), widget=UnfoldAdminSelectWidget, empty_label=None
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        field = self.fields["organisation"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = organisations_visible_to(user).order_by("created_at")
        if field.queryset.count() == 1:
            field.widget = forms.HiddenInput()
            field.initial = field.queryset.first()


class UploadForm(_ForOrganisation):
    """Which files to import."""

    uploads = FilesField(
        label="Files",
        allow_empty_file=True,
        help_text="JSON, YAML or Markdown exports of assistants, tools, squads and phone numbers. "
        "Choose the tools together with the assistants that use them.",
    )
    field_order = ("uploads", "organisation")


class AccountForm(_ForOrganisation):
    """Which Vapi account to read; the key is in no answer and is not kept."""

    api_key = forms.CharField(
        required=False,
        max_length=500,
        strip=True,
        widget=forms.PasswordInput(
            attrs={
                "class": " ".join(INPUT_CLASSES),
                "autocomplete": "new-password",
                "spellcheck": "false",
            }
        ),
        label="Private API key",
        help_text="From Vapi's dashboard under API keys. Sealed while the account is read, then "
        "gone.",
    )
    base_url = forms.CharField(
        max_length=300,
        label="Address of the API",
        widget=UnfoldAdminTextInputWidget,
        help_text="Change it only for a proxy of your own.",
    )
    field_order = ("api_key", "base_url", "organisation")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["base_url"].initial = settings.VAPI_BASE_URL
        if self._may_use_ours():
            self.fields[
                "api_key"
            ].help_text += " Empty: the key of this installation (VAPI_API_KEY)."

    def _may_use_ours(self) -> bool:
        # The installation's key opens its operator's account, which is not every tenant's.
        return bool(settings.VAPI_API_KEY) and bool(self.user.is_superuser)

    def clean(self) -> dict[str, Any]:
        """Put the key in place of what was entered.

        Raises:
            ValidationError: there is no key, or ours would go to an address that is not ours.
        """
        cleaned = super().clean() or self.cleaned_data
        key = str(cleaned.get("api_key", ""))
        if not key and self._may_use_ours():
            if cleaned.get("base_url", "").rstrip("/") != settings.VAPI_BASE_URL:
                raise ValidationError("Enter the key that belongs to this address.")
            key = settings.VAPI_API_KEY
        if not key:
            self.add_error("api_key", "Enter the private key of your Vapi organisation.")
        cleaned["api_key"] = key
        return cleaned
