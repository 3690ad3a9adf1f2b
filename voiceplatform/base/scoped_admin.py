"""What every admin page of ours does alike: tenancy, write-only secrets, audit, read-only rows.

Owns the one mixin between a signed-in person and rows of other organisations. Knows no model above
``base``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from voiceplatform.base.fields import EncryptedTextField
from voiceplatform.base.models import OrganisationOwned
from voiceplatform.base.prepared import RowGone
from voiceplatform.base.secret_form import SecretFormField, SecretInput, SecretKeepingForm
from voiceplatform.base.selectors import organisations_visible_to, rows_visible_to
from voiceplatform.base.services import audit_write

_HIDDEN = "set, not shown"
_FORM_FIELDS = {
    EncryptedTextField: {"form_class": SecretFormField, "widget": SecretInput},
    models.URLField: {"assume_scheme": "https"},
}


_Method = TypeVar("_Method", bound=Callable[..., Any])


def badge(
    *, description: str, ordering: str | None = None, label: Any = True
) -> Callable[[_Method], _Method]:
    """Show what a method returns as a coloured badge; unfold's decorator with its type kept.

    A method that returns a key and words shows the words, in a list as on a row's own page.
    """
    decorator: Any = display(description=description, ordering=ordering, label=label)

    def decorated(method: _Method) -> _Method:
        @functools.wraps(method)
        def shown(*args: Any, **kwargs: Any) -> Any:
            value = method(*args, **kwargs)
            return _KeyAndWords(value) if isinstance(value, tuple) else value

        return cast(_Method, decorator(shown))

    return decorated


class _KeyAndWords(tuple[str, str]):
    """What chooses a badge's colour, and what a person reads; unfold's forms know only texts."""

    def __str__(self) -> str:
        return str(self[1])


class ScopedForm(SecretKeepingForm):
    """A form that keeps secrets and refuses to tie rows of two organisations together."""

    def clean(self) -> dict[str, Any]:
        """Compare the organisation of every chosen row with the row's own.

        A superuser is offered the rows of all organisations, so the choice itself proves nothing.
        """
        cleaned = super().clean()
        own = cleaned.get("organisation") or getattr(self.instance, "organisation", None)
        if own is None or not isinstance(self.instance, OrganisationOwned):
            return cleaned
        for name, value in list(cleaned.items()):
            if isinstance(value, OrganisationOwned) and value.organisation_id != own.pk:
                self.add_error(
                    name,
                    ValidationError(f"This one belongs to another organisation, not to {own}."),
                )
        return cleaned


class ScopedRelatedFilter(admin.RelatedFieldListFilter):
    """A filter by a related row that offers only rows the person may see."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[Any]:
        """Return the choices; at most 200, a longer list is of no use in a sidebar."""
        rows = visible_choices(model_admin.admin_site, field.remote_field.model, request)
        return [(row.pk, str(row)) for row in rows[:200]]


def visible_choices(
    site: admin.AdminSite, model: type[models.Model], request: HttpRequest
) -> QuerySet[Any]:
    """Return the rows of ``model`` that the person may choose from."""
    if model is Permission:
        return Permission.objects.select_related("content_type")
    registered = site._registry.get(model)
    if registered is None:
        return model._default_manager.none()
    if isinstance(registered, OrganisationScoped):
        return registered.choices_queryset(request)
    return registered.get_queryset(request)


