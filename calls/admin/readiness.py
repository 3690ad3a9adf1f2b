"""Admin of readiness: which numbers can be moved, why not, and what to do; limits that are entered.

Machine-written rows, read-only, with a button that begins a check (its progress is the job's page)
and two exports. What staff enter (``AccountFacts``, ``ModelLimit``) goes through services.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from calls.admin.readiness_accept import AcceptDoor
from calls.models import AccountFacts, ModelLimit, NumberReadiness
from calls.selectors.readiness import as_csv, as_json, with_names
from calls.services.account_limits import LimitsChanged, account_limits_enter
from calls.services.model_limits import limit_enter
from calls.services.readiness import KIND, readiness_begin
from voiceplatform.base.models import Job
from voiceplatform.base.prepared import RowGone
from voiceplatform.base.scoped_admin import (
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    ScopedRelatedFilter,
    badge,
)
from voiceplatform.base.selectors import organisations_visible_to, rows_visible_to, uuids_in

PERMISSION: Final = "calls.check_readiness"
COLOURS: Final = {"red": "danger", "amber": "warning", "green": "success", "grey": "info"}
_WEIGHTS: Final = {
    "blocks": ("danger", "blocks"),
    "look": ("warning", "look first"),
    "unknown": ("info", "not known"),
    "note": ("success", "to be known"),
}
_SOURCES: Final = {"live": "asked", "imported": "from the export", "entered": "entered"}
# Where a step is done: the page of one row if it names one, else the list.
_ROWS: Final = {
    "account": "calls_twilioaccount",
    "assistant": "assistants_assistant",
    "connection": "calls_providerconnection",
    "number": "calls_phonenumber",
    "policy": "calls_callpolicy",
}
_PAGES: Final = {
    "account_add": "admin:calls_twilioaccount_add",
    "account_limits": "admin:calls_accountfacts_changelist",
    "doctor": "doctor",
    "model_limits": "admin:calls_modellimit_changelist",
    "secrets": "admin:assistants_importrun_secrets",
}


def step_url(row: NumberReadiness, link: str, target: str) -> str:
    """Return the address of the page that a step is done on, '' where there is none."""
    if link == "number_add":
        known = {
            "number_e164": row.number_e164,
            "twilio_sid": row.twilio_sid,
            "twilio_account": str(row.account_id or ""),
        }
        query = urlencode({name: value for name, value in known.items() if value})
        return f"{reverse('admin:calls_phonenumber_add')}?{query}"
    if link == "accept":
        return reverse("admin:calls_numberreadiness_accept", args=[row.pk])
    if link in _PAGES:
        return reverse(_PAGES[link])
    if link not in _ROWS:
        return ""
    target = target or (str(row.account_id or "") if link == "account" else "")
    if target:
        return reverse(f"admin:{_ROWS[link]}_change", args=[target])
    return reverse(f"admin:{_ROWS[link]}_changelist")


class HereFilter(admin.SimpleListFilter):
    """Numbers that can answer here, and those that are at Twilio or in an import alone."""

    title = "where it is"
    parameter_name = "here"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [("yes", "Here"), ("no", "Not here yet")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(number__isnull=self.value() == "no")


@admin.register(NumberReadiness)
class NumberReadinessAdmin(AcceptDoor, ReadOnlyAdmin):
    """One row per number: a colour, a reason, a next step."""

    list_before_template = "admin/calls/numberreadiness/list_before.html"
    list_hint = (
        "Every number that Twilio lists, that an import brought or that is here, and whether it "
        "can be moved. A check only reads: at Twilio, in your imports and here. It is repeated "
        "every day."
    )
    list_empty = "No check has ended yet. One takes about a second for each number."
    list_display = ("number_e164", "colour_badge", "reason", "step", "account_name", "checked_at")
    list_filter = ("colour", HereFilter, ("account", ScopedRelatedFilter))
    search_fields = ("number_e164", "reason")
    ordering = ("number_e164",)
    hidden_lookups = ("findings", "facts")
    fields = (
        *("organisation", "number_e164", "colour_badge", "reason", "step", "checked_at"),
        *("findings_shown", "facts_shown", "number", "account_name", "twilio_sid"),
    )
    readonly_fields = ("colour_badge", "step", "findings_shown", "facts_shown", "account_name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave what is sealed of accounts and numbers in the database."""
        rows = with_names(super().get_queryset(request))
        return rows.select_related("organisation", "account", "number").only(
            *("number_e164", "colour", "reason", "next_step", "next_link", "next_target"),
            *("twilio_sid", "checked_at", "findings", "facts", "companion_id", "job_id"),
            *("account__name", "account__account_sid", "number__number_e164", "number__name"),
            "organisation__name",
        )

    def get_urls(self) -> list[Any]:
        """Add what the button posts to, and the exports."""
        wrap = self.admin_site.admin_view
        return [
            path("check/", wrap(self.check_view), name="calls_numberreadiness_check"),
            path("export.csv", wrap(self.csv_view), name="calls_numberreadiness_csv"),
            path("export.json", wrap(self.json_view), name="calls_numberreadiness_json"),
            *self.accept_urls(),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Offer the check to those who may begin one, and show one that is on."""
        organisations = organisations_visible_to(request.user).order_by("created_at")
        running = Job.objects.filter(
            kind=KIND,
            state__in=(Job.State.QUEUED, Job.State.RUNNING),
            organisation__in=organisations,
        )
        may_check = request.user.has_perm(PERMISSION)
        extra = {
            **(extra_context or {}),
            "check_organisations": list(organisations) if may_check else [],
            "running_job": running.order_by("created_at").first(),
        }
        return super().changelist_view(request, extra)

    def check_view(self, request: HttpRequest) -> HttpResponse:
        """Begin a check of an organisation's numbers; only by POST, since it asks Twilio."""
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:calls_numberreadiness_changelist"))
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        wanted = uuids_in([request.POST.get("organisation", "")])
        organisation = organisations_visible_to(request.user).filter(pk__in=wanted).first()
        if organisation is None:
            raise Http404("There is no organisation of this name.")
        job = readiness_begin(organisation=organisation, actor=request.user)
        return HttpResponseRedirect(reverse("admin:base_job_change", args=[job.pk]))

    def _exported(self, request: HttpRequest) -> QuerySet[NumberReadiness]:
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = NumberReadiness.objects.order_by("organisation", "number_e164")
        return with_names(rows_visible_to(rows, request.user, "organisation"))

    def csv_view(self, request: HttpRequest) -> HttpResponse:
        """Return all rows as a table."""
        text = "".join(as_csv(self._exported(request)))
        return _file(text, "text/csv; charset=utf-8", "readiness.csv")

    def json_view(self, request: HttpRequest) -> HttpResponse:
        """Return all rows with their findings and facts."""
        rows = [as_json(row) for row in self._exported(request)]
        text = json.dumps(rows, indent=2, ensure_ascii=False)
        return _file(text, "application/json", "readiness.json")

    @badge(description="Ready", ordering="colour", label=COLOURS)
    def colour_badge(self, obj: NumberReadiness) -> Any:
        """Return the colour as a badge with its word."""
        return obj.colour, obj.get_colour_display()

    @admin.display(description="Next step")
    def step(self, obj: NumberReadiness) -> str:
        """Return the step, as a link to the page where it is done."""
        return _linked(obj.next_step, step_url(obj, obj.next_link, obj.next_target))

    @admin.display(description="Twilio account", ordering="account__name")
    def account_name(self, obj: NumberReadiness) -> str:
        """Return the account that has it."""
        return obj.account.name if obj.account is not None else "–"

    @admin.display(description="What was found")
    def findings_shown(self, obj: NumberReadiness) -> SafeString:
        """Return every finding, the worst first."""
        rows = (
            (
                *_WEIGHTS.get(str(each.get("weight")), ("info", "")),
                each.get("short", ""),
                each.get("cause", ""),
                _linked(
                    str(each.get("step", "")),
                    step_url(obj, str(each.get("link", "")), str(each.get("target", ""))),
                ),
            )
            for each in obj.findings
        )
        lines = format_html_join(
            "",
            '<tr><td><span class="vp-badge vp-badge-{}">{}</span></td>'
            '<td><b>{}</b><div class="vp-hint">{}</div></td><td>{}</td></tr>',
            rows,
        )
        return _table(("", "What", "What to do"), lines)

    @admin.display(description="Facts")
    def facts_shown(self, obj: NumberReadiness) -> SafeString:
        """Return every fact with its source and date."""
        rows = (
            (
                each.get("name", ""),
                each.get("value", ""),
                _SOURCES.get(str(each.get("source")), ""),
                _moment(str(each.get("at", ""))),
            )
            for each in obj.facts
        )
        lines = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td>"
            '<td class="vp-fixed">{}</td><td class="vp-fixed">{}</td></tr>',
            rows,
        )
        return _table(("Fact", "Value", "Source", "Date"), lines)


