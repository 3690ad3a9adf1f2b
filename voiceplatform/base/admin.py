"""Admin of organisations, access and audit; that of jobs is in ``job_admin``.

Writes keys and audit entries through ``base.services``. What a person could use to become more than
they are (superuser flags, groups, people of other organisations) is for superusers only.
"""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from voiceplatform.base import services
from voiceplatform.base.job_admin import JobAdmin
from voiceplatform.base.models import (
    ApiKey,
    AuditEntry,
    EncryptionCanary,
    Membership,
    Organisation,
    RedactedTable,
)
from voiceplatform.base.route_admin import UnknownRouteAdmin
from voiceplatform.base.scoped_admin import (
    OrganisationScoped,
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    badge,
    visible_choices,
)
from voiceplatform.base.selectors import organisations_visible_to, users_visible_to

__all__ = ["JobAdmin", "UnknownRouteAdmin", "pretty_json"]

admin.site.unregister(Group)
admin.site.unregister(User)


def pretty_json(value: Any) -> SafeString:
    """Return JSON as an escaped, indented block."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html('<pre class="vp-json">{}</pre>', text)


@admin.register(Organisation)
class OrganisationAdmin(ScopedAdmin):
    """Tenants; made and removed by superusers."""

    organisation_path = ""
    list_display = ("name", "members", "created_at", "id")
    search_fields = ("name",)
    readonly_fields = ("id", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Narrow to the person's own organisations."""
        rows = (
            ScopedAdmin.get_queryset(self, request)
            if request.user.is_superuser
            else (organisations_visible_to(request.user))
        )
        return rows.annotate(member_count=Count("memberships")).order_by("name")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out the old call log URL where none is entered: receivers are rows of their own."""
        fields = super().get_fields(request, obj)
        if obj is not None and obj.call_log_url:
            return fields
        return [name for name in fields if not str(name).startswith("call_log_")]

    def choices_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Offer the person's own organisations."""
        return organisations_visible_to(request.user)

    def organisation_of(self, obj: Any) -> Any:
        """Return the row itself; a deleted one cannot be pointed at."""
        return obj if Organisation.objects.filter(pk=obj.pk).exists() else None

    @admin.display(description="Members", ordering="member_count")
    def members(self, obj: Any) -> int:
        """Count the people."""
        return int(obj.member_count)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Leave it to superusers."""
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: calls and audit entries point at it."""
        return False


