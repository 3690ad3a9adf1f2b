"""One number as whoever moves it sees it: who answers now and why, what catches it, what goes on.

Owns the console page and the page on which a route is changed. What is shown is what the rooms have
stored; Twilio is asked on the move page only. Routes are set by ``calls.services.number_routes``.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, path, reverse
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from calls.admin.moving_doors import MOST_WHY, check_may_look, number_of, page
from calls.admin.words import STATUS_COLOURS, reason_in_words
from calls.models import PhoneNumber
from calls.numbers import hours
from calls.numbers.schedule import Schedule, is_inside, schedule_of, schedule_stored
from calls.selectors.guards import guard_view
from calls.selectors.move_views import Console, console_of
from calls.services.move_rows import has_way_back
from calls.services.nets import NetView, net_view
from calls.services.number_routes import (
    KEEP,
    RouteOrder,
    RouteRefused,
    route_preview,
    route_set,
    route_words,
)
from calls.services.readiness import readiness_of

_NET_COLOURS: Final = {
    "armed": "success",
    "bare": "warning",
    "broken": "danger",
    "idle": "info",
    "unknown": "warning",
}
_PREVIEW_DAYS: Final = 7
_STEP: Final = dt.timedelta(minutes=15)


def console_urls(model_admin: Any) -> list[Any]:
    """Return the URLs of these pages, for the admin of numbers."""
    view = model_admin.admin_site.admin_view
    return [
        path("<uuid:object_id>/console/", view(console_page), name="calls_phonenumber_console"),
        path("<uuid:object_id>/route/", view(route_page), name="calls_phonenumber_route"),
    ]


def console_page(request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
    """Show one number."""
    check_may_look(request)
    number = number_of(request, object_id)
    console: Console = console_of(number, with_calls=request.user.has_perm("calls.view_call"))
    readiness, view = readiness_of(number), net_view(number)
    return page(
        request,
        "console",
        f"Moving {number.number_e164}",
        number=number,
        console=console,
        route=route_words(number),
        schedule=schedule_words(schedule_stored(number.schedule)),
        readiness=readiness,
        guard=guard_view(number),
        net=_net(view),
        net_pk=view.net.pk,
        is_net_old=_is_net_old(console, view),
        calls=[
            {
                "pk": call.pk,
                "at": call.created_at,
                "stack": "here" if call.stack == "direct" else "old stack",
                "status": str(call.get_status_display()).lower(),
                "colour": STATUS_COLOURS.get(call.status, "info"),
                "outcome": reason_in_words(call.ended_reason),
                "reason": call.route_reason,
            }
            for call in console.calls
        ],
        links=_links(number),
    )


def _net(view: NetView) -> list[dict[str, Any]]:
    return [
        {
            "title": each.part.title,
            "state": each.part.state,
            "colour": _NET_COLOURS.get(each.part.state, "info"),
            "words": each.part.words,
            "dead": each.part.dead_seconds,
            "hanging": each.part.hanging_seconds,
            "real": each.last_real,
            "drill": each.last_drill,
        }
        for each in view.parts
    ]


def _is_net_old(console: Console, view: NetView) -> bool:
    """Tell whether the last look at the net was before the number came here."""
    if console.way_back is None:
        return False
    looked_at = view.net.probed_at
    return looked_at is None or looked_at < console.way_back.created_at


def _links(number: PhoneNumber) -> list[tuple[str, str]]:
    """Return the other pages of the number, those that this installation has."""
    found = []
    for words, name in (
        ("Settings", "admin:calls_phonenumber_change"),
        ("Dossier", "admin:calls_phonenumber_dossier"),
    ):
        try:
            found.append((words, reverse(name, args=[number.pk])))
        except NoReverseMatch:
            continue
    return found


def schedule_words(schedule: Schedule | None, now: dt.datetime | None = None) -> list[str]:
    """Return, a line for each change, when a schedule's windows open and close in the next days.

    Found by looking every quarter of an hour, so that it shows what will really be decided, also
    on the day on which the clocks change.
    """
    if schedule is None:
        return []
    zone = hours.zone_of(schedule.zone)
    if zone is None:
        return [f"The time zone {schedule.zone} is not known: it is always outside."]
    moment = now or timezone.now()
    inside, why = is_inside(schedule, moment)
    lines = [f"Now {'inside' if inside else 'outside'}: {why}."]
    moment = moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)
    until = moment + dt.timedelta(days=_PREVIEW_DAYS)
    while moment < until:
        moment += _STEP
        now_inside, _ = is_inside(schedule, moment)
        if now_inside != inside:
            inside = now_inside
            local = moment.astimezone(zone)
            what = "the route holds" if inside else f"{schedule.outside} holds"
            lines.append(f"From {local:%a %Y-%m-%d %H:%M} {local.tzname()}: {what}.")
    return lines


class RouteForm(forms.Form):
    """A route as somebody wants it; what it would do is ``route_preview``'s to say."""

    version = forms.IntegerField(widget=forms.HiddenInput, required=False)
    route = forms.ChoiceField(
        choices=[
            ("vapi", "vapi: the old stack answers every call"),
            ("canary", "canary: a share of the callers is answered here"),
            ("direct", "direct: every call is answered here"),
            ("paused", "paused: callers hear that the line is closed"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    canary_percent = forms.IntegerField(
        label="Share of callers in a canary (percent)",
        required=False,
        min_value=0,
        max_value=100,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), "Enter a whole number from 0 to 100."
        ),
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
    )
    sticky = forms.ChoiceField(
        label="A caller stays where they are",
        choices=PhoneNumber.Sticky.choices,
        widget=UnfoldAdminSelectWidget,
    )
    scheduled = forms.BooleanField(
        label="Only at certain hours", required=False, help_text="Off: the route always holds."
    )
    zone = forms.CharField(
        label="Time zone",
        required=False,
        max_length=40,
        widget=UnfoldAdminTextInputWidget,
        help_text="Its name, e.g. Europe/Berlin. The hours are those of a clock on the wall there.",
    )
    outside = forms.ChoiceField(
        label="At all other hours",
        choices=[(name, name) for name in ("vapi", "direct", "paused")],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    holidays = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="One date a line, e.g. 2026-12-25. No window begins on it.",
    )
    why = forms.CharField(
        label="Why",
        required=False,
        max_length=MOST_WHY,
        widget=UnfoldAdminTextInputWidget,
        help_text="For whoever reads the audit trail later.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for day in hours.DAYS:
            self.fields[f"window_{day}"] = forms.CharField(
                label=hours.DAY_NAMES[day],
                required=False,
                max_length=120,
                widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "none"}),
            )

    @property
    def days(self) -> list[Any]:
        """Return the fields of the days."""
        return [self[f"window_{day}"] for day in hours.DAYS]

    @property
    def first(self) -> list[Any]:
        """Return the fields that every route has."""
        return [self["route"], self["canary_percent"], self["sticky"]]

    @property
    def times(self) -> list[Any]:
        """Return the fields of a schedule, but for its days."""
        return [self["zone"], self["outside"], self["holidays"]]

    def clean(self) -> dict[str, Any]:
        """Read the schedule as a person has written it."""
        cleaned = super().clean() or {}
        cleaned["schedule"] = None
        if cleaned.get("scheduled"):
            try:
                cleaned["schedule"] = schedule_of(
                    {
                        "zone": cleaned.get("zone", ""),
                        "outside": cleaned.get("outside", ""),
                        "holidays": cleaned.get("holidays", ""),
                        "windows": {day: cleaned.get(f"window_{day}", "") for day in hours.DAYS},
                    }
                )
            except hours.HoursError as error:
                self.add_error("scheduled", str(error))
        return cleaned

    def order(self) -> RouteOrder:
        """Return what was asked for; only of a form that is valid."""
        given = self.cleaned_data
        return RouteOrder(
            route=given["route"],
            canary_percent=given.get("canary_percent") or 0,
            sticky=given.get("sticky", ""),
            schedule=given["schedule"] if "schedule" in given else KEEP,
        )


