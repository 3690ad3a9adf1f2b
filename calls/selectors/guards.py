"""What a guard reads: calls that ended, limits, and what a page shows of a number's guard.

Reads only, by index: of a number's calls the newest, never all of them. It must not judge, which
is ``calls.numbers.guard``'s, and opens nothing that is sealed.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from calls.models import (
    Call,
    GuardLimits,
    Incident,
    NumberGuard,
    OutboxEvent,
    PhoneNumber,
)
from calls.numbers.guard import (
    TESTS,
    WINDOW,
    WINDOW_CALLS,
    WORDS,
    EndedCall,
    Limits,
    Signal,
    Stack,
    Verdict,
    fitted,
    in_window,
    judge,
)
from calls.numbers.sequential import Sequential
from calls.selectors.drift import baseline_for, orders_of
from calls.selectors.ended_calls import callers, ended_calls, rows_of

# Until then a stream may still report, and an end be explained better (call_finish).
SETTLED_AFTER: Final = dt.timedelta(minutes=5)
_ROUTES_HERE: Final = ("direct", "canary")


@dataclass(frozen=True, slots=True)
class GuardRules:
    """From where on a call is bad, and the tests where a number's differ from the usual ones."""

    limits: Limits = Limits()
    tests: Mapping[Signal, Sequential] = field(default_factory=dict)


def numbers_here() -> QuerySet[Any]:
    """Return the numbers of which some calls are answered here, by their route or its schedule."""
    here = Q(route__in=_ROUTES_HERE)
    outside = Q(route="vapi", schedule__outside__in=_ROUTES_HERE)
    return PhoneNumber.objects.filter(here | outside)


def rules_of(number_id: uuid.UUID, organisation_id: uuid.UUID | None) -> GuardRules:
    """Return the number's own limits, else the organisation's, else the usual ones."""
    rows = GuardLimits.objects.filter(
        Q(number=number_id) | Q(number__isnull=True), organisation=organisation_id
    )
    row = max(rows, key=lambda each: each.number_id is not None, default=None)
    return GuardRules() if row is None else _rules(row)


def _rules(row: GuardLimits) -> GuardRules:
    usual: dict[Signal, Any] = {
        "failed": row.usual_failed_percent,
        "dead_air": row.usual_dead_air_percent,
        "tool_failed": row.usual_tool_failed_percent,
        "hung_up_early": row.usual_hung_up_percent,
    }
    tests = {
        signal: fitted(signal, float(percent) / 100)
        for signal, percent in usual.items()
        if percent is not None
    }
    return GuardRules(Limits(row.first_word_ms, row.turn_ms, row.early_seconds), tests)


def window_of(
    number_id: uuid.UUID,
    stack: Stack,
    *,
    armed_at: dt.datetime,
    now: dt.datetime,
    known: MutableMapping[uuid.UUID, EndedCall] | None = None,
) -> tuple[EndedCall, ...]:
    """Return the calls that count for a guard, in the order of their ends.

    Args:
        known: facts that will not change any more, by call; what is read is put there.
    """
    rows = (
        callers()
        .filter(number=number_id, stack=stack, ended_at__gte=now - WINDOW, created_at__gte=armed_at)
        .order_by("-ended_at")
    )
    known = {} if known is None else known
    newest = list(rows.values_list("pk", flat=True)[:WINDOW_CALLS])
    missing = [pk for pk in newest if pk not in known]
    found = {call_id: known[call_id] for call_id in newest if call_id in known}
    rows_missing = rows_of(Call.objects.filter(pk__in=missing)) if missing else []
    for call in _with_orders(ended_calls(rows_missing), number_id, stack):
        found[uuid.UUID(call.call_id)] = call
        if call.ended_at < now - SETTLED_AFTER:
            known[uuid.UUID(call.call_id)] = call
    # The clock of the machine that closed a call may be ahead of ours.
    latest = max((call.ended_at for call in found.values()), default=now)
    return in_window(
        found.values(),
        number_id=str(number_id),
        stack=stack,
        armed_at=armed_at,
        now=max(now, latest),
    )


def _with_orders(calls: list[EndedCall], number_id: uuid.UUID, stack: Stack) -> Iterable[EndedCall]:
    """Say of each call whether its tools came in an order that was measured, where any was."""
    baseline = baseline_for(number_id) if calls and stack == "direct" else None
    if baseline is None:
        return calls
    orders = orders_of(uuid.UUID(call.call_id) for call in calls)
    return [
        replace(call, is_unfamiliar=baseline.is_unfamiliar(orders.get(uuid.UUID(call.call_id), ())))
        for call in calls
    ]


