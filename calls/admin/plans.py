"""Admin of plans: making one, its page with every gate, its calendar, and the record.

A plan's rows are written by ``calls.services.plans`` and by the clock; whatever a person does here
wants a reason and a page of its own that says what follows, and only a POST does it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from calls.admin.plan_edit import CHANGES, EDITABLE, EditDoor
from calls.admin.plan_form import PlanForm, WhyForm
from calls.models import MigrationPlan, PhoneNumber, PlanEntry, PlanNumber
from calls.numbers.plan import PlanError
from calls.services import plans
from calls.services.plan_pages import (
    PHASES,
    NumberLine,
    PlanPage,
    plan_calendar,
    plan_entries_csv,
    plan_page,
)
from voiceplatform.base.scoped_admin import (
    BesideForm,
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    ScopedRelatedFilter,
    badge,
    visible_choices,
)

APPROVES: Final = "calls.approve_plan_step"
STATUS_COLOURS: Final = {
    "draft": "primary",
    "running": "success",
    "paused": "warning",
    "finished": "info",
}
PHASE_COLOURS: Final = {
    "waiting": "primary",
    "moving": "info",
    "done": "success",
    "skipped": "warning",
    "stopped": "danger",
}
_ENTRIES: Final = 30


@dataclass(frozen=True, slots=True)
class Deed:
    """Something a person does to a plan: what the page says, and who may."""

    title: str
    button: str
    words: str
    permission: str = CHANGES
    is_of_number: bool = False
    is_grave: bool = False
    among: tuple[str, ...] = ()


DEEDS: Final[Mapping[str, Deed]] = {
    "start": Deed(
        "Start the plan",
        "Start",
        "From its first day on the plan gives us shares of the numbers' calls, step by step, when "
        "every gate is open. Nothing moves at this moment. It can be paused at any time.",
        among=("draft",),
    ),
    "pause": Deed(
        "Pause the plan",
        "Pause",
        "Nothing moves on, and nothing goes back: each number keeps the share it has. To take a "
        "number back, use its own page.",
        among=("running",),
    ),
    "resume": Deed(
        "Go on with the plan",
        "Go on",
        "Every gate is asked anew. No day is made up for. A number that was stopped stays so.",
        among=("paused",),
    ),
    "freeze": Deed(
        "Add a freeze day",
        "Add it",
        "Nothing moves on that day, from midnight to midnight in the plan's time zone.",
        among=("draft", "running", "paused"),
    ),
    "skip": Deed(
        "Leave a number out",
        "Leave it out",
        "Its route stays as it is now, and the plan does not touch it again unless you put it "
        "back. Another plan may have it.",
        is_of_number=True,
    ),
    "retry": Deed(
        "Put a number back into the plan",
        "Put it back",
        "The plan goes on from the share it has now. What was approved for it before is gone.",
        is_of_number=True,
    ),
    "approve": Deed(
        "Approve a step",
        "Approve",
        "The step is taken as soon as every other gate is open too. It holds for this step of this "
        "number alone.",
        permission=APPROVES,
        is_of_number=True,
    ),
}


@admin.register(MigrationPlan)
class MigrationPlanAdmin(EditDoor, BesideForm, ScopedAdmin):
    """Which numbers move when, and how far they are."""

    form = PlanForm
    change_form_template = "admin/calls/migrationplan/change_form.html"
    list_display = ("name", "status_badge", "numbers_there", "stopped", "created_by", "created_at")
    list_filter = ("status",)
    search_fields = ("name", "created_by")
    actions: Any = None
    list_hint = (
        "A plan moves numbers to this platform a share at a time, e.g. one number a day for a "
        "week, and only while everything it asks for holds. The clock looks every 30 seconds."
    )
    list_empty = (
        "Move the numbers here with the route Vapi first, under Moving; a plan then raises their "
        "shares day by day."
    )
    fieldsets = (
        (
            "Numbers",
            {"fields": ("organisation", "name", "which", "chosen", "order", ("most", "a_day"))},
        ),
        (
            "Days and hours",
            {
                "fields": (
                    *("first_day", "days_apart", "zone", "on_workdays", "on_weekends"),
                    "freeze",
                ),
                "description": "One number a day for a week, unless you say otherwise.",
            },
        ),
        (
            "Steps and what must hold before each",
            {
                "fields": (
                    *("steps", "parity", "approval", ("soak_minutes", "least_calls")),
                    *(("budget_percent", "budget_least"), ("first_word_p95_ms", "turn_p95_ms")),
                ),
                "description": "Always asked: the number's calls come here, its call policy has "
                "been reviewed, the page “Readiness” names nothing that blocks, no incident is "
                "open.",
            },
        ),
        ("If something stands in the way", {"fields": ("goes_on", "stops_at_incident")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the places along."""
        rows: QuerySet[Any] = super().get_queryset(request).prefetch_related("places")
        return rows

    @badge(description="State", ordering="status", label=STATUS_COLOURS)
    def status_badge(self, obj: MigrationPlan) -> str:
        """Return the state."""
        return obj.status

    @admin.display(description="Numbers")
    def numbers_there(self, obj: MigrationPlan) -> str:
        """Count who has arrived."""
        phases = [place.phase for place in obj.places.all()]
        return f"{phases.count('done')} of {len(phases)} there"

    @badge(description="Waits for a person", label={"stopped": "danger", "unreadable": "danger"})
    def stopped(self, obj: MigrationPlan) -> Any:
        """Count the numbers that were stopped."""
        if obj.problem:
            return "unreadable", "cannot be read"
        count = sum(place.phase == "stopped" for place in obj.places.all())
        return ("stopped", f"{count} stopped") if count else ""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show plans only; what is done to them has pages of its own."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let a draft be thrown away; the record of what happened is kept."""
        is_draft = obj is not None and obj.status == MigrationPlan.Status.DRAFT
        return is_draft and bool(super().has_delete_permission(request, obj))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Ask for confirmation; a draft has nothing that hangs on it but its own places."""
        return [str(obj) for obj in objs], {}, set(), []

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Have no field on the page of a plan that exists: its template shows it."""
        return super().get_fieldsets(request, obj) if obj is None else ((None, {"fields": ()}),)

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Offer the person's own numbers."""
        if obj is not None:
            return super().get_form(request, obj, **{**kwargs, "form": ScopedForm})
        kwargs["fields"] = ("organisation", "name")
        form: Any = super().get_form(request, obj, **kwargs)
        form.base_fields["chosen"].queryset = (
            visible_choices(self.admin_site, PhoneNumber, request)
            .defer("previous_target")
            .exclude(plan_places__holds=True)
            .order_by("number_e164")
        )
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make the plan that the form describes."""
        row = plans.plan_create(
            organisation=form.cleaned_data["organisation"],
            name=form.cleaned_data["name"],
            plan=form.plan,
            actor=request.user,
        )
        obj.__dict__.update(row.__dict__)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> Any:
        """Lead to the plan's page, where it is started."""
        words = "The plan is made. Nothing moves until you start it: look at its calendar first."
        self.message_user(request, words)
        return HttpResponseRedirect(_url("change", obj.pk))

    def beside_form(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return the plan's page."""
        page = plan_page(obj)
        entries = PlanEntry.objects.filter(plan=obj).select_related("number")
        return {
            "plan_page": page,
            "status_colour": STATUS_COLOURS[obj.status],
            "lines": [(line, PHASE_COLOURS[line.phase]) for line in page.lines],
            "deeds": [
                (what, deed)
                for what, deed in DEEDS.items()
                if obj.status in deed.among and request.user.has_perm(deed.permission)
            ]
            if not page.problem
            else [],
            "may_edit": obj.status in EDITABLE
            and request.user.has_perm(CHANGES)
            and not page.problem,
            "may_change": request.user.has_perm(CHANGES) and not page.problem,
            "may_approve": request.user.has_perm(APPROVES) and not page.problem,
            "entries": entries.defer("evidence").order_by("-pk")[:_ENTRIES],
            "title": obj.name,
        }

    def get_urls(self) -> list[Any]:
        """Add what is done to a plan, its calendar and its record."""
        wrap = self.admin_site.admin_view
        own = [
            path(f"<uuid:object_id>/{name}", wrap(view), name=f"calls_migrationplan_{short}")
            for name, short, view in (
                ("do/", "do", self.do_view),
                ("edit/", "edit", self.edit_view),
                ("calendar/", "calendar", self.calendar_view),
                ("record.csv", "csv", self.csv_view),
            )
        ]
        return [*own, *super().get_urls()]

    def do_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Say what follows from something a person is about to do, and do it on POST."""
        row = self._row(request, object_id)
        what = request.GET.get("what", "")
        deed = DEEDS.get(what)
        if deed is None:
            raise Http404("There is no such thing to do.")
        if not request.user.has_perm(deed.permission):
            raise PermissionDenied
        page = plan_page(row)
        line = _line(page, request.GET.get("number", "")) if deed.is_of_number else None
        shown = {"version": row.version, "seen": line.seen if line is not None else ""}
        form = WhyForm(request.POST if request.method == "POST" else None, initial=shown)
        form.fields["day"].required = what == "freeze"
        if request.method == "POST" and form.is_valid():
            try:
                _done(what, row, line, form.cleaned_data, request)
            except PlanError as error:
                form.add_error(None, _sentence(error))
                # The page shows what is stored now, so the next press means that.
                form.data = request.POST.copy()
                form.data.update({name: str(value) for name, value in shown.items()})
            else:
                return HttpResponseRedirect(_url("change", row.pk))
        context = {"deed": deed, "what": what, "line": line, "form": form, "plan_page": page}
        return self._page(request, "do", row, deed.title, context)

    def calendar_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Show what will happen when, if nothing stands in the way."""
        row = self._row(request, object_id)
        try:
            days, problem = plan_calendar(row), ""
        except PlanError as error:
            days, problem = (), _sentence(error)
        context = {"days": days, "problem": problem, "plan_page": plan_page(row)}
        return self._page(request, "calendar", row, f"Calendar of {row.name}", context)

    def csv_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Download the record."""
        row = self._row(request, object_id)
        self.audit(request, "plan.export", row)
        answer = HttpResponse(
            "".join(plan_entries_csv(row)), content_type="text/csv; charset=utf-8"
        )
        answer["Content-Disposition"] = f'attachment; filename="plan-{row.pk}.csv"'
        answer["Cache-Control"] = "no-store"
        return answer

    def _row(self, request: HttpRequest, object_id: uuid.UUID) -> MigrationPlan:
        row: MigrationPlan | None = self.get_object(request, str(object_id))
        if row is None:
            raise Http404("The plan was not found.")
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row

    def _page(
        self,
        request: HttpRequest,
        template: str,
        row: MigrationPlan,
        title: str,
        context: Mapping[str, Any],
    ) -> HttpResponse:
        given = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "row": row,
            **context,
        }
        answer = TemplateResponse(request, f"admin/calls/migrationplan/{template}.html", given)
        answer["Cache-Control"] = "no-store"
        return answer


@admin.register(PlanNumber)
class PlanNumberAdmin(ReadOnlyAdmin):
    """The numbers of all plans."""

    list_display = ("number", "plan", "position", "phase_badge", "percent")
    list_filter = ("phase", ("plan", ScopedRelatedFilter))
    list_select_related = ("plan", "number")
    search_fields = ("number__number_e164", "plan__name")
    fields = ("plan", "number", "position", "phase", "percent", "holds")

    @badge(description="State", ordering="phase", label=PHASE_COLOURS)
    def phase_badge(self, obj: PlanNumber) -> Any:
        """Return where the number is."""
        return obj.phase, PHASES.get(obj.phase, obj.phase)


@admin.register(PlanEntry)
class PlanEntryAdmin(ReadOnlyAdmin):
    """The record of every transition."""

    list_display = ("at", "plan", "number", "kind", "words", "who")
    list_display_links = ("at",)
    list_filter = (("plan", ScopedRelatedFilter), "kind")
    list_select_related = ("plan", "number")
    search_fields = ("words", "why", "who", "number__number_e164")
    date_hierarchy = "at"
    fields = ("plan", "at", "number", "kind", "words", "who", "why", "evidence")
    list_hint = "What plans did, who said so and why; the figures are on each entry's own page."
    list_empty = "No plan has done anything. Plans are made under Plans."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the figures in the database."""
        rows: QuerySet[Any] = super().get_queryset(request).defer("evidence")
        return rows


def _done(
    what: str,
    row: MigrationPlan,
    line: NumberLine | None,
    given: Mapping[str, Any],
    request: HttpRequest,
) -> None:
    """Do one of ``DEEDS``.

    Raises:
        PlanError: it does not fit where the plan is now.
    """
    by: dict[str, Any] = {"row": row, "actor": request.user, "why": given["why"]}
    if line is None:
        of_plan: dict[str, Callable[[], Any]] = {
            "start": lambda: plans.plan_start(**by, version=given["version"]),
            "pause": lambda: plans.plan_pause(**by),
            "resume": lambda: plans.plan_resume(**by, version=given["version"]),
            "freeze": lambda: plans.plan_freeze_day(
                **by, day=given["day"], version=given["version"]
            ),
        }
        of_plan[what]()
    else:
        of_number = {**by, "number_id": line.number_id, "seen": given["seen"]}
        if what == "approve":
            if line.next_percent is None:
                raise PlanError("no step is to come. Fix: there is nothing to approve.")
            plans.plan_approve(**of_number, percent=line.next_percent)
        else:
            {"skip": plans.plan_skip, "retry": plans.plan_retry}[what](**of_number)
    messages.success(request, f"Done: {DEEDS[what].title.lower()}.")


def _line(page: PlanPage, number_id: str) -> NumberLine:
    for line in page.lines:
        if line.number_id == number_id:
            return line
    raise Http404("The plan has no such number.")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}"


def _url(name: str, *args: Any) -> str:
    return reverse(f"admin:calls_migrationplan_{name}", args=args)