@admin.register(Membership)
class MembershipAdmin(ScopedAdmin):
    """Who sees which organisation."""

    list_display = ("user", "organisation_name")
    list_select_related = ("user", "organisation")
    search_fields = ("user__username", "user__email", "organisation__name")
    autocomplete_fields = ("user",)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Show the organisation to everybody: it is half of the row."""
        return ["user", "organisation_name"]

    @admin.display(description="Organisation", ordering="organisation__name")
    def organisation_name(self, obj: Membership) -> str:
        """Return its name."""
        return obj.organisation.name


class ApiKeyForm(ScopedForm):
    """Name, scopes and expiry of a new key."""

    scopes = forms.MultipleChoiceField(
        choices=[(name, f"{name}: {text}") for name, text in services.SCOPES.items()],
        initial=list(services.DEFAULT_SCOPES),
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What programs with this key may do. Give as little as they need.",
    )

    def clean_expires_at(self) -> Any:
        """Refuse a key that would never work."""
        moment = self.cleaned_data["expires_at"]
        if moment is not None and moment <= timezone.now():
            raise forms.ValidationError("This moment has passed; choose a later one, or none.")
        return moment


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedAdmin):
    """Keys of the REST surface; a key is shown once, right after it was made."""

    form = ApiKeyForm
    list_display = (
        *("name", "prefix_shown", "scope_names", "state"),
        *("last_used_at", "expires_at", "created_at"),
    )
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), "expires_at", "created_at")
    search_fields = ("name", "prefix")
    actions = ("revoke",)
    fields = ("organisation", "name", "scopes", "expires_at")
    list_hint = (
        "Programs sign in with these in place of a Vapi key. A key is shown once, when it is made; "
        "revoke one that leaked and make another."
    )

    @admin.display(description="Begins with")
    def prefix_shown(self, obj: ApiKey) -> str:
        """Return the characters to recognise it by."""
        return f"{obj.prefix}…"

    @badge(description="Scopes", label=True)
    def scope_names(self, obj: ApiKey) -> list[str]:
        """Return the scopes as badges."""
        return [str(scope) for scope in obj.scopes]

    @admin.display(description="Scopes")
    def scopes_shown(self, obj: ApiKey) -> str:
        """Return the scopes as words."""
        return ", ".join(map(str, obj.scopes))

    @badge(
        description="State", label={"live": "success", "expired": "warning", "revoked": "danger"}
    )
    def state(self, obj: ApiKey) -> str:
        """Say whether it still opens anything."""
        if obj.revoked_at:
            return "revoked"
        return "expired" if obj.expires_at and obj.expires_at <= timezone.now() else "live"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the life of an existing key."""
        if obj is None:
            return self.fields
        return (
            *("organisation", "name", "prefix_shown", "scopes_shown"),
            *("created_at", "last_used_at", "expires_at", "revoked_at"),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Let only the name change: a key with other scopes is another key."""
        if obj is None:
            return []
        return [
            *("organisation", "prefix_shown", "scopes_shown"),
            *("created_at", "last_used_at", "expires_at", "revoked_at"),
        ]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: revoke it, so that the audit trail keeps its name."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make the key through its service and remember the clear key for this response."""
        if change:
            super().save_model(request, obj, form, change)
            return
        made, clear = services.api_key_create(
            organisation=obj.organisation,
            name=obj.name,
            scopes=form.cleaned_data["scopes"],
            expires_at=form.cleaned_data["expires_at"],
            actor=request.user,
        )
        obj.__dict__.update(made.__dict__)
        request.made_api_key = clear  # type: ignore[attr-defined]  # for `response_add`

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key once, on the answer itself: no cookie, session or log holds it."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API key made",
            "opts": self.opts,
            "key": obj,
            "clear": request.made_api_key,  # type: ignore[attr-defined]  # by `save_model`
        }
        response = TemplateResponse(request, "admin/base/apikey/made.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke for good."""
        keys = queryset.select_related("organisation")
        count = sum(services.api_key_revoke(key=key, actor=request.user) for key in keys)
        self.message_user(request, f"{count} key(s) revoked; they stop working at once.")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who did or saw what, when."""

    list_display = ("at", "actor", "action", "target", "target_type")
    # Filters of distinct values and a date hierarchy would read the whole table.
    list_filter = ("at",)
    search_fields = ("actor", "action", "target_label", "target_id")
    fields = (
        *("at", "organisation", "actor", "action"),
        *("target_type", "target_id", "target_label", "details_shown"),
    )
    readonly_fields = ("details_shown",)

    @admin.display(description="What", ordering="target_label")
    def target(self, obj: AuditEntry) -> str:
        """Return the label the row had then."""
        return obj.target_label or obj.target_id

    @admin.display(description="Details")
    def details_shown(self, obj: AuditEntry) -> SafeString:
        """Return the details as a block."""
        return pretty_json(obj.details)


@admin.register(EncryptionCanary)
class EncryptionCanaryAdmin(ReadOnlyAdmin):
    """Shows that the canary row exists; its content is nobody's business."""

    organisation_path = ""
    list_display = ("__str__",)
    fields = ("id",)


@admin.register(RedactedTable)
class RedactedTableAdmin(ReadOnlyAdmin):
    """Shows how far stored copies without secrets follow the newest rules."""

    organisation_path = ""
    list_display = ("label", "version", "is_complete")
    fields = ("label", "version", "last_key", "is_complete")


class MembershipInline(OrganisationScoped, TabularInline):  # type: ignore[misc]  # unfold has no types
    """Organisations of a person."""

    model = Membership
    extra = 0
    form = forms.ModelForm  # type: ignore[assignment]  # no organisation of its own to compare


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ScopedAdmin):  # type: ignore[misc, type-arg]  # as above
    """People. Staff manage those who belong to no organisation but theirs."""

    organisation_path = ""
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    inlines = (MembershipInline,)
    list_display = ("username", "email", "full_name", "role", "is_active", "last_login")
    list_filter = ("is_staff", "is_superuser", "is_active")
    search_fields = ("username", "email", "first_name", "last_name")
    hidden_lookups = ("password",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Narrow to people of the same organisations."""
        return users_visible_to(request.user)

    def choices_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Offer people of the same organisations."""
        return users_visible_to(request.user)

    @admin.display(description="Name")
    def full_name(self, obj: User) -> str:
        """Return first and last name."""
        return obj.get_full_name()

    @badge(
        description="Role", label={"superuser": "danger", "staff": "success", "no admin": "info"}
    )
    def role(self, obj: User) -> str:
        """Return how far the account reaches."""
        return "superuser" if obj.is_superuser else "staff" if obj.is_staff else "no admin"

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Keep Django's filters."""
        return list(self.list_filter)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Keep the fields that would lift a person up to superusers."""
        fields = ["last_login", "date_joined"]
        if not request.user.is_superuser:
            fields += ["is_superuser", "groups", "user_permissions"]
        return fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse people who also belong elsewhere: their password opens the other door too."""
        allowed = bool(super().has_change_permission(request, obj))
        return allowed and (obj is None or self._belongs_here_only(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse people who also belong elsewhere."""
        allowed = bool(super().has_delete_permission(request, obj))
        return allowed and (obj is None or self._belongs_here_only(request, obj))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Leave out people who also belong elsewhere."""
        keys = [user.pk for user in queryset if self._belongs_here_only(request, user)]
        super().delete_queryset(request, User.objects.filter(pk__in=keys))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Leave new people to superusers: a new one belongs to no organisation yet."""
        return bool(request.user.is_superuser)

    def _belongs_here_only(self, request: HttpRequest, user: Any) -> bool:
        if request.user.is_superuser:
            return True
        mine = visible_choices(self.admin_site, Organisation, request)
        return not user.is_superuser and not (
            Membership.objects.filter(user=user).exclude(organisation__in=mine).exists()
        )

    def audit(self, request: HttpRequest, action: str, obj: Any, **details: Any) -> None:
        """Record under the person's first organisation, so that its staff see it."""
        membership = Membership.objects.filter(user=obj).select_related("organisation").first()
        services.audit_write(
            actor=request.user,
            action=action,
            organisation=membership.organisation if membership else None,
            target=obj,
            details=details,
        )


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ScopedAdmin):  # type: ignore[misc]  # as above
    """Bundles of permissions, shared by all organisations; superusers only."""

    organisation_path = ""
    form = forms.ModelForm  # type: ignore[assignment]  # no organisation of its own to compare

    def _only_superusers(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Leave it to superusers."""
        return self._only_superusers(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Leave it to superusers."""
        return self._only_superusers(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Leave it to superusers."""
        return self._only_superusers(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Leave it to superusers."""
        return self._only_superusers(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Leave it to superusers."""
        return self._only_superusers(request)