def verdict_of(
    guard: NumberGuard,
    now: dt.datetime,
    known: MutableMapping[uuid.UUID, EndedCall] | None = None,
) -> Verdict:
    """Judge the calls that count for ``guard``."""
    stack: Stack = "vapi" if guard.stack == "vapi" else "direct"
    calls = window_of(guard.number_id, stack, armed_at=guard.armed_at, now=now, known=known)
    rules = rules_of(guard.number_id, guard.organisation_id)
    baseline = baseline_for(guard.number_id) if stack == "direct" else None
    tests = {**rules.tests, "unfamiliar": baseline.test} if baseline else rules.tests
    return judge(calls, rules.limits, tests)


@dataclass(frozen=True, slots=True)
class SignalView:
    """One signal as people read it; ``share`` is how near it is to an alarm, 0 to 100."""

    words: str
    bad: int
    measured: int
    share: int


@dataclass(frozen=True, slots=True)
class StackView:
    """The guard of one stack as people read it; ``state``: on, off, or an open incident."""

    stack: str
    state: str
    colour: str
    armed_at: dt.datetime | None
    calls: int
    signals: tuple[SignalView, ...]
    incident: Incident | None


@dataclass(frozen=True, slots=True)
class GuardView:
    """What a number's page shows of its guard; ``earlier``: its newest incidents that ended."""

    stacks: tuple[StackView, ...]
    earlier: tuple[Incident, ...]

    @property
    def open_incident(self) -> Incident | None:
        """Return the incident of our own stack, else that of the old one, None without any."""
        found = {view.stack: view.incident for view in self.stacks if view.incident is not None}
        return found.get("direct") or found.get("vapi")


def guard_view(number: PhoneNumber, now: dt.datetime | None = None) -> GuardView:
    """Return what a number's page shows of its guard."""
    now = now or timezone.now()
    incidents = list(Incident.objects.filter(number=number).order_by("-opened_at")[:10])
    is_open = {each.stack: each for each in incidents if each.closed_at is None}
    rows = {guard.stack: guard for guard in NumberGuard.objects.filter(number=number)}
    views = tuple(
        _stack_view(stack, rows.get(stack), is_open.get(stack), now)
        for stack in ("direct", "vapi")
        if stack == "direct" or stack in rows
    )
    return GuardView(views, tuple(each for each in incidents if each.closed_at is not None)[:5])


def _stack_view(
    stack: str, guard: NumberGuard | None, incident: Incident | None, now: dt.datetime
) -> StackView:
    if guard is None or (guard.off_since is not None and incident is None):
        return StackView(stack, "off", "muted", None, 0, (), incident)
    verdict = verdict_of(guard, now)
    state, colour = "on", "success"
    if incident is not None:
        state, colour = f"incident, {incident.get_state_display()}", "danger"
    signals = tuple(
        SignalView(
            words=WORDS[signal],
            bad=verdict.counts[signal][0],
            measured=verdict.counts[signal][1],
            share=min(100, round(100 * reading.score / TESTS[signal].alarm_at)),
        )
        for signal, reading in verdict.readings.items()
    )
    return StackView(stack, state, colour, guard.armed_at, verdict.calls, signals, incident)


def open_incidents(user: Any) -> list[Incident]:
    """Return the open incidents that the person may see, the newest first, at most 20."""
    rows = Incident.objects.visible_to(user).filter(closed_at__isnull=True)
    return list(rows.select_related("number").only(*_SHOWN).order_by("-opened_at")[:20])


_SHOWN: Final = (
    *("pk", "organisation", "opened_at", "stack", "words", "state", "tries", "restored_at"),
    *("number__number_e164", "number__name"),
)


@dataclass(frozen=True, slots=True)
class ToldView:
    """One notice to one receiver, and whether it arrived."""

    at: dt.datetime
    subject: str
    words: str
    receiver: str
    state: str
    colour: str
    error: str


_TOLD_COLOURS: Final = {"pending": "warning", "delivered": "success", "dead": "danger"}


def told_of(incident: Incident) -> list[ToldView]:
    """Return who was told of an incident, the oldest notice first."""
    events = (
        OutboxEvent.objects.filter(notice__incident=incident)
        .select_related("notice")
        .defer("payload", "destination")
        .prefetch_related("attempts")
        .order_by("created_at", "pk")
    )
    names = dict(
        OutboxEvent.objects.filter(notice__incident=incident, notice_receiver__isnull=False)
        .order_by()
        .values_list("pk", "notice_receiver__name")
    )
    found = []
    for event in events:
        attempts = list(event.attempts.all())
        last = max(attempts, key=lambda attempt: attempt.number, default=None)
        error = "" if last is None or event.state == OutboxEvent.State.DELIVERED else last.error
        if last is not None and not error and event.state != OutboxEvent.State.DELIVERED:
            error = f"it answered {last.status_code}"
        found.append(
            ToldView(
                at=event.created_at,
                subject=event.notice.subject,
                words=event.notice.words,
                receiver=names.get(event.pk, "removed"),
                state="arrived" if event.state == "delivered" else str(event.get_state_display()),
                colour=_TOLD_COLOURS[event.state],
                error=error,
            )
        )
    return found
