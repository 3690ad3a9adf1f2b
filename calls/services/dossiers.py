"""Gathers what the dossier of a number is made of, and says that somebody read it.

Reads rows of every room of the migration in a fixed number of queries; what a dossier says is
``calls.numbers.dossier``. Takes no column that may hold a secret, a caller or a word of a call.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count
from django.utils import timezone

from assistants.models import Assistant
from assistants.squad_members import members_of
from calls.models import (
    AudibleAcceptance,
    Call,
    Incident,
    NetFiring,
    NumberChange,
    NumberMove,
    NumberReadiness,
    OldStackRate,
    PhoneNumber,
    PlanEntry,
    ToolInvocation,
)
from calls.numbers.dossier import (
    Approval,
    Change,
    Dossier,
    DossierCall,
    DossierFacts,
    IncidentLine,
    MoveLine,
    NetPart,
    OldRate,
    ReadinessLine,
    ToolLine,
    compose,
)
from calls.selectors.ended_calls import COLUMNS, FAILED_TOOLS, EndedRow, callers, ended_calls
from calls.services.cost_gate import cost_standing
from calls.services.nets import NetView, net_view
from calls.services.plan_facts import parity_of
from tools.models import Tool
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.services import audit_write

# Enough for exact bounds of a percent; more would only make the page slow.
MOST_CALLS: Final = 20_000
PERIOD: Final = dt.timedelta(days=120)
_MOST_LINES: Final = 200
_APPROVED: Final = "step approved"


def dossier_of(number: PhoneNumber) -> Dossier:
    """Return the dossier of a number as its rows are now."""
    now = timezone.now()
    calls, left_out = _calls(number, now)
    changes = list(NumberChange.objects.filter(number=number).order_by("-created_at")[:_MOST_LINES])
    moves = _moves(number)
    parity, parity_words = parity_of(number)
    is_cost_open, cost_words = cost_standing(number.pk)
    return compose(
        DossierFacts(
            number_id=str(number.pk),
            number=number.number_e164,
            name=number.name,
            organisation=number.organisation.name,
            route=number.route,
            made_at=now,
            calls=calls,
            calls_left_out=left_out,
            changes=[_change(each) for each in reversed(changes)],
            approvals=sorted(
                (*_approvals(number, changes), *_acceptances(number)), key=lambda each: each.at
            ),
            tools=_tools(number),
            net=_net(number),
            incidents=_incidents(number),
            moves=moves,
            readiness=_readiness(number),
            old_rate=_old_rate(number),
            parity=parity,
            parity_words=parity_words,
            cost_words=cost_words,
            is_dearer=not is_cost_open,
        )
    )


def dossier_read(*, number: PhoneNumber, actor: Any, through: str) -> Dossier:
    """Return the dossier for somebody, which is audited. ``through``: admin or api."""
    dossier = dossier_of(number)
    audit_write(
        actor=actor,
        action="dossier.read",
        organisation=number.organisation,
        target=number,
        details={"through": through},
    )
    return dossier


def _calls(number: PhoneNumber, now: dt.datetime) -> tuple[list[DossierCall], bool]:
    lately = callers().filter(number=number, status=Call.Status.ENDED, created_at__gte=now - PERIOD)
    newest = lately.order_by("-created_at")[: MOST_CALLS + 1]
    found = list(newest.values_list(*COLUMNS, "cost_usd"))
    rows = [EndedRow(*row) for *row, _ in found[:MOST_CALLS]]
    tools = ToolInvocation.objects.filter(
        call__number=number, call__created_at__gte=now - PERIOD, state__in=FAILED_TOOLS
    )
    calls = zip(ended_calls(rows, tools), found, strict=False)  # one row more tells of more
    return [DossierCall(call, Decimal(cost)) for call, (*_, cost) in calls], len(found) > MOST_CALLS


def _change(row: NumberChange) -> Change:
    before, after = row.before.get("words", ""), row.after.get("words", "")
    return Change(row.created_at, row.kind, str(before), str(after), row.who, row.why)


def _approvals(number: PhoneNumber, changes: Iterable[NumberChange]) -> list[Approval]:
    """Return who approved what: in plans, and by changing the route with their own hands."""
    entries = PlanEntry.objects.filter(number=number, kind=_APPROVED).order_by("-pk")[:_MOST_LINES]
    found = [
        Approval(each.at, each.who, each.words or f"{each.evidence.get('percent', '')}%", each.why)
        for each in entries
    ]
    found += [
        Approval(each.created_at, each.who, str(each.after.get("words", "")), each.why)
        for each in changes
        if each.kind == NumberChange.Kind.ROUTE
    ]
    return found


def _acceptances(number: PhoneNumber) -> list[Approval]:
    """Return who accepted what callers hear differently, of what the last check read."""
    sources = NumberReadiness.objects.filter(number=number).values_list("sources", flat=True)
    rows = AudibleAcceptance.objects.filter(
        organisation=number.organisation_id, source__in=sources.first() or ()
    ).order_by("at")
    return [
        Approval(each.at, each.who, f"callers hear: {'; '.join(map(str, each.words))}", each.why)
        for each in rows[:_MOST_LINES]
    ]


def _tools(number: PhoneNumber) -> list[ToolLine]:
    """Return the tools of whoever answers, all members of a squad, each as its last check left it.

    A member that is written inside the squad has no saved revision, and so no tools of its own.
    """
    current = Assistant.objects.filter(pk__in=_answering(number)).values("current_revision")
    rows = (
        Tool.objects.filter(revisiontool__revision__in=current, deleted_at__isnull=True)
        .order_by("name")
        .values_list(
            *("name", "check_result__verdict", "check_result__checked_at"),
            "check_result__was_dry",
        )
        .distinct()
    )
    return [
        ToolLine(name, verdict or "unknown", at, was_dry is not False)
        for name, verdict, at, was_dry in rows
    ]


def _answering(number: PhoneNumber) -> list[Any]:
    """Return the ids of the assistants that may speak to a caller of the number."""
    if number.squad is not None and number.squad.deleted_at is None:
        try:
            members = members_of(number.squad)
        except DecryptionError:
            members = []
        found = [each.assistant.pk for each in members if each.assistant is not None]
        if found:
            return found
    return [number.assistant_id] if number.assistant_id is not None else []


def _net(number: PhoneNumber) -> list[NetPart]:
    try:
        view: NetView = net_view(number)
    except DecryptionError:
        return []
    return [
        NetPart(
            each.part.title,
            each.part.words,
            _fired(each.last_real),
            _fired(each.last_drill),
        )
        for each in view.parts
    ]


def _fired(row: NetFiring | None) -> dt.datetime | None:
    return row.fired_at if row is not None else None


def _incidents(number: PhoneNumber) -> list[IncidentLine]:
    rows = Incident.objects.filter(number=number).annotate(count=Count("listed"))
    return [
        IncidentLine(
            row.opened_at,
            row.closed_at,
            row.words,
            str(row.get_state_display()),
            row.count,
        )
        for row in rows.order_by("opened_at")[:_MOST_LINES]
    ]


def _moves(number: PhoneNumber) -> list[MoveLine]:
    rows = NumberMove.objects.filter(number=number).defer("state", "snapshot")
    return [
        MoveLine(
            row.created_at,
            row.finished_at,
            "back" if row.direction == NumberMove.Direction.BACK else "here",
            str(row.get_step_display()),
            row.who,
            row.why,
        )
        for row in rows.order_by("created_at")[:_MOST_LINES]
    ]


def _readiness(number: PhoneNumber) -> ReadinessLine | None:
    row = NumberReadiness.objects.filter(number=number).first()
    if row is None:
        return None
    findings = (each.get("short", "") for each in row.findings if isinstance(each, dict))
    return ReadinessLine(
        row.checked_at, str(row.get_colour_display()), row.reason, tuple(map(str, findings))
    )


def _old_rate(number: PhoneNumber) -> OldRate | None:
    row = OldStackRate.objects.for_organisation(number.organisation).first()
    if row is None:
        return None
    is_measured = row.source == OldStackRate.Source.MEASURED
    words = f"measured on {row.calls} of Vapi's own records of calls" if is_measured else "entered"
    return OldRate(row.usd_per_minute, words, row.note, is_measured)
