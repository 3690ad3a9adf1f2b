"""Write-only secrets in forms: shows whether one is set, never what it is.

Owns the field, its widget and the rule that an empty entry keeps the stored value and a ticked box
clears it. The stored value never reaches a template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import INPUT_CLASSES


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """What a person did with a secret: typed a new one, ticked 'clear', or neither."""

    text: str = ""
    clear: bool = False

    def __bool__(self) -> bool:
        return bool(self.text) or self.clear

    def applied_to(self, stored: str) -> str:
        """Return the secret as it is to be stored."""
        return self.text or ("" if self.clear else stored)


class SecretInput(forms.Widget):
    """A password input that is always empty, a word on its state, and a box to clear it."""

    is_set = False

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        """Render without ``value``."""
        element_id = (attrs or {}).get("id", f"id_{name}")
        state = format_html(
            '<span class="vp-badge {}">{}</span>',
            "vp-badge-success" if self.is_set else "vp-badge-muted",
            "set" if self.is_set else "not set",
        )
        clear = format_html(
            '<label class="vp-secret-clear"><input type="checkbox" name="{}-clear" value="1"> '
            "Clear the stored value</label>",
            name,
        )
        return format_html(
            '<div class="vp-secret"><input type="password" name="{}" id="{}" class="{}" '
            'autocomplete="new-password" spellcheck="false" placeholder="{}">'
            '<div class="vp-secret-state">{}{}</div></div>',
            name,
            element_id,
            " ".join(INPUT_CLASSES),
            "Leave empty to keep the stored value" if self.is_set else "",
            state,
            clear if self.is_set and not self.is_required else "",
        )

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> SecretEntry:
        """Return what was entered."""
        return SecretEntry(str(data.get(name) or ""), bool(data.get(f"{name}-clear")))

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        """Tell whether the form carried the field at all."""
        return name not in data

    def id_for_label(self, id_: str, index: Any = None) -> str:
        """Point the label to the input."""
        return id_


class SecretFormField(forms.Field):
    """A secret; ``cleaned_data`` holds a ``SecretEntry`` until the form resolves it."""

    widget = SecretInput

    def __init__(self, *, max_length: int | None = None, **kwargs: Any) -> None:
        kwargs.pop("empty_value", None)
        super().__init__(**kwargs)
        self.max_length = max_length

    def mark(self, *, is_set: bool) -> None:
        """Say whether a value is stored."""
        self.is_set = is_set
        assert isinstance(self.widget, SecretInput)
        self.widget.is_set = is_set

    is_set = False

    def clean(self, value: Any) -> SecretEntry:
        """Require a value only where none is stored."""
        entry = value if isinstance(value, SecretEntry) else SecretEntry()
        if self.required and not entry.text and (entry.clear or not self.is_set):
            raise ValidationError(self.error_messages["required"], code="required")
        return entry

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Tell whether anything was entered."""
        return bool(data)


class SecretKeepingForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """A model form that resolves its secret fields against the stored row."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if isinstance(field, SecretFormField):
                field.mark(is_set=bool(self.stored_secret(name)))
                self.initial.pop(name, None)

    def stored_secret(self, name: str) -> str:
        """Return what is stored for a secret field; '' for a new row."""
        return getattr(self.instance, name, "") or ""

    def clean(self) -> dict[str, Any]:
        """Replace each entry by the value to store."""
        cleaned = super().clean() or self.cleaned_data
        for name, entry in list(cleaned.items()):
            if isinstance(entry, SecretEntry):
                cleaned[name] = entry.applied_to(self.stored_secret(name))
        return cleaned