def _initial(number: PhoneNumber) -> dict[str, Any]:
    plan = schedule_stored(number.schedule)
    found: dict[str, Any] = {
        "version": number.version,
        "route": number.route,
        "canary_percent": number.canary_percent or 10,
        "sticky": number.canary_sticky,
        "scheduled": plan is not None,
        "zone": plan.zone if plan else "",
        "outside": plan.outside if plan else "vapi",
    }
    if plan is not None:
        stored = plan.as_json()
        found["holidays"] = stored["holidays"]
        found |= {f"window_{day}": text for day, text in stored["windows"].items()}
    return found


def route_page(request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
    """Show the form of a route; on POST say what it would do, and once confirmed set it."""
    number = number_of(request, object_id, to_change=True)
    form = RouteForm(request.POST or None, initial=_initial(number))
    preview, refused = None, []
    if request.method == "POST" and form.is_valid():
        order = form.order()
        preview = route_preview(number, order)
        # Who changed a field after the preview has confirmed something that they did not see.
        is_seen = request.POST.get("previewed") == preview.after
        if request.POST.get("confirmed") == "1" and is_seen:
            try:
                change = route_set(
                    number_id=number.pk,
                    order=order,
                    actor=request.user,
                    why=form.cleaned_data["why"],
                    expected_version=form.cleaned_data["version"],
                )
            except RouteRefused as error:
                refused, preview = list(error.problems), None
            else:
                messages.success(request, f"The route was changed: {change}.")
                return HttpResponseRedirect(
                    reverse("admin:calls_phonenumber_console", args=[number.pk])
                )
    schedule = form.cleaned_data.get("schedule") if form.is_bound and form.is_valid() else None
    return page(
        request,
        "route",
        f"Route of {number.number_e164}",
        number=number,
        is_here=has_way_back(number),
        form=form,
        now=route_words(number),
        preview=preview,
        refused=refused,
        schedule=schedule_words(schedule),
    )