# A mixin's ``super()`` is whatever admin or inline it is mixed into, and unfold ships no types:
# that is the reason of each ignore below.
class OrganisationScoped:
    """Mixin of admins and inlines: every queryset, choice and page is narrowed to the person."""

    organisation_path = "organisation"
    form = ScopedForm
    hidden_lookups: tuple[str, ...] = ()
    field_labels: Mapping[str, str] = {}
    formfield_overrides = _FORM_FIELDS

    def choices_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows to choose from in forms and filters of other models."""
        queryset = self.model._default_manager.all()  # type: ignore[attr-defined]
        return rows_visible_to(queryset, request.user, self.organisation_path)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Narrow every list, page, action and autocomplete."""
        queryset = super().get_queryset(request)  # type: ignore[misc]
        return rows_visible_to(queryset, request.user, self.organisation_path)

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Name fields in the words of ``field_labels``."""
        if db_field.name in self.field_labels:
            kwargs["label"] = self.field_labels[db_field.name]
        return super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Offer only rows the person may see."""
        site = self.admin_site  # type: ignore[attr-defined]
        kwargs.setdefault("queryset", visible_choices(site, db_field.remote_field.model, request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Offer only rows the person may see."""
        site = self.admin_site  # type: ignore[attr-defined]
        kwargs.setdefault("queryset", visible_choices(site, db_field.remote_field.model, request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]


class ScopedAdmin(OrganisationScoped, ModelAdmin):  # type: ignore[misc]
    """Base of every admin page."""

    list_per_page = 50
    show_full_result_count = False
    empty_value_display = "–"
    compressed_fields = True
    warn_unsaved_form = True
    list_before_template = "admin/list_hint.html"
    list_hint = ""  # what stands in the list and where it comes from, also when it is empty
    list_empty = ""  # what a person does so that something stands there, or why that is well
    # What a service says, in words for people, when somebody else was faster than this form.
    overtaken_by: tuple[type[Exception], ...] = (RowGone,)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Lead back to the list, with the reason, when somebody else was faster."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except self.overtaken_by as overtaken:
            return self._overtaken(request, overtaken)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Lead back to the list, with the reason, when somebody else was faster."""
        try:
            return super().delete_view(request, *args, **kwargs)
        except self.overtaken_by as overtaken:
            return self._overtaken(request, overtaken)

    def _overtaken(self, request: HttpRequest, overtaken: Exception) -> HttpResponseRedirect:
        words = f"{overtaken} Somebody else was faster than you; nothing was changed."
        self.message_user(request, words, messages.ERROR)
        meta = self.model._meta
        return HttpResponseRedirect(reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"))

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> NoReturn:
        """Answer 404 where Django would redirect with a message that confirms the id's form."""
        raise Http404(f"{opts.verbose_name} was not found.")

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Hide secrets of a row that can only be looked at.

        Django shows the fields of such a row as plain text, past every widget, so the value itself
        has to go; nothing saves this instance.
        """
        obj: Any = super().get_object(request, object_id, from_field)
        if obj is not None and not self.has_change_permission(request, obj):
            for field in obj._meta.concrete_fields:
                if isinstance(field, EncryptedTextField) and field.attname in obj.__dict__:
                    obj.__dict__[field.attname] = _HIDDEN if obj.__dict__[field.attname] else ""
        return obj

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Refuse filters on columns that must not be guessed at through the address bar."""
        if lookup.split("__")[0] in self.hidden_lookups:
            return False
        return bool(super().lookup_allowed(lookup, value, request))

    def _owns_organisation(self) -> bool:
        return self.organisation_path == "organisation"

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Show the organisation to those who see more than their own."""
        columns = list(super().get_list_display(request))
        if self._owns_organisation() and request.user.is_superuser:
            columns.append("organisation")
        return columns

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Offer the organisation as a filter to those who see more than their own."""
        filters = list(super().get_list_filter(request))
        if self._owns_organisation() and request.user.is_superuser:
            filters.append(("organisation", ScopedRelatedFilter))
        return filters

    def get_list_select_related(self, request: HttpRequest) -> Any:
        """Fetch the organisation along where its column is shown."""
        chosen = super().get_list_select_related(request)
        if chosen is True or not self._owns_organisation():
            return chosen
        return [*(chosen or ()), "organisation"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Fix the organisation once a row exists: what hangs on it would not move along."""
        fields = list(super().get_readonly_fields(request, obj))
        if obj is not None and self._owns_organisation():
            fields.append("organisation")
        return fields

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Propose the person's own organisation."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        if self._owns_organisation() and "organisation" not in initial:
            first = organisations_visible_to(request.user).order_by("created_at").first()
            initial["organisation"] = first.pk if first else None
        return initial

    def organisation_of(self, obj: Any) -> Any:
        """Follow ``organisation_path`` from a row."""
        for name in filter(None, self.organisation_path.split("__")):
            obj = getattr(obj, name, None)
        return obj if self.organisation_path else None

    def audit(self, request: HttpRequest, action: str, obj: Any, **details: Any) -> None:
        """Record what the signed-in person did to ``obj``."""
        audit_write(
            actor=request.user,
            action=action,
            organisation=self.organisation_of(obj),
            target=obj,
            details=details,
        )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save and record who changed which fields; never their values."""
        super().save_model(request, obj, form, change)
        verb = "update" if change else "create"
        self.audit(request, f"{obj._meta.model_name}.{verb}", obj, fields=form.changed_data)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Record and delete."""
        self.audit(request, f"{obj._meta.model_name}.delete", obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Record and delete each."""
        for obj in queryset:
            self.audit(request, f"{obj._meta.model_name}.delete", obj)
        super().delete_queryset(request, queryset)


class BesideForm:
    """Mixin of pages whose template shows more of a row than its form."""

    def beside_form(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return what the template shows of a row that the person may look at."""
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Add it to what the template is given."""
        extra = dict(extra_context or {})
        row = self.get_object(request, object_id)  # type: ignore[attr-defined]
        if row is not None and self.has_view_permission(request, row):  # type: ignore[attr-defined]
            extra |= self.beside_form(request, row)
        return super().change_view(request, object_id, form_url, extra)  # type: ignore[misc]


class RetiredRowsAdmin(ScopedAdmin):
    """Rows that a service marks as deleted, one by one, because past calls need them."""

    def is_open(self, obj: Any) -> bool:
        """Tell whether a row may be changed and deleted here: not once it is deleted."""
        return obj.deleted_at is None

    def users_of(self, obj: Any) -> list[str]:
        """Return the names of what uses a row; while there are any it cannot be deleted."""
        raise NotImplementedError

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse rows that are not open."""
        allowed = bool(super().has_change_permission(request, obj))
        return allowed and (obj is None or self.is_open(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse rows that are not open."""
        allowed = bool(super().has_delete_permission(request, obj))
        return allowed and (obj is None or self.is_open(obj))

    def get_actions(self, request: HttpRequest) -> Any:
        """Delete one by one, with the reason when it is refused."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Ask for confirmation without Django's look at foreign keys: nothing is torn away."""
        users = [user for obj in objs for user in self.users_of(obj)]
        return [str(obj) for obj in objs], {}, set(), users


class ReadOnly:
    """Mixin for rows that a machine writes: they can be looked at and nothing else."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


class ReadOnlyAdmin(ReadOnly, ScopedAdmin):
    """An admin page of machine-written rows."""

    actions: Any = None
    warn_unsaved_form = False


class ReadOnlyInline(ReadOnly, TabularInline):  # type: ignore[misc]
    """Machine-written rows under their parent."""

    extra = 0
    max_num = 0
    can_delete = False
    show_change_link = True


class WordsField(forms.CharField):
    """A list of words in a JSON column, edited as text with commas."""

    def prepare_value(self, value: Any) -> Any:
        """Join a stored list."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Split the text."""
        return [part.strip() for part in (value or "").split(",") if part.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as lists."""
        return bool((initial or []) != self.to_python(data))