def _file(text: str, kind: str, name: str) -> HttpResponse:
    response = HttpResponse(text, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _linked(text: str, url: str) -> str:
    return format_html('<a class="vp-link" href="{}">{}</a>', url, text) if url and text else text


def _table(heads: tuple[str, ...], lines: SafeString) -> SafeString:
    named = format_html_join("", "<th>{}</th>", ((each,) for each in heads))
    return format_html(
        '<div class="vp-scroll"><table class="vp-table"><tr>{}</tr>{}</table></div>', named, lines
    )


def _moment(text: str) -> str:
    moment = parse_datetime(text) if text else None
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment is not None else "–"


class AccountFactsForm(ScopedForm):
    """What a person enters of an account, and when it was entered as the form was shown."""

    shown_at = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        entered_at = self.instance.entered_at
        self.fields["shown_at"].initial = entered_at.isoformat() if entered_at else ""

    def clean_calls_per_second(self) -> int | None:
        """Take a rate that Twilio has."""
        value: int | None = self.cleaned_data["calls_per_second"]
        if value is not None and not 1 <= value <= 1000:
            raise forms.ValidationError("Enter 1 to 1000, or leave it empty.")
        return value


@admin.register(AccountFacts)
class AccountFactsAdmin(ScopedAdmin):
    """What Twilio says of an account, and what only Twilio's console says."""

    form = AccountFactsForm
    overtaken_by = (LimitsChanged, RowGone)
    actions: Any = None
    list_hint = (
        "What decides how many calls a Twilio account takes. Twilio's API does not tell the "
        "profile: look it up in the console, and enter it. A check adds an account to this list."
    )
    list_display = (
        *("account", "status", "kind", "numbers_listed", "peak", "profile_shown", "entered_at"),
        *("checked_at", "error"),
    )
    search_fields = ("account__name",)
    field_labels = {  # noqa: RUF012 - never changed in place
        "profile": "Profile in Twilio's Trust Hub",
        "calls_per_second": "Outgoing calls a second",
    }
    readonly_fields = (
        *("account", "status", "kind", "numbers_listed", "peak", "peak_at", "peak_checked_at"),
        *("checked_at", "tried_at", "error", "entered_at", "entered_by"),
    )
    fieldsets = (
        (None, {"fields": ("organisation", "account")}),
        (
            "From Twilio's console",
            {"fields": ("profile", "calls_per_second", "entered_at", "entered_by", "shown_at")},
        ),
        (
            "From Twilio's API",
            {
                "fields": (
                    *("status", "kind", "numbers_listed", "checked_at", "tried_at", "error"),
                    *("peak", "peak_at", "peak_checked_at"),
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the tokens of the accounts in the database."""
        rows = super().get_queryset(request).select_related("account", "organisation")
        return rows.defer("account__auth_token", "account__auth_token_secondary")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: a check adds them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: they go with their account."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store the entered half alone: a check may have written the other half meanwhile."""
        account_limits_enter(
            facts=obj,
            profile=form.cleaned_data["profile"],
            calls_per_second=form.cleaned_data["calls_per_second"],
            actor=request.user,
            shown_at=parse_datetime(form.cleaned_data.get("shown_at") or "1"),
        )

    @admin.display(description="Most calls at once", ordering="peak_calls")
    def peak(self, obj: AccountFacts) -> str:
        """Return last month's most, or that it is not known."""
        if obj.peak_calls is None:
            return "not known"
        return f"at least {obj.peak_calls}" if obj.peak_is_least else str(obj.peak_calls)

    @admin.display(description="Profile", ordering="profile")
    def profile_shown(self, obj: AccountFacts) -> str:
        """Return the profile, or that nobody entered it."""
        return str(obj.get_profile_display())


class ModelLimitForm(ScopedForm):
    """A limit that a person read on the provider's page."""

    def clean_limit(self) -> int:
        """Take a limit that lets something through."""
        value = int(self.cleaned_data["limit"])
        if value < 1:
            raise forms.ValidationError("Enter what the provider allows in a minute, 1 or more.")
        return value


@admin.register(ModelLimit)
class ModelLimitAdmin(ScopedAdmin):
    """What a provider allows in a minute: seen in calls, or entered."""

    form = ModelLimitForm
    actions: Any = None
    list_hint = (
        "What each connection may use of its model in a minute. Calls write down what the provider "
        "tells them; before the first call enter it from the provider's page of limits. The newer "
        "of the two counts."
    )
    list_display = ("connection", "model", "name", "limit", "remaining", "source", "seen_at")
    list_filter = ("source", ("connection", ScopedRelatedFilter))
    search_fields = ("model", "connection__name")
    autocomplete_fields = ("connection",)
    field_labels = {"name": "Limit of", "limit": "Limit of one minute"}  # noqa: RUF012 - constant
    fields = ("organisation", "connection", "model", "name", "limit", "source", "seen_at")
    readonly_fields = ("source", "seen_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the keys of the connections in the database."""
        rows = super().get_queryset(request).select_related("connection", "organisation")
        return rows.defer("connection__api_key")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Fix what a limit is of once it stands."""
        fixed = super().get_readonly_fields(request, obj)
        return fixed if obj is None else [*fixed, "connection", "model", "name"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse what calls have seen."""
        return bool(super().has_change_permission(request, obj)) and _is_entered(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse what calls have seen."""
        return bool(super().has_delete_permission(request, obj)) and _is_entered(obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store it with the date of today, in place of what was entered before."""
        row = limit_enter(
            connection=obj.connection,
            model=obj.model,
            name=obj.name,
            limit=form.cleaned_data["limit"],
            actor=request.user,
        )
        obj.pk, obj._state.adding = row.pk, False
        if not change:
            self.message_user(
                request, "The next check of readiness takes it into account.", messages.INFO
            )


def _is_entered(obj: ModelLimit | None) -> bool:
    return obj is None or obj.source == ModelLimit.Source.ENTERED
