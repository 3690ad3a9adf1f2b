"""The figures of the admin's first page; one query each, narrowed to the signed-in person."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse

from calls.admin.moving_doors import may_change
from calls.admin.numbers import midnight
from calls.admin.records import failed_calls
from calls.admin.words import ROUTE_COLOURS, STATUS_COLOURS, reason_in_words
from calls.models import Call, PhoneNumber
from calls.selectors.delivery import switched_off, undelivered
from calls.selectors.guards import open_incidents
from calls.selectors.leaving import departures_with_dues
from calls.selectors.moves import home_moving
from calls.selectors.reconciler import checked_at, checks_for, late_checks, missed_lately
from calls.services.model_watch import model_warnings
from calls.services.silent_hosts import silent_servers
from voiceplatform.base.selectors import organisations_visible_to

_RECENT = 8


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the cards a person may see; called by unfold (DASHBOARD_CALLBACK)."""
    user = request.user
    cards: list[dict[str, Any]] = []
    if user.has_perm("calls.view_call"):
        cards += _call_cards(user)
        context["recent_calls"] = _recent_calls(user)
    checks = checks_for(user)
    if user.has_perm("calls.view_outboxevent"):
        figures = undelivered(user)
        cards.append(_delivery_card(figures["waiting"]))
        context["delivery"] = {
            "given_up": figures["given_up"],
            "switched_off": switched_off(user),
            "checked_at": checked_at(checks),
        }
    if user.has_perm("calls.view_missedcall"):
        cards.append(_missed_card(missed_lately(checks)))
    if user.has_perm("calls.view_carriercheck"):
        context["late_checks"] = late_checks(checks)
    if user.has_perm("calls.view_incident"):
        context["open_incidents"] = open_incidents(user)
    if user.has_perm("calls.view_phonenumber"):
        context["moving"] = home_moving(user)
        context["may_change_numbers"] = may_change(request)
        context["routes"] = _routes(user)
        context["not_moved"] = next(
            row["total"] for row in context["routes"] if row["name"] == PhoneNumber.Route.VAPI.label
        )
        context["routes_total"] = sum(row["total"] for row in context["routes"])
    if user.has_perm("calls.view_providerconnection"):
        context["model_warnings"] = model_warnings(
            None if user.is_superuser else organisations_visible_to(user)
        )
    if user.has_perm("tools.view_tool"):
        context["silent_servers"] = silent_servers(user)
    if user.has_perm("calls.view_departure"):
        context["departure_dues"] = list(departures_with_dues(user))
    context["cards"] = cards
    context["title"] = "Overview"
    return context


def _call_cards(user: Any) -> list[dict[str, Any]]:
    # Calls that came here; what was imported from logs is history of another stack.
    calls = Call.objects.visible_to(user).filter(imported_at__isnull=True).order_by()
    link = reverse("admin:calls_call_changelist")
    is_today, is_live = Q(created_at__gte=midnight()), ~Q(status=Call.Status.ENDED)
    counted = calls.filter(is_today | is_live).aggregate(
        live=Count("pk", filter=is_live),
        today=Count("pk", filter=is_today),
        failed=Count("pk", filter=is_today & failed_calls()),
    )
    live, failed = counted["live"], counted["failed"]
    return [
        {
            "title": "Calls in progress",
            "value": live,
            "icon": "call",
            "colour": "primary" if live else "muted",
            "link": f"{link}?status__exact=in-progress",
        },
        {
            "title": "Calls today",
            "value": counted["today"],
            "icon": "today",
            "colour": "success",
            "link": link,
        },
        {
            "title": "Failed calls today",
            "value": failed,
            "icon": "phone_missed",
            "colour": "danger" if failed else "muted",
            "link": f"{link}?outcome=failed",
        },
    ]


def _delivery_card(waiting: int) -> dict[str, Any]:
    return {
        "title": "Undelivered",
        "value": waiting,
        "icon": "outbox",
        "colour": "warning" if waiting else "muted",
        "link": f"{reverse('admin:calls_outboxevent_changelist')}?state__exact=pending",
    }


def _missed_card(missed: int) -> dict[str, Any]:
    return {
        "title": "Never reached us, last day",
        "value": missed,
        "icon": "phone_missed",
        "colour": "danger" if missed else "muted",
        "link": reverse("admin:calls_missedcall_changelist"),
    }


def _routes(user: Any) -> list[dict[str, Any]]:
    rows = (
        PhoneNumber.objects.visible_to(user)
        .order_by()
        .values("route")
        .annotate(total=Count("pk"))
        .values_list("route", "total")
    )
    totals = dict(rows)
    link = reverse("admin:calls_phonenumber_changelist")
    return [
        {
            "name": route.label,
            "total": totals.get(route.value, 0),
            "colour": ROUTE_COLOURS[route.value],
            "link": f"{link}?route__exact={route.value}",
        }
        for route in PhoneNumber.Route
    ]


def _recent_calls(user: Any) -> list[dict[str, Any]]:
    rows = (
        Call.objects.visible_to(user)
        .filter(imported_at__isnull=True)
        .select_related("number")
        .only(
            *("created_at", "caller", "callee", "status", "ended_reason"),
            *("number__name", "number__number_e164"),
        )
        .order_by("-created_at")[:_RECENT]
    )
    return [
        {
            "pk": row.pk,
            "at": row.created_at,
            "caller": row.caller or "withheld",
            "number": (row.number.name or row.number.number_e164) if row.number else row.callee,
            "status": str(row.get_status_display()).lower(),
            "colour": STATUS_COLOURS.get(row.status, "info"),
            "outcome": reason_in_words(row.ended_reason),
        }
        for row in rows
    ]
